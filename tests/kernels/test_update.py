import numpy as np
import pytest

from caffelite.kernels.update import CORRECTION, DECAY, DELTA, MOMENTUM, RATE, SCALE, SECOND, Update

RULES = ["SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam"]


def naive(rule: str, g: np.ndarray, rate: np.ndarray, h: np.ndarray, s: dict[int, float]) -> np.ndarray:
    n = g.size
    first, second = h[:n], h[n:]
    if rule == "SGD":
        first[:] = rate * g + s[MOMENTUM] * first
        return first.copy()
    if rule == "Nesterov":
        before = first.copy()
        first[:] = rate * g + s[MOMENTUM] * before
        return (1 + s[MOMENTUM]) * first - s[MOMENTUM] * before
    if rule == "AdaGrad":
        first += g * g
        return rate * g / (np.sqrt(first) + s[DELTA])
    if rule == "RMSProp":
        first[:] = s[SECOND] * first + (1 - s[SECOND]) * g * g
        return rate * g / (np.sqrt(first) + s[DELTA])
    if rule == "AdaDelta":
        first[:] = s[MOMENTUM] * first + (1 - s[MOMENTUM]) * g * g
        step = g * np.sqrt((second + s[DELTA]) / (first + s[DELTA]))
        second[:] = s[MOMENTUM] * second + (1 - s[MOMENTUM]) * step * step
        return rate * step
    first[:] = s[MOMENTUM] * first + (1 - s[MOMENTUM]) * g
    second[:] = s[SECOND] * second + (1 - s[SECOND]) * g * g
    return rate * s[CORRECTION] * first / (np.sqrt(second) + s[DELTA])


@pytest.mark.parametrize("l1", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_rules(rule: str, l1: bool) -> None:
    rng = np.random.default_rng(7)
    sizes, multipliers = [5000, 3, 9001], [(1.0, 1.0), (2.0, 0.0), (0.0, 1.0)]
    data = rng.standard_normal(sum(sizes)).astype(np.float32)
    diff = np.zeros_like(data)
    update = Update(rule, l1, data, diff, sizes, multipliers)
    values = {RATE: 0.1, MOMENTUM: 0.9, DECAY: 0.01, SCALE: 0.5, SECOND: 0.99, DELTA: 1e-3, CORRECTION: 0.7}
    for place, value in values.items():
        update.settings[place] = value
    rate = np.repeat([0.1 * m for m, _ in multipliers], sizes)
    decay = np.repeat([0.01 * d for _, d in multipliers], sizes)
    exact, history = data.astype(np.float64), np.zeros(2 * data.size)
    for _ in range(3):
        gradient = rng.standard_normal(data.size).astype(np.float32)
        diff[:] = gradient
        np.testing.assert_allclose(update.norm(), np.linalg.norm(gradient), rtol=1e-5)
        update.apply()
        g = gradient * 0.5 + decay * (np.sign(exact) if l1 else exact)
        step = naive(rule, g, rate, history, values)
        exact -= step
        np.testing.assert_allclose(diff, step, rtol=2e-3, atol=2e-6)
        np.testing.assert_allclose(data, exact, rtol=1e-4, atol=1e-5)
