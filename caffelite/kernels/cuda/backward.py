"""Kernels of batch normalization on a GPU, backward.

With ``d`` the gradient of what goes into the activation and ``z`` the normalised values,
``d_factor = sum(d * z)``, ``d_offset = sum(d)`` and ``dx = (d - mean(d) - z * mean(d * z)) * inverse * factor``.
What goes into the activation is computed again from x, so that nothing but x and the statistics has to be kept.

``sums`` reads x and dy once; ``gradient`` reads them once more, backwards, and writes dx. Where a channel has one
block only, the two are one kernel.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import cuda, types

from caffelite.kernels.cuda.access import access, pointer_to
from caffelite.kernels.cuda.activations import ACTIVATIONS
from caffelite.kernels.cuda.forward import FACTOR, OFFSET
from caffelite.kernels.cuda.walk import added_in_block, ahead, back, first, mapped

_FLOATS = types.CPointer(types.float32)
_WALK = types.UniTuple(types.int64, 7)

#: Bits of ``asked``: which gradients are, and whether those of parameters are added to what is there.
D_FACTOR, D_OFFSET, DX, ADD = 1, 2, 4, 8


@cuda.jit(device=True)
def _of_channel(c, channels, saved, factor, offset, present, slope):
    """Return what the elements of a channel have in common."""
    gain, shift = np.float32(1), np.float32(0)
    if present & FACTOR:
        gain = factor[c]
    if present & OFFSET:
        shift = offset[c]
    return saved[c], saved[channels + c], saved[2 * channels + c], gain, shift, slope


@cache
def _summed(kind: str, width: int, activation: str) -> Callable[..., Any]:
    """Return the function that takes the sums of d and of d * z over a thread's share of a channel."""
    load, _ = access(kind, width)
    _, derivative = ACTIVATIONS[activation]

    @cuda.jit(device=True)
    def add(values, gradients, channel, s, p):
        mean, rest, inverse, gain, shift, slope = channel
        for k in range(width):
            z = ((values[k] - mean) - rest) * inverse
            d = gradients[k] * derivative(z * gain + shift, slope)
            s += d
            p += d * z
        return s, p

    @cuda.jit(device=True)
    def summed(x, dy, i, end, c, channel, walk):
        channels, vectors, _, _, hop, far, wrap = walk
        down = cuda.blockDim.y
        s = p = s1 = p1 = np.float32(0)
        if i >= end:
            return s, p
        steps = (end - i + down - 1) // down
        o, v = first(i, c, channels, vectors)
        for _ in range(steps >> 1):
            o1, v1 = ahead(o, v, hop, far, vectors, wrap)
            a = load(x, o)
            da = load(dy, o)
            b = load(x, o1)
            db = load(dy, o1)
            s, p = add(a, da, channel, s, p)
            s1, p1 = add(b, db, channel, s1, p1)
            o, v = ahead(o1, v1, hop, far, vectors, wrap)
        if steps & 1:
            s, p = add(load(x, o), load(dy, o), channel, s, p)
        return s + s1, p + p1

    return summed


@cache
def sums(kind: str, width: int, activation: str) -> tuple[Callable[..., Any], Any]:
    """Return the kernel that takes the sums over the splits of channels, [2][splits][channels], and its signature."""
    summed = _summed(kind, width, activation)

    def sums(x, dy, partial, saved, factor, offset, walk, slope, present):
        channels, _, count, per, _, _, _ = walk
        split, splits = cuda.blockIdx.y, cuda.gridDim.y
        c = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        s = p = np.float32(0)
        if c < channels:
            channel = _of_channel(c, channels, saved, factor, offset, present, slope)
            i = split * per + cuda.threadIdx.y
            s, p = summed(x, dy, i, min(split * per + per, count), c, channel, walk)
        s, p = added_in_block(s, p, cuda.blockDim.y)
        if c < channels and cuda.threadIdx.y == 0:
            partial[split * channels + c] = s
            partial[(splits + split) * channels + c] = p

    data = pointer_to(kind)
    return sums, types.void(data, data, *[_FLOATS] * 4, _WALK, types.float32, types.int64)


