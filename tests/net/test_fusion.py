"""What runs as one, held against the same net with every layer on its own."""

import numpy as np
import pytest
from pairs import FORKS, INPUT, NORM, RELU, SIGMOID, convolution, pair, same

from caffelite.layers.contract.registry import registry
from caffelite.layers.shared.elementwise import ElementWise
from caffelite.net import Net
from caffelite.net.fusion import RULES, rule_for
from caffelite.schema.text import net_from_text
from caffelite.words import TEST, TRAIN


@pytest.mark.parametrize(
    "settings",
    [
        "num_output: 8 kernel_size: 3 pad: 1",
        "num_output: 7 kernel_size: 1",
        "num_output: 9 kernel_size: 3 stride: 2 group: 3",
        "num_output: 6 kernel_size: 3 group: 6",
        "num_output: 5 kernel_h: 9 kernel_w: 11",
        "num_output: 5 kernel_size: 7 pad_w: 0 pad_h: 0 bias_term: false",
    ],
)
@pytest.mark.parametrize(
    "behind", [FORKS % "momentum: 0.9", FORKS % "bn_mode: INFERENCE", NORM, RELU, NORM + RELU, NORM + RELU + SIGMOID]
)
def test_a_convolution_absorbs_what_is_behind_it(settings: str, behind: str) -> None:
    nets = pair(INPUT + convolution(settings) + behind)
    assert [len(unit.nodes) for unit in nets[0].plan.units] == [1, 1 + behind.count("layer {")]
    same(nets)


@pytest.mark.parametrize(
    ("text", "units"),
    [
        # A reader beside the one behind.
        (
            convolution("num_output: 8 kernel_size: 1")
            + RELU.replace('top: "c"', 'top: "r"')
            + 'layer { name: "p" type: "Power" bottom: "c" top: "p" }',
            [1, 1, 1, 1],
        ),
        # A factor along another axis, statistics of the batch (the Scale joins them), an affine layer behind an
        # element-wise one.
        (
            convolution("num_output: 8 kernel_size: 1")
            + 'layer { name: "s" type: "Scale" bottom: "c" top: "c" scale_param { axis: 2 } }',
            [1, 1, 1],
        ),
        (
            convolution("num_output: 8 kernel_size: 1")
            + NORM.replace('top: "c" }', 'top: "c" batch_norm_param { use_global_stats: false } }', 1),
            [1, 1, 2],
        ),
        (convolution("num_output: 8 kernel_size: 1") + RELU + NORM, [1, 2, 2]),
        # Another kind of layer, and a second axis as the channels.
        (convolution("num_output: 8 kernel_size: 1", "Deconvolution") + RELU, [1, 1, 1]),
        (convolution("num_output: 8 kernel_size: 1 axis: 2") + RELU, [1, 1, 1]),
    ],
    ids=["readers", "axis", "batch", "order", "deconvolution", "channels"],
)
def test_what_is_not_absorbed(text: str, units: list[int]) -> None:
    nets = pair(INPUT + text)
    assert [len(unit.nodes) for unit in nets[0].plan.units] == units
    same(nets)


def test_a_net_that_learns_absorbs_nothing() -> None:
    loss = 'layer { name: "l" type: "EuclideanLoss" bottom: "c" bottom: "t" top: "l" }\n'
    target = 'layer { name: "t" type: "Input" top: "t" input_param { shape { dim: 2 dim: 8 dim: 9 dim: 11 } } }\n'
    text = INPUT + target + convolution("num_output: 8 kernel_size: 1") + RELU + loss
    net = Net(net_from_text(text, "net.prototxt"), TRAIN)
    assert all(len(unit.nodes) == 1 and not unit.prepare for unit in net.plan.units)


