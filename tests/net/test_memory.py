"""Which arrays share memory, and that nothing is lost by it."""

import numpy as np
import pytest
from pairs import RELU, SIGMOID, convolution, pair, same

from caffelite.net import Net
from caffelite.net.graph import Version
from caffelite.net.storage import Storage, allocate
from caffelite.schema.text import net_from_text
from caffelite.words import TRAIN


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


def test_what_does_not_live_at_the_same_time_shares_memory() -> None:
    early, late, between, kept = Storage(10, 0, 2), Storage(20, 3, 5), Storage(5, 1, 4), Storage(3)
    kept.keep()
    part = Storage(4, whole=early, offset=6)
    taken = allocate([early, late, between, kept, part, early], np.dtype(np.float32))
    assert taken == 4 * (20 + 5 + 3)
    assert np.shares_memory(early.array, late.array)
    assert np.shares_memory(part.array, early.array[6:])
    assert not any(np.shares_memory(between.array, other.array) for other in (early, late, kept))
    assert [len(one.array) for one in (early, late, between, kept, part)] == [10, 20, 5, 3, 4]


def test_what_is_kept_lives_on() -> None:
    storage = Storage(6)
    storage.use(4)
    storage.use(2)
    assert (storage.first, storage.last) == (2, 4)
    storage.keep()
    assert storage.first < 0
    assert storage.last > 1 << 30


def test_what_is_asked_for_is_kept_whatever_was_fused_or_joined() -> None:
    nets = pair(concat(1, branch("a", 3), branch("b", 5), join("a", "b", top="c"), SIGMOID))
    plain = [len(unit.nodes) for unit in nets[0].plan.units]
    asked: list[Version] = []
    for node in nets[0].graph.nodes[1:]:
        nets[0].ask(node.tops)
        asked += node.tops
        same(nets)
        for version in asked:
            other = nets[1].graph.nodes[version.producer.index].tops[0]
            expected = nets[1].plan.blob(other).data
            np.testing.assert_allclose(nets[0].plan.blob(version).data, expected, atol=1e-5)
    assert max(plain) > 1 and all(len(unit.nodes) == 1 for unit in nets[0].plan.units)
