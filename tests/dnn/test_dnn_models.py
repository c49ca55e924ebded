"""Nets with their preparation of images: OpenCV's answers."""

import numpy as np
import pytest
from opencv_cases import data, image, layer, write

from caffelite import dnn
from caffelite.errors import NetError, SchemaError, ShapeError

PICTURE = image(20, 30, 3)
PARAMS = {"scale": 0.02, "size": (6, 8), "mean": (127, 127, 127), "swapRB": True}


@pytest.fixture
def model(tmp_path):
    def made(kind, name, **other):
        result = kind(*reversed(write(name, tmp_path)))
        result.setInputParams(**(PARAMS | other))
        return result

    return made


def test_classification(model, opencv):
    net = model(dnn.ClassificationModel, "scores").setOutputNames(["prob"])
    best, score = net.classify(PICTURE)
    assert (best, pytest.approx(score, rel=1e-5)) == tuple(opencv["classify"])
    assert net.setEnableSoftmaxPostProcessing(True).getEnableSoftmaxPostProcessing()
    assert net.classify(PICTURE)[1] == pytest.approx(opencv["classify, softmax"][1], rel=1e-5)


def test_segmentation_and_key_points(model, opencv):
    segments = model(dnn.SegmentationModel, "map").segment(PICTURE)
    np.testing.assert_array_equal(segments, opencv["segment"], strict=True)
    points = model(dnn.KeypointsModel, "map")
    np.testing.assert_array_equal(points.estimate(PICTURE, 0.5), opencv["estimate 0.5"])
    np.testing.assert_array_equal(points.estimate(PICTURE, 5.0), opencv["estimate 5.0"])


def test_detection(model, opencv):
    net = model(dnn.DetectionModel, "ssd", size=(8, 8))
    classes, confidences, boxes = net.detect(PICTURE, 0.6)
    np.testing.assert_array_equal(classes, opencv["detect classes"], strict=True)
    np.testing.assert_allclose(confidences, opencv["detect confidences"], rtol=1e-5)
    np.testing.assert_array_equal(boxes, opencv["detect boxes"], strict=True)
    assert net.detect(PICTURE, 2.0) == ((), (), ())
    assert net.setNmsAcrossClasses(True).getNmsAcrossClasses()


def test_settings_one_by_one_are_the_same_as_together(model):
    net = model(dnn.Model, "map")
    (together,) = net.predict(PICTURE)
    other = model(dnn.Model, "map", scale=1.0, mean=(), swapRB=False)
    other.setInputSize(6, 8).setInputScale(0.02).setInputMean((127, 127, 127)).setInputSwapRB(True).setInputCrop(False)
    other.setPreferableBackend(dnn.DNN_BACKEND_DEFAULT).setPreferableTarget(dnn.DNN_TARGET_CPU).enableWinograd(True)
    np.testing.assert_array_equal(other.predict(PICTURE)[0], together)
    assert not np.array_equal(net.setInputCrop(True).predict(PICTURE)[0], together)


def test_a_net_that_takes_the_size_of_the_image():
    text = (
        'input: "data" input_dim: 1 input_dim: 3 input_dim: 4 input_dim: 4 input: "im_info" input_dim: 1 input_dim: 3 '
    )
    text += "input_dim: 1 input_dim: 1 " + layer("a", "ReLU", "data", "a") + layer("b", "ReLU", "im_info", "b")
    net = dnn.readNetFromCaffe(text.encode())
    model = dnn.Model(net).setOutputNames(["b"])
    np.testing.assert_allclose(model.predict(PICTURE)[0], [[4, 4, 1.6]])


def test_errors(model):
    with pytest.raises(NetError, match='the last layer, "map", is of type Convolution, not DetectionOutput'):
        model(dnn.DetectionModel, "map").detect(PICTURE)
    with pytest.raises(NetError, match='one output is needed, not "pool", "prob"; setOutputNames says which'):
        model(dnn.ClassificationModel, "scores").classify(PICTURE)
    with pytest.raises(ShapeError, match="the output is 1×5, no map of classes"):
        model(dnn.SegmentationModel, "scores").setOutputNames(["prob"]).segment(PICTURE)
    with pytest.raises(ShapeError, match=r"setInputSize\(\(width, height\)\)"):
        model(dnn.Model, "map", size=(0, 0)).predict(PICTURE)
    with pytest.raises(SchemaError, match="caffelite.dnn reads Caffe's nets"):
        dnn.Model("a.onnx")
    assert dnn.Model(dnn.readNetFromCaffe((data(5, 4) + layer("a", "ReLU", "data", "a")).encode())).predict(PICTURE)[
        0
    ].shape == (1, 3, 5, 4)
