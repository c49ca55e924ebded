"""Pixels of Pillow's images: the same ones whether their memory is lent or copied."""

import numpy as np
import pytest
from PIL import Image

from caffelite.data.pillow_pixels import pillow_planes

PIXELS = np.random.default_rng(4).integers(0, 256, (7, 9, 3), np.uint8)
BGR = PIXELS[:, :, ::-1].transpose(2, 0, 1)


@pytest.mark.parametrize("lent", [True, False])
def test_pixels_are_what_is_in_the_image(lent: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not lent:
        monkeypatch.delattr(Image.Image, "__arrow_c_array__", raising=False)
    image, grey = Image.fromarray(PIXELS), Image.fromarray(PIXELS[:, :, 0])
    np.testing.assert_array_equal(pillow_planes(image, True), BGR)
    np.testing.assert_array_equal(pillow_planes(grey, False), PIXELS[None, :, :, 0])
    np.testing.assert_array_equal(pillow_planes(grey, True), np.repeat(PIXELS[None, :, :, 0], 3, axis=0))
    np.testing.assert_array_equal(pillow_planes(image, False)[0], np.asarray(image.convert("L")))
    assert pillow_planes(image, True, (3, 4)).shape == (3, 3, 4)
    np.testing.assert_array_equal(pillow_planes(image.crop((1, 2, 6, 7)), True), BGR[:, 2:7, 1:6])


def test_pixels_outlive_the_image() -> None:
    taken = []
    for value in range(50):
        image = Image.new("L", (40, 40), value)
        taken.append(pillow_planes(image, False))
        del image
    assert [int(one.min()) for one in taken] == [int(one.max()) for one in taken] == list(range(50))


def test_an_image_in_several_pieces_is_copied() -> None:
    image = Image.new("L", (4200, 4100), 7)  # more than Pillow has in one block
    image.putpixel((4199, 4099), 9)
    pixels = pillow_planes(image, False)
    assert (pixels.shape, pixels[0, 0, 0], pixels[0, -1, -1]) == ((1, 4100, 4200), 7, 9)
