"""Training runs agree with those of BVLC Caffe 1.0: six rules, seven policies, and the options."""

from pathlib import Path

import numpy as np
import pytest

from caffelite.schema.messages import SolverParameter
from caffelite.schema.parser import parse_text
from caffelite.schema.text import net_from_text
from caffelite.solvers.logs import Listener
from caffelite.solvers.solver import Solver

with np.load(Path(__file__).parent.parent / "golden" / "solvers.npz") as file:
    RUNS = {key: file[key] for key in file.files}
# BatchNorm takes away what these biases add: their gradient is 0 and what is computed is rounding, of some
# 1e-8. Rules that divide by the size of the gradient make steps of it, in Caffe and here alike, and the
# stored mean follows them.
BEFORE_BATCHNORM = {"conv1/1", "conv2/1"}
NAMES = sorted({key.split("//")[0] for key in RUNS})


def test_every_run_is_there() -> None:
    assert len(NAMES) == 17


def feed(solver: Solver, case: dict[str, np.ndarray], step: int) -> None:
    for key, values in case.items():
        if key.startswith("batch/"):
            solver.net.blobs[key.removeprefix("batch/")].data[...] = values[step]


@pytest.mark.parametrize("keep", [False, True], ids=["fused", "kept"])
@pytest.mark.parametrize("name", NAMES)
def test_agrees_with_caffe(name: str, keep: bool) -> None:
    case = {key.split("//")[1]: value for key, value in RUNS.items() if key.startswith(f"{name}//")}
    document = parse_text(str(case["solver"]), SolverParameter, "solver")
    document.message.ClearField("net")
    document.message.net_param.CopyFrom(net_from_text(str(case["net"]), "net").message)
    solver = Solver(document, Listener(), keep=keep)
    for layer, blobs in solver.net.params.items():
        for j, blob in enumerate(blobs):
            blob.data[...] = case[f"w0/{layer}/{j}"].reshape(blob.shape)
    losses = []
    for step in range(len(case["loss"])):
        feed(solver, case, step)
        solver.step(1)
        losses.append(solver.smoothed_loss)
    np.testing.assert_allclose(losses, case["loss"], rtol=2e-3, atol=2e-3)
    for layer, blobs in solver.net.params.items():
        for j, blob in enumerate(blobs):
            expected = case[f"w1/{layer}/{j}"].reshape(blob.shape)
            largest = max(np.abs(case[key]).max() for key in case if key.startswith(f"w1/{layer}/"))
            tolerance = 2e-2 if f"{layer}/{j}" in BEFORE_BATCHNORM else 5e-3
            assert np.abs(blob.data - expected).max() <= tolerance * largest, f"{layer}/{j}"


def test_all_runs_are_there() -> None:
    assert len(NAMES) == 17
