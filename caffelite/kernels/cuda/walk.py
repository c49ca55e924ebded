"""What kernels on a GPU share: a thread's way through its vectors, and sums over the threads of a block.

Nothing here depends on which thread is faster: sums are trees of a fixed order, so that two runs give the same bits.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import cuda, types


@cuda.jit(device=True)
def first(i, c, channels, vectors):
    """Return where the i-th vector of channel c is: in memory, and in its row."""
    # A division of 64 bits takes many times as long as one of 32.
    image = np.int64(np.uint32(i) // np.uint32(vectors))
    v = i - image * vectors
    return (image * channels + c) * vectors + v, v


@cuda.jit(device=True)
def ahead(o, v, hop, far, vectors, wrap):
    """Return where the thread's next vector is."""
    v += hop
    o += far
    if v >= vectors:
        v -= vectors
        o += wrap
    return o, v


@cuda.jit(device=True)
def back(o, v, hop, far, vectors, wrap):
    """Return where the thread's vector before this one is."""
    v -= hop
    o -= far
    if v < 0:
        v += vectors
        o -= wrap
    return o, v


@cuda.jit(device=True)
def joined(n, mean, square, other_n, other_mean, other_square):
    """Return number, mean, and squared distances from it, of two sets of values taken together.

    Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979.
    """
    both = n + other_n
    if other_n > np.float32(0):
        distance = other_mean - mean
        share = other_n / both
        mean += distance * share
        square += other_square + distance * distance * (n * share)
    return both, mean, square


@cuda.jit(device=True)
def joined_in_block(n, mean, square, lanes):
    """Return the same of all threads on a channel, for each of them; ``lanes``, a power of two, have values."""
    shared = cuda.shared.array(0, types.float32)
    across = cuda.blockDim.x
    threads = across * cuda.blockDim.y
    y = cuda.threadIdx.y
    here = y * across + cuda.threadIdx.x
    shared[here] = n
    shared[threads + here] = mean
    shared[2 * threads + here] = square
    cuda.syncthreads()
    half = lanes >> 1
    while half > 0:
        if y < half:
            there = here + half * across
            n, mean, square = joined(
                n, mean, square, shared[there], shared[threads + there], shared[2 * threads + there]
            )
            shared[here] = n
            shared[threads + here] = mean
            shared[2 * threads + here] = square
        cuda.syncthreads()
        half >>= 1
    top = cuda.threadIdx.x
    return shared[top], shared[threads + top], shared[2 * threads + top]


@cuda.jit(device=True)
def added_in_block(s, p, lanes):
    """Return two sums over the threads on a channel, for each of them."""
    shared = cuda.shared.array(0, types.float32)
    across = cuda.blockDim.x
    threads = across * cuda.blockDim.y
    y = cuda.threadIdx.y
    here = y * across + cuda.threadIdx.x
    shared[here] = s
    shared[threads + here] = p
    cuda.syncthreads()
    half = lanes >> 1
    while half > 0:
        if y < half:
            there = here + half * across
            s += shared[there]
            p += shared[threads + there]
            shared[here] = s
            shared[threads + here] = p
        cuda.syncthreads()
        half >>= 1
    top = cuda.threadIdx.x
    return shared[top], shared[threads + top]


@cache
def mapped(function: Callable[..., Any], width: int) -> Callable[..., Any]:
    """Return ``each(values, others, numbers)``: ``function(value, other, numbers)`` of each element of two vectors."""
    if width == 1:
        return cuda.jit(device=True)(lambda values, others, numbers: (function(values[0], others[0], numbers),))
    half = width // 2
    part = mapped(function, half)

    @cuda.jit(device=True)
    def each(values, others, numbers):
        return part(values[:half], others[:half], numbers) + part(values[half:], others[half:], numbers)

    return each
