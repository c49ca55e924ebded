"""Kernels of batch normalization on a GPU, forward: ``y = activation((x - mean) * inverse * factor + offset)``.

``statistics`` reads the data once and leaves, for each split of each channel, number, mean, and squared distances;
means are told from the channel's first value, so that a mean that is large against the spread loses no digits.
``normalise`` joins them, and reads and writes the data once; backwards, because what was read last may still be in
the cache. Where a channel has one block only, the two are one kernel.

``normalise`` is long, and takes its numbers one by one: a kernel of a GPU is one function whose registers are counted
as a whole, and what the compiler makes of this one was looked at (``tools/cuda_ptx.py``): no spills, 16 bytes a load.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import cuda, types

from caffelite.kernels.cuda.access import access, pointer_to
from caffelite.kernels.cuda.activations import ACTIVATIONS
from caffelite.kernels.cuda.walk import ahead, back, first, joined, joined_in_block, mapped

_FLOATS = types.CPointer(types.float32)
_WALK = types.UniTuple(types.int64, 7)

#: Bits of ``present``: which arrays there are.
FACTOR, OFFSET, SAVED, STORED = 1, 2, 4, 8


@cache
def _measured(kind: str, width: int) -> Callable[..., Any]:
    """Return the function that takes number, mean and squared distances of a thread's share of a channel."""
    load, _ = access(kind, width)

    @cuda.jit(device=True)
    def add(values, shift, s, q):
        for k in range(width):
            d = values[k] - shift
            s += d
            q += d * d
        return s, q

    @cuda.jit(device=True)
    def measured(x, i, end, c, middle, walk):
        channels, vectors, _, _, hop, far, wrap = walk
        down = cuda.blockDim.y
        if i >= end:
            return np.float32(0), np.float32(0), np.float32(0)
        steps = (end - i + down - 1) // down
        o, v = first(i, c, channels, vectors)
        # One of the values: however far it is from the mean, squares lose at most the digits of their number.
        shift = load(x, o)[0]
        s = q = s1 = q1 = s2 = q2 = s3 = q3 = np.float32(0)
        for _ in range(steps >> 2):
            o1, v1 = ahead(o, v, hop, far, vectors, wrap)
            o2, v2 = ahead(o1, v1, hop, far, vectors, wrap)
            o3, v3 = ahead(o2, v2, hop, far, vectors, wrap)
            a = load(x, o)
            b = load(x, o1)
            d = load(x, o2)
            e = load(x, o3)
            s, q = add(a, shift, s, q)
            s1, q1 = add(b, shift, s1, q1)
            s2, q2 = add(d, shift, s2, q2)
            s3, q3 = add(e, shift, s3, q3)
            o, v = ahead(o3, v3, hop, far, vectors, wrap)
        for _ in range(steps & 3):
            s, q = add(load(x, o), shift, s, q)
            o, v = ahead(o, v, hop, far, vectors, wrap)
        number = np.float32(steps * width)
        s = (s + s1) + (s2 + s3)
        q = (q + q1) + (q2 + q3)
        distance = s / number
        square = q - s * distance
        if square < np.float32(0):
            square = np.float32(0)
        return number, (shift - middle) + distance, square

    return measured


