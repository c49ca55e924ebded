"""The numbers are the same, bit for bit, for any number of threads: of passes, gradients and updates."""

from collections.abc import Iterator

import numpy as np
import pytest
from cases import Case, golden_cases, net_cases
from example_nets import with_input

from caffelite.kernels.batchnorm import statistics
from caffelite.kernels.engine import calls, thread_count
from caffelite.kernels.engine.team import TEAM, choose_threads
from caffelite.net import Net
from caffelite.schema.messages import NetParameter, SolverParameter
from caffelite.schema.text import net_from_text
from caffelite.solvers.logs import Listener
from caffelite.solvers.solver import Solver
from caffelite.words import TEST, TRAIN

COUNTS = (1, 2, 3, 8, 17)
#: name -> images of a batch, shape of one, classes
NETS = {
    "cifar10_bn": (20, (3, 32, 32), 10),
    "cifar10_full": (20, (3, 32, 32), 10),
    "cifar10_quick": (20, (3, 32, 32), 10),
    "lenet": (30, (1, 28, 28), 10),
    "mnist_mlp": (60, (1, 28, 28), 10),
    "mnist_mlp_bn": (60, (1, 28, 28), 10),
}
WEIGHTS = 'weight_filler { type: "xavier" }'
#: Layers whose kernels cut their work in ways of their own: name -> shape of the data, the layers behind them.
ROWS: dict[str, tuple[tuple[int, ...], list[str]]] = {
    "winograd": (
        (8, 16, 24, 24),
        [
            'type: "Convolution" convolution_param { num_output: 40 kernel_size: 3 pad: 1 %s }',
            'type: "BatchNorm"',
            'type: "Scale" scale_param { bias_term: true }',
            'type: "ReLU"',
            'type: "LRN" lrn_param { local_size: 5 }',
            'type: "Convolution" convolution_param { num_output: 32 group: 2 kernel_size: 5 pad: 2 %s }',
            'type: "Pooling" pooling_param { pool: MAX kernel_size: 3 stride: 2 }',
            'type: "Dropout"',
            'type: "InnerProduct" inner_product_param { num_output: 333 %s }',
            'type: "BatchNorm"',
            'type: "Sigmoid"',
        ],
    ),
    "direct": (
        (3, 3, 63, 50),
        [
            'type: "Convolution" convolution_param { num_output: 32 kernel_size: 7 pad: 3 stride: 2 %s }',
            'type: "PReLU"',
            'type: "Pooling" pooling_param { pool: AVE kernel_size: 3 stride: 2 }',
            'type: "Convolution" convolution_param { num_output: 48 kernel_size: 1 %s }',
            'type: "Convolution" convolution_param { num_output: 48 group: 48 kernel_size: 3 pad: 1 %s }',
            'type: "LRN" lrn_param { norm_region: WITHIN_CHANNEL local_size: 3 }',
            'type: "Convolution" convolution_param { num_output: 36 group: 3 kernel_size: 3 dilation: 2 %s }',
            'type: "ReLU"',
            'type: "Pooling" pooling_param { pool: STOCHASTIC kernel_size: 2 stride: 2 }',
            'type: "Deconvolution" convolution_param { num_output: 20 kernel_size: 4 stride: 2 %s }',
            'type: "MVN"',
        ],
    ),
    "one image": (
        (1, 200, 9, 9),
        [
            'type: "Convolution" convolution_param { num_output: 300 kernel_size: 3 pad: 1 %s }',
            'type: "BatchNorm"',
            'type: "LRN" lrn_param { local_size: 5 }',
            'type: "Convolution" convolution_param { num_output: 260 kernel_size: 1 %s }',
            'type: "Pooling" pooling_param { pool: AVE global_pooling: true }',
            'type: "InnerProduct" inner_product_param { num_output: 2000 %s }',
            'type: "ELU"',
        ],
    ),
    "large maps": (
        (8, 4, 56, 64),
        [
            'type: "Bias"',
            'type: "BatchNorm"',
            'type: "Scale" scale_param { bias_term: true }',
            'type: "Convolution" convolution_param { num_output: 4 kernel_size: 3 %s }',
            'type: "BatchNorm"',
        ],
    ),
    "recurrent": (
        (5, 4, 30),
        [
            'type: "LSTM" bottom: "cont" recurrent_param { num_output: 24 %s }',
            'type: "RNN" bottom: "cont" recurrent_param { num_output: 70 %s }',
            'type: "InnerProduct" inner_product_param { axis: 2 num_output: 8 %s }',
        ],
    ),
}


@pytest.fixture(autouse=True)
def as_many_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(thread_count, "_chosen", None)
    yield
    TEAM.ready = False


