"""The gradient of every layer agrees with numerical differentiation, over the golden cases."""

import numpy as np
import pytest
from test_golden import CASES, make

from caffelite.layers.base import Blob, registry
from caffelite.net import Net

GRADIENTS = [c for c in CASES if any(key.startswith(("gx", "gw")) for key in c[2])]


def objective(net: Net, weights: dict[str, np.ndarray]) -> float:
    net.forward()
    return float(sum((net.blobs[name].data.astype(np.float64) * w).sum() for name, w in weights.items()))


def slope(net: Net, weights: dict[str, np.ndarray], blob: Blob, direction: np.ndarray, step: float) -> float:
    start = blob.data.copy()
    values = []
    for sign in (1, -1):
        blob.data[...] = start + sign * step * direction
        values.append(objective(net, weights))
    blob.data[...] = start
    return (values[0] - values[1]) / (2 * step)


@pytest.mark.parametrize(("kind", "number", "case"), GRADIENTS, ids=[f"{k}-{n}" for k, n, _ in GRADIENTS])
def test_gradient(kind: str, number: str, case: dict[str, np.ndarray]) -> None:
    rng = np.random.default_rng(8)
    net = make(case)
    inputs = [net.blobs[name] for name in net.inputs if f"gx{name[1:]}" in case]
    for blob in inputs:
        # No two values alike, so that no maximum is at a tie.
        blob.data[...] += 0.02 * rng.standard_normal(blob.shape)
    weights = {}
    net.forward()
    for key in (k for k in case if k.startswith("gy")):
        weights[key[1:]] = case[key].reshape(net.blobs[key[1:]].shape)
    for name, w in weights.items():
        diff = net.blobs[name].diff
        assert diff is not None
        diff[...] = w
    net.zero_grad()
    net.backward()
    gradients = [(blob, net.blobs[f"x{blob.name[1:]}"].diff) for blob in inputs]
    gradients += [(blob, blob.diff) for blob in net.params.get("L", []) if blob.diff is not None and blob.diff.any()]
    assert gradients
    for blob, gradient in gradients:
        assert gradient is not None
        gradient = gradient.astype(np.float64)
        size = np.sqrt((gradient**2).sum())
        errors = []
        for _ in range(4):
            direction = rng.standard_normal(blob.shape)
            direction += gradient / (size / np.sqrt(blob.data.size) + 1e-12)  # a good part of it uphill
            expected = float((gradient * direction).sum())
            # Of several steps the best: a large one meets bends, a small one rounding.
            found = [slope(net, weights, blob, direction, h) for h in (1e-2, 3e-3, 1e-3)]
            errors.append(min(abs(f - expected) for f in found) / (abs(expected) + 1e-3))
        assert np.median(errors) < 0.02, f"{blob.name}: off by {np.median(errors):.2%}"


def test_every_type_with_a_gradient_is_covered() -> None:
    covered = {kind for kind, _, _ in GRADIENTS}
    names = {cls.type for cls in registry().values() if cls.differentiable and not cls.source}
    assert names - covered == {"Silence"}, "a layer type without golden cases"
