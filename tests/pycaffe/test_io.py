"""caffe.io: arrays as messages, means, and the Transformer."""

import io as streams
import sys
import types

import numpy as np
import pytest
from PIL import Image

import caffelite
from caffelite.errors import DataError, NetError, ShapeError, WeightsError
from caffelite.pycaffe import io, proto
from caffelite.schema import messages
from caffelite.schema.blobs import write_blob

ARRAY = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)


def test_it_is_what_scripts_import():
    caffelite.as_caffe()
    import caffe
    import caffe.io

    assert caffe.io is io
    assert caffe.io.Transformer.__name__ == "Transformer"
    assert all(hasattr(io, name) for name in io.__all__)


def test_modules_that_scripts_take_from_it(monkeypatch):
    skimage, messages_module = types.ModuleType("skimage"), types.ModuleType("caffe_pb2")
    monkeypatch.setitem(sys.modules, "skimage", skimage)
    monkeypatch.setitem(sys.modules, "skimage.io", skimage)
    monkeypatch.setattr(proto, "caffe_pb2", messages_module)
    assert io.skimage is skimage
    assert io.caffe_pb2 is messages_module
    monkeypatch.setitem(sys.modules, "skimage.io", None)
    with pytest.raises(AttributeError, match="caffe.io has no skimage here: .*skimage.io"):
        io.skimage  # noqa: B018
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        io.nothing  # noqa: B018


def test_arrays_are_blobs_and_back():
    blob = io.array_to_blobproto(ARRAY, 2 * ARRAY)
    assert list(blob.shape.dim) == [2, 3, 4]
    values = io.blobproto_to_array(blob)
    assert values.dtype == np.float64
    np.testing.assert_array_equal(values, ARRAY)
    np.testing.assert_array_equal(io.blobproto_to_array(blob, return_diff=True), 2 * ARRAY)
    with pytest.raises(ShapeError, match="the gradient is 3×4, the array 2×3×4"):
        io.array_to_blobproto(ARRAY, ARRAY[0])


def test_blobs_of_old_files_of_doubles_and_without_a_shape():
    old = messages.BlobProto(data=range(6), channels=2, num=1, height=1, width=3)
    assert io.blobproto_to_array(old).tolist() == [[[[0, 1, 2]], [[3, 4, 5]]]]
    double = messages.BlobProto(double_data=[1e300, 2], shape=messages.BlobShape(dim=[2]))
    assert io.blobproto_to_array(double).tolist() == [1e300, 2]
    assert io.blobproto_to_array(messages.BlobProto(data=[5])).shape == ()
    with pytest.raises(ValueError, match="of shape scalar does not hold the 6 values"):
        io.blobproto_to_array(messages.BlobProto(data=range(6)))
    with pytest.raises(ShapeError, match="of shape 4×2 does not hold the 6 values"):
        io.blobproto_to_array(messages.BlobProto(data=range(6), shape=messages.BlobShape(dim=[4, 2])))


def test_lists_of_arrays_are_bytes():
    text = io.arraylist_to_blobprotovector_str([ARRAY, ARRAY[0]])
    assert isinstance(text, bytes)
    first, second = io.blobprotovector_str_to_arraylist(text)
    np.testing.assert_array_equal(first, ARRAY)
    np.testing.assert_array_equal(second, ARRAY[0])
    with pytest.raises(DataError, match="not a BlobProtoVector"):
        io.blobprotovector_str_to_arraylist(b"\xff")


def test_images_are_datums_and_back():
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    datum = io.array_to_datum(pixels, 7)
    assert (datum.channels, datum.height, datum.width, datum.label) == (2, 3, 4, 7)
    assert datum.data == pixels.tobytes()
    again = io.datum_to_array(datum)
    assert again.dtype == np.uint8
    np.testing.assert_array_equal(again, pixels)
    again[...] = 0  # it is an array of one's own
    real = io.array_to_datum(ARRAY)
    assert not real.HasField("label") and not real.data
    np.testing.assert_array_equal(io.datum_to_array(real), ARRAY)
    with pytest.raises(ValueError, match="channels x height x width, not 3×4"):
        io.array_to_datum(ARRAY[0])
    datum.height = 5
    with pytest.raises(ShapeError, match="of shape 2×5×4 does not hold the 24 values"):
        io.datum_to_array(datum)


def test_an_encoded_datum_is_decoded():
    pixels = np.random.default_rng(1).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    stream = streams.BytesIO()
    Image.fromarray(pixels).save(stream, "png")
    datum = messages.Datum(encoded=True, data=stream.getvalue())
    np.testing.assert_array_equal(io.datum_to_array(datum), pixels[:, :, ::-1].transpose(2, 0, 1))
    datum.data = b"no image"
    with pytest.raises(DataError, match="the Datum is not an image"):
        io.datum_to_array(datum)


