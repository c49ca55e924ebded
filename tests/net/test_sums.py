"""Sums that a convolution computes as well, held against the same net with every layer on its own."""

import pytest
from pairs import NORM, RELU, convolution, pair, same

from caffelite.net import Net
from caffelite.schema.text import net_from_text
from caffelite.words import TRAIN

INPUT = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 8 dim: 9 dim: 11 } } }\n'
ONE = "num_output: 8 kernel_size: 1"
READER = 'layer { name: "z" type: "Power" bottom: "%s" top: "z" power_param { scale: 2 } }\n'


def named(name: str, text: str) -> str:
    """Give the blob that a layer works on, and the layer, another name."""
    return text.replace('"c"', f'"{name}"').replace('name: "r"', f'name: "r{name}"')


def added(*bottoms: str, settings: str = "", top: str = "e") -> str:
    names = " ".join(f'bottom: "{name}"' for name in bottoms)
    return f'layer {{ name: "{top}" type: "Eltwise" {names} top: "{top}" eltwise_param {{ {settings} }} }}\n'


OTHER = named("o", convolution(ONE))


@pytest.mark.parametrize(
    ("settings", "between", "behind"),
    [
        (ONE, "", ""),
        ("num_output: 8 kernel_size: 3 pad: 1 group: 2 bias_term: false", "", ""),
        (ONE, NORM, named("e", RELU)),
        (ONE, RELU, named("e", RELU)),
    ],
    ids=["pixels", "groups", "norm", "relu"],
)
@pytest.mark.parametrize("bottoms", [("o", "c"), ("c", "o")], ids=["second", "first"])
def test_a_convolution_adds_what_was_made_earlier(
    settings: str, between: str, behind: str, bottoms: tuple[str, str]
) -> None:
    chain = convolution(settings) + between + added(*bottoms) + behind
    nets = pair(INPUT + OTHER + chain)
    assert [len(unit.nodes) for unit in nets[0].plan.units] == [1, 1, chain.count("layer {")]
    unit = nets[0].plan.units[-1]
    assert [version.name for version in unit.bottoms] == ["x", "o"] and unit.first.layer.type == "Convolution"
    same(nets)
    same(nets)


VIEW = 'layer { name: "v" type: "Reshape" bottom: "o" top: "v" reshape_param { shape { dim: 0 dim: -1 dim: 9 dim: 11 } } }\n'
DEPTHWISE = convolution("num_output: 8 group: 8 kernel_size: 3 pad: 1")
WINDOW = convolution("num_output: 4 kernel_h: 9 kernel_w: 11")


@pytest.mark.parametrize(
    ("text", "units"),
    [
        # Channels with filters of their own, and one window that is the whole map.
        (DEPTHWISE + added("x", "c"), [1, 2]),
        (named("o", WINDOW) + WINDOW + added("o", "c"), [1, 1, 2]),
        # What is added is another shape of a blob, was written in place, is the convolution's own bottom.
        (OTHER + VIEW + convolution(ONE) + added("v", "c") + READER % "o", [1, 1, 1, 2, 1]),
        (OTHER + named("o", RELU) + convolution(ONE) + added("o", "c"), [1, 2, 2]),
        (OTHER + convolution(ONE, bottom="o") + added("o", "c"), [1, 1, 2]),
        # What is added, or the sum, is read again later.
        (OTHER + convolution(ONE) + added("o", "c") + READER % "o", [1, 1, 2, 1]),
        (OTHER + convolution(ONE) + added("o", "c") + added("o", "e", top="f"), [1, 1, 2, 1]),
        (OTHER + convolution(ONE) + added("o", "c") + READER % "e" + added("o", "e", top="f"), [1, 1, 2, 1, 1]),
        # Not a sum of two: another operation, coefficients, three terms, one blob twice.
        (OTHER + convolution(ONE) + added("o", "c", settings="operation: MAX"), [1, 1, 1, 1]),
        (OTHER + convolution(ONE) + added("o", "c", settings="coeff: 1 coeff: -1"), [1, 1, 1, 1]),
        (OTHER + convolution(ONE) + added("o", "c", settings="coeff: 1 coeff: 1"), [1, 1, 2]),
        (OTHER + convolution(ONE) + added("o", "o", "c"), [1, 1, 1, 1]),
        (convolution(ONE) + added("c", "c"), [1, 1, 1]),
        # The convolution does not come last; a layer reads it, too; an affine layer behind the sum.
        (convolution(ONE) + OTHER + named("o", RELU) + added("c", "o"), [1, 1, 3]),
        (OTHER + convolution(ONE) + READER % "c" + added("o", "c"), [1, 1, 1, 1, 1]),
        (OTHER + convolution(ONE) + added("o", "c") + named("e", NORM), [1, 1, 2, 2]),
    ],
)
def test_which_sums(text: str, units: list[int]) -> None:
    nets = pair(INPUT + text)
    assert [len(unit.nodes) for unit in nets[0].plan.units] == units
    same(nets)
    same(nets)


def test_volumes_are_added() -> None:
    place = "input_param { shape { dim: 2 dim: 3 dim: 4 dim: 5 dim: 6 } }"
    x = f'layer {{ name: "x" type: "Input" top: "x" {place} }}\n'
    nets = pair(x + convolution("num_output: 3 kernel_size: 1") + added("x", "c") + named("e", RELU))
    assert [len(unit.nodes) for unit in nets[0].plan.units] == [1, 3]
    same(nets)


def test_a_net_that_learns_adds_nothing_in_a_convolution() -> None:
    loss = 'layer { name: "l" type: "Reduction" bottom: "e" top: "l" loss_weight: 1 }'
    text = INPUT + OTHER + convolution(ONE) + added("o", "c") + loss
    net = Net(net_from_text(text, "net.prototxt"), TRAIN)
    assert all(len(unit.nodes) == 1 for unit in net.plan.units)
