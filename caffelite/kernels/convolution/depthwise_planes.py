"""The planes of depthwise convolution: how a map lies in scratch memory, and what is done to it there.

A map is copied, with its padding, into ``stride × stride`` planes: row y goes to row ``y // stride`` of the planes of
vertical phase ``y % stride``, likewise its columns. There the neighbours of an output pixel that one tap reads are
neighbours too, over the whole map: a tap is one long multiply-add of a plane, moved by an offset, onto a plane of sums.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable

from caffelite.kernels.convolution.geometry import Geometry
from caffelite.kernels.tiles.tile import move
from caffelite.kernels.tiles.vectors import WIDTH

#: Sums that are worked on at a time, so that they stay in the first cache.
_RUN = 2048
#: Sums are computed in whole runs of as many as LLVM's loops take at a time.
WHOLE = 64


class DepthwisePlanes(NamedTuple):
    """The geometry of a depthwise convolution, as its kernels read it; :func:`planes_of` computes it.

    Attributes
    ----------
    height, width : int
        Pixels of an input map.
    top, left : int
        Zeros on its vertical and horizontal sides, in pixels.
    stride_h, stride_w : int
        Vertical and horizontal stride: there are ``stride_h * stride_w`` planes.
    out_height, out_width : int
        Pixels of an output map.
    filters : int
        Output channels of an input channel.
    size, pitch : int
        Floats of a plane, and of a row of it.
    sums : int
        Floats from the first to the last output pixel, in rows of ``pitch``; what lies between rows is not used.
    whole : int
        The same, up to a multiple of WHOLE.
    margin : int
        The largest distance of a tap within its plane: zeros before a widened output map.
    """

    height: int
    width: int
    top: int
    left: int
    stride_h: int
    stride_w: int
    out_height: int
    out_width: int
    filters: int
    size: int
    pitch: int
    sums: int
    whole: int
    margin: int


def planes_of(g: Geometry) -> tuple[DepthwisePlanes, np.ndarray, np.ndarray]:
    """Return the planes, and for each tap the plane it reads and the distance within the plane (int64, [taps])."""
    rows, pitch = (-(-(n + 2 * p) // s) for n, p, s in zip(g.size, g.pad, g.stride, strict=True))
    down, across = np.divmod(np.arange(g.kernel[0] * g.kernel[1], dtype=np.int64), g.kernel[1])
    down, across = down * g.dilation[0], across * g.dilation[1]
    phase = down % g.stride[0] * g.stride[1] + across % g.stride[1]
    offset = down // g.stride[0] * pitch + across // g.stride[1]
    sums = (g.output_size[0] - 1) * pitch + g.output_size[1]
    planes = DepthwisePlanes(
        *g.size,
        *g.pad,
        *g.stride,
        *g.output_size,
        filters=g.outputs // g.channels,
        size=rows * pitch,
        pitch=pitch,
        sums=sums,
        whole=-(-sums // WHOLE) * WHOLE,
        margin=int(offset.max()),
    )
    return planes, phase, offset


@register_jitable
def spread(g, x, plane, planes):
    """Copy the map that begins at ``x[plane]`` into its planes; their padding is zero and stays so."""
    for y in range(g.height):
        row = (y + g.top) % g.stride_h * g.stride_w * g.size + (y + g.top) // g.stride_h * g.pitch
        for phase in range(g.stride_w):
            # The first column of this phase, and where it goes.
            column = (phase - g.left) % g.stride_w
            to = row + phase * g.size + (column + g.left) // g.stride_w
            start = plane + y * g.width + column
            for i in range((g.width - column + g.stride_w - 1) // g.stride_w):
                planes[to + i] = x[start + i * g.stride_w]


def spreader(step: int) -> Callable[..., None]:
    """Return :func:`spread` for a constant horizontal stride, with vectors."""

    def spread(g, x, plane, planes):
        for phase in range(step):
            column = (phase - g.left) % step
            count = (g.width - column + step - 1) // step
            offset = phase * g.size + (column + g.left) // step
            for y in range(g.height):
                to = offset + (y + g.top) % g.stride_h * step * g.size + (y + g.top) // g.stride_h * g.pitch
                start = plane + y * g.width + column
                i, after = 0, g.height - 1 - y
                # A last vector may go on into the rows that come next, in both arrays: they are written later.
                if after * g.width >= WIDTH * step and after // g.stride_h * g.pitch >= WIDTH:
                    while i < count:
                        move(x, start + i * step, planes, to + i, step, WIDTH)
                        i += WIDTH
                while i < count:
                    planes[to + i] = x[start + i * step]
                    i += 1
            # The padding between two rows.
            for y in range(g.height - g.stride_h):
                to = offset + (y + g.top) % g.stride_h * step * g.size + (y + g.top) // g.stride_h * g.pitch + count
                for i in range(g.pitch - count):
                    planes[to + i] = np.float32(0)

    return register_jitable(spread)


@register_jitable
def widen(dy, plane, height, width, pitch, margin, rows):
    """Copy the output map that begins at ``dy[plane]`` into rows of ``pitch``; what lies between them stays zero.

    LLVM does not inline it: it takes the numbers it needs, where the whole record would go over the stack.
    """
    for y in range(height):
        for i in range(width):
            rows[margin + y * pitch + i] = dy[plane + y * width + i]


@register_jitable
def correlate(source, offsets, weights, first, order, begin, end, sums, size):
    """Add to sums[i] the products of weights[first + order[t]] and source[offsets[t] + i], for taps begin … end - 1."""
    for low in range(0, size, _RUN):
        high = min(low + _RUN, size)
        t = begin
        while t + 3 <= end:
            # Three taps at a time: half the loads and stores of one at a time.
            w0, w1, w2 = weights[first + order[t]], weights[first + order[t + 1]], weights[first + order[t + 2]]
            a, b, c = offsets[t], offsets[t + 1], offsets[t + 2]
            for i in range(low, high):
                sums[i] += w0 * source[a + i] + w1 * source[b + i] + w2 * source[c + i]
            t += 3
        while t < end:
            w0, a = weights[first + order[t]], offsets[t]
            for i in range(low, high):
                sums[i] += w0 * source[a + i]
            t += 1


@register_jitable
def correlate_nine(source, offsets, weights, first, start, sums, size):
    """sums[i] = start + the products of nine weights and source[offsets[t] + i]."""
    w0, w1, w2, w3, w4 = weights[first], weights[first + 1], weights[first + 2], weights[first + 3], weights[first + 4]
    w5, w6, w7, w8 = weights[first + 5], weights[first + 6], weights[first + 7], weights[first + 8]
    a, b, c, d, e = offsets[0], offsets[1], offsets[2], offsets[3], offsets[4]
    f, g, h, j = offsets[5], offsets[6], offsets[7], offsets[8]
    for i in range(size):
        sums[i] = (
            start
            + w0 * source[a + i]
            + w1 * source[b + i]
            + w2 * source[c + i]
            + w3 * source[d + i]
            + w4 * source[e + i]
            + w5 * source[f + i]
            + w6 * source[g + i]
            + w7 * source[h + i]
            + w8 * source[j + i]
        )
