"""Numbers of 32 bits in 16, for the way between processes."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Half(NamedTuple):
    """A format of 16 bits.

    Attributes
    ----------
    encode : callable
        float32 array to uint16 array of its shape, rounded to the nearest, ties to even.
    decode : callable
        The way back, exact.
    """

    encode: Callable[[np.ndarray], np.ndarray]
    decode: Callable[[np.ndarray], np.ndarray]


def _float16(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # infinity is told by the solver
        return values.astype(np.float16).view(np.uint16)


def _from_float16(bits: np.ndarray) -> np.ndarray:
    return bits.view(np.float16).astype(np.float32)


def _bfloat16(values: np.ndarray) -> np.ndarray:
    bits = values.view(np.uint32)
    rounded = ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)
    # Rounding could carry a NaN over to infinity or zero.
    rounded[np.isnan(values)] = 0x7FC0
    return rounded


def _from_bfloat16(bits: np.ndarray) -> np.ndarray:
    return (bits.astype(np.uint32) << 16).view(np.float32)


#: IEEE 754's half precision: 11 bits of significand, up to 65,504. The upper half of a float32: 8 bits, its range.
HALVES = {"float16": Half(_float16, _from_float16), "bfloat16": Half(_bfloat16, _from_bfloat16)}
