"""Depthwise convolution by strips: rows are read and written where they lie, all sums in registers.

For kernels of up to 5x5 with strides of up to 2, on machines that load and store a part of a vector. A task is a
channel of an image, or a channel of all where its weights are learned. A map is worked on in bands of rows that stay in
the first cache, a band in strips of WIDTH columns (:mod:`.depthwise_strip_vectors`); what follows a convolution element
by element is computed there, band by band.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from caffelite.kernels import elementwise
from caffelite.kernels.convolution.depthwise_strip_vectors import add_products, parts_of, spread_sums, sums
from caffelite.kernels.convolution.geometry import Geometry
from caffelite.kernels.engine import arrays, settings
from caffelite.kernels.engine.calls import Call, call
from caffelite.kernels.engine.compiling import specialised
from caffelite.kernels.tiles.vectors import WIDTH

#: Floats of a band, of input and output together: half of a first cache.
_BAND = 6144


class DepthwiseStrips(NamedTuple):
    """The geometry of a depthwise convolution, as its kernels read it.

    Attributes
    ----------
    height, width : int
        Pixels of an input map.
    top, left : int
        Zeros on its vertical and horizontal sides, in pixels.
    out_height, out_width : int
        Pixels of an output map.
    channels, filters : int
        Input channels; output channels of each.
    strips : int
        Strips that a row is cut into.
    band : int
        Rows of output worked on at a time.
    """

    height: int
    width: int
    top: int
    left: int
    out_height: int
    out_width: int
    channels: int
    filters: int
    strips: int
    band: int


def fits(g: Geometry) -> bool:
    """Whether these kernels are for this depthwise convolution, on this machine."""
    sizes = zip(g.kernel, g.stride, g.dilation, strict=True)
    return settings.vector_width() >= 8 and all(s <= min(k, 2) and k <= 5 and d == 1 for k, s, d in sizes)


def fits_backward_data(g: Geometry) -> bool:
    """Whether they are for its gradient to the data as well."""
    return fits(g) and g.outputs == g.channels


def _strips_of(g: Geometry, columns: int) -> DepthwiseStrips:
    """Return the geometry for results of ``columns`` columns."""
    band = max(_BAND // (g.size[1] * g.stride[0] + g.output_size[1]), 8)
    return DepthwiseStrips(
        *g.size, *g.pad, *g.output_size, g.channels, g.outputs // g.channels, -(-columns // WIDTH), band
    )


def _masks(strips: int, vectors: Sequence[tuple[int, int, int]]) -> np.ndarray:
    """Return for each strip, and each vector of it, the bits of the lanes that are columns of a map.

    Parameters
    ----------
    strips : int
    vectors : sequence of (int, int, int)
        Of each: the column of its first lane in the first strip; from there to that in the next strip; columns.
    """
    begins = np.array([[begin + strip * step for begin, step, _ in vectors] for strip in range(strips)])
    columns = begins[:, :, None] + np.arange(WIDTH)
    inside = (columns >= 0) & (columns < np.array([end for *_, end in vectors])[:, None])
    return (inside << np.arange(WIDTH)).sum(axis=2).astype(np.uint16).reshape(-1)


def _forward_masks(g: Geometry, strips: int) -> np.ndarray:
    read = [(start - g.pad[1], WIDTH * g.stride[1], g.size[1]) for start in parts_of(g.kernel[1], g.stride[1])]
    return _masks(strips, [*read, (0, WIDTH, g.output_size[1])])


@specialised
def _forward(height: int, width: int, down: int, across: int, *chain: str) -> Callable[..., None]:
    """The kernel for the size of the kernel, the strides, and the element-wise functions of the results."""
    shape = (height, width, down, across, WIDTH)
    value, _ = elementwise.composed(chain)

    def forward(begin, end, worker, g, x, w, bias, y, nothing, masks, p):
        """A task is a channel of an image, with its filters.

        Parameters
        ----------
        g : DepthwiseStrips
        x : ndarray, [images][channels][height][width]
        w : ndarray, [channels * filters][taps]
        bias : ndarray, [channels * filters], or empty
        y : ndarray, [images][channels * filters][out_height][out_width]
        nothing, masks
            As in :func:`.depthwise_strip_vectors.sums`.
        p : ndarray
            Constants of the chain.
        """
        out_plane = g.out_height * g.out_width
        for task in range(begin, end):
            for output in range(task * g.filters, (task + 1) * g.filters):
                filter_ = output % (g.channels * g.filters)
                start, w_at = bias[filter_] if len(bias) else x.dtype.type(0), filter_ * height * width
                x_at, y_at = task * g.height * g.width, output * out_plane
                for first in range(0, g.out_height, g.band):
                    last = min(first + g.band, g.out_height)
                    for strip in range(g.strips):
                        sums(g, x, x_at, nothing, w, w_at, start, y, y_at, masks, strip, first, last, shape)
                    if len(chain):
                        for i in range(y_at + first * g.out_width, y_at + last * g.out_width):
                            y[i] = value(y[i], p)

    return forward


@specialised
def _backward_data(height: int, width: int, down: int, across: int) -> Callable[..., None]:
    """The kernel for the size of the kernel and the strides."""
    shape = (height, width, down, across, WIDTH)

    def backward_data(begin, end, worker, g, dy, w, dx, nothing, masks):
        """A task is a channel of an image.

        Parameters
        ----------
        g : DepthwiseStrips
        dy : ndarray, [images][channels][out_height][out_width]
        w : ndarray, [channels][taps]
        dx : ndarray, [images][channels][height][width]
            Is set.
        nothing, masks
            As in :func:`.depthwise_strip_vectors.spread_sums`.
        """
        rows = (g.height + g.top - 1) // down + 1
        for task in range(begin, end):
            dy_at, dx_at = task * g.out_height * g.out_width, task * g.height * g.width
            w_at = task % g.channels * height * width
            for first in range(g.top // down, rows, g.band):
                last = min(first + g.band, rows)
                for strip in range(g.strips):
                    spread_sums(g, dy, dy_at, nothing, w, w_at, dx, dx_at, masks, strip, first, last, shape)

    return backward_data


@specialised
def _backward_weights(height: int, width: int, down: int, across: int) -> Callable[..., None]:
    """The kernel for the size of the kernel and the strides."""
    shape = (height, width, down, across, WIDTH)
    taps = height * width

    def backward_weights(begin, end, worker, g, x, dy, dw, nothing, masks, lanes, totals):
        """dw += the products of x and dy; a task is a channel.

        Parameters
        ----------
        g : DepthwiseStrips
        x : ndarray, [images][channels][height][width]
        dy : ndarray, [images][channels * filters][out_height][out_width]
        dw : ndarray, [channels * filters][taps]
        nothing, masks
            As in :func:`.depthwise_strip_vectors.add_products`.
        lanes : ndarray, [threads][taps * WIDTH]
            Sums over a map.
        totals : ndarray of float64, [threads][taps * WIDTH]
            Sums over all images.
        """
        lane, total = lanes[worker], totals[worker]
        for output in range(begin * g.filters, end * g.filters):
            channel = output // g.filters
            total[:] = 0
            for image in range(len(x) // (g.channels * g.height * g.width)):
                x_at = (image * g.channels + channel) * g.height * g.width
                dy_at = (image * g.channels * g.filters + output) * g.out_height * g.out_width
                lane[:] = 0
                for first in range(0, g.out_height, g.band):
                    last = min(first + g.band, g.out_height)
                    for strip in range(g.strips):
                        add_products(g, x, x_at, nothing, dy, dy_at, lane, masks, strip, first, last, shape)
                for i in range(taps * WIDTH):
                    total[i] += lane[i]
            for t in range(taps):
                product = 0.0
                for i in range(WIDTH):
                    product += total[t * WIDTH + i]
                dw[output * taps + t] += product

    return backward_weights


def forward(
    g: Geometry, x: np.ndarray, w: np.ndarray, bias: np.ndarray | None, y: np.ndarray, chain: elementwise.Chain
) -> list[Call]:
    """Return the calls that compute ``y`` from ``x``; arrays as in :func:`.direct.forward`."""
    record = _strips_of(g, g.output_size[1])
    return [
        call(
            _forward(*g.kernel, *g.stride, *chain.keys),
            g.images * g.channels,
            record,
            x.reshape(-1),
            w.reshape(-1),
            np.empty(0, x.dtype) if bias is None else bias.reshape(-1),
            y.reshape(-1),
            arrays.zeros(record.width, x.dtype),
            _forward_masks(g, record.strips),
            chain.constants,
            work=g.multiplications / 4 + y.size,
        )
    ]


def backward_data(g: Geometry, dy: np.ndarray, w: np.ndarray, dx: np.ndarray) -> list[Call]:
    """Return the calls that compute the gradient to the data; arrays as in :func:`.direct.backward_data`."""
    across, left = g.stride[1], g.pad[1]
    first, behind = left // across, (g.kernel[1] - 1) // across
    record = _strips_of(g, (g.size[1] + left - 1) // across + 1 - first)
    read = [(first - i, WIDTH, record.out_width) for i in range(behind + 1)]
    written = [(first * across - left + i * WIDTH, WIDTH * across, record.width) for i in range(across)]
    return [
        call(
            _backward_data(*g.kernel, *g.stride),
            g.images * g.channels,
            record,
            dy.reshape(-1),
            w.reshape(-1),
            dx.reshape(-1),
            arrays.zeros(record.out_width, dx.dtype),
            _masks(record.strips, [*read, *written]),
            work=g.multiplications / 4 + dx.size,
        )
    ]


def backward_weights(g: Geometry, x: np.ndarray, dy: np.ndarray, dw: np.ndarray) -> list[Call]:
    """Return the calls that add to the gradient of the weights.

    Arrays as in :func:`.direct_weights.backward_weights`.
    """
    record = _strips_of(g, g.output_size[1])
    lanes = (settings.threads(), g.kernel[0] * g.kernel[1] * WIDTH)
    return [
        call(
            _backward_weights(*g.kernel, *g.stride),
            g.channels,
            record,
            x.reshape(-1),
            dy.reshape(-1),
            dw.reshape(-1),
            arrays.zeros(record.width, x.dtype),
            _forward_masks(g, record.strips),
            arrays.zeros(lanes, x.dtype),
            arrays.zeros(lanes, np.float64),
            work=g.multiplications / 4 + dy.size,
        )
    ]