def use_threads(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spread the kernels of nets made from here on over so many threads, the smallest ones too."""
    choose_threads(count, "this test")
    monkeypatch.setattr(calls, "SERIAL_WORK", 1)


def row_net(name: str) -> NetParameter:
    """Return the net of the layers of ``ROWS[name]`` and a loss on the classes of the last one's channels."""
    shape, layers = ROWS[name]
    dims = " ".join(f"dim: {n}" for n in shape)
    text = f'layer {{ name: "in" type: "Input" top: "data" top: "label" input_param {{ shape {{ {dims} }} '
    text += "".join(f"shape {{ dim: {n} }}" for n in shape[:1]) + " } }\n"
    if name == "recurrent":
        text += 'layer { name: "cont" type: "DummyData" top: "cont" dummy_data_param { shape { dim: 5 dim: 4 } '
        text += 'data_filler { type: "constant" value: 1 } } }\n'
    last = "data"
    for i, layer in enumerate(layers):
        text += f'layer {{ name: "l{i}" bottom: "{last}" top: "l{i}" {layer.replace("%s", WEIGHTS)} }}\n'
        last = f"l{i}"
    text += f'layer {{ name: "flat" type: "Flatten" bottom: "{last}" top: "flat" }}\n'
    text += 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "flat" bottom: "label" top: "loss" }\n'
    return net_from_text(text, name).message


def bits_of(net: Net) -> dict[str, bytes]:
    """Return everything a net holds, and what it learns."""
    values = {"parameters": net.data.tobytes(), "gradients": net.diff.tobytes()}
    for name, blob in net.blobs.items():
        values[f"{name} data"] = blob.data.tobytes()
        if blob.diff is not None:
            values[f"{name} diff"] = blob.diff.tobytes()
    return values


def trained(message: NetParameter, classes: int, keep: bool) -> dict[str, bytes]:
    """Return the bits of a net after three updates."""
    param = SolverParameter(base_lr=0.01, momentum=0.9, weight_decay=0.001, lr_policy="fixed", clip_gradients=10)
    param.net_param.CopyFrom(message)
    solver = Solver(param, Listener(), keep=keep, seed=3)
    rng = np.random.default_rng(1)
    for name in solver.net.inputs:
        data = solver.net.blobs[name].data
        data[...] = rng.integers(0, classes, data.shape) if name == "label" else rng.standard_normal(data.shape)
    solver.step(3)
    assert np.isfinite(solver.net.data).all()
    assert np.isfinite(solver.net.diff).all()
    assert solver.net.diff.any()
    return bits_of(solver.net)


def check_training(message: NetParameter, classes: int, monkeypatch: pytest.MonkeyPatch, keep: bool = False) -> None:
    results = []
    for count in COUNTS:
        use_threads(count, monkeypatch)
        results.append(trained(message, classes, keep))
    for count, result in zip(COUNTS, results, strict=True):
        assert not [name for name in result if result[name] != results[0][name]], f"with {count} threads"


@pytest.mark.parametrize("name", NETS)
def test_training_of_an_example_net(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    images, shape, classes = NETS[name]
    check_training(with_input(name, shape, images).message, classes, monkeypatch)


@pytest.mark.parametrize("name", ROWS)
def test_training_of_layers(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "large maps":
        # As if they did not fit into the cache.
        monkeypatch.setattr(statistics, "_CACHE", 1 << 16)
        monkeypatch.setattr(statistics, "_NEAR", 1 << 18)
    check_training(row_net(name), 3, monkeypatch, keep=True)


def cases() -> Iterator[tuple[str, str, Case]]:
    yield from golden_cases()
    yield from net_cases()


def passed(case: Case) -> dict[str, bytes]:
    """Return the bits after a pass through the net of a case."""
    phase = TRAIN if str(case["phase"]) == "TRAIN" else TEST
    net = Net(net_from_text(str(case["prototxt"]), "case"), phase, keep=True, seed=1, allow_python=True)
    rng = np.random.default_rng(2)
    for name in net.inputs:
        blob = net.blobs[name]
        blob.data[...] = case[f"x{name[1:]}"].reshape(blob.shape) if f"x{name[1:]}" in case else rng.random(blob.shape)
    net.forward()
    for blob in net.blobs.values():
        if blob.diff is not None:
            blob.diff[...] = rng.random(blob.shape)
    net.zero_grad()
    net.backward()
    return bits_of(net)


@pytest.mark.parametrize(("kind", "what", "case"), [pytest.param(*one, id="-".join(one[:2])) for one in cases()])
def test_every_layer(kind: str, what: str, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for count in (1, 5):
        use_threads(count, monkeypatch)
        results.append(passed(case))
    assert not [name for name in results[0] if results[0][name] != results[1][name]]
