"""Scalar mathematics in float32 that LLVM turns into vector instructions: no branches, no calls of a C library.

``numpy.exp`` in a compiled loop is a call for each element; these are a few multiply-adds. The polynomials are those
of the Cephes library (Moshier, 1992), accurate to about two units in the last place. For float64 values (of a net whose
gradients are checked) they are NumPy's functions.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, overload, register_jitable

_F = np.float32
_LOG2E = _F(1.4426950408889634)
_LN2_HIGH, _LN2_LOW = _F(0.693359375), _F(-2.12194440e-4)
_INFINITY, _NAN = _F(np.inf), _F(np.nan)
_LARGEST, _SMALLEST = _F(88.722835), _F(-87.33654)
#: The smallest normal float32, by C's name.
FLT_MIN = _F(1.1754943508222875e-38)


@intrinsic
def as_float(typing_context, bits):
    """Return the float32 with these 32 bits."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


@intrinsic
def as_bits(typing_context, value):
    """Return the 32 bits of a float32."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.int32(types.float32), generate


def _in_float64(double: Callable[..., Any]) -> Callable[..., Any]:
    """Let kernels use a float32 function for float32 values and ``double`` for float64 values."""

    def register(single: Callable[..., Any]) -> Callable[..., Any]:
        overload(single, strict=False)(lambda x: double if x == types.float64 else single)
        return single

    return register


@_in_float64(lambda x: np.exp(x))
def exp32(x):
    """e to the x; infinity above 88.72, 0 below -87.33."""
    inside = min(max(x, _SMALLEST), _LARGEST)
    n = np.floor(inside * _LOG2E + _F(0.5))
    r = (inside - n * _LN2_HIGH) - n * _LN2_LOW
    p = _F(1.9875691500e-4)
    p = p * r + _F(1.3981999507e-3)
    p = p * r + _F(8.3334519073e-3)
    p = p * r + _F(4.1665795894e-2)
    p = p * r + _F(1.6666665459e-1)
    p = p * r + _F(5.0000001201e-1)
    # Two factors, because 2 to the 128 is not a float32.
    half = np.int32(n) >> np.int32(1)
    scale = as_float((half + np.int32(127)) << np.int32(23))
    rest = as_float((np.int32(n) - half + np.int32(127)) << np.int32(23))
    value = (p * r * r + r + _F(1)) * scale * rest
    value = _INFINITY if x > _LARGEST else value
    value = _F(0) if x < _SMALLEST else value
    return x if x != x else value


@_in_float64(lambda x: np.log(x))
def log32(x):
    """Natural logarithm; minus infinity at 0, NaN below."""
    # A number below the smallest normal one has no exponent of its own: 2 to the 23 gives it one.
    subnormal = x < FLT_MIN
    bits = as_bits(x * _F(8388608) if subnormal else x)
    e = _F((bits >> np.int32(23)) - np.int32(127)) - (_F(23) if subnormal else _F(0))
    m = as_float((bits & np.int32(0x7FFFFF)) | np.int32(0x3F800000))
    large = m > _F(1.4142135)
    m = m * _F(0.5) if large else m
    e = e + _F(1) if large else e
    f = m - _F(1)
    p = _F(7.0376836292e-2)
    p = p * f + _F(-1.1514610310e-1)
    p = p * f + _F(1.1676998740e-1)
    p = p * f + _F(-1.2420140846e-1)
    p = p * f + _F(1.4249322787e-1)
    p = p * f + _F(-1.6668057665e-1)
    p = p * f + _F(2.0000714765e-1)
    p = p * f + _F(-2.4999993993e-1)
    p = p * f + _F(3.3333331174e-1)
    square = f * f
    value = f * square * p + e * _F(-2.12194440e-4) - _F(0.5) * square + f + e * _F(0.693359375)
    value = x if x == _INFINITY else value
    value = -_INFINITY if x == _F(0) else value
    return _NAN if x < _F(0) or x != x else value


@register_jitable
def sigmoid32(x):
    """1 / (1 + e to the minus x)."""
    return _F(1) / (_F(1) + exp32(-x))


@_in_float64(lambda x: np.tanh(x))
def tanh32(x):
    """Hyperbolic tangent."""
    square = x * x
    p = _F(-5.70498872745e-3)
    p = p * square + _F(2.06390887954e-2)
    p = p * square + _F(-5.37397155531e-2)
    p = p * square + _F(1.33314422036e-1)
    p = p * square + _F(-3.33332819422e-1)
    near = p * square * x + x
    far = _F(1) - _F(2) / (exp32(x + x) + _F(1))
    return near if abs(x) < _F(0.625) else far


@register_jitable
def random32(seed, counter, index):
    """A random number from 0 up to 1 that depends on its arguments alone (splitmix64, Steele et al., 2014)."""
    z = np.uint64(seed) + np.uint64(counter) * np.uint64(0xD1342543DE82EF95)
    z = (z ^ (z >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    z = z + np.uint64(index) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return _F((z ^ (z >> np.uint64(31))) >> np.uint64(40)) * _F(1.0 / (1 << 24))
