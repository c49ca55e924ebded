"""The gradient of every layer agrees with central differences in float64, over the golden cases and the small nets."""

import numpy as np
import pytest
from cases import golden_cases, net_cases

from caffelite.layers.contract.blobs import Blob
from caffelite.layers.contract.registry import registry
from caffelite.net import Net
from caffelite.schema.text import net_from_text
from caffelite.words import TEST, TRAIN

CASES = [c for c in golden_cases() if c[0] in registry() and any(key.startswith(("gx", "gw")) for key in c[2])]
CASES += [c for c in net_cases() if registry()[c[0]].facts.differentiable]

#: Types whose gradient is not quite that of what they compute, in Caffe too: their docstrings say why.
TOLERANCE = {"MVN": 1e-4}


def objective(net: Net, weights: dict[str, np.ndarray]) -> float:
    net.forward()
    return float(sum((net.blobs[name].data * w).sum() for name, w in weights.items()))


def slope(net: Net, weights: dict[str, np.ndarray], blob: Blob, direction: np.ndarray, step: float) -> float:
    start = blob.data.copy()
    values = []
    for sign in (1, -1):
        blob.data[...] = start + sign * step * direction
        values.append(objective(net, weights))
    blob.data[...] = start
    return (values[0] - values[1]) / (2 * step)


def prepared(case: dict[str, np.ndarray], rng: np.random.Generator) -> Net:
    """Return the net of a case with its inputs and parameters set."""
    phase = TRAIN if str(case["phase"]) == "TRAIN" else TEST
    document = net_from_text(str(case["prototxt"]), "case")
    layer = document.message.layer[-1]
    if not document.message.force_backward and not layer.loss_weight and not registry()[layer.type].facts.loss:
        # Where nothing counts as a loss, nothing is learned.
        layer.loss_weight.extend([1.0] * len(layer.top))
    net = Net(document, phase, keep=True, dtype=np.float64, allow_python=True)
    golden = any(key.startswith(("gx", "gw")) for key in case)
    for name in net.inputs:
        blob, key = net.blobs[name], f"x{name[1:]}"
        blob.data[...] = case[key].reshape(blob.shape) if key in case else rng.standard_normal(blob.shape)
        if golden and f"g{key}" in case:
            # No two values alike, so that no maximum is at a tie.
            blob.data[...] += 0.02 * rng.standard_normal(blob.shape)
    for j, blob in enumerate(net.params.get("L", [])):
        if f"w{j}" in case:
            blob.data[...] = case[f"w{j}"].reshape(blob.shape)
        elif blob.diff is not None:
            blob.data[...] = rng.standard_normal(blob.shape)
    return net


@pytest.mark.parametrize(("kind", "what", "case"), CASES, ids=[f"{k}-{n}" for k, n, _ in CASES])
def test_gradient(kind: str, what: str, case: dict[str, np.ndarray]) -> None:
    rng = np.random.default_rng(8)
    net = prepared(case, rng)
    net.forward()
    weights = {}
    for name in net.layers[-1].param.top:
        diff = net.blobs[name].diff
        if diff is not None:
            given = case.get(f"g{name}")
            diff[...] = rng.standard_normal(diff.shape) if given is None else given.reshape(diff.shape)
            weights[name] = diff.copy()
    net.zero_grad()
    net.backward()
    node = net.graph.nodes[-1]
    # Where Caffe had to be asked for a gradient, an identity layer stands between the input r0 and x0.
    gradients = [
        (
            net.blobs[f"r{bottom.name[1:]}" if f"r{bottom.name[1:]}" in net.inputs else bottom.name],
            net.blobs[bottom.name].diff,
        )
        for bottom, wanted in zip(node.bottoms, node.propagate, strict=True)
        if wanted
    ]
    gradients += [(blob, blob.diff) for blob in net.layers[-1].blobs]
    checked = 0
    for blob, gradient in gradients:
        if gradient is None:
            continue
        checked += 1
        assert gradient.dtype == np.float64
        gradient = gradient.copy()
        size = np.sqrt((gradient**2).sum())
        errors = []
        for _ in range(4):
            direction = rng.standard_normal(blob.shape)
            direction += gradient / (size / np.sqrt(blob.data.size) + 1e-12)  # a good part of it uphill
            expected = float((gradient * direction).sum())
            # Of several steps the best: a large one meets bends, a small one rounding.
            found = [slope(net, weights, blob, direction, h) for h in (1e-4, 1e-5, 1e-6)]
            errors.append(min(abs(f - expected) for f in found) / (abs(expected) + 1e-6))
        assert np.median(errors) < TOLERANCE.get(kind, 1e-6), f"{blob.name}: off by {np.median(errors):.2e}"
    assert checked


def test_every_type_with_a_gradient_is_covered() -> None:
    assert len(CASES) == 298
    covered = {registry()[kind] for kind, _, _ in CASES}
    missing = {cls.type for cls in registry().values() if cls.facts.differentiable and not cls.facts.source} - {
        cls.type for cls in covered
    }
    assert missing == {cls.type for cls in registry().values() if not cls.facts.derivative}, (
        "layer types without a case"
    )
