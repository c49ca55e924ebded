"""Depthwise convolution: each channel has filters of its own.

``y[o, i, j] = b[o] + sum over u, v of x[o // filters, i * s + u * d - p, j * s + v * d - p] * w[o, u, v]``; the plain
loops are ``convolution`` and ``convolution_gradients`` in ``tests/naive.py``.

The usual ones go by strips (:mod:`.depthwise_strips`); here are the others, and all where the machine has no masks. A
task is a channel (of an image, or of all where its weights are learned). Its map is copied into planes, where each tap
is one long multiply-add (:mod:`.depthwise_planes`). Some sums lie between the rows of the output; they are left out
when it is copied. LLVM vectorises all of it, and no tap asks where the map ends. The gradient to the data is the same
with the offsets negated, the gradient to the weights the products of both planes.
"""

from collections.abc import Callable

import numpy as np

from caffelite.kernels.convolution import depthwise_strips as strips
from caffelite.kernels.convolution.depthwise_planes import (
    WHOLE,
    correlate,
    correlate_nine,
    planes_of,
    spread,
    spreader,
    widen,
)
from caffelite.kernels.convolution.geometry import Geometry
from caffelite.kernels.elementwise import NOTHING, Chain
from caffelite.kernels.engine import arrays, settings
from caffelite.kernels.engine.calls import Call, call
from caffelite.kernels.engine.compiling import kernel, specialised
from caffelite.kernels.tiles.tile import move
from caffelite.kernels.tiles.vectors import WIDTH


def fits(g: Geometry) -> bool:
    """Whether these kernels are for this convolution: groups of one channel, with few filters each."""
    return 1 < g.channels == g.group and g.outputs <= 2 * g.channels


@specialised
def _forward(taps: int, step: int) -> Callable[..., None]:
    """The kernel for so many taps and the horizontal stride ``step``."""
    spread = spreader(step)

    def forward(begin, end, worker, g, x, w, bias, y, offsets, order, planes, sums):
        """A task is a channel of an image, with its filters.

        Parameters
        ----------
        g : DepthwisePlanes
        x : ndarray, [images][channels][height][width]
        w : ndarray, [channels * filters][taps]
        bias : ndarray, [channels * filters], or empty
        y : ndarray, [images][channels * filters][out_height][out_width]
        offsets, order : ndarrays of int64, [taps]
            Where in the planes each tap begins to read; their order.
        planes : ndarray, [threads][stride_h * stride_w][size], and WHOLE more
        sums : ndarray, [threads][whole], and a vector more
        """
        channels = len(w) // (taps * g.filters)
        total = sums[worker]
        for task in range(begin, end):
            spread(g, x, task * g.height * g.width, planes[worker])
            for output in range(task * g.filters, (task + 1) * g.filters):
                channel = output % (channels * g.filters)
                start = bias[channel] if len(bias) else x.dtype.type(0)
                if taps == 9:
                    correlate_nine(planes[worker], offsets, w, channel * taps, start, total, g.whole)
                else:
                    for i in range(g.whole):
                        total[i] = start
                    correlate(planes[worker], offsets, w, channel * taps, order, 0, taps, total, g.whole)
                for row in range(g.out_height):
                    to = (output * g.out_height + row) * g.out_width
                    i = 0
                    # As in spreading, a last vector may go on into the next rows.
                    if (g.out_height - 1 - row) * g.out_width >= WIDTH:
                        while i < g.out_width:
                            move(total, row * g.pitch + i, y, to + i, 1, WIDTH)
                            i += WIDTH
                    while i < g.out_width:
                        y[to + i] = total[row * g.pitch + i]
                        i += 1

    return forward


