import naive_lrn
import numpy as np
import pytest

from caffelite.kernels import lrn

SHAPES = [(2, 7, 5, 6), (1, 1, 1, 1), (3, 2, 1, 40), (2, 3, 8, 8), (1, 2, 33, 3), (1, 5, 16, 16)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("size", "beta"), [(3, 0.75), (1, 0.5), (5, 1.0), (7, 0.3), (99, 0.75)])
@pytest.mark.parametrize("region", ["across", "within"])
def test_agrees_with_loops(region: str, size: int, beta: float, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(7)
    x, dy = rng.standard_normal((2, *shape)).astype(np.float32)
    y, dx, scale = np.zeros_like(x), np.full_like(x, 9), np.full_like(x, 9)
    alpha = 0.7
    if region == "across":
        lrn.across_forward(x, y, scale, size, alpha, beta, 2.0)()
        lrn.across_backward(x, y, dy, dx, scale, size, alpha, beta)()
        total, share, k = (lambda a: naive_lrn.sum_across(a, size)), alpha / size, 2.0
    else:
        lrn.within_forward(x, y, scale, size, alpha, beta)()
        lrn.within_backward(x, y, dy, dx, scale, size, alpha, beta)()
        total, share, k = (lambda a: naive_lrn.sum_within(a, size)), alpha / size**2, 1.0
    exact, gradient = x.astype(np.float64), dy.astype(np.float64)
    np.testing.assert_allclose(y, naive_lrn.forward(exact, total, share, beta, k), rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(dx, naive_lrn.gradient(exact, gradient, total, share, beta, k), rtol=2e-4, atol=1e-5)


def test_a_window_far_larger_than_the_map() -> None:
    x = np.ones((1, 2, 3, 3), np.float32)
    y, scale = np.zeros_like(x), np.zeros_like(x)
    lrn.within_forward(x, y, scale, 2**31 - 1, 1.0, 0.75)()
    lrn.across_forward(x, y, scale, 2**31 - 1, 1.0, 0.75, 1.0)()
    lrn.across_backward(x, y, x, np.zeros_like(x), scale, 2**31 - 1, 1.0, 0.75)()
    np.testing.assert_allclose(y, 1, rtol=1e-6)
