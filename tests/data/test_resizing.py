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
