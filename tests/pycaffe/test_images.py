"""Images as pycaffe has them. Numbers that stand here are scikit-image's: of ``warp`` with the scale that its ``resize``
had until 0.13, and of SciPy's ``zoom``.
"""

import sys

import numpy as np
import pytest
from PIL import Image

from caffelite.errors import DataError, Error, MissingExtraError, ShapeError
from caffelite.pycaffe.images import load_image, oversample, resize, resize_image

GREY = np.array([[0, 50, 200], [100, 30, 10]], np.float32)[:, :, None]
NEAREST = [[0, 0, 50, 200, 200], [0, 0, 50, 200, 200], [100, 100, 30, 10, 10], [100, 100, 30, 10, 10]]
LINEAR = [[0, 15, 37.5, 105, 120], [20, 33, 45, 109.5, 122], [60, 59, 35, 48.5, 46], [60, 54, 22.5, 13.5, 6]]
CUBIC = [
    [0.0, 4.305, 41.25, 138.0506, 154.8938],
    [17.4525, 28.6012, 50.1562, 142.4681, 157.0312],
    [76.6975, 73.5987, 37.3438, 49.2444, 46.8438],
    [77.6475, 70.155, 22.5, 1.6256, 0.0],
]
PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


@pytest.mark.parametrize(("order", "expected"), [(0, NEAREST), (1, LINEAR), (3, CUBIC)])
def test_resize_image_gives_the_numbers_of_pycaffe(order, expected):
    resized = resize_image(GREY, (4, 5), order)
    assert (resized.dtype, resized.shape) == (np.float32, (4, 5, 1))
    np.testing.assert_allclose(resized[:, :, 0], expected, atol=2e-4)


def test_resize_image_is_linear_and_does_not_smooth():
    np.testing.assert_allclose(resize_image(GREY, (1, 2))[:, :, 0], [[47.5, 88.75]], rtol=1e-6)
    wide = np.zeros((2, 12, 3))
    wide[:, ::4] = 1  # not one of the two pixels that a new one lies between
    assert not resize_image(wide, (2, 3)).any()
    colours = np.concatenate([GREY, 2 * GREY, 3 * GREY], axis=2)
    np.testing.assert_allclose(
        resize_image(colours, (4, 5))[:, :, 2], 3 * resize_image(GREY, (4, 5))[:, :, 0], rtol=1e-6
    )


def test_resize_image_keeps_corners_of_other_numbers_of_channels():
    resized = resize_image(np.concatenate([GREY, 2 * GREY], axis=2), (4, 5))
    expected = [
        [0, 50, 100, 250, 400],
        [66.6667, 76.6667, 86.6667, 180, 273.3334],
        [133.3333, 103.3333, 73.3333, 110, 146.6667],
        [200, 130, 60, 40, 20],
    ]
    np.testing.assert_allclose(resized[:, :, 1], expected, atol=2e-4)
    assert resize_image(np.ones((3, 3, 2)), (1, 1)).tolist() == [[[1, 1]]]


def test_resize_image_of_one_value_and_of_whole_numbers():
    assert (resize_image(np.full((2, 2, 3), 7), (3, 4)) == np.full((3, 4, 3), 7)).all()
    np.testing.assert_allclose(resize_image(GREY.astype(np.uint8), (4, 5))[:, :, 0], LINEAR, atol=1e-4)
    np.testing.assert_allclose(resize_image(GREY, (2, 3)), GREY, rtol=1e-6)


@pytest.mark.parametrize(
    ("image", "dims", "sentence"),
    [
        (GREY[:, :, 0], (2, 2), "height x width x channels, not 2×3"),
        (GREY, (2, 0), "a height and a width, not 2×0"),
        (GREY, (2, 2, 1), "a height and a width, not 2×2×1"),
    ],
)
def test_what_is_no_image_or_no_size(image, dims, sentence):
    with pytest.raises(ShapeError, match=sentence):
        resize_image(image, dims)


