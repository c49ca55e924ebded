"""Layers of sequences: Lstm, ContinuationIndicator, Transpose, Reverse."""

from collections.abc import Sequence

import numpy as np

from caffelite.export.onnx.graph import ANY, OnnxGraph
from caffelite.export.onnx.operators import converts
from caffelite.export.onnx.operators.arrangement import reversed_along
from caffelite.export.onnx.operators.recurrent import is_indicated, lstm_step, sequences, times, zeros
from caffelite.layers.forks.sequence.lstm import Lstm
from caffelite.net.graph import Node


@converts("Transpose")
def _transpose(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    order = list(node.layer.param.transpose_param.dim)
    return x if order == sorted(order) else [g.add("Transpose", x[0], perm=order)]


@converts("Reverse")
def _reverse(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    axis = node.layer.axis(node.layer.param.reverse_param.axis, node.bottoms[0].shape)
    return [reversed_along(g, x[0], [axis])]


@converts("ContinuationIndicator")
def _continuation_indicator(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """A constant; of one stream where their number depends on the batch, if all that reads it is ONNX's LSTM."""
    layer, (steps, streams) = node.layer, g.shape(node.tops[0])
    if streams == ANY:
        readers = [reader.layer.param.type for reader, _ in node.tops[0].readers]
        if not readers or set(readers) - {"LSTM", "Lstm"}:
            layer.error("it has a number for each stream of the batch, whose size must be known: give it with --batch")
        streams = 1
    indicator = np.ones((steps, streams))
    indicator[0] = 0
    return [g.constant(indicator)]


@converts("Lstm")
def _lstm(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """LSTM, where each pass is a sequence for each stream; else a Scan, as of LSTM with ``cont``."""
    layer, shape = node.layer, g.shape(node.bottoms[0])
    assert isinstance(layer, Lstm)
    time, streams, inputs = layer.extent(*(version.shape for version in node.bottoms))
    time = ANY if shape[0] == ANY else time
    streams = ANY if shape[1] == ANY and shape[0] != ANY else streams
    values = x[0] if shape == [time, streams, inputs] else g.reshape(x[0], [time, streams, inputs])
    if layer.indicated and not is_indicated(node):
        cont = g.reshape(x[1], [time, streams, 1])
        start = zeros(g, cont, streams, layer.size)
        *_, hidden = g.scan(
            [start, start], [times(g, layer, values, "x", "bias"), cont], layer.size, lstm_step(g, layer)
        )
    else:
        hidden = sequences(g, layer, values)
    after = g.shape(node.tops[0])
    return [hidden if len(after) == 3 else g.reshape(hidden, after)]