def test_read_mean_of_both_kinds_of_files(tmp_path):
    write_blob(tmp_path / "mean.binaryproto", ARRAY)
    np.save(tmp_path / "mean.npy", ARRAY)
    for name in ("mean.binaryproto", "mean.npy"):
        np.testing.assert_allclose(io.read_mean(str(tmp_path / name)), ARRAY.mean((1, 2)), rtol=1e-6)
    np.save(tmp_path / "flat.npy", ARRAY[0])
    with pytest.raises(ShapeError, match="flat.npy: a mean image is channels x height x width, not 3×4"):
        io.read_mean(tmp_path / "flat.npy")
    np.save(tmp_path / "object.npy", np.array([{}]), allow_pickle=True)
    for name, error in (("object.npy", DataError), ("no.npy", DataError), ("no.binaryproto", WeightsError)):
        with pytest.raises(error, match=name):
            io.read_mean(tmp_path / name)
    with pytest.raises(DataError, match="a mean is a .binaryproto or an .npy"):
        io.read_mean("mean.png")


@pytest.fixture
def transformer():
    made = io.Transformer({"data": (10, 3, 4, 5)})
    made.set_transpose("data", (2, 0, 1))
    return made


def test_preprocess_in_its_order(transformer):
    image = np.random.default_rng(2).random((4, 5, 3)).astype(np.float32)
    before = image.copy()
    transformer.set_channel_swap("data", (2, 1, 0))
    transformer.set_raw_scale("data", 255)
    transformer.set_mean("data", np.array([104.0, 117.0, 123.0]))
    transformer.set_input_scale("data", 0.017)
    made = transformer.preprocess("data", image)
    assert (made.dtype, made.shape) == (np.float32, (3, 4, 5))
    expected = (image[:, :, ::-1].transpose(2, 0, 1) * 255 - np.array([104, 117, 123])[:, None, None]) * 0.017
    np.testing.assert_allclose(made, expected, atol=1e-5)
    np.testing.assert_array_equal(image, before)
    np.testing.assert_allclose(transformer.deprocess("data", made[None]), image, atol=1e-5)
    assert transformer.mean["data"].shape == (3, 1, 1)
    assert (transformer.transpose, transformer.raw_scale) == ({"data": (2, 0, 1)}, {"data": 255})
    assert (transformer.channel_swap, transformer.input_scale) == ({"data": (2, 1, 0)}, {"data": 0.017})


def test_preprocess_resizes(transformer):
    image = np.random.default_rng(3).random((9, 7, 3)).astype(np.float32)
    np.testing.assert_array_equal(
        transformer.preprocess("data", image), io.resize_image(image, (4, 5)).transpose(2, 0, 1)
    )


def test_deprocess_keeps_the_channel_of_a_grey_image():
    transformer = io.Transformer({"data": (1, 1, 4, 5)})
    transformer.set_transpose("data", (2, 0, 1))
    assert transformer.deprocess("data", np.zeros((1, 1, 4, 5))).shape == (4, 5, 1)


def test_set_mean_takes_images_of_any_size(transformer):
    image = np.random.default_rng(4).random((3, 4, 5))
    for mean in (image, image[None]):
        transformer.set_mean("data", mean)
        np.testing.assert_array_equal(transformer.mean["data"], image)
    transformer.set_mean("data", image[0])
    assert transformer.mean["data"].shape == (1, 4, 5)
    larger = np.random.default_rng(5).random((1, 3, 8, 8))
    transformer.set_mean("data", larger)
    expected = io.resize_image(larger[0].transpose(1, 2, 0), (4, 5)).transpose(2, 0, 1)
    np.testing.assert_array_equal(transformer.mean["data"], expected)
    transformer.set_mean("data", np.full((3, 1, 1), 100))
    assert (transformer.preprocess("data", np.zeros((4, 5, 3))) == -100).all()


@pytest.mark.parametrize(
    ("setter", "value", "sentence"),
    [
        ("set_transpose", (2, 0), "names each of 0 to 2, not .2, 0."),
        ("set_transpose", (3, 1, 2), "names each of 0 to 2"),
        ("set_channel_swap", (2, 1), "names 3 channels, not 2"),
        ("set_mean", np.zeros(4), "is 3 numbers or of shape 3×4×5, not 4"),
        ("set_mean", np.zeros((2, 4, 5)), "of shape 3×4×5, not 2×4×5"),
        ("set_mean", np.zeros((2, 3, 4, 5)), "of shape 3×4×5, not 2×3×4×5"),
        ("set_mean", 100.0, "not scalar"),
    ],
)
def test_settings_that_do_not_fit(transformer, setter, value, sentence):
    with pytest.raises(ShapeError, match=sentence):
        getattr(transformer, setter)("data", value)
    with pytest.raises(NetError, match='"dat" is not one of the inputs: "data"; did you mean "data"'):
        getattr(transformer, setter)("dat", value)


def test_images_that_do_not_fit(transformer):
    grey = np.zeros((4, 5, 1))
    with pytest.raises(ShapeError, match="has 3 axes, not 4×5"):
        transformer.preprocess("data", grey[:, :, 0])
    transformer.set_mean("data", np.zeros(3))
    with pytest.raises(ShapeError, match='the mean of input "data" has 3 channels, the image 1×4×5'):
        transformer.preprocess("data", grey)
    transformer.set_channel_swap("data", (2, 1, 0))
    with pytest.raises(ShapeError, match="does not fit an image of 1 channels"):
        transformer.preprocess("data", grey)
