"""What runs as one kernel where nothing learns, held against the same net with every layer on its own."""

import numpy as np
import pytest

from caffelite.net import Net
from caffelite.schema.text import net_from_text
from caffelite.words import TEST, TRAIN

INPUT = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 6 dim: 9 dim: 11 } } }\n'
NORM = (
    'layer { name: "bn" type: "BatchNorm" bottom: "c" top: "c" }\n'
    'layer { name: "s" type: "Scale" bottom: "c" top: "c" scale_param { bias_term: true filler { type: "uniform" min: -1 } '
    'bias_filler { type: "uniform" min: -1 } } }\n'
)
RELU = 'layer { name: "r" type: "ReLU" bottom: "c" top: "c" relu_param { negative_slope: 0.1 } }\n'
SIGMOID = 'layer { name: "g" type: "Sigmoid" bottom: "c" top: "out" }\n'


FORKS = 'layer { name: "forks" type: "BN" bottom: "c" top: "c" bn_param { %s } }\n'


def convolution(settings: str, kind: str = "Convolution", bottom: str = "x") -> str:
    return (
        f'layer {{ name: "c" type: "{kind}" bottom: "{bottom}" top: "c" convolution_param {{ {settings} '
        'weight_filler { type: "gaussian" std: 0.3 } bias_filler { type: "gaussian" std: 1 } } }\n'
    )


def pair(text: str) -> tuple[Net, Net]:
    """Return the net as it runs, and with every layer on its own."""
    nets = Net(net_from_text(text, "net.prototxt"), TEST), Net(net_from_text(text, "net.prototxt"), TEST, keep=True)
    rng = np.random.default_rng(1)
    for name, blobs in nets[0].params.items():
        for i, blob in enumerate(blobs):
            if name == "bn":
                blob.data[...] = 3 if i == 2 else rng.uniform(1, 2, blob.shape)
            elif name == "forks":
                blob.data[...] = rng.uniform(1, 2, blob.shape)
            nets[1].params[name][i].data[...] = blob.data
    return nets


def same(nets: tuple[Net, Net]) -> None:
    x = np.random.default_rng(2).standard_normal(nets[0].blobs["x"].shape)
    for net in nets:
        net.blobs["x"].data[...] = x
        net.forward()
    for name in nets[0].outputs:
        expected = nets[1].blobs[name].data
        np.testing.assert_allclose(nets[0].blobs[name].data, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


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
        (convolution("num_output: 8 kernel_size: 1") + RELU + NORM, [1, 2, 1, 1]),
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
        ('type: "Scale" scale_param { num_axes: 0 filler { value: 2 } }', False),
    ],
    ids=["scale", "factor", "constant", "bias", "one"],
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
    assert [len(unit.nodes) for unit in nets[0].plan.units] == ([1, 1, 2, 1, 1] if fused else [1] * 6)
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


def test_parameters_that_change() -> None:
    nets = pair(INPUT + convolution("num_output: 8 kernel_size: 3") + NORM + RELU)
    same(nets)
    for net in nets:
        net.params["c"][0].data[...] *= 2
        net.params["bn"][1].data[...] += 1
        net.changed()
    same(nets)
    other = pair(INPUT + convolution("num_output: 8 kernel_size: 3").replace("0.3", "0.5") + NORM + RELU)[0]
    weights = other.weights()
    for net in nets:
        for name, blobs in net.params.items():
            for blob, values in zip(blobs, weights[name], strict=True):
                blob.data[...] = values
        net.changed()
    same(nets)


def concat(images: int, *layers: str) -> str:
    head = f'layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ dim: {images} dim: 6 dim: 9 dim: 11 }} }} }}\n'
    return head + "\n".join(layers)


def branch(name: str, outputs: int) -> str:
    return convolution(f"num_output: {outputs} kernel_size: 3 pad: 1").replace('"c"', f'"{name}"') + RELU.replace(
        '"c"', f'"{name}"'
    ).replace('"r"', f'"r{name}"')


def join(*bottoms: str, top: str = "out") -> str:
    names = " ".join(f'bottom: "{bottom}"' for bottom in bottoms)
    return f'layer {{ name: "{top}" type: "Concat" {names} top: "{top}" }}'


@pytest.mark.parametrize(
    ("images", "layers", "joined"),
    [
        (1, (branch("a", 3), branch("b", 5), join("a", "b")), 1),
        (2, (branch("a", 3), branch("b", 5), join("a", "b")), 0),
        (1, (branch("a", 3), branch("b", 5), join("a", "b", top="d"), branch("e", 2), join("d", "e")), 2),
        (1, (branch("a", 3), join("a", "a")), 0),
        (1, (branch("a", 3), join("x", "a")), 0),
        (1, (branch("a", 3), branch("b", 3), join("a", "b", top="d"), join("d", "b")), 1),
        (1, (branch("a", 3), branch("b", 5), join("a", "b", top="c"), SIGMOID), 1),
    ],
)
def test_branches_are_written_where_they_are_joined(images: int, layers: tuple, joined: int) -> None:
    nets = pair(concat(images, *layers))
    same(nets)
    same(nets)
    units = [unit for unit in nets[0].plan.units if unit.nodes[0].layer.type == "Concat"]
    assert sum(not unit.forward for unit in units) == joined


def test_branches_that_are_read_backward_are_copied() -> None:
    text = concat(1, branch("a", 3), branch("b", 5), join("a", "b"))
    loss = '\nlayer { name: "l" type: "Reduction" bottom: "out" top: "l" loss_weight: 1 }'
    nets = [Net(net_from_text(text + loss, "net.prototxt"), TRAIN, keep=keep) for keep in (False, True)]
    x = np.random.default_rng(3).standard_normal((1, 6, 9, 11))
    for net in nets:
        net.blobs["x"].data[...] = x
        net.forward()
        net.zero_grad()
        net.backward()
    np.testing.assert_allclose(nets[0].diff, nets[1].diff, rtol=1e-5, atol=1e-6)


def test_folded_weights_of_two_layers_do_not_meet() -> None:
    first = convolution("num_output: 6 kernel_size: 3 pad: 1") + NORM
    second = (
        (convolution("num_output: 5 kernel_size: 3", bottom="c") + NORM)
        .replace('name: "', 'name: "z')
        .replace('top: "c"', 'top: "out"')
        .replace('bottom: "c" top: "out" batch', 'bottom: "out" top: "out" batch')
    )
    second = second.replace('type: "BatchNorm" bottom: "c"', 'type: "BatchNorm" bottom: "out"').replace(
        'type: "Scale" bottom: "c"', 'type: "Scale" bottom: "out"'
    )
    nets = pair(INPUT + first + second)
    same(nets)
    nets[0].changed()
    same(nets)
