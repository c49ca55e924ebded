"""A run goes on bit for bit with another number of threads."""

from pathlib import Path

import numpy as np
import pytest

from caffelite.kernels.engine import thread_count
from caffelite.net.machine import choose_threads
from caffelite.schema import messages
from caffelite.schema.parser import parse_text
from caffelite.solvers.logs import Listener
from caffelite.solvers.solver import Solver

#: Each kind of layer that sums over images, pixels or channels; convolutions in all three ways.
NET = """
name: "sums"
layer { name: "data" type: "DummyData" top: "x" top: "label" dummy_data_param {
  shape { dim: 33 dim: 3 dim: 32 dim: 32 } shape { dim: 33 }
  data_filler { type: "gaussian" } data_filler { type: "constant" value: 1 } } }
layer { name: "conv1" type: "Convolution" bottom: "x" top: "c1"
  convolution_param { num_output: 16 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "c1" top: "c1" }
layer { name: "scale" type: "Scale" bottom: "c1" top: "c1" scale_param { bias_term: true } }
layer { name: "slope" type: "PReLU" bottom: "c1" top: "c1" }
layer { name: "pool" type: "Pooling" bottom: "c1" top: "p" pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
layer { name: "depthwise" type: "Convolution" bottom: "p" top: "d"
  convolution_param { num_output: 16 group: 16 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "norm" type: "LRN" bottom: "d" top: "n" }
layer { name: "conv2" type: "Convolution" bottom: "n" top: "c2"
  convolution_param { num_output: 20 kernel_size: 4 stride: 2 weight_filler { type: "xavier" } } }
layer { name: "drop" type: "Dropout" bottom: "c2" top: "c2" }
layer { name: "bias" type: "Bias" bottom: "c2" top: "c2" }
layer { name: "ip" type: "InnerProduct" bottom: "c2" top: "y"
  inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "y" bottom: "label" top: "loss" }
"""


def run(threads: int, prefix: Path, state: Path | None) -> tuple[list[float], np.ndarray, bytes]:
    """Train to iteration 6; return the losses, what the update rule keeps, and the weights file."""
    choose_threads(threads, "--threads")
    text = f"""net_param {{ {NET} }} type: "Adam" base_lr: 0.01 lr_policy: "fixed" momentum: 0.9 weight_decay: 0.001
        clip_gradients: 1 average_loss: 3 max_iter: 6 snapshot: 3 snapshot_prefix: "{prefix}" """
    losses: list[float] = []

    class Losses(Listener):
        def on_step(self, iteration: int, loss: float) -> None:
            losses.append(loss)

    solver = Solver(parse_text(text, messages.SolverParameter, "s.prototxt"), Losses())
    solver.solve(state)
    solver.close()
    return (
        losses,
        np.concatenate([a.ravel() for a in solver.rule.history]),
        Path(f"{prefix}_iter_6.caffemodel").read_bytes(),
    )


@pytest.mark.parametrize("threads", [2, 3])
def test_goes_on_with_another_number_of_threads(threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_count, "_chosen", None)
    losses, history, weights = run(1, tmp_path / "one", None)
    rest, resumed_history, resumed = run(threads, tmp_path / "several", tmp_path / "one_iter_3.solverstate")
    assert rest == losses[3:]
    assert np.array_equal(resumed_history, history)
    assert resumed == weights
