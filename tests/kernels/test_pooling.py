import naive
import numpy as np
import pytest

from caffelite.kernels import pooling
from caffelite.kernels.pooling import Windows

# map, kernel, stride, pad, output
CASES = [((8, 8), (3, 3), (2, 2), (0, 0), (4, 4)), ((7, 9), (3, 2), (2, 1), (1, 1), (4, 10)),
         ((5, 6), (5, 6), (1, 1), (0, 0), (1, 1)), ((11, 9), (5, 5), (3, 3), (2, 2), (5, 4)),
         ((13, 14), (2, 5), (1, 4), (1, 2), (14, 4)), ((2, 2), (2, 2), (2, 2), (0, 0), (1, 1)),
         ((33, 31), (2, 2), (2, 2), (0, 0), (17, 16)), ((20, 20), (17, 17), (1, 1), (0, 0), (4, 4))]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("kind", ["MAX", "AVE"])
def test_agrees_with_loops(case: tuple, kind: str) -> None:
    size, kernel, stride, pad, out = case
    g = Windows(size, kernel, stride, pad, out)
    rng = np.random.default_rng(4)
    x = rng.integers(-4, 5, (2, 3, *size)).astype(np.float32)  # with ties
    y, dx = np.zeros((2, 3, *out), np.float32), np.full(x.shape, 5, np.float32)
    dy = rng.standard_normal(y.shape).astype(np.float32)
    expected, place = naive.pooling(x, kind, kernel, stride, pad, out)
    if kind == "AVE":
        pooling.average_forward(g, x, y)()
        pooling.average_backward(g, dy, dx)()
        # The gradient of a sum of y * dy is linear: its product with any x gives the sum again.
        other = rng.standard_normal(x.shape)
        np.testing.assert_allclose((dx * other).sum(), (naive.pooling(other, kind, kernel, stride, pad, out)[0] * dy).sum(),
                                   rtol=1e-4)  # fmt: skip
        np.testing.assert_allclose(y, expected, atol=1e-5)
        return
    index = pooling.index_array(g, 6)
    mask, plain = np.zeros_like(y), np.zeros_like(y)
    pooling.max_forward(g, x, y, index)()
    pooling.max_forward(g, x, plain, None)()
    pooling.mask(g, index, mask)()
    pooling.max_backward(g, dy, index, dx)()
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(plain, expected)
    np.testing.assert_array_equal(mask, place)
    d_expected = np.zeros((6, size[0] * size[1]))
    for plane in range(6):
        np.add.at(d_expected[plane], place.reshape(6, -1)[plane], dy.reshape(6, -1)[plane])
    np.testing.assert_allclose(dx.reshape(6, -1), d_expected, atol=1e-5)


@pytest.mark.parametrize("pad", [0, 1])
def test_windows_without_a_largest(pad: int) -> None:
    # Beyond the map (a stride above the kernel, no pad) or all NaN: no place, and no gradient outside the array.
    size, kernel, stride, out = ((10, 10), (2, 2), (5, 5), (3, 3)) if pad == 0 else ((6, 6), (3, 3), (2, 2), (3, 3))
    g = Windows(size, kernel, stride, (pad, pad), out)
    x = np.full((1, 1, *size), np.nan if pad else 1, np.float32)
    y, mask, index = np.zeros((1, 1, *out), np.float32), np.zeros((1, 1, *out), np.float32), pooling.index_array(g, 1)
    memory = np.zeros(3 * x.size, np.float32)
    dx = memory[x.size : 2 * x.size].reshape(x.shape)
    pooling.max_forward(g, x, y, index)()
    pooling.mask(g, index, mask)()
    pooling.max_backward(g, np.ones_like(y), index, dx)()
    inside = np.zeros((3, 3), bool) if pad else np.outer([True, True, False], [True, True, False])
    np.testing.assert_array_equal(mask[0, 0] >= 0, inside)
    assert (mask[0, 0][~inside] == -1).all()
    assert (y[0, 0][~inside] == np.finfo(np.float32).min).all()
    assert memory.sum() == dx.sum() == inside.sum()
