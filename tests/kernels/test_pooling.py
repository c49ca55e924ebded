import naive
import numpy as np
import pytest

from caffelite.kernels import pooling
from caffelite.kernels.pooling import Windows

# map, kernel, stride, pad, output
CASES = [((8, 8), (3, 3), (2, 2), (0, 0), (4, 4)), ((7, 9), (3, 2), (2, 1), (1, 1), (4, 10)),
         ((5, 6), (5, 6), (1, 1), (0, 0), (1, 1)), ((11, 9), (5, 5), (3, 3), (2, 2), (5, 4)),
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
