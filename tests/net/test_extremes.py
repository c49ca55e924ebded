"""Nets that are very long, and settings that are very large: they are planned, or a sentence says which and why."""

import re
from pathlib import Path

import numpy as np
import pytest

from caffelite.draw.boxes import build
from caffelite.errors import NetError, ShapeError
from caffelite.layers.contract.context import Context
from caffelite.net import Net, room
from caffelite.net.fusion import LONGEST_CHAIN, units_of
from caffelite.net.graph import Graph
from caffelite.net.memory import Memory
from caffelite.net.parameters import Parameters
from caffelite.schema.text import net_from_text
from caffelite.words import TEST, TRAIN

INPUT = 'layer { name: "in" type: "Input" top: "b0" input_param { shape { dim: 2 dim: 4 dim: 6 dim: 6 } } }\n'


def chain(length: int, *kinds: str) -> str:
    layers = (
        f'layer {{ name: "l{i}" type: {kinds[i % len(kinds)]} bottom: "b{i}" top: "b{i + 1}" }}\n'
        for i in range(length)
    )
    loss = f'layer {{ name: "loss" type: "Reduction" bottom: "b{length}" top: "loss" loss_weight: 1 }}\n'
    return INPUT + "".join(layers) + loss


@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_a_row_of_elementwise_layers_longer_than_the_compiler_goes_down(phase: int) -> None:
    text = chain(60, '"ReLU" relu_param { negative_slope: 0.9 }', '"Power" power_param { scale: -1.1 shift: 0.5 }')
    nets = [
        Net(net_from_text("force_backward: true\n" * (phase == TRAIN) + text), phase, keep=keep)
        for keep in (False, True)
    ]
    assert max(len(unit.nodes) for unit in nets[0].plan.units) == LONGEST_CHAIN
    for net in nets:
        net.blobs["b0"].data[...] = np.random.default_rng(2).standard_normal((2, 4, 6, 6))
        net.forward()
        if phase == TRAIN:
            net.backward()
    np.testing.assert_allclose(nets[0].blobs["loss"].data, nets[1].blobs["loss"].data, rtol=1e-5)
    if phase == TRAIN:
        np.testing.assert_allclose(nets[0].blobs["b0"].diff, nets[1].blobs["b0"].diff, rtol=1e-5)


def test_time_of_planning_and_drawing_is_linear_in_the_layers() -> None:
    """4,000 layers take two seconds; a step that looks at all layers for each of them would show as a minute."""
    text = chain(4000, '"ReLU"', '"Scale"', '"Power" power_param { scale: 2 }')
    document = net_from_text(text)
    graph = Graph(document, Context(TRAIN))
    graph.infer_shapes()
    parameters = Parameters(graph, 1, np.dtype(np.float32), True)
    graph.mark_gradients(parameters.learns(), True)
    units = units_of(graph)
    assert Memory(graph, units, False, np.dtype(np.float32)).bytes
    diagram = build(document)
    assert (diagram.layers, len(diagram.edges)) == (4002, 4001)


HUGE = 2_000_000_000
ALLOWED = "more than a blob can have (2147483647)"


@pytest.mark.parametrize(
    ("layer", "told"),
    [
        (
            f'"Convolution" convolution_param {{ num_output: {HUGE} kernel_size: 1 }}',
            ["num_output is 2000000000", ALLOWED],
        ),
        (f'"InnerProduct" inner_product_param {{ num_output: {HUGE} }}', ["num_output is 2000000000", ALLOWED]),
        (
            '"Convolution" convolution_param { num_output: 1 kernel_size: 1000000 pad: 500000 }',
            ["pad", "kernel_size is 1000000", ALLOWED],
        ),
        (
            '"Convolution" convolution_param { num_output: 1 kernel_size: 3 pad: 1000000 dilation: 1000000 }',
            ["1000000", ALLOWED],
        ),
        (
            '"Deconvolution" convolution_param { num_output: 1 kernel_size: 3 stride: 1000000 }',
            ["stride is 1000000", ALLOWED],
        ),
        ('"Convolution" convolution_param { num_output: 4 kernel_size: 1 group: 1000000 }', ["group 1000000"]),
        ('"Convolution" convolution_param { num_output: 4 kernel_size: 1 axis: 1000000 }', ["axis 1000000"]),
        ('"Tile" tile_param { tiles: 2000000000 }', ["tiles is 2000000000", ALLOWED]),
    ],
)
def test_a_setting_that_is_too_large_is_named(layer: str, told: list[str]) -> None:
    text = INPUT + f'layer {{ name: "large"\n type: {layer}\n bottom: "b0" top: "y" }}'
    with pytest.raises((NetError, ShapeError)) as error:
        Net(net_from_text(text, "net.prototxt"), TEST)
    assert re.match(r'net\.prototxt:\d+:\d+: layer "large": ', str(error.value))
    for words in told:
        assert words in str(error.value)


