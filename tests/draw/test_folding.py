"""Equal blocks: found by structure and facts, not by names, and folded so that nothing else changes."""

import re

import pytest
from deep_nets import block, residual_net

from caffelite.draw.boxes import Diagram, build
from caffelite.draw.dot import dot
from caffelite.draw.folding import Group, folded, groups_of
from caffelite.draw.mermaid import mermaid
from caffelite.schema.text import net_from_text

FIRST = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 4 dim: 8 dim: 8 } } }\n'


def groups(text: str) -> tuple[Diagram, list[Group]]:
    document = net_from_text(text)
    diagram = build(document)
    return diagram, groups_of(diagram, document)


@pytest.mark.parametrize("stages", [(3, 4, 6, 3), (3, 8, 36, 3)], ids=["ResNet-50", "ResNet-152"])
def test_residual_nets_are_four_groups(stages: tuple[int, ...]) -> None:
    diagram, found = groups(residual_net(stages))
    assert [group.blocks for group in found] == [blocks - 1 for blocks in stages]
    # A block begins behind the sum of the one before it.
    assert [diagram.boxes[group.first].rows[0].name for group in found] == [f"res{s}_1_branch2a" for s in (2, 3, 4, 5)]
    small = folded(diagram, found, range(4)).diagram
    assert len(small.boxes) == 2 + 4 * (5 + 4) + 2
    assert (small.layers, small.parameters, small.totals) == (diagram.layers, diagram.parameters, diagram.totals)


def test_what_is_folded_is_drawn_once_with_how_often() -> None:
    diagram, found = groups(residual_net((4,)))
    small = folded(diagram, found, [0])
    assert small.boxes == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 19, 20]
    edges = {(small.boxes[e.source], small.boxes[e.target], e.blob) for e in small.diagram.edges}
    # From the projection block into the first, from the last on.
    assert {(6, 7, "res2_0"), (6, 10, "res2_0"), (10, 19, "res2_3")} <= edges
    assert len(edges) == 14
    whole = folded(diagram, found, [])
    assert [box.rows for box in whole.diagram.boxes] == [box.rows for box in diagram.boxes]
    (frame,) = small.diagram.frames
    assert frame.label == "× 3: res2_1_branch2a … res2_3_branch2a"
    assert frame.told == "3 blocks that are equal but for their names, 681 parameters, 541 k multiply-adds"
    assert 'subgraph cluster_0 { graph [label="× 3: ' in dot(small.diagram)
    chart = mermaid(small.diagram)
    assert 'subgraph g0["× 3: ' in chart and chart.count("\n  end\n") == 1
    assert len(re.findall(r"^  b\d+\[", chart, re.MULTILINE)) == 13


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        (("", ""), [4]),
        # Another setting, in the third of the blocks that are named.
        (("num_output: 4 kernel_size: 3", "num_output: 4 kernel_size: 5 "), [2]),
        # A layer in it that the others have not.
        (('layer { name: "b3_relu" type: "ReLU" bottom: "b3" top: "b3" }', ""), [2]),
        # The first is read by the third, too, so that it is no block like the second.
        (('bottom: "b2" bottom: "b3_branch2c"', 'bottom: "b1" bottom: "b3_branch2c"'), []),
    ],
)
def test_blocks_that_differ(change: tuple[str, str], counts: list[int]) -> None:
    third = block("b3", "b2", 4).replace(*change)
    _, found = groups(FIRST + block("b1", "x", 4) + block("b2", "b1", 4) + third + block("b4", "b3", 4))
    assert [group.blocks for group in found] == counts


def test_a_block_that_others_read_ends_a_group() -> None:
    text = FIRST + "".join(block(f"b{i}", f"b{i - 1}" if i > 1 else "x", 4) for i in range(1, 7))
    text += 'layer { name: "head" type: "Convolution" bottom: "b3" top: "head" convolution_param { num_output: 2 kernel_size: 1 } }'
    diagram, found = groups(text)
    assert [(group.first, group.blocks) for group in found] == [(1, 3), (13, 3)]
    small = folded(diagram, found, [0, 1]).diagram
    assert ("b3", "head") in {(edge.blob, small.boxes[edge.target].rows[0].name) for edge in small.edges}


def test_two_equal_layers_are_not_worth_a_frame() -> None:
    layers = "".join(
        f'layer {{ name: "c{i}" type: "Convolution" bottom: "{f"c{i - 1}" if i else "x"}" top: "c{i}" '
        "convolution_param { num_output: 4 kernel_size: 1 } }"
        for i in range(4)
    )
    assert [group.blocks for group in groups(FIRST + layers)[1]] == [4]
    assert groups(FIRST + layers[: layers.index('layer { name: "c2"')])[1] == []


def test_shared_parameters_are_counted_once_in_a_group() -> None:
    layers = "".join(
        f'layer {{ name: "c{i}" type: "InnerProduct" bottom: "{f"c{i - 1}" if i else "x"}" top: "c{i}" '
        'param { name: "w" } inner_product_param { num_output: 256 bias_term: false axis: 0 } }'
        for i in range(4)
    ).replace("axis: 0", "axis: 1")
    diagram, found = groups(FIRST + layers)
    assert "65.5 k parameters" in folded(diagram, found, [0]).diagram.frames[0].told