@pytest.mark.parametrize("size", ["9 dim: 11", "1 dim: 1", "1"], ids=["map", "pixel", "vector"])
@pytest.mark.parametrize(
    ("behind", "fused"),
    [
        ('type: "Scale" scale_param { bias_term: true filler { type: "uniform" min: -1 } }', True),
        ('type: "Scale" scale_param { filler { type: "uniform" min: -1 } }', True),
        ('type: "Scale" param { lr_mult: 0 } param { } scale_param { bias_term: true filler { value: 3 } }', True),
        ('type: "Bias" bias_param { filler { type: "uniform" } }', True),
        ('type: "ReLU" relu_param { negative_slope: 0.25 }', True),
        ('type: "Scale" scale_param { num_axes: 0 filler { value: 2 } }', False),
    ],
    ids=["scale", "factor", "constant", "bias", "leaky", "one"],
)
def test_batch_normalization_learns_with_what_scales_it(size: str, behind: str, fused: bool) -> None:
    place = f"dim: 5 dim: 6 dim: {size}"
    text = (
        f'layer {{ name: "x" type: "Input" top: "x" top: "t" input_param {{ shape {{ {place} }} shape {{ {place} }} }} }}\n'
        'layer { name: "first" type: "Scale" bottom: "x" top: "c" scale_param { axis: 0 filler { type: "uniform" min: 1 max: 3 } } }\n'
        'layer { name: "bn" type: "BatchNorm" bottom: "c" top: "c" }\n'
        f'layer {{ name: "behind" bottom: "c" top: "c" {behind} }}\n'
        'layer { name: "r" type: "ReLU" bottom: "c" top: "c" }\n'
        'layer { name: "l" type: "EuclideanLoss" bottom: "c" bottom: "t" top: "l" }\n'
    )
    nets = [Net(net_from_text(text, "net.prototxt"), TRAIN, keep=keep) for keep in (False, True)]
    # A second ReLU behind the first is a layer of its own.
    units = ([1, 1, 2, 1, 1] if "ReLU" in behind else [1, 1, 3, 1]) if fused else [1] * 6
    assert [len(unit.nodes) for unit in nets[0].plan.units] == units
    rng = np.random.default_rng(3)
    for name in "x", "t":
        values = rng.standard_normal(nets[0].blobs[name].shape)
        for net in nets:
            net.blobs[name].data[...] = values
    for net in nets:
        net.forward()
        net.backward()
    for name, blobs in nets[1].params.items():
        for blob, expected in zip(nets[0].params[name], blobs, strict=True):
            np.testing.assert_allclose(blob.data, expected.data, rtol=1e-6)
            if expected.diff is not None:
                scale = np.abs(expected.diff).max() + 1e-2
                np.testing.assert_allclose(blob.diff, expected.diff, rtol=0, atol=1e-5 * scale)
    np.testing.assert_allclose(nets[0].blobs["l"].data, nets[1].blobs["l"].data, rtol=1e-6)


def test_a_layer_without_tops_in_the_middle() -> None:
    split = 'layer { name: "d" type: "Split" bottom: "x" top: "a" top: "b" }\n'
    silence = 'layer { name: "s" type: "Silence" bottom: "a" }\n'
    nets = pair(INPUT + split + silence + convolution("num_output: 8 kernel_size: 1", bottom="b") + RELU)
    assert [len(unit.nodes) for unit in nets[0].plan.units] == [1, 1, 1, 2]
    same(nets)


INFERENCE = INPUT + convolution("num_output: 8 kernel_size: 1") + NORM + RELU + SIGMOID
LEARNING = (
    INPUT
    + 'layer { name: "first" type: "Scale" bottom: "x" top: "c" }\n'
    + NORM
    + RELU
    + SIGMOID
    + 'layer { name: "l" type: "Reduction" bottom: "out" top: "l" loss_weight: 1 }'
)


@pytest.mark.parametrize(
    ("text", "phase", "rules"),
    [
        (INFERENCE, TEST, {"bn": "inference", "s": "inference", "r": "inference", "g": "inference"}),
        (LEARNING, TRAIN, {"s": "learned affine", "r": "activation"}),
    ],
    ids=["inference", "learning"],
)
def test_each_layer_joins_by_the_rule_that_says_why(text: str, phase: int, rules: dict[str, str]) -> None:
    net = Net(net_from_text(text, "net.prototxt"), phase)
    joined = {}
    for unit in net.plan.units:
        for i, node in enumerate(unit.nodes[1:], 1):
            rule = rule_for(unit.nodes[:i], node)
            assert rule is not None
            joined[node.name] = rule.name
    assert joined == rules


def test_rules_exclude_each_other() -> None:
    """So the order in which they stand means nothing: no type has two of the facts that a chain may begin with."""
    for kind, cls in registry().items():
        facts = cls.facts
        assert facts.absorbs + (facts.absorbs_affine or bool(facts.absorbs_activation)) + facts.elementwise <= 1, kind
        assert facts.elementwise == issubclass(cls, ElementWise), kind
    assert len({rule.name for rule in RULES}) == len(RULES)