def _from_partial(kind: str, width: int, activation: str) -> Callable[..., Any]:
    @cuda.jit(device=True)
    def channel_sums(x, dy, partial, c, channel, inside, walk, splits, lanes):
        channels = walk[0]
        s = p = np.float32(0)
        if inside:
            for split in range(cuda.threadIdx.y, splits, cuda.blockDim.y):
                s += partial[split * channels + c]
                p += partial[(splits + split) * channels + c]
        return added_in_block(s, p, lanes)

    return channel_sums


def _from_data(kind: str, width: int, activation: str) -> Callable[..., Any]:
    summed = _summed(kind, width, activation)

    @cuda.jit(device=True)
    def channel_sums(x, dy, partial, c, channel, inside, walk, splits, lanes):
        s, p = summed(x, dy, cuda.threadIdx.y, walk[2] if inside else 0, c, channel, walk)
        return added_in_block(s, p, cuda.blockDim.y)

    return channel_sums


def _from_nothing(kind: str, width: int, activation: str) -> Callable[..., Any]:
    @cuda.jit(device=True)
    def channel_sums(x, dy, partial, c, channel, inside, walk, splits, lanes):
        return np.float32(0), np.float32(0)

    return channel_sums


#: Where ``gradient`` has the sums from: the last one is for statistics that do not depend on the data, and no
#: gradients of parameters.
SOURCES = {"partial": _from_partial, "data": _from_data, "nothing": _from_nothing}


@cache
def gradient(kind: str, width: int, activation: str, source: str) -> tuple[Callable[..., Any], Any]:
    """Return the kernel of the gradients, and its signature.

    ``share`` is 1 over the number of values of a channel, or 0 where the statistics do not depend on the data.
    """
    load, store = access(kind, width)
    channel_sums = SOURCES[source](kind, width, activation)
    _, derivative = ACTIVATIONS[activation]

    @cuda.jit(device=True)
    def moved(x, dy, numbers):
        mean, rest, inverse, gain, shift, slope, constant, along, scale = numbers
        z = ((x - mean) - rest) * inverse
        return (dy * derivative(z * gain + shift, slope) - constant - z * along) * scale

    each = mapped(moved, width)

    def gradient(
        x, dy, dx, partial, saved, factor, offset, d_factor, d_offset, walk, lanes, share, slope, present, asked
    ):
        channels, vectors, count, per, hop, far, wrap = walk
        splits = cuda.gridDim.y
        split = splits - 1 - cuda.blockIdx.y
        c = (cuda.gridDim.x - 1 - cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
        inside = c < channels
        channel = _of_channel(c if inside else 0, channels, saved, factor, offset, present, slope)
        s, p = channel_sums(x, dy, partial, c, channel, inside, walk, splits, lanes)
        if not inside:
            return
        if split == 0 and cuda.threadIdx.y == 0:
            if asked & D_FACTOR:
                d_factor[c] = d_factor[c] + p if asked & ADD else p
            if asked & D_OFFSET:
                d_offset[c] = d_offset[c] + s if asked & ADD else s
        down = cuda.blockDim.y
        i = split * per + cuda.threadIdx.y
        end = min(split * per + per, count)
        if i >= end or not asked & DX:
            return
        mean, rest, inverse, gain, shift, _ = channel
        numbers = mean, rest, inverse, gain, shift, slope, s * share, p * share, inverse * gain
        steps = (end - i + down - 1) // down
        o, v = first(i + (steps - 1) * down, c, channels, vectors)
        for _ in range(steps >> 1):
            o1, v1 = back(o, v, hop, far, vectors, wrap)
            a = load(x, o)
            da = load(dy, o)
            b = load(x, o1)
            db = load(dy, o1)
            store(dx, o, each(a, da, numbers))
            store(dx, o1, each(b, db, numbers))
            o, v = back(o1, v1, hop, far, vectors, wrap)
        if steps & 1:
            store(dx, o, each(load(x, o), load(dy, o), numbers))

    data = pointer_to(kind)
    return gradient, types.void(
        data, data, data, *[_FLOATS] * 6, _WALK, types.int64, *[types.float32] * 2, *[types.int64] * 2
    )
