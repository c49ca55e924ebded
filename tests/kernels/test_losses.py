import naive
import numpy as np
import pytest

from caffelite.kernels import losses

ROWS = [(1, 1), (3, 7), (100, 10), (5, 12_345)]


def pair(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.random.default_rng(sum(shape)).standard_normal((2, *shape)).astype(np.float32)
    return a, b


@pytest.mark.parametrize("shape", ROWS)
@pytest.mark.parametrize("ignore", [None, -1])
def test_cross_entropy_and_its_gradient(shape: tuple[int, int], ignore: int | None) -> None:
    rng = np.random.default_rng(3)
    x = (4 * pair(shape)[0]).astype(np.float32)
    t = rng.random(shape).astype(np.float32)
    if ignore is not None:
        t[rng.random(shape) < 0.3] = ignore
    counted = np.ones(shape, bool) if ignore is None else t != ignore
    each = np.where(counted, naive.cross_entropy(x, t), 0)

    sums, counts = np.zeros(shape[0], np.float32), np.zeros(shape[0], np.int64)
    losses.cross_entropy(x, t, sums, counts, ignore)()
    np.testing.assert_allclose(sums, each.sum(axis=1), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(counts, counted.sum(axis=1))

    dx = np.full_like(x, 9)
    losses.cross_entropy_gradient(x, t, dx, np.float32([0.5]), shape[0], ignore)()
    np.testing.assert_allclose(dx, np.where(counted, naive.cross_entropy_gradient(x, t) / 2, 0), rtol=1e-5, atol=1e-6)


def test_cross_entropy_of_scores_far_out() -> None:
    x, t = np.float32([[1000, -1000, 1000, -1000]]), np.float32([[1, 0, 0, 1]])
    sums, counts = np.zeros(1, np.float32), np.zeros(1, np.int64)
    losses.cross_entropy(x, t, sums, counts, None)()
    np.testing.assert_allclose(sums, 2000)


@pytest.mark.parametrize("shape", ROWS)
def test_difference_and_scaled_rows(shape: tuple[int, int]) -> None:
    a, b = pair(shape)
    d, sums = np.zeros_like(a), np.zeros(shape[0], np.float32)
    losses.difference(a, b, d, sums)()
    expected, squares = naive.difference(a, b)
    np.testing.assert_allclose(d, expected, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(sums, squares, rtol=1e-5)
    factors = np.linspace(-2, 1, shape[0], dtype=np.float32)
    out = np.full_like(a, 9)
    losses.scaled_rows(d, factors, out)()
    np.testing.assert_array_equal(out, d * factors[:, None])