@cuda.jit(device=True)
def _exact_sum(a, b):
    """Return ``a + b`` in two numbers (Knuth)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


@cache
def statistics(kind: str, width: int) -> tuple[Callable[..., Any], Any]:
    """Return the kernel that measures the splits of channels, and its signature.

    ``partial`` gets number, mean less the channel's first value, and squared distances, [3][splits][channels], and
    behind them these first values.
    """
    load, _ = access(kind, 1)
    measured = _measured(kind, width)

    def statistics(x, partial, walk):
        channels, vectors, count, per, _, _, _ = walk
        split, splits = cuda.blockIdx.y, cuda.gridDim.y
        c = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        begin = split * per
        end = min(begin + per, count) if c < channels else begin
        middle = np.float32(0)
        if c < channels:
            middle = load(x, c * vectors * width)[0]
        n, mean, square = measured(x, begin + cuda.threadIdx.y, end, c, middle, walk)
        n, mean, square = joined_in_block(n, mean, square, cuda.blockDim.y)
        if c < channels and cuda.threadIdx.y == 0:
            here = split * channels + c
            partial[here] = n
            partial[splits * channels + here] = mean
            partial[2 * splits * channels + here] = square
            if split == 0:
                partial[3 * splits * channels + c] = middle

    return statistics, types.void(pointer_to(kind), _FLOATS, _WALK)


def _from_partial(kind: str, width: int) -> Callable[..., Any]:
    @cuda.jit(device=True)
    def channel_statistics(x, partial, mean_sum, variance_sum, factor_sum, c, inside, walk, splits, lanes, share):
        channels = walk[0]
        n = mean = square = middle = np.float32(0)
        if inside:
            middle = partial[3 * splits * channels + c]
            for split in range(cuda.threadIdx.y, splits, cuda.blockDim.y):
                here = split * channels + c
                n, mean, square = joined(
                    n,
                    mean,
                    square,
                    partial[here],
                    partial[splits * channels + here],
                    partial[2 * splits * channels + here],
                )
        n, mean, square = joined_in_block(n, mean, square, lanes)
        mean, rest = _exact_sum(middle, mean)
        return mean, rest, square * share

    return channel_statistics


def _from_data(kind: str, width: int) -> Callable[..., Any]:
    load, _ = access(kind, 1)
    measured = _measured(kind, width)

    @cuda.jit(device=True)
    def channel_statistics(x, partial, mean_sum, variance_sum, factor_sum, c, inside, walk, splits, lanes, share):
        middle = np.float32(0)
        if inside:
            middle = load(x, c * walk[1] * width)[0]
        end = walk[2] if inside else 0
        n, mean, square = measured(x, cuda.threadIdx.y, end, c, middle, walk)
        n, mean, square = joined_in_block(n, mean, square, cuda.blockDim.y)
        mean, rest = _exact_sum(middle, mean)
        return mean, rest, square * share

    return channel_statistics


def _from_stored(kind: str, width: int) -> Callable[..., Any]:
    @cuda.jit(device=True)
    def channel_statistics(x, partial, mean_sum, variance_sum, factor_sum, c, inside, walk, splits, lanes, share):
        if not inside:
            return np.float32(0), np.float32(0), np.float32(0)
        scale = np.float32(0)
        if factor_sum[0] != np.float32(0):
            scale = np.float32(1) / factor_sum[0]
        return mean_sum[c] * scale, np.float32(0), variance_sum[c] * scale

    return channel_statistics


#: Where ``normalise`` has mean and variance from.
SOURCES = {"partial": _from_partial, "data": _from_data, "stored": _from_stored}


@cache
def normalise(kind: str, width: int, activation: str, source: str) -> tuple[Callable[..., Any], Any]:
    """Return the kernel that normalises, and its signature.

    ``saved``, [3][channels], gets the mean, what float32 loses of it, and ``1 / sqrt(variance + eps)``. Unless they
    are the ``source``, the stored sums are multiplied by ``fraction``, and mean, variance times ``unbiased``, and 1
    are added. ``share`` is 1 over the number of values of a channel.
    """
    load, store = access(kind, width)
    channel_statistics = SOURCES[source](kind, width)
    value, _ = ACTIVATIONS[activation]
    updates = source != "stored"

    @cuda.jit(device=True)
    def moved(x, other, numbers):
        mean, rest, gain, shift, slope = numbers
        return value(((x - mean) - rest) * gain + shift, slope)

    each = mapped(moved, width)

    def normalise(
        x,
        y,
        partial,
        saved,
        mean_sum,
        variance_sum,
        factor_sum,
        factor,
        offset,
        walk,
        lanes,
        eps,
        fraction,
        unbiased,
        share,
        slope,
        present,
    ):
        channels, vectors, count, per, hop, far, wrap = walk
        splits = cuda.gridDim.y
        split = splits - 1 - cuda.blockIdx.y
        c = (cuda.gridDim.x - 1 - cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
        inside = c < channels
        mean, rest, variance = channel_statistics(
            x, partial, mean_sum, variance_sum, factor_sum, c, inside, walk, splits, lanes, share
        )
        if not inside:
            return
        inverse = np.float32(1) / np.float32(math.sqrt(variance + eps))
        if split == 0 and cuda.threadIdx.y == 0:
            if present & SAVED:
                saved[c] = mean
                saved[channels + c] = rest
                saved[2 * channels + c] = inverse
            if updates and present & STORED:
                mean_sum[c] = mean_sum[c] * fraction + mean
                variance_sum[c] = variance_sum[c] * fraction + variance * unbiased
                if c == 0:
                    factor_sum[0] = factor_sum[0] * fraction + np.float32(1)
        gain, shift = inverse, np.float32(0)
        if present & FACTOR:
            gain *= factor[c]
        if present & OFFSET:
            shift = offset[c]
        numbers = mean, rest, gain, shift, slope
        down = cuda.blockDim.y
        i = split * per + cuda.threadIdx.y
        end = min(split * per + per, count)
        if i >= end:
            return
        steps = (end - i + down - 1) // down
        o, v = first(i + (steps - 1) * down, c, channels, vectors)
        for _ in range(steps >> 2):
            o1, v1 = back(o, v, hop, far, vectors, wrap)
            o2, v2 = back(o1, v1, hop, far, vectors, wrap)
            o3, v3 = back(o2, v2, hop, far, vectors, wrap)
            a = load(x, o)
            b = load(x, o1)
            d = load(x, o2)
            e = load(x, o3)
            store(y, o, each(a, a, numbers))
            store(y, o1, each(b, b, numbers))
            store(y, o2, each(d, d, numbers))
            store(y, o3, each(e, e, numbers))
            o, v = back(o3, v3, hop, far, vectors, wrap)
        for _ in range(steps & 3):
            a = load(x, o)
            store(y, o, each(a, a, numbers))
            o, v = back(o, v, hop, far, vectors, wrap)

    number = types.float32
    data = pointer_to(kind)
    return normalise, types.void(data, data, *[_FLOATS] * 7, _WALK, types.int64, *[number] * 5, types.int64)
