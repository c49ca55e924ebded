"""Nets whose BatchNorm layers run on a GPU compute what they compute on the CPU."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import caffelite as caffe
from caffelite.cli import main
from caffelite.errors import GpuError
from caffelite.gpu.choice import Gpu, cost, gpu_or_reason
from caffelite.kernels.cuda.simulator import SIMULATED
from caffelite.net import Net
from caffelite.schema.text import net_from_text
from caffelite.solvers.logs import Listener
from caffelite.solvers.solver import Solver
from caffelite.words import TEST, TRAIN

NET = """
name: "small"
layer { name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param {
  shape { dim: 4 dim: 2 dim: 5 dim: 5 } shape { dim: 4 } data_filler { type: "gaussian" std: 2 mean: 1 }
  data_filler { type: "constant" value: 1 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 3 kernel_size: 2 weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" relu_param { negative_slope: 0.1 } }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip" inner_product_param { num_output: 6
  weight_filler { type: "xavier" } } }
layer { name: "bn2" type: "BatchNorm" bottom: "ip" top: "bn2" }
layer { name: "sigmoid" type: "Sigmoid" bottom: "bn2" top: "act" }
layer { name: "ip2" type: "InnerProduct" bottom: "act" top: "ip2" inner_product_param { num_output: 3
  weight_filler { type: "xavier" } } }
layer { name: "bn3" type: "BatchNorm" bottom: "ip2" top: "bn3" batch_norm_param { scale_bias: true } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "bn3" bottom: "label" top: "loss" }
"""


def the_gpu() -> Gpu:
    gpu, reason = gpu_or_reason(0)
    assert gpu is not None, reason
    return gpu


def net(phase: int = TRAIN, **how: Any) -> Net:
    return Net(net_from_text(NET, "small.prototxt"), phase, seed=3, **how)


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize(
    ("phase", "global_stats"), [(TRAIN, None), (TEST, None), (TRAIN, True)], ids=["train", "test", "stored"]
)
def test_passes_are_those_of_the_cpu(phase: int, global_stats: bool | None, keep: bool) -> None:
    gpu = the_gpu()
    nets = [net(phase, keep=keep, global_stats=global_stats, learn=True, gpu=which) for which in (None, gpu)]
    for one in nets:
        for name, blobs in one.params.items():
            if name.startswith("bn"):
                blobs[0].data[...], blobs[1].data[...], blobs[2].data[...] = 0.5, 2.0, 1.5
        for _ in range(2):
            one.forward()
            one.backward()
    on_cpu, on_gpu = nets
    np.testing.assert_allclose(on_gpu.loss(), on_cpu.loss(), rtol=1e-5)
    np.testing.assert_allclose(on_gpu.data, on_cpu.data, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(on_gpu.diff, on_cpu.diff, rtol=1e-4, atol=1e-5)
    assert gpu.used and gpu.bytes > 0
    if keep:
        for name, blob in on_cpu.blobs.items():
            np.testing.assert_allclose(on_gpu.blobs[name].data, blob.data, rtol=1e-4, atol=1e-5)


def test_scale_and_activation_go_along() -> None:
    def units(gpu: Gpu | None) -> list[str]:
        return ["+".join(node.name for node in unit.nodes) for unit in net(gpu=gpu).plan.units]

    assert {"bn+scale+relu", "bn2+sigmoid", "bn3"} < set(units(the_gpu()))
    assert {"bn+scale+relu", "bn2", "sigmoid"} < set(units(None))


def test_bytes_are_those_of_the_arrays() -> None:
    gpu = the_gpu()
    small = (
        NET[: NET.index('layer { name: "ip"')]
        + 'layer { name: "l" type: "Reduction" bottom: "conv" top: "l" loss_weight: 1 }'
    )
    one = Net(net_from_text(small, "small.prototxt"), TRAIN, gpu=gpu)
    one.forward()
    one.backward()
    x = 4 * 4 * 3 * 4 * 4
    assert gpu.bytes == 4 * x + 2 * 4 * (4 * 3 + 1) + 4 * 2 * 3


class Told(Listener):
    def __init__(self) -> None:
        self.said: list[str] = []

    def on_say(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("small.prototxt").write_text(NET)
    Path("solver.prototxt").write_text(
        'net: "small.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 3 snapshot_prefix: "s" random_seed: 2 '
        "solver_mode: GPU"
    )
    return tmp_path


def test_a_solver_says_once_what_runs_where(files: Path) -> None:
    told = Told()
    solver = Solver("solver.prototxt", told)
    solver.solve()
    (line,) = [line for line in told.said if "GPU" in line]
    assert re.search(
        r"BatchNorm.* runs on GPU 0 \(.+\), everything else on the CPU; each iteration copies [\d.]+ MB there "
        r"and back, which takes [\d.]+ ms",
        line,
    )
    Path("cpu.prototxt").write_text(Path("solver.prototxt").read_text().replace("GPU", "CPU"))
    other = Solver("cpu.prototxt", Told())
    other.solve()
    assert other.gpu is None
    np.testing.assert_allclose(solver.net.data, other.net.data, rtol=1e-3, atol=1e-4)


def test_commands_take_the_gpu(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "-solver", "solver.prototxt", "-gpu", "0"]) == 0
    assert "copies" in capsys.readouterr().err
    assert (
        main(["test", "small.prototxt", "--weights", "s_iter_3.caffemodel", "--iterations", "2", "--gpu", "all"]) == 0
    )
    assert "copies" in capsys.readouterr().err
    assert main(["time", "small.prototxt", "--iterations", "1", "--gpu", "0,1"]) == 0
    out, err = capsys.readouterr()
    assert "copies" in err and "BatchNorm+Scale+" in out
    assert main(["device_query", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["usable"] and found["gpus"][0]["number"] == 0


@pytest.mark.parametrize(
    "command", [["time", "small.prototxt"], ["train", "solver.prototxt"], ["device_query"]], ids=str
)
def test_a_gpu_that_is_not_there(command: list[str], files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--gpu", "99"]) == 1
    assert "there is no GPU 99: this machine has GPU" in capsys.readouterr().err


def test_a_net_without_batchnorm_says_so() -> None:
    gpu = the_gpu()
    assert "is not used" in cost(gpu, 1)


def test_pycaffe_modes(files: Path) -> None:
    try:
        caffe.set_device(0)
        caffe.set_mode_gpu()
        assert caffe.Net("small.prototxt", caffe.TRAIN)._net.context.device is not None
        solver = caffe.SGDSolver("solver.prototxt")
        solver.step(1)
        with pytest.raises(GpuError, match="there is no GPU 99"):
            caffe.set_device(99)
    finally:
        caffe.set_mode_cpu()
        caffe.set_device(0)
    assert caffe.Net("small.prototxt", caffe.TRAIN)._net.context.device is None


@pytest.mark.skipif(SIMULATED, reason="the simulator has no name")
def test_a_real_gpu_has_a_name_and_memory() -> None:
    facts = the_gpu().device.facts()
    assert facts["name"] and facts["memory"] > 2**30 and float(facts["compute_capability"]) >= 5