@kernel
def _backward_data(begin, end, worker, g, dy, w, dx, offsets, order, phases, rows, sums):
    """A task is a channel of an image: for each plane the taps that read it, then its elements to their places.

    Parameters
    ----------
    g : DepthwisePlanes
    dy : ndarray, [images][channels * filters][out_height][out_width]
    w : ndarray, [channels * filters][taps]
    dx : ndarray, [images][channels][height][width]
        Is set.
    offsets, order : ndarrays of int64, [taps]
        Where in the rows each tap begins to read, plane by plane, and the number of the tap.
    phases : ndarray of int64, [stride_h * stride_w + 1]
        Where in them the taps of each plane begin, and the end.
    rows : ndarray, [threads][filters][margin + size]
    sums : ndarray, [threads][size]
    """
    taps = len(offsets)
    channels = len(w) // (taps * g.filters)
    total = sums[worker]
    for task in range(begin, end):
        for j in range(g.filters):
            plane = (task * g.filters + j) * g.out_height * g.out_width
            widen(dy, plane, g.out_height, g.out_width, g.pitch, g.margin, rows[worker, j])
        for phase in range(g.stride_h * g.stride_w):
            for i in range(g.size):
                total[i] = np.float32(0)
            for j in range(g.filters):
                first = (task % channels * g.filters + j) * taps
                correlate(rows[worker, j], offsets, w, first, order, phases[phase], phases[phase + 1], total, g.size)
            first_row = (phase // g.stride_w - g.top) % g.stride_h
            column = (phase % g.stride_w - g.left) % g.stride_w
            source = (column + g.left) // g.stride_w
            for y in range(first_row, g.height, g.stride_h):
                start = source + (y + g.top) // g.stride_h * g.pitch
                to = (task * g.height + y) * g.width + column
                for i in range((g.width - column + g.stride_w - 1) // g.stride_w):
                    dx[to + i * g.stride_w] = total[start + i]


@kernel
def _backward_weights(begin, end, worker, g, x, dy, dw, offsets, planes, rows, sums):
    """dw += the products of x and dy; a task is a channel.

    Parameters
    ----------
    g : DepthwisePlanes
    x : ndarray, [images][channels][height][width]
    dy : ndarray, [images][channels * filters][out_height][out_width]
    dw : ndarray, [channels * filters][taps]
    offsets : ndarray of int64, [taps]
        Where in the planes each tap begins to read.
    planes : ndarray, [threads][stride_h * stride_w][size]
    rows : ndarray, [threads][sums of g]
    sums : ndarray of float64, [threads][filters][taps]
    """
    taps = len(offsets)
    channels = len(dw) // (taps * g.filters)
    row, total = rows[worker], sums[worker]
    plane = planes[worker]
    for channel in range(begin, end):
        for i in range(g.filters * taps):
            total[i] = 0.0
        for image in range(len(x) // (channels * g.height * g.width)):
            task = image * channels + channel
            spread(g, x, task * g.height * g.width, plane)
            for j in range(g.filters):
                first = (task * g.filters + j) * g.out_height * g.out_width
                widen(dy, first, g.out_height, g.out_width, g.pitch, 0, row)
                for t in range(taps):
                    start = offsets[t]
                    product = np.float32(0)
                    for i in range(g.sums):
                        product += row[i] * plane[start + i]
                    total[j * taps + t] += product
        for i in range(g.filters * taps):
            dw[channel * g.filters * taps + i] += total[i]


def forward(
    g: Geometry, x: np.ndarray, w: np.ndarray, bias: np.ndarray | None, y: np.ndarray, chain: Chain = NOTHING
) -> list[Call]:
    """Return the calls that compute ``y`` from ``x``; arrays as in :func:`.direct.forward`."""
    if strips.fits(g):
        return strips.forward(g, x, w, bias, y, chain)
    p, phase, offset = planes_of(g)
    threads = settings.threads()
    # What lies behind the sums and the planes is only there to be read by the last whole run.
    planes = arrays.zeros((threads, g.stride[0] * g.stride[1] * p.size + WHOLE), x.dtype)
    return [
        call(
            _forward(len(offset), g.stride[1]),
            g.images * g.channels,
            p,
            x.reshape(-1),
            w.reshape(-1),
            np.empty(0, x.dtype) if bias is None else bias.reshape(-1),
            y.reshape(-1),
            phase * p.size + offset,
            np.arange(len(offset), dtype=np.int64),
            planes,
            arrays.zeros((threads, p.whole + WIDTH), x.dtype),
            work=g.multiplications / 4 + y.size,
        ),
        *chain.over(y.reshape(-1)),
    ]


def backward_data(g: Geometry, dy: np.ndarray, w: np.ndarray, dx: np.ndarray) -> list[Call]:
    """Return the calls that compute the gradient to the data; arrays as in :func:`.direct.backward_data`."""
    if strips.fits_backward_data(g):
        return strips.backward_data(g, dy, w, dx)
    p, phase, offset = planes_of(g)
    order = np.argsort(phase, kind="stable").astype(np.int64)
    phases = np.searchsorted(phase[order], np.arange(g.stride[0] * g.stride[1] + 1)).astype(np.int64)
    return [
        call(
            _backward_data,
            g.images * g.channels,
            p,
            dy.reshape(-1),
            w.reshape(-1),
            dx.reshape(-1),
            p.margin - offset[order],
            order,
            phases,
            arrays.zeros((settings.threads(), p.filters, p.margin + p.size), dx.dtype),
            arrays.zeros((settings.threads(), p.size), dx.dtype),
            work=g.multiplications / 4 + dx.size,
        )
    ]


def backward_weights(g: Geometry, x: np.ndarray, dy: np.ndarray, dw: np.ndarray) -> list[Call]:
    """Return the calls that add to the gradient of the weights.

    Arrays as in :func:`.direct_weights.backward_weights`.
    """
    if strips.fits(g):
        return strips.backward_weights(g, x, dy, dw)
    p, phase, offset = planes_of(g)
    threads = settings.threads()
    return [
        call(
            _backward_weights,
            g.channels,
            p,
            x.reshape(-1),
            dy.reshape(-1),
            dw.reshape(-1),
            phase * p.size + offset,
            arrays.zeros((threads, g.stride[0] * g.stride[1] * p.size), x.dtype),
            arrays.zeros((threads, p.sums), x.dtype),
            arrays.zeros((threads, len(offset) * p.filters), np.float64),
            work=g.multiplications / 4 + dy.size,
        )
    ]
