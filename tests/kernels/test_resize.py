import naive
import numpy as np
import pytest

from caffelite.kernels import resize
from caffelite.kernels.resize import Places, between


def places(size: int, result: int) -> Places:
    """From end to end of an axis."""
    return between(np.linspace(0, size - 1, result), 0, size - 1, size, np.dtype(np.float32))


@pytest.mark.parametrize("sizes", [((5, 7), (9, 13)), ((8, 6), (3, 2)), ((1, 4), (5, 4))], ids=str)
def test_values_lie_between_four(sizes: tuple[tuple[int, int], tuple[int, int]]) -> None:
    (h, w), (height, width) = sizes
    rng = np.random.default_rng(3)
    x, dy = (
        rng.standard_normal((4, h, w)).astype(np.float32),
        rng.standard_normal((4, height, width)).astype(np.float32),
    )
    y, dx = np.zeros_like(dy), np.full_like(x, 9)
    rows, columns = places(h, height), places(w, width)
    resize.forward(x, y, rows, columns)()
    resize.backward(dy, dx, rows, columns)()
    ways = [(p.low, p.high, p.weight) for p in (rows, columns)]
    np.testing.assert_allclose(y, naive.resize(x, *ways), rtol=1e-4, atol=1e-5)
    # The gradient of a sum of y * dy is linear: its product with any x gives the sum again.
    other = rng.standard_normal(x.shape)
    np.testing.assert_allclose((dx * other).sum(), (naive.resize(other, *ways) * dy).sum(), rtol=1e-3, atol=1e-3)
