"""Layers without bottoms, which are constants here, and those that reach outside the net."""

from collections.abc import Sequence

import numpy as np

from caffelite.export.onnx.graph import OnnxGraph
from caffelite.export.onnx.operators import converts, refuses
from caffelite.layers.dummy_data import DummyData
from caffelite.net.graph import Node

refuses("it writes files, which no operator does", "HDF5Output")
refuses("its code is Python", "Python")


@converts("Parameter")
def _parameter(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    return [g.constant(node.layer.blobs[0].data, name="parameter")]


@converts("DummyData")
def _dummy_data(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """Constants."""
    layer = node.layer
    assert isinstance(layer, DummyData)
    for j, filler in enumerate(layer.fillers):
        if filler.type != "constant":
            layer.error(f"it draws numbers (filler {filler.type}), which no ONNX model can repeat", "data_filler", j)
    return [
        g.constant(np.full(shape, filler.value), name="data")
        for shape, filler in zip(layer.top_shapes, layer.fillers, strict=True)
    ]
