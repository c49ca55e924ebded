import naive
import numpy as np
import pytest

from caffelite.kernels.batchnorm import backward, by_stored, forward, statistics
from caffelite.kernels.batchnorm.statistics import Constants
from caffelite.kernels.engine import arrays, settings

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
EPS, FRACTION = 1e-5, 0.9


def run(x: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray], np.ndarray]:
    n, c, length = x.shape
    stored = np.full(c, 2, np.float32), np.full(c, 3, np.float32), np.full(1, 4, np.float32)
    inverse_std, y = np.zeros(c, np.float32), np.zeros(x.size, np.float32)
    for call in forward.by_batch(
        x.reshape(-1), y, c, length, Constants(EPS, FRACTION), stored, np.zeros(c), inverse_std
    ):
        call()
    return y.reshape(x.shape), stored, inverse_std


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("mean", "deviation"), [(0, 1), (100, 0.1), (-3, 20)])
def test_statistics_keep_their_digits(shape: tuple[int, int, int], mean: float, deviation: float) -> None:
    rng = np.random.default_rng(5)
    x = (mean + deviation * rng.standard_normal(shape)).astype(np.float32)
    x[0, :, 0] += 50 * deviation  # a first value far from the rest
    y, (mean_sum, variance_sum, stored_count), inverse_std = run(x)
    m, v = naive.batch_statistics(x)
    count = shape[0] * shape[2]
    np.testing.assert_allclose(mean_sum, 2 * FRACTION + m, rtol=1e-5, atol=1e-6 * deviation)
    np.testing.assert_allclose(variance_sum, 3 * FRACTION + v * (count / (count - 1) if count > 1 else 1), rtol=1e-4)
    np.testing.assert_allclose(stored_count, 4 * FRACTION + 1)
    np.testing.assert_allclose(inverse_std, 1 / np.sqrt(v + EPS), rtol=1e-4)
    np.testing.assert_allclose(y, naive.batchnorm(x, EPS), rtol=1e-3, atol=1e-3 if mean == 100 else 1e-4)


