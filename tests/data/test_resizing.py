"""Images in another size: the same numbers however the pixels lie, and those that OpenCV has."""

import numpy as np
import pytest

from caffelite.data.resizing import planes, resize


@pytest.mark.parametrize("size", [(3, 4), (12, 14), (24, 28), (7, 30), (1, 1)])
def test_pixels_that_lie_together_and_apart_become_the_same(size: tuple[int, int]) -> None:
    picture = np.random.default_rng(2).integers(0, 256, (12, 14, 3), np.uint8)
    apart = np.ascontiguousarray(picture[:, :, ::-1].transpose(2, 0, 1))
    expected = np.concatenate([resize(one[None], *size) for one in apart])
    np.testing.assert_array_equal(planes(picture, *size), expected)
    np.testing.assert_array_equal(resize(apart, *size), expected)
    np.testing.assert_array_equal(planes(picture[:, :, 0], *size)[0], expected[2])


def test_half_the_size_is_the_mean_of_four() -> None:
    picture = np.random.default_rng(3).integers(0, 256, (8, 10), np.uint8)
    four = picture.reshape(4, 2, 5, 2).sum(axis=(1, 3), dtype=int)
    np.testing.assert_array_equal(planes(picture, 4, 5)[0], (four + 2) // 4)


def test_floats_lie_on_the_line_between_two() -> None:
    slope = np.arange(8, dtype=np.float32)[None, None].repeat(4, axis=1)
    np.testing.assert_allclose(resize(slope, 4, 16)[0, 0], np.clip(np.arange(16) / 2 - 0.25, 0, 7), rtol=1e-6)
    # A step that two sizes do not give: pixels of the result lie 0.6 apart, and begin at -0.2.
    np.testing.assert_allclose(resize(slope, 4, 13, 0.6)[0, 0], np.clip(np.arange(13) * 0.6 - 0.2, 0, 7), rtol=1e-6)
    assert resize(slope, 4, 8) is slope
