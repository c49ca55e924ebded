"""Dropout: a mask of random bits, and the two passes through it. A task is CHUNK elements.

Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", 2014. Plain NumPy:
``naive.masked``.
"""

import numpy as np

from caffelite.kernels.engine.arrays import CHUNK
from caffelite.kernels.engine.calls import Call, call
from caffelite.kernels.engine.compiling import kernel
from caffelite.kernels.functions import random32


@kernel
def _forward(begin, end, worker, x, y, mask, seed, passes, ratio, scale, first):
    """mask = random number >= ratio, y = x · mask · scale.

    Parameters
    ----------
    x, y : ndarray of float, [elements]
        ``y`` is set.
    mask : ndarray of uint8, [elements]
        Is set: 1 for what is kept.
    seed : int
    passes : ndarray of int64, [1]
        The number of the pass; the mask at i depends on it, ``seed`` and ``first + i`` alone.
    ratio : float
        The share that is dropped, 0 to 1.
    scale : float
    first : int
        How many elements of the batch come before those of ``x``.
    """
    limit, factor = np.float32(ratio), np.float32(scale)
    for i in range(begin * CHUNK, min(end * CHUNK, len(x))):
        kept = random32(seed, passes[0], first + i) >= limit
        mask[i] = kept
        y[i] = x[i] * factor if kept else np.float32(0)


@kernel
def _backward(begin, end, worker, dy, dx, mask, scale):
    """dx = dy · mask · scale, all [elements]; ``dx`` is set, ``mask`` is uint8."""
    factor = np.float32(scale)
    for i in range(begin * CHUNK, min(end * CHUNK, len(dy))):
        dx[i] = dy[i] * factor if mask[i] else np.float32(0)


@kernel
def _scaled(begin, end, worker, x, y, scale):
    """y = x · scale, both [elements]; ``y`` is set."""
    factor = np.float32(scale)
    for i in range(begin * CHUNK, min(end * CHUNK, len(x))):
        y[i] = x[i] * factor


def forward(
    x: np.ndarray,
    y: np.ndarray,
    mask: np.ndarray,
    seed: int,
    passes: np.ndarray,
    ratio: float,
    scale: float,
    first: int = 0,
) -> Call:
    """Return the call that draws a mask for pass number ``passes[0]`` and applies it.

    ``first`` is how many elements of the batch come before those of ``x``.
    """
    factors = float(ratio), float(scale)
    return call(_forward, -(-x.size // CHUNK), x, y, mask, seed, passes, *factors, first, work=x.size * 8)


def backward(dy: np.ndarray, dx: np.ndarray, mask: np.ndarray, scale: float) -> Call:
    """Return the call that applies the same mask to the gradient."""
    return call(_backward, -(-dy.size // CHUNK), dy, dx, mask, float(scale), work=dy.size)


def scaled(x: np.ndarray, y: np.ndarray, scale: float) -> Call:
    """Return the call that multiplies by one number."""
    return call(_scaled, -(-x.size // CHUNK), x, y, float(scale), work=x.size)
