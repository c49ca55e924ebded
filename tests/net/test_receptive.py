"""Receptive fields: those that are known of a published net, and those of every way that windows go together."""

from pathlib import Path

import pytest

from caffelite.net.survey import survey
from caffelite.schema.text import net_from_text, read_net
from caffelite.words import TEST

LAYERS = Path(__file__).parents[1] / "layers" / "nets"


def fields(text: str) -> dict[str, tuple[int, ...] | None]:
    net = survey(net_from_text(text), TEST)
    assert not net.problem
    return {layer.name: layer.receptive_field for layer in net.layers}


def data(size: int) -> str:
    return f'layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: 1 dim: 1 dim: {size} dim: {size} }} }} }}\n'


def layer(name: str, kind: str, bottoms: str, settings: str = "") -> str:
    read = " ".join(f'bottom: "{bottom}"' for bottom in bottoms.split())
    return f'layer {{ name: "{name}" type: "{kind}" {read} top: "{name}" {settings} }}\n'


def convolution(name: str, bottom: str, settings: str) -> str:
    return layer(name, "Convolution", bottom, f"convolution_param {{ num_output: 1 {settings} }}")


ALEXNET = (
    data(227)
    + convolution("conv1", "data", "kernel_size: 11 stride: 4")
    + layer("pool1", "Pooling", "conv1", "pooling_param { kernel_size: 3 stride: 2 }")
    + convolution("conv2", "pool1", "kernel_size: 5 pad: 2")
    + layer("pool2", "Pooling", "conv2", "pooling_param { kernel_size: 3 stride: 2 }")
    + convolution("conv3", "pool2", "kernel_size: 3 pad: 1")
    + layer("relu3", "ReLU", "conv3")
    + layer("fc", "InnerProduct", "relu3", "inner_product_param { num_output: 2 }")
)


def test_alexnet() -> None:
    assert fields(ALEXNET) == {
        "data": (1, 1),
        "conv1": (11, 11),
        "pool1": (19, 19),
        "conv2": (51, 51),
        "pool2": (67, 67),
        "conv3": (99, 99),
        "relu3": (99, 99),
        "fc": (),
    }


MIXED = (
    data(16)
    + convolution("a", "data", "kernel_h: 3 kernel_w: 1 pad_h: 1 pad_w: 0 stride: 2")
    + convolution("b", "a", "kernel_size: 3 dilation: 2 pad: 2")
    + layer("sum", "Eltwise", "a b")
    + layer("up", "Deconvolution", "sum", "convolution_param { num_output: 1 kernel_size: 4 stride: 2 pad: 1 }")
    + convolution("c", "up", "kernel_size: 3 pad: 1")
)


def test_strides_dilation_branches_and_larger_maps() -> None:
    found = fields(MIXED)
    assert {name: found[name] for name in ("a", "b", "sum", "up", "c")} == {
        "a": (3, 1),
        "b": (3 + 4 * 2, 1 + 4 * 2),
        "sum": (11, 9),
        # Two of the inputs, which lie two values of the data apart, meet in a value; its neighbours are one apart.
        "up": (13, 11),
        "c": (15, 13),
    }


def test_a_map_of_other_places_is_not_known() -> None:
    text = data(8) + layer("spp", "Reshape", "data", "reshape_param { shape { dim: 1 dim: 4 dim: 4 dim: 4 } }")
    assert fields(text)["spp"] is None
    after = text + convolution("c", "spp", "kernel_size: 3")
    assert fields(after)["c"] is None


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("Local_pad", (3, 3)),
        ("Pooling3D_max", (2, 2, 2)),
        ("Convolution3D_pad", (2, 3, 3)),
        # It leaves out an axis of one place.
        ("NdConvolution_volume", None),
        ("NdPooling_volume", (2, 2, 3)),
    ],
)
def test_windows_of_forks(name: str, field: tuple[int, ...] | None) -> None:
    net = survey(read_net(LAYERS / f"{name}.prototxt"), TEST)
    assert {layer.name: layer.receptive_field for layer in net.layers}["L"] == field
