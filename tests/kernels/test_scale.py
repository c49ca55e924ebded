import naive
import numpy as np
import pytest

from caffelite.kernels import scale

# outer, channels, length
SHAPES = [(3, 5, 7), (60, 100, 1), (4, 17, 1), (1, 1, 33), (6, 1, 1), (2, 3, 64)]


def random(shape: tuple[int, int, int]) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(3)
    x, dy = rng.standard_normal((2, *shape)).astype(np.float32)
    factor, offset = rng.standard_normal((2, shape[1])).astype(np.float32)
    return x, dy, factor, offset


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("given", ["factor and offset", "factor", "offset"])
@pytest.mark.parametrize("in_place", [False, True])
def test_forward(given: str, in_place: bool, shape: tuple[int, int, int]) -> None:
    x, _, factor, offset = random(shape)
    f, b = factor if "factor" in given else None, offset if "offset" in given else None
    expected = naive.scale(x, 1 if f is None else f, 0 if b is None else b)
    y = x if in_place else np.zeros_like(x)
    scale.forward(x.reshape(-1), y.reshape(-1), f, b, shape[1], shape[2])()
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("wanted", ["dx df db", "df db", "df", "dx db"])
@pytest.mark.parametrize("add", [True, False])
def test_backward(add: bool, wanted: str, shape: tuple[int, int, int]) -> None:
    x, dy, factor, _ = random(shape)
    expected, *sums = naive.scale_gradients(x, dy, factor)
    for in_place in (False, True):
        grad = dy.copy()
        dx = grad if in_place else np.zeros_like(dy)
        df, db = np.full(shape[1], 2, np.float32), np.full(shape[1], 3, np.float32)
        scale.backward(
            x.reshape(-1),
            grad.reshape(-1),
            dx.reshape(-1) if "dx" in wanted else None,
            factor,
            df if "df" in wanted else None,
            db if "db" in wanted else None,
            shape[1],
            shape[2],
            add=add,
        )()
        if "dx" in wanted:
            np.testing.assert_allclose(dx, expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(df, sums[0] + 2 * add if "df" in wanted else 2, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(db, sums[1] + 3 if "db" in wanted else 3, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("add", [True, False])
def test_sums(add: bool, shape: tuple[int, int, int]) -> None:
    _, dy, _, _ = random(shape)
    db = np.full(shape[1], 3, np.float32)
    scale.sums(dy.reshape(-1), shape[1], shape[2], db, add)()
    np.testing.assert_allclose(db, dy.sum(axis=(0, 2)) + 3 * add, rtol=1e-4, atol=1e-4)
