"""The update kernels against the rules written out, one array operation after the other, in float64."""

import numpy as np
import pytest

from caffelite.kernels import update as kernels
from caffelite.kernels.engine import arrays, settings

# Each rule takes gradient, both histories, rate, momentum, second momentum and delta; it returns the step and
# both histories.


def sgd(g, h1, h2, rate, momentum, second, delta):
    h1 = rate * g + momentum * h1
    return h1, h1, h2


def nesterov(g, h1, h2, rate, momentum, second, delta):
    before = h1
    h1 = rate * g + momentum * h1
    return (1 + momentum) * h1 - momentum * before, h1, h2


def adagrad(g, h1, h2, rate, momentum, second, delta):
    h1 = h1 + g**2
    return rate * g / (np.sqrt(h1) + delta), h1, h2


def rmsprop(g, h1, h2, rate, momentum, second, delta):
    h1 = second * h1 + (1 - second) * g**2
    return rate * g / (np.sqrt(h1) + delta), h1, h2


def adadelta(g, h1, h2, rate, momentum, second, delta):
    h1 = momentum * h1 + (1 - momentum) * g**2
    step = g * np.sqrt(h2 + delta) / np.sqrt(h1 + delta)
    return rate * step, h1, momentum * h2 + (1 - momentum) * step**2


def adam(g, h1, h2, rate, momentum, second, delta):
    h1 = momentum * h1 + (1 - momentum) * g
    h2 = second * h2 + (1 - second) * g**2
    return rate * h1 / (np.sqrt(h2) + delta), h1, h2


NAIVE = {
    "SGD": sgd,
    "Nesterov": nesterov,
    "AdaGrad": adagrad,
    "RMSProp": rmsprop,
    "AdaDelta": adadelta,
    "Adam": adam,
}


def gradient(data, diff, scale, decay, l1):
    """What a rule is given: the scaled gradient and the pull of weight decay."""
    return scale * diff + decay * (np.sign(data) if l1 else data)


TWO = {"AdaDelta", "Adam"}


