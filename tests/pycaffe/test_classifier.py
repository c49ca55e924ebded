"""Classifier and Detector: nets that take images."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import caffelite as caffe
from caffelite.errors import Error, NetError, ShapeError
from caffelite.pycaffe import io
from caffelite.pycaffe.classifier import Classifier
from caffelite.pycaffe.detector import Detector

IMAGE = np.random.default_rng(0).random((20, 31, 3)).astype(np.float32)
SETTINGS = {"mean": np.array([10.0, 20.0, 30.0]), "raw_scale": 255, "channel_swap": [2, 1, 0], "input_scale": 0.01}


@pytest.fixture
def files(deploy):
    """A deploy net whose input is 2 x 3 x 8 x 8, and weights that tell images apart."""
    net = caffe.Net(deploy, caffe.TEST)
    for blobs in net.params.values():
        for blob in blobs:
            blob.data[...] = np.random.default_rng(blob.count).standard_normal(blob.shape)
    net.save("deploy.caffemodel")
    return deploy, "deploy.caffemodel"


def prepared(image):
    """Return a crop as the net takes it, by SETTINGS."""
    return ((image[:, :, ::-1] * 255 - [10, 20, 30]) * 0.01).transpose(2, 0, 1)


def test_predict_of_the_crop_in_the_centre(files):
    classifier = Classifier(*files, image_dims=[12, 13], **SETTINGS)
    assert isinstance(classifier, caffe.Net)
    assert (classifier.crop_dims.tolist(), classifier.image_dims.tolist()) == ([8, 8], [12, 13])
    predictions = classifier.predict([IMAGE, IMAGE[:10], IMAGE[5:]], oversample=False)
    assert (predictions.shape, predictions.dtype) == ((3, 5), np.float32)
    crops = [io.resize_image(image, (12, 13))[2:10, 2:10] for image in (IMAGE, IMAGE[:10], IMAGE[5:])]
    net = caffe.Net(files[0], caffe.TEST, weights=files[1])
    expected = net.forward_all(data=np.array([prepared(crop) for crop in crops]))["prob"]
    np.testing.assert_allclose(predictions, expected, atol=1e-5)
    assert np.ptp(expected, axis=0).max() > 1e-3


def test_predict_is_the_mean_over_ten_crops(files):
    classifier = Classifier(*files, image_dims=(12, 13))
    predictions = classifier.predict([IMAGE, IMAGE[:10]])
    crops = io.oversample([io.resize_image(image, (12, 13)) for image in (IMAGE, IMAGE[:10])], (8, 8))
    single = Classifier(*files).predict(crops, oversample=False)
    np.testing.assert_allclose(predictions, single.reshape(2, 10, 5).mean(1), atol=1e-6)


def test_what_a_classifier_refuses(files):
    with pytest.raises(ShapeError, match="a crop of 8×8 does not fit into an image of 7×9"):
        Classifier(*files, image_dims=(7, 9))
    classifier = Classifier(*files)
    with pytest.raises(ShapeError, match="takes images of 3 channels, and one of 1 is given; load_image"):
        classifier.predict([IMAGE, IMAGE[:, :, :1]])
    with pytest.raises(ShapeError, match="there is no image"):
        classifier.predict([])
    Path("flat.prototxt").write_text(
        'name: "flat" layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }'
    )
    with pytest.raises(ShapeError, match='input "x" takes images if it is N x C x H x W, and it is 2×3'):
        Classifier("flat.prototxt", None)
    Path("none.prototxt").write_text(
        'name: "none" layer { name: "d" type: "DummyData" top: "x" dummy_data_param { shape { dim: 2 } } }'
    )
    with pytest.raises(NetError, match='net "none" has no inputs'):
        Detector("none.prototxt", None)


def test_crop_without_context_is_the_window(files):
    detector = Detector(*files)
    np.testing.assert_array_equal(detector.crop(IMAGE, (3, 4, 10, 30)), IMAGE[3:10, 4:30])
    np.testing.assert_array_equal(detector.crop(IMAGE, [15, 4, 40, 40]), IMAGE[15:, 4:])
    for window in ([5, 5, 5, 9], [20, 0, 30, 9], [0, 0, 1]):
        with pytest.raises(ShapeError, match="a window is ymin, xmin, ymax, xmax in an image of 20×31"):
            detector.crop(IMAGE, window)


def test_crop_with_context(files):
    """An input of 8 with a border of 2: twice the window, its middle half is the window."""
    detector = Detector(*files, context_pad=2)
    # Rows 6 to 9 and columns 10 to 13, with the last counted: 5 x 5 around (8.5, 12.5), twice as large.
    inside = detector.crop(IMAGE, [6, 10, 10, 14])
    np.testing.assert_array_equal(inside, io.resize_image(IMAGE[4:14, 8:18], (8, 8))[:8, :8])
    assert inside.shape == tuple(detector.crop_dims) == (8, 8, 3)
    # In the corner: half of what is around lies outside.
    corner = detector.crop(IMAGE, [0, 0, 4, 4])
    assert not corner[:1].any() and not corner[:, :1].any() and corner[4:, 4:].all()


def test_beyond_the_image_is_the_mean_of_images(files):
    detector = Detector(*files, context_pad=2, **SETTINGS)
    corner = detector.crop(IMAGE, [0, 0, 4, 4])
    np.testing.assert_allclose(corner[0, 0], np.array([30, 20, 10]) / 255, rtol=1e-6)
    np.testing.assert_allclose(detector.transformer.preprocess("data", corner)[:, 0, 0], 0, atol=1e-6)
    whole = np.random.default_rng(1).random((3, 8, 8))
    assert Detector(*files, context_pad=2, mean=whole).crop(IMAGE, [0, 0, 4, 4])[0, 3] == pytest.approx(whole[:, 0, 3])
    with pytest.raises(ShapeError, match="a border of 4 leaves nothing of an input of 8×8"):
        detector.configure_crop(4)


def test_detect_windows(files):
    Image.fromarray((IMAGE * 255).astype(np.uint8)).save("image.png")
    detector = Detector(*files, **SETTINGS)
    windows = [np.array([0, 0, 8, 8]), np.array([3, 4, 19, 30]), np.array([5, 5, 15, 20])]
    found = detector.detect_windows(pair for pair in [("image.png", windows[:2]), ("image.png", windows[2:])])
    assert [d["filename"] for d in found] == ["image.png"] * 3
    image = io.load_image("image.png")
    expected = Classifier(*files, **SETTINGS).predict(
        [image[w[0] : w[2], w[1] : w[3]] for w in windows], oversample=False
    )
    np.testing.assert_allclose([d["prediction"] for d in found], expected, atol=1e-6)
    np.testing.assert_array_equal([d["window"] for d in found], windows)
    assert detector.detect_windows([]) == []


def test_selective_search_is_refused_with_a_way_out(files):
    with pytest.raises(Error, match="need MATLAB, which caffelite does not call; give windows from elsewhere"):
        Detector(*files).detect_selective_search(["image.png"])
