"""What processes compute of the pieces of a batch is together what one process computes of it, or is refused."""

from typing import Any

import numpy as np
import pytest
from cases import golden_cases, net_cases
from groups import in_threads

from caffelite.errors import NetError
from caffelite.layers.contract.group import ALONE, Group
from caffelite.layers.contract.registry import registry
from caffelite.layers.shared.normalizing import Normalizing
from caffelite.net import Net
from caffelite.schema.documents import NetDocument
from caffelite.schema.text import net_from_text
from caffelite.words import TEST, TRAIN

#: How many times the images of a case the batch has.
TIMES = 3
ALL = [(kind, what, case) for kind, what, case in (*golden_cases(), *net_cases()) if kind in registry()]
CASES = [c for c in ALL if not issubclass(registry()[c[0]], Normalizing)]


def document_of(case: dict[str, np.ndarray]) -> tuple[NetDocument, dict[str, np.ndarray]]:
    """Return the net of a case with a source that can be divided, and what that has to bring."""
    document = net_from_text(str(case["prototxt"]), "case")
    document.message.force_backward = True
    rng, given = np.random.default_rng(5), {}
    for layer in document.message.layer:
        if layer.type != "Input":
            continue
        shapes = list(layer.input_param.shape) * (len(layer.top) if len(layer.input_param.shape) == 1 else 1)
        layer.type = "DummyData"
        for name, shape in zip(layer.top, shapes, strict=True):
            dims = tuple(shape.dim)
            parts = [case.get(f"x{name[1:]}", rng.standard_normal(dims)).reshape(dims) for _ in range(TIMES)]
            if f"gx{name[1:]}" in case:
                parts = [part + 0.02 * rng.standard_normal(dims) for part in parts]
            given[name] = np.concatenate(parts).astype(np.float32) if dims else parts[0].astype(np.float32)
            layer.dummy_data_param.shape.add().dim.extend(given[name].shape)
    return document, given


def run(case: dict[str, np.ndarray], phase: int, group: Group) -> dict[str, Any]:
    """Return this process's part of what the net computes."""
    document, given = document_of(case)
    net = Net(document, phase, keep=True, allow_python=True, group=group, seed=7)
    rng = np.random.default_rng(6)
    for name, whole in given.items():
        blob = net.blobs[name]
        first, _ = net.context.place_in_batch(len(blob.data)) if blob.shape else (0, 1)
        blob.data[...] = whole[first : first + len(blob.data)] if blob.shape else whole
    for j, blob in enumerate(net.params.get("L", [])):
        values = rng.standard_normal(blob.shape)
        if f"w{j}" in case:
            blob.data[...] = case[f"w{j}"].reshape(blob.shape)
        elif blob.diff is not None:
            blob.data[...] = values
    net.forward()
    node = net.graph.nodes[-1]
    for version in node.tops:
        blob = net.blobs[version.name]
        if blob.diff is None:
            continue
        if version.of_batch:
            blob.diff[...] = rng.standard_normal(blob.shape) * net.part
        else:
            first, whole = net.context.place_in_batch(len(blob.data))
            blob.diff[...] = rng.standard_normal((whole, *blob.shape[1:]))[first : first + len(blob.data)]
    net.zero_grad()
    net.backward()
    result: dict[str, Any] = net.combine({version.name: net.blobs[version.name].data for version in node.tops})
    for name in given:
        if net.blobs[name].diff is not None:
            result |= {f"gradient of {name}": net.combine({name: net.blobs[name].diff})[name]}
    result["gradients of parameters"] = net.diff.astype(np.float64)
    result["loss"] = np.float64(net.loss())
    net.close()
    return result


def check(kind: str, case: dict[str, np.ndarray], phase: int, size: int) -> bool:
    """Hold the sum of what processes have against one process; return whether they were refused."""
    alone = run(case, phase, ALONE)
    try:
        parts = in_threads(size, lambda group: run(case, phase, group))
    except NetError as error:
        assert "process" in str(error) and '"' in str(error)
        return True
    for name, expected in alone.items():
        found = sum(part[name] for part in parts)
        scale = max(float(np.abs(expected).max(initial=0)), 1e-3)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * scale, err_msg=f"{kind}: {name}")
    return False


@pytest.mark.parametrize(("kind", "what", "case"), CASES, ids=[f"{k}-{n}" for k, n, _ in CASES])
@pytest.mark.parametrize("size", [2, 4])
def test_pieces_are_together_what_one_process_computes(
    kind: str, what: str, case: dict[str, np.ndarray], size: int
) -> None:
    phase = TRAIN if str(case["phase"]) == "TRAIN" else TEST
    refused = check(kind, case, phase, size)
    print("REFUSED" if refused else "EQUAL", kind, what)
