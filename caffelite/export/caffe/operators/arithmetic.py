"""Sums, products and the largest of several tensors: Eltwise of blobs; Power, Scale and Bias with constants."""

from typing import NamedTuple

import numpy as np

from caffelite.export.caffe.graph import CaffeGraph
from caffelite.export.caffe.operators import converts
from caffelite.export.caffe.reading import OnnxNode
from caffelite.words import Shape, text_of

_PROD, _SUM, _MAX = 0, 1, 2


class _Spread(NamedTuple):
    """A constant that is spread over the axes before and behind its own."""

    axis: int
    values: np.ndarray


@converts("Add")
def _add(g: CaffeGraph, node: OnnxNode) -> None:
    _sum_of_two(g, node, 1, 1)


@converts("Sub")
def _sub(g: CaffeGraph, node: OnnxNode) -> None:
    _sum_of_two(g, node, 1, -1)


def _sum_of_two(g: CaffeGraph, node: OnnxNode, first: int, second: int) -> None:
    """Eltwise, or Bias, or Power; the sum with these signs."""
    given = [g.constant(node, position) for position in (0, 1)]
    if given[0] is None and given[1] is None:
        _eltwise(g, node, _SUM, [first, second])
    elif given[1] is not None:
        _affine(g, node, 0, 1, second * given[1])
    elif given[0] is not None:
        _affine(g, node, 1, second, given[0])


@converts("Mul")
def _mul(g: CaffeGraph, node: OnnxNode) -> None:
    """Eltwise; Scale with a constant, or with one number for each map."""
    for position in (0, 1):
        values = g.constant(node, position)
        if values is not None:
            _scale(g, node, 1 - position, values)
            return
    one, other = (g.shape(name) for name in node.inputs)
    for small, shape, like in ((1, other, one), (0, one, other)):
        if shape != like and shape == (*like[:2], *[1] * (len(like) - 2)):
            factors = g.between(node, "factors")
            g.reshape(node, g.bottom(node, small), shape, shape[:2], factors)
            g.add(node, "Scale", g.bottom(node, 1 - small), factors).scale_param.axis = 0
            return
    _eltwise(g, node, _PROD)


@converts("Div")
def _div(g: CaffeGraph, node: OnnxNode) -> None:
    values = g.constant(node, 1)
    if values is None:
        g.refuse(node, "it divides by what the net computes, which no layer of Caffe's does")
    _scale(g, node, 0, 1 / values)


@converts("Neg")
def _neg(g: CaffeGraph, node: OnnxNode) -> None:
    g.add(node, "Power", g.bottom(node)).power_param.scale = -1


@converts("Sqrt")
def _sqrt(g: CaffeGraph, node: OnnxNode) -> None:
    g.add(node, "Power", g.bottom(node)).power_param.power = 0.5


@converts("Pow")
def _pow(g: CaffeGraph, node: OnnxNode) -> None:
    exponent = g.weight(node, 1)
    if exponent.size != 1:
        g.refuse(node, "it has several exponents, and Power has one")
    g.add(node, "Power", g.bottom(node)).power_param.power = float(exponent.reshape(-1)[0])


@converts("Max")
def _max(g: CaffeGraph, node: OnnxNode) -> None:
    _eltwise(g, node, _MAX)


@converts("Sum")
def _sum(g: CaffeGraph, node: OnnxNode) -> None:
    _eltwise(g, node, _SUM)


@converts("Mean")
def _mean(g: CaffeGraph, node: OnnxNode) -> None:
    _eltwise(g, node, _SUM, [1 / len(node.inputs)] * len(node.inputs))


def _eltwise(g: CaffeGraph, node: OnnxNode, operation: int, coefficients: list[float] | None = None) -> None:
    """Add Eltwise; what has one element along an axis is repeated along it first."""
    if len(node.inputs) == 1:
        g.same(node)
        return
    shape = g.shape(node.outputs[0])
    bottoms = [_spread(g, node, position, shape) for position in range(len(node.inputs))]
    p = g.add(node, "Eltwise", *bottoms).eltwise_param
    p.operation = operation
    if coefficients is not None and any(c != 1 for c in coefficients):
        p.coeff.extend(coefficients)


def _spread(g: CaffeGraph, node: OnnxNode, position: int, shape: Shape) -> str:
    blob, have = g.bottom(node, position), g.shape(node.inputs[position])
    if len(have) != len(shape):
        g.refuse(node, f"its input {position} of {text_of(have)} has fewer axes than the result, {text_of(shape)}")
    for axis, (m, n) in enumerate(zip(have, shape, strict=True)):
        if m != n:
            tiled = g.between(node, f"tile{position}{axis}")
            p = g.add(node, "Tile", blob, tops=[tiled]).tile_param
            p.axis, p.tiles = axis, n
            blob = tiled
    return blob


def _scale(g: CaffeGraph, node: OnnxNode, position: int, values: np.ndarray) -> None:
    """Multiply an input by a constant."""
    if values.size == 1:
        g.add(node, "Power", g.bottom(node, position)).power_param.scale = float(values.reshape(-1)[0])
        return
    spread = _spread_constant(g, node, position, values)
    p = g.add(node, "Scale", g.bottom(node, position), weights=[spread.values]).scale_param
    _set_axes(p, spread)


def _affine(g: CaffeGraph, node: OnnxNode, position: int, sign: int, values: np.ndarray) -> None:
    """Add a constant to an input, or to its negative."""
    if values.size == 1:
        p = g.add(node, "Power", g.bottom(node, position)).power_param
        p.scale, p.shift = sign, float(values.reshape(-1)[0])
        return
    spread = _spread_constant(g, node, position, values)
    blob = g.bottom(node, position)
    if sign < 0:
        negative = g.between(node, "negative")
        g.add(node, "Power", blob, tops=[negative]).power_param.scale = -1
        blob = negative
    _set_axes(g.add(node, "Bias", blob, weights=[spread.values]).bias_param, spread)


def _set_axes(settings: object, spread: _Spread) -> None:
    for name, value in (("axis", spread.axis), ("num_axes", spread.values.ndim)):
        if value != 1:
            setattr(settings, name, value)


def _spread_constant(g: CaffeGraph, node: OnnxNode, position: int, values: np.ndarray) -> _Spread:
    """Return a constant as Scale and Bias have it: without the axes of one element before and behind."""
    shape = g.shape(node.inputs[position])
    full = (1,) * (len(shape) - values.ndim) + values.shape
    if len(full) != len(shape) or any(m not in (1, n) for m, n in zip(full, shape, strict=True)):
        g.refuse(node, f"its constant of {text_of(values.shape)} makes more of an input of {text_of(shape)}")
    axes = [axis for axis, m in enumerate(full) if m != 1]
    first, last = axes[0], axes[-1] + 1
    return _Spread(first, np.broadcast_to(values.reshape(full[first:last]), shape[first:last]))