def test_splines_need_scipy(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.ndimage", None)
    with pytest.raises(MissingExtraError, match="order 2 of 1 channels needs SciPy: pip install scipy"):
        resize_image(GREY, (4, 5), 2)
    with pytest.raises(MissingExtraError, match="order 3 of 2 channels needs SciPy"):
        resize_image(np.ones((2, 2, 2)), (4, 5), 3)
    with pytest.raises(Error, match="is 0, 1, 2, 3, 4 or 5, not 6"):
        resize_image(GREY, (4, 5), 6)


def test_splines():
    pytest.importorskip("scipy")
    first_row = [0, 0, 41.4949, 149.5979, 162.0995]
    np.testing.assert_allclose(resize_image(GREY, (4, 5), 2)[0, :, 0], first_row, atol=2e-4)


def test_resize_is_that_of_scikit_image():
    expected = [[0.2, 0.225, 0.25], [0.25, 0.4, 0.41667], [0.41667, 0.6, 0.58333], [0.375, 0.525, 0.5]]
    small = np.array([[51, 102], [153, 204]], np.uint8)
    resized = resize(small, (4, 3))
    assert resized.dtype == np.float64
    np.testing.assert_allclose(resized, expected, atol=1e-5)
    np.testing.assert_array_equal(resize(small[:, :, None], (4, 3, 1))[:, :, 0], resized)
    with pytest.raises(ShapeError, match="not the 3 channels of an image: 3×8×8 is asked for"):
        resize(PIXELS, (3, 8, 8))
    with pytest.raises(Error, match="0 beyond the edge, not mode='reflect'"):
        resize(PIXELS, (8, 8), mode="reflect")


@pytest.fixture
def picture(tmp_path):
    def save(pixels, name="image.png", mode=None):
        image = Image.fromarray(pixels)
        (image if mode is None else image.convert(mode)).save(tmp_path / name)
        return tmp_path / name

    return save


def test_load_image_in_colour_and_in_grey(picture):
    path = picture(PIXELS)
    colour, grey = load_image(str(path)), load_image(path, color=False)
    assert (colour.dtype, grey.dtype) == (np.float32, np.float32)
    np.testing.assert_array_equal(colour, (PIXELS / 255).astype(np.float32))
    np.testing.assert_allclose(grey[:, :, 0], PIXELS @ np.array([0.2125, 0.7154, 0.0721]) / 255, rtol=1e-6)
    assert grey.shape == (5, 7, 1)


def test_load_image_of_grey_transparent_and_palette_files(picture):
    path = picture(PIXELS[:, :, 0])
    np.testing.assert_array_equal(load_image(path), np.repeat(load_image(path, False), 3, axis=2))
    with_alpha = picture(np.dstack([PIXELS, PIXELS[:, :, 0]]))
    np.testing.assert_array_equal(load_image(with_alpha), (PIXELS / 255).astype(np.float32))
    grey_with_alpha = load_image(picture(PIXELS, mode="LA"))
    assert grey_with_alpha.shape == (5, 7, 3) and (grey_with_alpha[:, :, 0] == grey_with_alpha[:, :, 2]).all()
    few = np.where(PIXELS > 127, 255, 0).astype(np.uint8)
    np.testing.assert_array_equal(load_image(picture(few, mode="P")), few / np.float32(255))
    bits = load_image(picture(few[:, :, 0], mode="1"), color=False)
    np.testing.assert_array_equal(bits[:, :, 0], few[:, :, 0] / 255)


def test_load_image_of_more_than_eight_bits(picture):
    deep = np.array([[0, 1000], [30000, 65535]], np.uint16)
    np.testing.assert_array_equal(load_image(picture(deep), False)[:, :, 0], (deep / 65535).astype(np.float32))
    real = np.array([[0, 0.25], [0.5, 1]], np.float32)
    np.testing.assert_array_equal(load_image(picture(real, "image.tif"), False)[:, :, 0], real)
    with pytest.raises(DataError, match=r"image.tif: it has pixels that are not in 0..1"):
        load_image(picture(3 * real, "image.tif"))


def test_load_image_of_what_is_none(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"no.jpg: there is no such file"):
        load_image("no.jpg")
    (tmp_path / "text.jpg").write_text("not an image")
    with pytest.raises(DataError, match="text.jpg is not an image that can be decoded"):
        load_image(tmp_path / "text.jpg")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match="need Pillow"):
        load_image("no.jpg")


def test_oversample_cuts_corners_centre_and_mirrors():
    images = np.random.default_rng(1).random((2, 6, 9, 3)).astype(np.float32)
    crops = oversample(images, np.array([4, 4]))
    assert (crops.shape, crops.dtype) == ((20, 4, 4, 3), np.float32)
    for image, ten in zip(images, crops.reshape(2, 10, 4, 4, 3), strict=True):
        expected = [image[:4, :4], image[:4, 5:], image[2:, :4], image[2:, 5:], image[1:5, 2:6]]
        np.testing.assert_array_equal(ten[:5], expected)
        np.testing.assert_array_equal(ten[5:], np.array(expected)[:, :, ::-1])
    with pytest.raises(ShapeError, match="a crop of 7×4 does not fit into an image of 6×9"):
        oversample(images, (7, 4))
    with pytest.raises(ShapeError, match="of one shape, height x width x channels, are needed, not 6×9×3 and 5×9×3"):
        oversample([images[0], images[1, :5]], (4, 4))
