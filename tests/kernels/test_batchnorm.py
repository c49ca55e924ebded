import numpy as np
import pytest

from caffelite.kernels import batchnorm

#: Images, channels, elements: rows shorter than a vector, of whole blocks of vectors, of those and some more.
SHAPES = [
    (1, 3, 1),
    (100, 1, 1),
    (60, 100, 1),
    (7, 17, 1),
    (4, 3, 30),
    (9, 5, 3),
    (5, 3, 64),
    (18, 40, 49),
    (2, 33, 257),
    (1, 2, 100_000),
]


def run(x: np.ndarray, eps: float = 1e-5) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    n, c, length = x.shape
    stored = [np.full(c, 2, np.float32), np.full(c, 3, np.float32), np.full(1, 4, np.float32)]
    inverse, y = np.zeros(c, np.float32), np.zeros(x.size, np.float32)
    for call in batchnorm.forward(x.reshape(-1), y, c, length, eps, 0.9, tuple(stored), np.zeros(c), inverse):  # type: ignore[arg-type]
        call()
    return y.reshape(x.shape), stored, inverse


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("mean", "deviation"), [(0, 1), (100, 0.1), (-3, 20)])
def test_statistics_keep_their_digits(shape: tuple[int, int, int], mean: float, deviation: float) -> None:
    rng = np.random.default_rng(5)
    x = (mean + deviation * rng.standard_normal(shape)).astype(np.float32)
    x[0, :, 0] += 50 * deviation  # a first value far from the rest
    y, stored, inverse = run(x)
    exact = x.astype(np.float64)
    m, v = exact.mean(axis=(0, 2)), exact.var(axis=(0, 2))
    count = shape[0] * shape[2]
    np.testing.assert_allclose(stored[0], 2 * 0.9 + m, rtol=1e-5, atol=1e-6 * deviation)
    np.testing.assert_allclose(stored[1], 3 * 0.9 + v * (count / (count - 1) if count > 1 else 1), rtol=1e-4)
    np.testing.assert_allclose(stored[2], 4 * 0.9 + 1)
    np.testing.assert_allclose(inverse, 1 / np.sqrt(v + 1e-5), rtol=1e-4)
    expected = (exact - m[:, None]) / np.sqrt(v + 1e-5)[:, None]
    np.testing.assert_allclose(y, expected, rtol=1e-3, atol=1e-3 if mean == 100 else 1e-4)


@pytest.mark.parametrize("shape", [s for s in SHAPES if s[0] * s[2] > 1], ids=str)
def test_gradient_goes_through_mean_and_variance(shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(6)
    x = rng.standard_normal(shape).astype(np.float32)
    dy = rng.standard_normal(shape).astype(np.float32)
    y, _, inverse = run(x)
    dx = dy.copy()  # in place
    for call in batchnorm.backward(y.reshape(-1), dx.reshape(-1), dx.reshape(-1), shape[1], shape[2], inverse):
        call()
    exact, g = y.astype(np.float64), dy.astype(np.float64)
    expected = g - g.mean(axis=(0, 2), keepdims=True) - exact * (g * exact).mean(axis=(0, 2), keepdims=True)
    np.testing.assert_allclose(dx, expected * inverse[:, None], atol=1e-4 * np.abs(inverse).max())


@pytest.mark.parametrize("shape", [(9, 5, 3), (18, 40, 49), (2, 33, 257), (20, 6, 1)], ids=str)
@pytest.mark.parametrize("large", [False, True])
def test_gradient_with_a_scale_and_a_shift(
    shape: tuple[int, int, int], large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if large:
        # As if it did not fit into the cache.
        monkeypatch.setattr(batchnorm, "_CACHE", 0)
        monkeypatch.setattr(batchnorm, "_NEAR", 2 * shape[0] * shape[2] * 4 * 2)
    rng = np.random.default_rng(7)
    n, c, length = shape
    x = (100 + 0.5 * rng.standard_normal(shape)).astype(np.float32)
    dy = rng.standard_normal(shape).astype(np.float32)
    factor, offset = rng.standard_normal((2, c)).astype(np.float32)
    d_factor, d_offset = np.full(c, 2, np.float32), np.full(c, 3, np.float32)
    stored = np.zeros(c, np.float32), np.zeros(c, np.float32), np.zeros(1, np.float32)
    mean, inverse = np.zeros(c), np.zeros(c, np.float32)
    y, dx = np.zeros(x.size, np.float32), dy.copy().reshape(-1)
    forward = batchnorm.forward(x.reshape(-1), y, c, length, 1e-5, 0.9, stored, mean, inverse, factor, offset)
    backward = batchnorm.backward(x.reshape(-1), dx, dx, c, length, inverse, mean, factor, d_factor, d_offset)
    assert len(backward) == (1 if large or length == 1 else 3)
    for call in [*forward, *backward]:
        call()
    exact, g = x.astype(np.float64), dy.astype(np.float64)
    z = exact - exact.mean(axis=(0, 2), keepdims=True)
    scale = 1 / np.sqrt(exact.var(axis=(0, 2)) + 1e-5)
    z *= scale[:, None]
    np.testing.assert_allclose(y.reshape(shape), z * factor[:, None] + offset[:, None], atol=1e-3)
    np.testing.assert_allclose(d_factor, 2 + (g * z).sum(axis=(0, 2)), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(d_offset, 3 + g.sum(axis=(0, 2)), rtol=1e-4, atol=1e-4)
    expected = g - g.mean(axis=(0, 2), keepdims=True) - z * (g * z).mean(axis=(0, 2), keepdims=True)
    np.testing.assert_allclose(dx.reshape(shape), expected * (scale * factor)[:, None], atol=1e-3 * scale.max())


def test_stored_statistics() -> None:
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    stored = (np.float32([2, 4, 6]), np.float32([8, 8, 2]), np.float32([2]))
    y, mean, inverse = np.zeros(24, np.float32), np.zeros(3, np.float32), np.zeros(3, np.float32)
    for factor in (2, 0):
        stored[2][0] = factor
        for call in batchnorm.forward_global(x.reshape(-1), y, 3, 4, 0.5, stored, mean, inverse):
            call()
        m, v = (np.float32([1, 2, 3]), np.float32([4, 4, 1])) if factor else (np.zeros(3), np.zeros(3))
        np.testing.assert_allclose(y.reshape(2, 3, 4), (x - m[:, None]) / np.sqrt(v + 0.5)[:, None], rtol=1e-6)
