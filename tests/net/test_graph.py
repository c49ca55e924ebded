"""The graph: versions of blobs, which layers belong to a state, and what gets a gradient."""

import pytest
from mixed_net import BODY, make

from caffelite.errors import NetError, ShapeError


def test_a_name_stands_for_its_last_version() -> None:
    net = make(keep=True)
    net.forward()
    assert net.blobs["conv"].data.min() == 0
    nodes = {node.name: node for node in net.graph.nodes}
    assert nodes["bn"].bottoms[0] is not nodes["bn"].tops[0]
    assert net.graph.names["conv"] is nodes["relu"].tops[0]


def test_frozen_layers_and_propagate_down() -> None:
    frozen = BODY.replace(
        'top: "conv" convolution', 'top: "conv" param { lr_mult: 0 } param { lr_mult: 0 } convolution'
    )
    net = make(frozen)
    nodes = {node.name: node for node in net.graph.nodes}
    assert not nodes["conv"].backward
    assert nodes["scale"].backward
    assert nodes["scale"].propagate == [False]
    cut = make(BODY.replace('type: "Flatten"', 'type: "Flatten" propagate_down: false'))
    nodes = {node.name: node for node in cut.graph.nodes}
    assert not nodes["conv"].backward
    assert nodes["a"].backward
    with pytest.raises(NetError, match="propagate_down is given 2 times"):
        make(BODY.replace('type: "Flatten"', 'type: "Flatten" propagate_down: false propagate_down: true'))


def test_force_backward_reaches_the_input() -> None:
    net = make("force_backward: true" + BODY, keep=True)
    net.forward()
    net.backward()
    assert net.blobs["data"].diff is not None
    assert net.blobs["data"].diff.any()
    assert make(keep=True).blobs["data"].diff is None


@pytest.mark.parametrize(
    ("rule", "state", "there"),
    [
        ("", {}, True),
        ("include { phase: TRAIN }", {}, True),
        ("include { phase: TEST }", {}, False),
        ("exclude { phase: TRAIN }", {}, False),
        ("include { phase: TEST } include { min_level: 1 }", {"level": 1}, True),
        ("include { min_level: 1 max_level: 2 }", {"level": 3}, False),
        ("include { stage: 'a' stage: 'b' }", {"stages": ["a"]}, False),
        ("include { stage: 'a' stage: 'b' }", {"stages": ["b", "a"]}, True),
        ("include { not_stage: 'a' }", {"stages": ["a"]}, False),
        ("exclude { stage: 'a' } exclude { max_level: -1 }", {"level": 0}, True),
    ],
)
def test_rules(rule: str, state: dict[str, object], there: bool) -> None:
    net = make(f'layer {{ name: "r" type: "ReLU" bottom: "data" top: "r" {rule} }}', **state)
    assert ("r" in net.layer_names) == there


def test_sizes_are_checked_before_memory_is_taken() -> None:
    text = (
        """layer { name: "big" type: "DummyData" top: "b" dummy_data_param { shape { dim: 1000000 dim: 1000000 } } }"""
    )
    with pytest.raises(ShapeError, match='layer "big": top "b" would have 1000000×1000000 values'):
        make(text)


def test_inputs_are_the_blobs_that_the_caller_fills() -> None:
    dummy = 'layer { name: "d" type: "DummyData" top: "d" dummy_data_param { shape { dim: 2 } } }\n'
    memory = (
        'layer { name: "m" type: "MemoryData" top: "m" top: "n" '
        "memory_data_param { batch_size: 2 channels: 1 height: 3 width: 3 } }\n"
    )
    net = make(dummy + memory)
    assert net.inputs == ["data", "label"]
    assert net.outputs == ["d", "data", "label", "m", "n"]
