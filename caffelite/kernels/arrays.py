"""Memory for kernels, and the two things done to whole arrays: copy and add."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

from caffelite.kernels.launch import Call, call, kernel

#: Floats a task of these kernels works on: a few pages, so that two threads share a large array evenly.
CHUNK = 4096


def zeros(shape: Sequence[int] | int, dtype: DTypeLike = np.float32) -> np.ndarray:
    """Return an array of zeros that starts at a cache line (64 bytes), so that no vector load crosses two."""
    size = int(np.prod(shape, dtype=np.int64))
    raw = np.zeros(size * np.dtype(dtype).itemsize + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size * np.dtype(dtype).itemsize].view(dtype).reshape(shape)


@kernel
def _copy(begin, end, worker, source, target):
    """target = source, both flat."""
    for i in range(begin * CHUNK, min(end * CHUNK, len(source))):
        target[i] = source[i]


@kernel
def _accumulate(begin, end, worker, source, target):
    """target += source, both flat."""
    for i in range(begin * CHUNK, min(end * CHUNK, len(source))):
        target[i] += source[i]


def copy(source: np.ndarray, target: np.ndarray) -> Call:
    """Return the call that sets ``target`` to ``source``; same number of elements."""
    return call(_copy, -(-source.size // CHUNK), source.reshape(-1), target.reshape(-1), work=source.size)


def accumulate(source: np.ndarray, target: np.ndarray) -> Call:
    """Return the call that adds ``source`` to ``target``; same number of elements."""
    return call(_accumulate, -(-source.size // CHUNK), source.reshape(-1), target.reshape(-1), work=source.size)
