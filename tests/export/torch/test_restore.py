"""What a PyTorch module has learned comes back into the net that it was made of; the state is made by hand here."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from caffelite.errors import WeightsError
from caffelite.export.torch.convert import TRAINED_ON, convert
from caffelite.export.torch.restore import restore
from caffelite.net import Net
from caffelite.net.deploy import deploy
from caffelite.schema.text import net_from_text
from caffelite.words import TEST

TEXT = """name: "n"
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: [2, 3, 6, 6] } } }
layer { name: "conv/1" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 4 kernel_size: 3
  weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" batch_norm_param { moving_average_fraction: 0.75 } }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
layer { name: "relu" type: "PReLU" bottom: "conv" top: "conv" prelu_param { channel_shared: true } }
layer { name: "up" type: "Deconvolution" bottom: "conv" top: "up" convolution_param { num_output: 2 kernel_size: 2
  stride: 2 group: 2 weight_filler { type: "xavier" } } }
layer { name: "drop" type: "Dropout" bottom: "up" top: "up" }
layer { name: "fc" type: "InnerProduct" bottom: "up" top: "fc" inner_product_param { num_output: 5 transpose: true
  weight_filler { type: "xavier" } } }
"""
SHARED = """
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: [2, 3] } } }
layer { name: "a" type: "InnerProduct" bottom: "x" top: "y" param { name: "w" } inner_product_param { num_output: 3 } }
layer { name: "b" type: "InnerProduct" bottom: "y" top: "z" param { name: "w" } inner_product_param { num_output: 3 } }
layer { name: "p" type: "PReLU" bottom: "z" top: "z" param { name: "s" } }
layer { name: "q" type: "PReLU" bottom: "z" top: "y0" param { name: "s" } }
"""


def net_of(text: str) -> Net:
    document, _ = deploy(net_from_text(text, "net.prototxt"), kept=TRAINED_ON)
    return Net(document, TEST, keep=True, learn=False)


def state_of(text: str) -> dict[str, np.ndarray]:
    """Return a state as if it was learned: random values, in the shapes that the module has."""
    rng = np.random.default_rng(2)
    state = convert(net_of(text), {}).state
    return {
        name: np.full_like(array, 2) if array.dtype.kind == "i" else rng.uniform(0.5, 1.5, array.shape).astype("f")
        for name, array in state.items()
    }


def test_every_blob_is_as_caffe_has_it() -> None:
    net, state = net_of(TEXT), state_of(TEXT)
    restore(net, state, "learned.npz")
    for ours, theirs in (
        (net.params["conv/1"], ("conv_1.weight", "conv_1.bias")),
        (net.params["bn"], ("bn.running_mean", "bn.running_var")),
        (net.params["scale"], ("bn.weight", "bn.bias")),
        (net.params["relu"], ("relu.weight",)),
        (net.params["up"], ("up.weight", "up.bias")),
        (net.params["fc"][1:], ("fc.bias",)),
    ):
        for blob, name in zip(ours, theirs, strict=False):
            np.testing.assert_array_equal(blob.data.reshape(state[name].shape), state[name])
    np.testing.assert_array_equal(net.params["fc"][0].data, state["fc.weight"].T)
    assert net.params["bn"][2].data == 1


def test_the_sums_of_batch_norm_are_divided_once() -> None:
    """Out, and back into another net of the same file: both compute the same."""
    net = net_of(TEXT)
    mean, variance, factor = (blob.data for blob in net.params["bn"])
    mean[...], variance[...], factor[...] = np.arange(4), np.arange(1, 5), 4
    net.changed()
    net.blobs["data"].data[...] = np.random.default_rng(3).standard_normal((2, 3, 6, 6))
    net.forward()
    before = net.blobs["fc"].data.copy()
    state = {name: array.copy() for name, array in convert(net, {}).state.items()}
    np.testing.assert_array_equal(state["bn.running_mean"], np.arange(4) / 4)
    other = net_of(TEXT)
    restore(other, state, "learned.npz")
    for one in (net, other):
        one.blobs["data"].data[...] = net.blobs["data"].data
        one.forward()
        np.testing.assert_allclose(one.blobs["fc"].data, before, rtol=0, atol=1e-5 * np.abs(before).max())


def test_parameters_that_are_one() -> None:
    """Some programs write one of the names only."""
    state = state_of(SHARED)
    del state["a.weight"]
    state["p.weight"] = state["q.weight"]
    net = net_of(SHARED)
    restore(net, state, "learned.npz")
    np.testing.assert_array_equal(net.params["a"][0].data, state["b.weight"])
    np.testing.assert_array_equal(net.params["p"][0].data, state["q.weight"])


def change(name: str, array: Any = None, text: str = TEXT) -> tuple[str, dict[str, np.ndarray]]:
    state = state_of(text)
    if array is None:
        del state[name]
    else:
        state[name] = array
    return text, state


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (("fc.bias",), '"fc.bias" is missing, which the PyTorch module of net.prototxt has'),
        (("fc.bais", np.ones(5, "f")), 'module of net.prototxt has no "fc.bais"; did you mean "fc.bias"?'),
        (("module.fc.bias", np.ones(5, "f")), 'has no "module.fc.bias"; did you mean "fc.bias"?'),
        (("up.weight", np.ones((4, 1, 2, 3), "f")), '"up.weight" is 4×1×2×3, expected 4×1×2×2 as in the PyTorch'),
        (("fc.bias", np.ones(5, np.int64)), '"fc.bias" has numbers of type int64, expected float32'),
        (("bn.num_batches_tracked", np.array(1.5)), "numbers of type float64, expected int64"),
        (("b.weight", np.zeros((3, 3), "f"), SHARED), '"a.weight" and "b.weight" are one blob in net.prototxt, and'),
    ],
)
def test_what_is_not_taken(changed: tuple[Any, ...], said: str) -> None:
    text, state = change(*changed)
    if text is SHARED:
        state["p.weight"] = state["q.weight"]
    with pytest.raises(WeightsError) as error:
        restore(net_of(text), state, "learned.npz")
    assert said in str(error.value) and str(error.value).startswith("learned.npz: ")


def test_two_steps_of_training(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not in the extra test")
    from safetensors.numpy import load_file
    from safetensors.torch import save_file

    from caffelite.export.torch.check import load_module
    from caffelite.export.torch.write import write

    net = net_of(TEXT)
    write(net, convert(net, {}), tmp_path / "net.py", {"a": "b"})
    module = load_module(tmp_path / "net.py").train()
    solver = torch.optim.SGD(module.parameters(), 0.05)
    for seed in (1, 2):
        x = torch.from_numpy(np.random.default_rng(seed).standard_normal((2, 3, 6, 6)).astype("f"))
        solver.zero_grad()
        module(x).square().sum().backward()
        solver.step()
    save_file(module.state_dict(), tmp_path / "learned.safetensors")
    back = net_of(TEXT)
    restore(back, load_file(tmp_path / "learned.safetensors"), "learned.safetensors")
    back.blobs["data"].data[...] = x.numpy()
    back.forward()
    theirs = module.eval()(x).detach().numpy()
    assert module.bn.num_batches_tracked == 2
    np.testing.assert_allclose(back.blobs["fc"].data, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())
