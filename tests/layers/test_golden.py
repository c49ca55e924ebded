"""Every layer agrees with what BVLC Caffe 1.0 (CPU) computed: see tests/golden/README.md."""

import numpy as np
import pytest
from cases import golden_cases

from caffelite.net import Net
from caffelite.schema.text import net_from_text
from caffelite.words import TEST, TRAIN

CASES = list(golden_cases())


def agree(found: np.ndarray, expected: np.ndarray, tolerance: float, what: str) -> None:
    assert found.shape == expected.shape or found.size == expected.size, what
    worst = np.abs(found.reshape(expected.shape) - expected).max() if expected.size else 0.0
    scale = np.abs(expected).max() if expected.size else 0.0
    assert worst <= tolerance * max(scale, 1e-30) or worst == 0, f"{what}: off by {worst:g} of {scale:g}"


def make(case: dict[str, np.ndarray]) -> Net:
    phase = TRAIN if str(case["phase"]) == "TRAIN" else TEST
    net = Net(net_from_text(str(case["prototxt"]), "case"), phase, keep=True)
    for name in net.inputs:
        net.blobs[name].data[...] = case[f"x{name[1:]}"]
    for j, blob in enumerate(net.params.get("L", [])):
        blob.data[...] = case[f"w{j}"].reshape(blob.shape)
    return net


@pytest.mark.parametrize(("kind", "number", "case"), CASES, ids=[f"{kind}-{number}" for kind, number, _ in CASES])
def test_agrees_with_caffe(kind: str, number: str, case: dict[str, np.ndarray]) -> None:
    tolerance = 2e-3 if "mean 100" in str(case.get("note", "")) else 2e-4
    net = make(case)
    net.forward()
    for key in (k for k in case if k.startswith("y")):
        agree(net.blobs[key].data, case[key], tolerance, key)
    for key in (k for k in case if k.endswith("_after")):
        agree(net.params["L"][int(key[1:-6])].data, case[key], tolerance, key)
    gradients = [k for k in case if k.startswith(("gx", "gw"))]
    if not gradients:
        return
    for key in (k for k in case if k.startswith("gy")):
        diff = net.blobs[key[1:]].diff
        if diff is not None:
            diff[...] = case[key].reshape(diff.shape)
    net.zero_grad()
    net.backward()
    for key in gradients:
        blob = net.blobs[key[1:]] if key[1] == "x" else net.params["L"][int(key[2:])]
        found = blob.diff
        if found is None:
            assert not case[key].any(), f"{key} is not computed"
        else:
            agree(found, case[key], tolerance, key)


def test_cases_are_there() -> None:
    assert len(CASES) == 213
