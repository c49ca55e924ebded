"""A written module learns as the net does: gradients, and the statistics of BatchNorm."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from caffelite.errors import NetError
from caffelite.export.torch.convert import TRAINED_ON, TorchModule, convert
from caffelite.export.torch.names import OF_MODULES
from caffelite.net import Net
from caffelite.net.deploy import deploy
from caffelite.schema.text import net_from_text
from caffelite.words import TEST, TRAIN

torch = pytest.importorskip("torch", reason="PyTorch is not in the extra test")
from caffelite.export.torch.write import write  # noqa: E402

TEXT = """name: "n"
layer { name: "in" type: "Input" top: "data" top: "label" input_param { shape { dim: [6, 3, 8, 8] } shape { dim: 6 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 8 kernel_size: 3
  weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" batch_norm_param { moving_average_fraction: 0.75 } }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { kernel_size: 3 stride: 2 pool: AVE } }
layer { name: "drop" type: "Dropout" bottom: "pool" top: "pool" dropout_param { dropout_ratio: 0 } }
layer { name: "fc" type: "InnerProduct" bottom: "pool" top: "fc" inner_product_param { num_output: 5
  weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
"""


def trained() -> Net:
    net = Net(net_from_text(TEXT, "net.prototxt"), TRAIN)
    rng = np.random.default_rng(4)
    mean, variance, factor = (blob.data for blob in net.params["bn"])
    # The sums that a long training ends at: their factor is 1 / (1 - 0.75).
    mean[...], variance[...], factor[...] = rng.standard_normal(8), rng.uniform(1, 3, 8), 4
    net.params["scale"][0].data[...] = rng.uniform(0.5, 1.5, 8)
    net.blobs["data"].data[...] = rng.standard_normal((6, 3, 8, 8))
    net.blobs["label"].data[...] = rng.integers(0, 5, 6)
    net.changed()
    return net


def module_of(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("net", path)
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module.load()


def written(net: Net, path: Path) -> tuple[Net, TorchModule]:
    document, _ = deploy(net_from_text(TEXT, "net.prototxt"), kept=TRAINED_ON)
    deployed = Net(document, TEST, keep=True, learn=False)
    for name, blobs in net.params.items():
        for own, blob in zip(deployed.params[name], blobs, strict=True):
            own.data[...] = blob.data
    deployed.changed()
    made = convert(deployed, {})
    return deployed, made


def test_a_step_of_training(tmp_path: Path) -> None:
    net = trained()
    write(*written(net, tmp_path), tmp_path / "net.py", {"a": "b"})
    module = module_of(tmp_path / "net.py")
    assert isinstance(module.drop, torch.nn.Dropout) and not module.training
    module.train()
    scores = module.fc(
        module.drop(module.pool(module.relu(module.bn(module.conv(torch.from_numpy(net.blobs["data"].data)))))).flatten(
            1
        )
    )
    loss = torch.nn.functional.cross_entropy(scores, torch.from_numpy(net.blobs["label"].data).long())
    loss.backward()
    net.forward()
    net.backward()
    assert abs(float(loss) - float(net.blobs["loss"].data)) < 1e-5
    for theirs, ours in (
        (module.conv.weight, net.params["conv"][0]),
        (module.bn.weight, net.params["scale"][0]),
        (module.bn.bias, net.params["scale"][1]),
        (module.fc.weight, net.params["fc"][0]),
        (module.fc.bias, net.params["fc"][1]),
    ):
        np.testing.assert_allclose(theirs.grad.numpy(), ours.diff, rtol=0, atol=2e-5 * np.abs(ours.diff).max())
    mean, variance, factor = (blob.data for blob in net.params["bn"])
    np.testing.assert_allclose(module.bn.running_mean.numpy(), mean / factor, atol=1e-5)
    np.testing.assert_allclose(module.bn.running_var.numpy(), variance / factor, atol=1e-5)


def test_the_first_layer_that_differs_is_named(tmp_path: Path) -> None:
    deployed, made = written(trained(), tmp_path)
    made.state["bn.running_var"] = made.state["bn.running_var"] * 1.01
    with pytest.raises(
        NetError, match=r'net.py is not written, because layer "scale" is something else in PyTorch: "conv" is'
    ):
        write(deployed, made, tmp_path / "net.py", {"a": "b"})
    assert not list(tmp_path.iterdir())


def test_a_module_that_does_not_run_is_not_written(tmp_path: Path) -> None:
    deployed, made = written(trained(), tmp_path)
    broken = TorchModule(
        made.name, made.source.replace("nn.Linear(72", "nn.Linear(71"), made.state, made.steps, made.variables, []
    )
    broken.state["fc.weight"] = broken.state["fc.weight"][:, 1:].copy()
    with pytest.raises(NetError, match='PyTorch does not run "fc": '):
        write(deployed, broken, tmp_path / "net.py", {"a": "b"})
    assert not list(tmp_path.iterdir())


def test_parameters_that_are_shared_stay_one(tmp_path: Path) -> None:
    text = """
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: [2, 3] } } }
layer { name: "a" type: "InnerProduct" bottom: "x" top: "y" param { name: "w" } param { name: "b" } inner_product_param {
  num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "b" type: "InnerProduct" bottom: "y" top: "z" param { name: "w" } param { name: "b" } inner_product_param {
  num_output: 3 } }
"""
    net = Net(net_from_text(text, "net.prototxt"), TEST, keep=True, learn=False)
    write(net, convert(net, {}), tmp_path / "net.py", {"a": "b"})
    module = module_of(tmp_path / "net.py")
    assert module.a.weight is module.b.weight and len(list(module.parameters())) == 2


def test_no_layer_takes_a_name_of_modules() -> None:
    own = {name for name in dir(torch.nn.Module()) if not name.startswith("_")}
    assert own <= OF_MODULES