@pytest.mark.parametrize("shape", [s for s in SHAPES if s[0] * s[2] > 1], ids=str)
def test_gradient_goes_through_mean_and_variance(shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(6)
    x = rng.standard_normal(shape).astype(np.float32)
    dy = rng.standard_normal(shape).astype(np.float32)
    y, _, inverse_std = run(x)
    dx = dy.copy().reshape(-1)  # in place
    for call in backward.by_batch(y.reshape(-1), dx, dx, shape[1], shape[2], inverse_std):
        call()
    expected, _, _ = naive.batchnorm_gradients(x, dy, EPS)
    np.testing.assert_allclose(dx.reshape(shape), expected, atol=2e-4 * np.abs(inverse_std).max())


@pytest.mark.parametrize("shape", [(9, 5, 3), (18, 40, 49), (4, 6, 128), (20, 6, 1)], ids=str)
@pytest.mark.parametrize("negative", [None, 0.25])
@pytest.mark.parametrize("large", [False, True])
def test_gradient_with_a_scale_and_a_shift(
    shape: tuple[int, int, int], large: bool, negative: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if large:
        # As if it did not fit into the cache.
        monkeypatch.setattr(statistics, "_CACHE", 0)
        monkeypatch.setattr(statistics, "_FEW", 2)
        monkeypatch.setattr(statistics, "_NEAR", 2 * shape[0] * shape[2] * 4 * 2)
    rng = np.random.default_rng(7)
    n, c, length = shape
    x = (100 + 0.5 * rng.standard_normal(shape)).astype(np.float32)
    dy = rng.standard_normal(shape).astype(np.float32)
    gamma, beta = rng.standard_normal((2, c)).astype(np.float32)
    d_gamma, d_beta = np.full(c, 2, np.float32), np.full(c, 3, np.float32)
    stored = np.zeros(c, np.float32), np.zeros(c, np.float32), np.zeros(1, np.float32)
    mean, inverse_std = np.zeros(c), np.zeros(c, np.float32)
    y, dx = arrays.zeros(x.size), arrays.zeros(x.size)
    constants = Constants(EPS, FRACTION)
    there = forward.by_batch(
        x.reshape(-1), y, c, length, constants, stored, mean, inverse_std, gamma, beta, negative=negative
    )
    back = backward.by_batch(
        x.reshape(-1), dy.reshape(-1), dx, c, length, inverse_std, mean, gamma, beta, d_gamma, d_beta, negative=negative
    )
    assert len(there) == (1 if large or length == 1 else 3) and len(back) == len(there)
    for call in [*there, *back]:
        call()
    exact = naive.batchnorm(x, EPS, gamma, beta)
    bend = np.where(exact > 0, 1, 1 if negative is None else negative)
    np.testing.assert_allclose(y.reshape(shape), exact * bend, atol=1e-3)
    expected, exact_gamma, exact_beta = naive.batchnorm_gradients(x, dy * bend, EPS, gamma)
    np.testing.assert_allclose(d_gamma, 2 + exact_gamma, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(d_beta, 3 + exact_beta, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(dx.reshape(shape), expected, atol=1e-3 * np.abs(inverse_std).max())


@pytest.mark.parametrize("length", [1, 4])
def test_stored_statistics(length: int) -> None:
    x = np.arange(6 * length, dtype=np.float32).reshape(2, 3, length)
    stored = (np.float32([2, 4, 6]), np.float32([8, 8, 2]), np.float32([2]))
    y, mean, inverse_std = np.zeros(x.size, np.float32), np.zeros(3, np.float32), np.zeros(3, np.float32)
    for stored_count in (2, 0):
        stored[2][0] = stored_count
        for call in by_stored.forward(x.reshape(-1), y, 3, length, 0.5, stored, mean, inverse_std):
            call()
        m, v = (np.float32([1, 2, 3]), np.float32([4, 4, 1])) if stored_count else (np.zeros(3), np.zeros(3))
        np.testing.assert_allclose(y.reshape(x.shape), (x - m[:, None]) / np.sqrt(v + 0.5)[:, None], rtol=1e-6)
        dy, dx = np.ones_like(y), np.zeros_like(y)
        by_stored.backward(dy, dx, 3, length, inverse_std)()
        np.testing.assert_allclose(dx.reshape(x.shape), np.ones(x.shape) * inverse_std[:, None])


@pytest.mark.parametrize("channels", [33, 160, 1111])
def test_bits_do_not_depend_on_the_threads(channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caffelite.kernels.engine.calls.SERIAL_WORK", 1)
    x = np.random.default_rng(8).standard_normal(20 * channels).astype(np.float32)
    results = []
    for count in (1, 2, 3, 8, 17):
        monkeypatch.setattr(settings, "threads", lambda count=count: count)
        stored = np.zeros(channels, np.float32), np.zeros(channels, np.float32), np.zeros(1, np.float32)
        mean, inverse_std, y, z = np.zeros(channels), np.zeros(channels, np.float32), x.copy(), x.copy()
        calls = forward.by_batch(x, y, channels, 1, Constants(EPS, FRACTION), stored, mean, inverse_std)
        for call in [*calls, *by_stored.forward(x, z, channels, 1, EPS, stored, mean, inverse_std)]:
            call()
        results.append([y.tobytes(), z.tobytes(), inverse_std.tobytes()])
    assert all(result == results[0] for result in results)


@pytest.mark.parametrize("length", [1, 64])
@pytest.mark.parametrize("middle", [100, 1000])
def test_a_large_mean_costs_no_digits(middle: int, length: int) -> None:
    """The mean of float32 values lies between two of them: what its rounding loses is made good, to the last digits."""
    rng = np.random.default_rng(0)
    shape, channels = (64, 5, length), 5
    x = (middle + 0.1 * rng.standard_normal(shape)).astype(np.float32)
    dy = (rng.standard_normal(shape) + 0.5).astype(np.float32)
    y, dx = np.zeros((2, x.size), np.float32)
    mean, inverse_std = np.zeros(channels), np.zeros(channels, np.float32)
    gamma, beta, d_gamma, d_beta = np.array([[1.5], [0.5], [0], [0]], np.float32) * np.ones(channels, np.float32)
    stored = np.zeros(channels, np.float32), np.zeros(channels, np.float32), np.zeros(1, np.float32)
    constants = Constants(1e-5, 0.999)
    steps = forward.by_batch(x.reshape(-1), y, channels, length, constants, stored, mean, inverse_std, gamma, beta)
    steps += backward.by_batch(
        x.reshape(-1), dy.reshape(-1), dx, channels, length, inverse_std, mean, gamma, beta, d_gamma, d_beta
    )
    for step in steps:
        step()
    exact = x.astype(np.float64)
    inverse = 1 / np.sqrt(exact.var((0, 2), keepdims=True) + 1e-5)
    z = (exact - exact.mean((0, 2), keepdims=True)) * inverse
    gradient = dy - dy.mean((0, 2), keepdims=True) - z * (dy * z).mean((0, 2), keepdims=True)
    np.testing.assert_allclose(y.reshape(shape), z * 1.5 + 0.5, atol=2e-6)
    np.testing.assert_allclose(dx.reshape(shape), gradient * inverse * 1.5, atol=1e-4 * 0.3)
    np.testing.assert_allclose(d_gamma, (dy * z).sum((0, 2)), atol=1e-6 * x.size)
