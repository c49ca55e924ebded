"""Layers over time: LSTM, RNN, LSTMUnit.

ONNX's own LSTM and RNN do not know ``cont``, with which a sequence begins in the middle of a pass, so the steps are a
Scan. What a layer carries from one pass to the next is no part of the model: each run begins with hidden values of 0,
unless they are given (``expose_hidden``).
"""

from collections.abc import Sequence

import numpy as np

from caffelite.export.onnx.graph import ANY, OnnxGraph, Step
from caffelite.export.onnx.operators import converts
from caffelite.layers.lstm import LSTM
from caffelite.layers.shared.recurrence import Cells, Recurrence
from caffelite.layers.shared.recurrent import Recurrent
from caffelite.net.graph import Node


@converts("LSTM")
def _lstm(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    layer = node.layer
    assert isinstance(layer, LSTM)
    return _steps(g, node, layer, x, lstm_step(g, layer))


def lstm_step(g: OnnxGraph, layer: Cells) -> Step:
    """Return what adds a step from hidden values and cells, the sums that go into the gates, and ``cont``."""
    recurrent = g.constant(layer.named()["h"].data.T, name="recurrent")

    def step(states: list[str], elements: list[str]) -> tuple[list[str], list[str]]:
        hidden, cell = states
        sums, cont = elements
        sums = g.add("Add", sums, g.add("MatMul", g.add("Mul", hidden, cont), recurrent))
        cell, hidden = _cell(g, g.split(sums, 1, [layer.size] * 4), g.add("Mul", cell, cont))
        return [hidden, cell], [hidden]

    return step


@converts("RNN")
def _rnn(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    layer = node.layer
    assert isinstance(layer, Recurrent)
    recurrent = g.constant(layer.named()["h"].data.T, name="recurrent")

    def step(states: list[str], elements: list[str]) -> tuple[list[str], list[str]]:
        sums, cont = elements
        # Not (cont h) Wh, as Caffe has it, of which OpenVINO 2026.4 makes a cell that does not know cont.
        entered = g.add("Mul", g.add("MatMul", states[0], recurrent), cont)
        hidden = g.add("Tanh", g.add("Add", sums, entered))
        return [hidden], [hidden]

    hidden, *last = _steps(g, node, layer, x, step)
    return [g.add("Tanh", times(g, layer, hidden, "out", "out bias")), *last]


@converts("LSTMUnit")
def _lstm_unit(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    before, sums, cont = x
    gates = g.split(sums, 2, [node.bottoms[0].shape[2]] * 4)
    return _cell(g, gates, g.add("Mul", before, g.unsqueeze(cont, [2])))


def _cell(g: OnnxGraph, sums: Sequence[str], before: str) -> tuple[str, str]:
    """Return the cells and the hidden values after a step, from the sums of i, f, o, g and the cells that go on."""
    i, f, o = (g.add("Sigmoid", one) for one in sums[:3])
    cell = g.add("Add", g.add("Mul", f, before), g.add("Mul", i, g.add("Tanh", sums[3])))
    return cell, g.add("Mul", o, g.add("Tanh", cell))


def times(g: OnnxGraph, layer: Recurrence, x: str, weights: str, bias: str) -> str:
    """Multiply rows by some of the layer's weights and add its bias."""
    blobs = layer.named()
    y = g.add("MatMul", x, g.constant(blobs[weights].data.T, name=weights))
    return g.add("Add", y, g.constant(blobs[bias].data, name="bias"))


def _steps(g: OnnxGraph, node: Node, layer: Recurrent, x: list[str], step: Step) -> list[str]:
    """Return the hidden values of all steps; with ``expose_hidden``, the last ones as well."""
    shape = g.shape(node.bottoms[0])
    _, _, inputs = layer.extent(*[version.shape for version in node.bottoms])
    values = x[0] if len(shape) == 3 else g.reshape(x[0], [*shape[:2], inputs])
    sums = times(g, layer, values, "x", "bias")
    if layer.static:
        rows = x[2] if len(node.bottoms[2].shape) == 2 else g.add("Flatten", x[2], axis=1)
        weights = g.constant(layer.named()["static"].data.T, name="static")
        sums = g.add("Add", sums, g.add("MatMul", rows, weights))
    cont = g.unsqueeze(x[1], [2])
    if layer.exposed:
        states = [g.squeeze(x[j], [0]) for j in layer.exposed]
    else:
        states = [zeros(g, cont, shape[1], layer.size)] * len(layer.hidden)
    *last, hidden = g.scan(states, [sums, cont], layer.size, step)
    return [hidden, *[g.unsqueeze(state, [0]) for state in last[: len(layer.exposed)]]]


def zeros(g: OnnxGraph, cont: str, streams: int, size: int) -> str:
    """Return hidden values of 0; of as many streams as ``cont`` has, where these depend on the batch."""
    if streams != ANY:
        return g.constant(np.zeros((streams, size)), name="zeros")
    first = g.add("Gather", cont, g.integers(0), axis=0)
    return g.add("Mul", first, g.constant(np.zeros((1, size)), name="zeros"))
