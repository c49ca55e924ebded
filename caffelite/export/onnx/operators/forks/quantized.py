"""Ristretto's layers: the rounding to numbers of few bits written out around the layer that they are."""

import math
from collections.abc import Sequence

import numpy as np

from caffelite.export.onnx.graph import OnnxGraph
from caffelite.export.onnx.operators import converts, mappings
from caffelite.layers.contract.blobs import Blob
from caffelite.layers.forks.quantized.ristretto import FIXED, FLOAT, Ristretto
from caffelite.net.graph import Node
from caffelite.schema.messages import LayerParameter

#: Bits of the mantissa and of the exponent of float32.
_MANTISSA, _EXPONENT = 23, 8


@converts("ConvolutionRistretto", "DeconvolutionRistretto", "FcRistretto")
def _ristretto(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    layer = node.layer
    assert isinstance(layer, Ristretto)
    if layer.stochastic:
        layer.error("it rounds at random, which ONNX cannot; with rounding_scheme: NEAREST it can", "rounding_scheme")
    param = LayerParameter()
    param.CopyFrom(layer.param)
    param.type = layer.original.type
    plain = layer.original(param, layer.context, layer.place)
    plain.blobs = [Blob(blob.name, v) for blob, v in zip(layer.blobs, layer.rounded_parameters(), strict=True)]
    inputs = [_rounded(g, name, *layer.few_bits("layer_in")) for name in x]
    tops = mappings()[param.type].convert(g, Node(node.index, plain, node.bottoms, node.tops), inputs)
    return [_rounded(g, name, *layer.few_bits("layer_out")) for name in tops]


def _rounded(g: OnnxGraph, x: str, form: int, one: int, other: int) -> str:
    """Round to the nearest number of a form, for which see :class:`ConvolutionRistretto`."""
    if form == FLOAT:
        return _minifloat(g, x, one, other)
    assert form == FIXED
    unit, half = 2.0**-other, 2.0 ** (one - 1)
    y = g.add("Clip", x, g.constant(-half * unit, name="low"), g.constant((half - 1) * unit, name="high"))
    size = _whole(g, g.add("Mul", g.add("Abs", y), g.constant(1 / unit)))
    return g.add("Mul", g.add("Mul", g.add("Sign", y), size), g.constant(unit))


def _minifloat(g: OnnxGraph, x: str, mantissa: int, exponent: int) -> str:
    """Round the mantissa; what is too small becomes 0, what is too large the largest number."""
    if mantissa >= _MANTISSA and exponent >= _EXPONENT:
        return x
    size = rounded = g.add("Abs", x)
    unit, bias = 2.0**mantissa, 2 ** (exponent - 1) - 1
    largest = 2**exponent - 1 - bias
    if mantissa < _MANTISSA:
        above = g.add("Max", size, g.constant(np.finfo(np.float32).tiny))
        binary = g.add("Floor", g.add("Mul", g.add("Log", above), g.constant(1 / math.log(2))))
        power = g.add("Pow", g.constant(2), binary)
        fraction = g.add("Sub", g.add("Div", size, power), g.constant(1))
        steps = _whole(g, g.add("Mul", fraction, g.constant(unit)))
        rounded = g.add("Mul", g.add("Add", g.add("Mul", steps, g.constant(1 / unit)), g.constant(1)), power)
    if exponent < _EXPONENT:
        fits = g.add("Less", size, g.constant(2.0 ** (largest + 1)))
        rounded = g.add("Where", fits, rounded, g.constant((2 - 1 / unit) * 2.0**largest))
        small = g.add("Less", size, g.constant(2.0**-bias))
        rounded = g.add("Where", small, g.constant(0), rounded)
    return g.add("Mul", g.add("Sign", x), rounded)


def _whole(g: OnnxGraph, size: str) -> str:
    """Round what is not negative to the nearest whole number, the larger of two; Round takes the even one."""
    return g.add("Floor", g.add("Add", size, g.constant(0.5)))