def _bound(rule, l1, sizes, seed=0):
    rng = np.random.default_rng(seed)
    size = sum(sizes)
    data, diff = rng.standard_normal((2, size)).astype(np.float32)
    data[:: max(size // 5, 1)] = 0  # sign(0) is 0
    factors = [(0.0, 0.0), *((float(a), float(b)) for a, b in rng.random((len(sizes), 2)))][-len(sizes) :]
    bound = kernels.Update(rule, l1, data, diff, sizes, factors)
    bound.history[:] = rng.random(bound.history.size)
    return bound, data, diff, np.repeat(np.array(factors), sizes, axis=0)


@pytest.mark.parametrize("sizes", [[1], [3, 17, 1], [5, 9001, 0, 4096]], ids=str)
@pytest.mark.parametrize("l1", [False, True], ids=["L2", "L1"])
@pytest.mark.parametrize("rule", NAIVE)
def test_one_step(rule, l1, sizes):
    bound, data, diff, factors = _bound(rule, l1, sizes)
    n, s = data.size, bound.settings
    s[[kernels.RATE, kernels.MOMENTUM, kernels.DECAY, kernels.SCALE]] = 0.1, 0.9, 0.3, 0.7
    s[[kernels.SECOND, kernels.DELTA, kernels.CORRECTION]] = 0.99, 1e-3, 0.5
    wide = [np.float64(a) for a in (data, diff, bound.history[:n], bound.history[-n:])]
    rate = np.float64(s[kernels.RATE]) * factors[:, 0] * (0.5 if rule == "Adam" else 1)
    g = gradient(wide[0], wide[1], np.float64(s[kernels.SCALE]), s[kernels.DECAY] * factors[:, 1], l1)
    numbers = [np.float64(s[k]) for k in (kernels.MOMENTUM, kernels.SECOND, kernels.DELTA)]
    step, h1, h2 = NAIVE[rule](g, wide[2], wide[3], rate, *numbers)

    bound.apply()

    np.testing.assert_allclose(diff, step, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(data, wide[0] - step, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(bound.history[:n], h1, rtol=1e-5, atol=1e-6)
    if rule in TWO:
        np.testing.assert_allclose(bound.history[n:], h2, rtol=1e-5, atol=1e-6)


def test_settings_are_read_at_each_call():
    bound, data, diff, _ = _bound("SGD", False, [17])
    before = data.copy()
    bound.apply()
    assert np.array_equal(data, before)
    bound.settings[[kernels.RATE, kernels.SCALE]] = 1
    diff[:] = 1
    bound.apply()
    assert not np.array_equal(data, before)


@pytest.mark.parametrize("sizes", [[1], [3, 17, 100_000]], ids=str)
def test_norm(sizes):
    bound, _, diff, _ = _bound("SGD", False, sizes)
    assert bound.norm() == pytest.approx(np.linalg.norm(np.float64(diff)), rel=1e-5)


def test_a_net_without_parameters():
    kernels.Update("Adam", False, np.zeros(0, np.float32), np.zeros(0, np.float32), [], []).apply()


@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("sizes", [[], [5], [78400, 100, 10000, 100], [10**6, 3, 40000, 9000, 1]], ids=str)
def test_every_parameter_is_dealt_to_one_thread(sizes: list, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "threads", lambda: threads)
    dealt = arrays.shares(sizes)
    assert dealt.tasks == threads
    assert dealt.bounds[-1] == sum(sizes)
    assert sorted(dealt.order) == list(range(len(dealt.blobs)))
    starts = np.cumsum([0, *sizes])
    for begin, end, blob in zip(dealt.bounds[:-1], dealt.bounds[1:], dealt.blobs, strict=True):
        assert starts[blob] <= begin < end <= starts[blob + 1]
    lengths = np.diff(dealt.bounds)[dealt.order]
    loads = [lengths[a:b].sum() for a, b in zip(dealt.firsts[:-1], dealt.firsts[1:], strict=True)]
    assert max(loads) <= 1.25 * sum(sizes) / threads + arrays.CHUNK


def test_clearing_reaches_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "threads", lambda: 3)
    sizes = [50000, 1, 4097]
    target = np.ones(sum(sizes), np.float32)
    arrays.clear(target, arrays.shares(sizes))()
    assert not target.any()


LARGE = kernels.LARGE


def _three(rule="SGD"):
    bound, data, diff, _ = _bound(rule, False, [3, 9001, 50_000])
    bound.settings[[kernels.RATE, kernels.SCALE, kernels.DELTA]] = 0.1, 1, 1e-8
    return bound, data, diff


@pytest.mark.parametrize("rule", NAIVE)
@pytest.mark.parametrize("value", [1, LARGE, 1e18])
def test_a_finite_update_is_made_as_ever(rule, value):
    pair = _three(rule), _three(rule)
    for _, _, diff in pair:
        diff[5000] = value
    for _ in range(3):
        pair[0][0].apply()
        assert pair[1][0].apply_if_finite(True) == ""
        for _, _, diff in pair:
            diff[...] = 0.5
    for one, other in zip(*((b.history, data) for b, data, _ in pair), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("examined", [False, True])
@pytest.mark.parametrize("place", [0, 2, 3, 5000, 59003])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nothing_of_an_update_is_made_where_a_gradient_is_not_finite(value, place, examined):
    bound, data, diff = _three()
    assert bound.apply_if_finite(True) == ""
    diff[...] = 0.5
    diff[place] = value
    before = data.copy(), bound.history.copy(), diff.copy()
    for _ in range(2):
        if examined:
            assert not np.isfinite(bound.norm())
        assert bound.apply_if_finite(True, examined) == "gradient"
        for array, old in zip((data, bound.history, diff), before, strict=True):
            np.testing.assert_array_equal(array, old)
    # Whoever wants it may have it.
    bound.apply()
    assert not np.isfinite(data[place]) and np.isfinite(data).sum() == data.size - 1
    diff[...] = 0
    assert bound.apply_if_finite(True) == "parameter"
    assert np.flatnonzero(bound.broken).tolist() == [place]


@pytest.mark.parametrize("rule", NAIVE)
def test_nothing_of_an_update_is_made_that_would_not_be_finite(rule):
    bound, data, diff = _three(rule)
    assert bound.apply_if_finite(True) == ""
    data[7], diff[7] = 3e38, -3e38
    # The rate makes a step of it that is infinite, or the square of the gradient is.
    bound.settings[kernels.RATE] = 1e30
    before = data.copy(), bound.history.copy(), diff.copy()
    assert bound.apply_if_finite(False) == "update"
    assert bound.broken[7]
    for array, old in zip((data, bound.history, diff), before, strict=True):
        np.testing.assert_array_equal(array, old)


def test_a_net_without_parameters_is_finite():
    empty = kernels.Update("Adam", False, np.zeros(0, np.float32), np.zeros(0, np.float32), [], [])
    assert [empty.apply_if_finite(True), empty.apply_if_finite(False)] == ["", ""]