@pytest.mark.parametrize("kind", ["Convolution", "Pooling"])
def test_a_stride_beyond_the_map_is_one_window(kind: str) -> None:
    nets = []
    for stride in (6, 1_000_000):
        settings = {
            "Convolution": f"convolution_param {{ num_output: 3 kernel_size: 3 stride: {stride} weight_filler {{ type: 'xavier' }} }}",
            "Pooling": f"pooling_param {{ kernel_size: 3 stride: {stride} }}",
        }[kind]
        text = INPUT + f'layer {{ name: "l" type: "{kind}" {settings} bottom: "b0" top: "b1" }}\n'
        net = Net(net_from_text("force_backward: true " + text), TRAIN, keep=True)
        net.blobs["b0"].data[...] = np.random.default_rng(1).standard_normal((2, 4, 6, 6))
        net.forward()
        net.blobs["b1"].diff[...] = 1
        net.backward()
        nets.append(net)
    for one in ("b0", "b1"):
        np.testing.assert_array_equal(nets[0].blobs[one].data, nets[1].blobs[one].data)
        np.testing.assert_array_equal(nets[0].blobs[one].diff, nets[1].blobs[one].diff)


def test_a_stride_that_leaves_most_pixels_out() -> None:
    """A pixel that no window has takes no kernel of its own: 90,000 of them took a minute and gigabytes."""
    large = INPUT.replace("dim: 6 dim: 6", "dim: 900 dim: 900")
    settings = "num_output: 3 kernel_size: 2 stride: 300 weight_filler { type: 'constant' value: 1 }"
    text = f'layer {{ name: "l" type: "Convolution" convolution_param {{ {settings} }} bottom: "b0" top: "b1" }}\n'
    net = Net(net_from_text("force_backward: true " + large + text), TRAIN, keep=True)
    assert sum(len(unit.backward) for unit in net.plan.units) < 20
    net.blobs["b0"].diff[...] = np.nan
    net.blobs["b1"].diff[...] = 1
    net.backward()
    expected = np.zeros((900, 900))
    expected[np.ix_(*[np.arange(900) % 300 < 2] * 2)] = 3
    np.testing.assert_array_equal(net.blobs["b0"].diff, np.broadcast_to(expected, (2, 4, 900, 900)))


def test_a_net_larger_than_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "memory_limit", lambda: (3e9, "this machine"))
    large = INPUT + 'layer { name: "l" type: "Tile" tile_param { tiles: 4000000 } bottom: "b0" top: "y" }'
    with pytest.raises(
        NetError, match=r'net "big": its parameters 0 GB and its blobs 4\.61 GB take more .* the 3 GB of this m'
    ):
        Net(net_from_text('name: "big" ' + large), TEST)
    wide = (
        INPUT
        + 'layer { name: "l" type: "InnerProduct" inner_product_param { num_output: 10000000 } bottom: "b0" top: "y" }'
    )
    with pytest.raises(NetError, match=r"its parameters 11\.6 GB take more memory"):
        Net(net_from_text(wide), TRAIN)


@pytest.mark.parametrize(
    ("cgroup", "files", "limit"),
    [
        ("0::/a/b\n", {"a/b/memory.max": "max\n", "a/memory.max": "1000000\n", "memory.max": "5000000\n"}, 1e6),
        ("4:cpu,cpuacct:/a\n3:memory:/a\n", {"memory/a/memory.limit_in_bytes": "2000000\n"}, 2e6),
        ("0::/\n", {}, None),
    ],
)
def test_the_limit_of_the_cgroup(tmp_path: Path, cgroup: str, files: dict[str, str], limit: float | None) -> None:
    mounts = [
        "31 22 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw",
        "32 22 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory",
    ]
    for name, text in {
        "proc/self/cgroup": cgroup,
        "proc/self/mountinfo": "\n".join(mounts),
        **{f"sys/fs/cgroup/{name}": text for name, text in files.items()},
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    size, reason = room.memory_limit(tmp_path)
    assert size == limit if limit else size > 1e6
    assert reason == ("this process's cgroup" if limit else "this machine")
