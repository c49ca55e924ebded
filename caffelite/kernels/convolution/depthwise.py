"""Depthwise convolution: each channel has filters of its own.

A map is copied, with its padding, into ``stride × stride`` planes of scratch memory: row y goes to plane row
y % stride, likewise its columns. There the neighbours of an output pixel that one tap reads are neighbours too, over
the whole map: a tap is one long multiply-add of a plane, moved by an offset, onto a plane of sums. Some sums lie
between the rows of the output; they are left out when it is copied. LLVM vectorises all of it, and no tap asks where
the map ends.

The gradient to the data is the same with the offsets negated, the gradient to the weights the products of both planes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numba.extending import register_jitable

from caffelite.kernels.convolution.direct import Geometry
from caffelite.kernels.engine import arrays, settings
from caffelite.kernels.engine.calls import Call, call
from caffelite.kernels.engine.compiling import kernel, specialised
from caffelite.kernels.tiles.tile import move
from caffelite.kernels.tiles.vectors import WIDTH

#: Sums that are worked on at a time, so that they stay in the first cache.
_RUN = 2048
#: Sums are computed in whole runs of as many as LLVM's loops take at a time.
_WHOLE = 64


@dataclass(frozen=True, slots=True)
class _Planes:
    """How a map lies in scratch memory.

    Attributes
    ----------
    rows, pitch : int
        The size of each of the planes.
    phase, offset : ndarray of int64
        For each tap the plane it reads, and the distance within the plane.
    sums : int
        Elements from the first to the last output pixel, in rows of ``pitch``.
    """

    rows: int
    pitch: int
    phase: np.ndarray
    offset: np.ndarray
    sums: int

    @property
    def size(self) -> int:
        return self.rows * self.pitch


def _planes(g: Geometry) -> _Planes:
    rows, pitch = (-(-(n + 2 * p) // s) for n, p, s in zip(g.size, g.pad, g.stride, strict=True))
    down, across = np.divmod(np.arange(g.kernel[0] * g.kernel[1], dtype=np.int64), g.kernel[1])
    down, across = down * g.dilation[0], across * g.dilation[1]
    phase = down % g.stride[0] * g.stride[1] + across % g.stride[1]
    offset = down // g.stride[0] * pitch + across // g.stride[1]
    return _Planes(rows, pitch, phase, offset, (g.output_size[0] - 1) * pitch + g.output_size[1])


def fits(g: Geometry) -> bool:
    """Whether these kernels are for this convolution: groups of one channel, with few filters each."""
    return 1 < g.channels == g.group and g.outputs <= 2 * g.channels


@register_jitable
def _correlate(source, offsets, weights, first, order, begin, end, sums, size):
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
def _spread(x, plane, h, w, top, left, stride_h, stride_w, size, pitch, planes):
    """Copy a map into its planes; their padding is zero and stays so."""
    for y in range(h):
        row = (y + top) % stride_h * stride_w * size + (y + top) // stride_h * pitch
        for phase in range(stride_w):
            # The first column of this phase, and where it goes.
            column = (phase - left) % stride_w
            to = row + phase * size + (column + left) // stride_w
            start = plane + y * w + column
            for i in range((w - column + stride_w - 1) // stride_w):
                planes[to + i] = x[start + i * stride_w]


def _spreader(step: int) -> Callable[..., None]:
    """Return :func:`_spread` for a constant horizontal stride, with vectors."""

    def spread(x, plane, h, w, top, left, stride_h, size, pitch, planes):
        for phase in range(step):
            column = (phase - left) % step
            many = (w - column + step - 1) // step
            offset = phase * size + (column + left) // step
            for y in range(h):
                to = offset + (y + top) % stride_h * step * size + (y + top) // stride_h * pitch
                start = plane + y * w + column
                i = 0
                # A last vector may go on into the rows that come next, in both arrays: they are written later.
                if (h - 1 - y) * w >= WIDTH * step and (h - 1 - y) // stride_h * pitch >= WIDTH:
                    while i < many:
                        move(x, start + i * step, planes, to + i, step, WIDTH)
                        i += WIDTH
                while i < many:
                    planes[to + i] = x[start + i * step]
                    i += 1
            # The padding between two rows.
            for y in range(h - stride_h):
                to = offset + (y + top) % stride_h * step * size + (y + top) // stride_h * pitch + many
                for i in range(pitch - many):
                    planes[to + i] = np.float32(0)

    return register_jitable(spread)


@register_jitable
def _widen(dy, plane, out_h, out_w, pitch, margin, rows):
    """Copy an output map into rows of ``pitch``; what lies between them is zero and stays so."""
    for y in range(out_h):
        for i in range(out_w):
            rows[margin + y * pitch + i] = dy[plane + y * out_w + i]


@register_jitable
def _correlate_nine(source, offsets, weights, first, start, sums, size):
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


@specialised
def _forward(taps: int, step: int) -> Callable[..., None]:
    spread = _spreader(step)

    def forward(
        begin,
        end,
        worker,
        x,
        w,
        bias,
        y,
        h,
        width,
        top,
        left,
        stride_h,
        out_h,
        out_w,
        outputs,
        size,
        pitch,
        offsets,
        order,
        length,
        planes,
        sums,
    ):
        """A task is a channel of an image, with its ``outputs`` filters."""
        channels = len(w) // (taps * outputs)
        total = sums[worker]
        for task in range(begin, end):
            spread(x, task * h * width, h, width, top, left, stride_h, size, pitch, planes[worker])
            for output in range(task * outputs, (task + 1) * outputs):
                channel = output % (channels * outputs)
                start = bias[channel] if len(bias) else x.dtype.type(0)
                if taps == 9:
                    _correlate_nine(planes[worker], offsets, w, channel * taps, start, total, length)
                else:
                    for i in range(length):
                        total[i] = start
                    _correlate(planes[worker], offsets, w, channel * taps, order, 0, taps, total, length)
                for row in range(out_h):
                    to = (output * out_h + row) * out_w
                    i = 0
                    # As in spreading, a last vector may go on into the next rows.
                    if (out_h - 1 - row) * out_w >= WIDTH:
                        while i < out_w:
                            move(total, row * pitch + i, y, to + i, 1, WIDTH)
                            i += WIDTH
                    while i < out_w:
                        y[to + i] = total[row * pitch + i]
                        i += 1

    return forward


@kernel
def _backward_data(
    begin,
    end,
    worker,
    dy,
    w,
    dx,
    h,
    width,
    top,
    left,
    stride_h,
    stride_w,
    out_h,
    out_w,
    outputs,
    size,
    pitch,
    offsets,
    order,
    phases,
    margin,
    rows,
    sums,
):
    """A task is a channel of an image; ``phases`` says where the taps of each phase begin."""
    taps = len(offsets)
    channels = len(w) // (taps * outputs)
    total = sums[worker]
    for task in range(begin, end):
        for j in range(outputs):
            _widen(dy, (task * outputs + j) * out_h * out_w, out_h, out_w, pitch, margin, rows[worker, j])
        for phase in range(stride_h * stride_w):
            for i in range(size):
                total[i] = np.float32(0)
            for j in range(outputs):
                channel = task % channels * outputs + j
                _correlate(
                    rows[worker, j], offsets, w, channel * taps, order, phases[phase], phases[phase + 1], total, size
                )
            first_row = (phase // stride_w - top) % stride_h
            column = (phase % stride_w - left) % stride_w
            source = (column + left) // stride_w
            for y in range(first_row, h, stride_h):
                start = source + (y + top) // stride_h * pitch
                to = (task * h + y) * width + column
                for i in range((width - column + stride_w - 1) // stride_w):
                    dx[to + i * stride_w] = total[start + i]


@kernel
def _backward_weights(
    begin,
    end,
    worker,
    x,
    dy,
    dw,
    h,
    width,
    top,
    left,
    stride_h,
    stride_w,
    out_h,
    out_w,
    outputs,
    size,
    pitch,
    offsets,
    length,
    planes,
    rows,
    sums,
):
    """dw += the products of x and dy; a task is a channel."""
    taps = len(offsets)
    channels = len(dw) // (taps * outputs)
    row, total = rows[worker, 0], sums[worker]
    plane = planes[worker]
    for channel in range(begin, end):
        for i in range(outputs * taps):
            total[i] = 0.0
        for image in range(len(x) // (channels * h * width)):
            task = image * channels + channel
            _spread(x, task * h * width, h, width, top, left, stride_h, stride_w, size, pitch, plane)
            for j in range(outputs):
                _widen(dy, (task * outputs + j) * out_h * out_w, out_h, out_w, pitch, 0, row)
                for t in range(taps):
                    start = offsets[t]
                    product = np.float32(0)
                    for i in range(length):
                        product += row[i] * plane[start + i]
                    total[j * taps + t] += product
        for i in range(outputs * taps):
            dw[channel * outputs * taps + i] += total[i]


def _walk(g: Geometry) -> tuple[int, ...]:
    return (*g.size, *g.pad, *g.stride, *g.output_size, g.outputs // g.channels)


def _memory(g: Geometry, p: _Planes, dtype: np.dtype) -> np.ndarray:
    return arrays.zeros((settings.threads(), g.stride[0] * g.stride[1] * p.size), dtype)


def forward(g: Geometry, x: np.ndarray, w: np.ndarray, bias: np.ndarray | None, y: np.ndarray) -> list[Call]:
    """Return the calls that compute ``y`` from ``x``; arrays as in :func:`.direct.forward`."""
    p = _planes(g)
    taps = len(p.offset)
    order = np.arange(taps, dtype=np.int64)
    length = -(-p.sums // _WHOLE) * _WHOLE
    threads = settings.threads()
    # What lies behind the sums and the planes is only there to be read by the last whole run.
    planes = arrays.zeros((threads, g.stride[0] * g.stride[1] * p.size + _WHOLE), x.dtype)
    return [
        call(
            _forward(taps, g.stride[1]),
            g.images * g.channels,
            x.reshape(-1),
            w.reshape(-1),
            np.empty(0, x.dtype) if bias is None else bias.reshape(-1),
            y.reshape(-1),
            *g.size,
            *g.pad,
            g.stride[0],
            *g.output_size,
            g.outputs // g.channels,
            p.size,
            p.pitch,
            p.phase * p.size + p.offset,
            order,
            length,
            planes,
            arrays.zeros((threads, length + WIDTH), x.dtype),
            work=g.multiplications / 4 + y.size,
        )
    ]


def backward_data(g: Geometry, dy: np.ndarray, w: np.ndarray, dx: np.ndarray) -> list[Call]:
    """Return the calls that compute the gradient to the data."""
    p = _planes(g)
    outputs, phases = g.outputs // g.channels, g.stride[0] * g.stride[1]
    order = np.argsort(p.phase, kind="stable").astype(np.int64)
    starts = np.searchsorted(p.phase[order], np.arange(phases + 1)).astype(np.int64)
    margin = int(p.offset.max())
    rows = arrays.zeros((settings.threads(), outputs, margin + p.size), dx.dtype)
    return [
        call(
            _backward_data,
            g.images * g.channels,
            dy.reshape(-1),
            w.reshape(-1),
            dx.reshape(-1),
            *_walk(g),
            p.size,
            p.pitch,
            margin - p.offset[order],
            order,
            starts,
            margin,
            rows,
            arrays.zeros((settings.threads(), p.size), dx.dtype),
            work=g.multiplications / 4 + dx.size,
        )
    ]


def backward_weights(g: Geometry, x: np.ndarray, dy: np.ndarray, dw: np.ndarray) -> list[Call]:
    """Return the calls that add to the gradient of the weights."""
    p = _planes(g)
    taps = len(p.offset) * g.outputs // g.channels
    return [
        call(
            _backward_weights,
            g.channels,
            x.reshape(-1),
            dy.reshape(-1),
            dw.reshape(-1),
            *_walk(g),
            p.size,
            p.pitch,
            p.phase * p.size + p.offset,
            p.sums,
            _memory(g, p, x.dtype),
            arrays.zeros((settings.threads(), 1, p.sums), x.dtype),
            arrays.zeros((settings.threads(), taps), np.float64),
            work=g.multiplications / 4 + dy.size,
        )
    ]
