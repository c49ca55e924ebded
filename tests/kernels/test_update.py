"""The update kernels against the rules written out in float64."""

import numpy as np
import pytest

from caffelite.kernels import update as kernels
from tests.kernels import naive_update as naive

SIZES = [1, 17, 2 * kernels.CHUNK + 5]


def _case(size):
    rng = np.random.default_rng(size)
    data, diff, first = rng.standard_normal((3, size)).astype(np.float32)
    second = rng.random(size).astype(np.float32)
    data[:: max(size // 5, 1)] = 0  # sign(0) is 0
    inner = sorted({1, size // 3, size // 2, kernels.CHUNK} & set(range(1, size)))
    starts = np.array([0, *inner, size])
    local = rng.random((len(starts) - 1, 2)).astype(np.float32)
    local[0] = 0
    numbers = np.array([0.1, 0.7, 0.9, 0.1, 0.99, 0.01, 1e-3], np.float32)
    return data, diff, np.abs(first), second, starts, local, numbers


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("regularization", ["L1", "L2"])
@pytest.mark.parametrize("rule", kernels.RULES)
def test_one_step(rule, regularization, size):
    data, diff, first, second, starts, local, numbers = _case(size)
    per_element = np.repeat(local.astype(np.float64), np.diff(starts), axis=0)
    wide = [a.astype(np.float64) for a in (data, diff, first, second, numbers)]
    rate, scale, *rest = wide[4]
    g = naive.gradient(wide[0], wide[1], scale, per_element[:, 1], regularization)
    update, h1, h2 = naive.RULES[rule](g, wide[2], wide[3], rate * per_element[:, 0], *rest)
    if kernels.RULES[rule][1] == 1:
        second = second[:0]

    kernels.update(rule, regularization, data, diff, first, second, starts, local, numbers)()

    np.testing.assert_allclose(diff, update, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(data, wide[0] - update, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(first, h1, rtol=1e-5, atol=1e-6)
    if second.size:
        np.testing.assert_allclose(second, h2, rtol=1e-5, atol=1e-6)


def test_numbers_are_read_at_each_call():
    data, diff, first, second, starts, local, numbers = _case(17)
    step = kernels.update("SGD", "L2", data, diff, first, second, starts, local, numbers)
    before = data.copy()
    numbers[:] = 0
    step()
    assert np.array_equal(data, before)
    numbers[[kernels.RATE, kernels.SCALE]] = 1
    diff[:] = 1
    step()
    assert not np.array_equal(data[1:], before[1:])


@pytest.mark.parametrize("size", [1, kernels.CHUNK, 3 * kernels.CHUNK + 7, 50 * kernels.CHUNK])
def test_sum_of_squares(size):
    values = np.random.default_rng(0).standard_normal(size).astype(np.float32)
    sums = np.empty(-(-size // kernels.CHUNK), np.float32)
    kernels.sum_of_squares(values, sums)()
    assert sums.sum(dtype=np.float64) == pytest.approx(np.square(values, dtype=np.float64).sum(), rel=1e-5)
