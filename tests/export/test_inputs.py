"""Random inputs are such as the layers that read them can make sense of."""

import numpy as np
import pytest

from caffelite.export.inputs import random_input
from caffelite.layers.contract.context import Context
from caffelite.net.graph import Graph
from caffelite.schema.text import net_from_text
from caffelite.words import TEST

NET = """
layer {{ name: "in" type: "Input" top: "x" top: "y" input_param {{ shape {{ dim: {x} }} shape {{ dim: {y} }} }} }}
layer {{ name: "row" type: "Reshape" bottom: "y" top: "row" reshape_param {{ shape {{ dim: 0 dim: -1 }} }} }}
layer {{ name: "L" type: "{layer}" top: "L" {settings} }}
"""
FEATURES, RECURRENT = "[2, 3, 6, 8]", "recurrent_param { num_output: 2 }"
READS = 'bottom: "x" bottom: "row" '


def drawn(layer: str, x: str, y: str, settings: str) -> np.ndarray:
    text = NET.format(layer=layer, x=x, y=y, settings=settings)
    graph = Graph(net_from_text(text), Context(TEST))
    graph.infer_shapes()
    version = graph.names["y"]
    return random_input(version, version.shape, np.random.default_rng(1))


@pytest.mark.parametrize(
    ("layer", "x", "y", "settings", "values"),
    [
        ("Embed", FEATURES, "[40, 5]", 'bottom: "row" embed_param { input_dim: 4 num_output: 2 }', {0, 1, 2, 3}),
        ("LSTM", "[7, 5, 3]", "[7, 5]", READS + RECURRENT, {0, 1}),
        ("RNN", "[7, 5, 3]", "[7, 5]", READS + RECURRENT, {0, 1}),
        ("BatchReindex", FEATURES, "[9]", 'bottom: "x" bottom: "y"', {0, 1}),
    ],
)
def test_whole_numbers(layer, x, y, settings, values):
    assert set(drawn(layer, x, y, settings).ravel()) == values


def test_boxes_lie_in_the_image():
    settings = READS + "roi_pooling_param { pooled_h: 2 pooled_w: 2 spatial_scale: 0.5 }"
    boxes = drawn("ROIPooling", FEATURES, "[50, 5]", settings)
    assert set(boxes[:, 0]) == {0, 1}
    assert (boxes[:, 1] <= boxes[:, 3]).all() and (boxes[:, 2] <= boxes[:, 4]).all()
    assert 8 < boxes[:, 3].max() <= 16 and 6 < boxes[:, 4].max() <= 12


def test_other_inputs_are_any_numbers():
    values = drawn("AbsVal", FEATURES, "[300, 5]", 'bottom: "row"')
    assert abs(values.mean()) < 0.1 and abs(values.std() - 1) < 0.1
