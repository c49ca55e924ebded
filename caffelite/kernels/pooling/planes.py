"""Pooling of windows that overlap or are small, with vectors.

A map is dealt out, with its padding, into ``stride × stride`` planes: row y goes to a plane of phase y % stride,
likewise its columns. There, what neighbouring windows have at one place are neighbours too, over the whole plane: a
place of the windows (a tap) is one offset, and a run of windows is the sum or the largest of a few loads
(:mod:`caffelite.kernels.tiles.lanes`), whatever the map's width. Some windows of a run lie between two rows of the
output; they are left out when it is copied.

A task is a stack of small maps, or a band of a large one, so that its planes stay in the cache. Rows are moved with
whole vectors that may go on into the next rows, which are written later. Plain loops: ``naive.pooling``.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from caffelite.kernels.engine import arrays, settings
from caffelite.kernels.engine.calls import Call, call
from caffelite.kernels.engine.compiling import specialised
from caffelite.kernels.pooling.windows import Windows, maps_in
from caffelite.kernels.tiles.lanes import LANES, LOWEST, deal, join, largest, total

#: Elements the planes of a task should have.
_CACHED = 4096
#: Horizontal strides that a row is dealt out by with vectors: the shuffles grow with their square.
_LARGEST_STRIDE = 4
#: How many times more windows may be computed than there are.
_LARGEST_WASTE = 4


class PoolingPlanes(NamedTuple):
    """How maps are cut into tasks, and how those lie in the planes; :func:`_cut` computes it.

    Attributes
    ----------
    maps : int
        Maps there are.
    stack : int
        Maps of a task.
    bands : int
        Tasks of a map.
    rows : int
        Rows of windows of a band.
    over : int
        Rows of a plane that a window has beyond its first.
    left : int
        Where a map begins in a row of a plane.
    pitch : int
        Elements from a row of a plane to the next.
    size : int
        Elements of a plane.
    """

    maps: int
    stack: int
    bands: int
    rows: int
    over: int
    left: int
    pitch: int
    size: int

    @property
    def tasks(self) -> int:
        return -(-self.maps // self.stack) * self.bands


def _columns(g: Windows) -> tuple[int, int, int]:
    """Return where a map and where its first window begin in a dealt row (the latter before dealing), and its pitch."""
    # The map begins with a whole group of ``stride``, so that it can be dealt out from its first column on.
    left = -(-g.pad_w // g.stride_w)
    first = left * g.stride_w - g.pad_w
    windows = g.out_w + (first + g.kernel_w - 1) // g.stride_w
    return left, first, max(windows, left - (-g.width // g.stride_w))


def pitch(g: Windows) -> int:
    """Return the distance of a row of a plane, or of the places in ``index``, from the next one."""
    return _columns(g)[2]


def fits(g: Windows) -> bool:
    """Whether these kernels are for these windows."""
    over = (g.kernel_h - 1) // g.stride_h
    lanes = (g.out_h + over) * pitch(g)
    return g.stride_w <= _LARGEST_STRIDE and lanes <= _LARGEST_WASTE * g.out_h * g.out_w


def _cut(g: Windows, maps: int, all_rows: int) -> tuple[PoolingPlanes, np.ndarray]:
    """Return the cut of maps that have ``all_rows`` rows of windows, and where the taps are.

    The latter, int64, has for each tap, in the order of the window, the distance in the planes of what it reads.
    """
    left, first, row = _columns(g)
    over = (g.kernel_h - 1) // g.stride_h
    line = g.stride_h * g.stride_w * row
    bands = -(-all_rows // max(_CACHED // line - over, 2 * over, 1))
    rows = -(-all_rows // bands)
    bands = -(-all_rows // rows)
    stack = 1
    if bands == 1:
        # As many tasks as keep all threads busy, if there are so many maps.
        stack = max(1, min(_CACHED // (line * (rows + over)), maps // (4 * settings.threads())))
    # Behind the last row: what a last run reads, and what a last vector writes.
    size = (stack * (rows + over) + 1) * row + 2 * LANES
    down, across = np.divmod(np.arange(g.area, dtype=np.int64), g.kernel_w)
    across += first
    phase = down % g.stride_h * g.stride_w + across % g.stride_w
    offsets = phase * size + down // g.stride_h * row + across // g.stride_w
    return PoolingPlanes(maps, stack, bands, rows, over, left, row, size), offsets


@specialised
def _forward(mean: bool, step: int) -> Callable[..., None]:
    """Make the kernel of means or of the largest, for windows ``step`` columns apart."""
    outside = 0.0 if mean else LOWEST

    def forward(begin, end, worker, x, y, index, g, p, offsets, divisors, planes, results, places):
        """y = the largest of each window, or its sum over the number of elements it counts.

        Parameters
        ----------
        x, y : ndarray of float, [maps][height][width] and [maps][out_h][out_w]
        index : ndarray of uint8 or int32, [maps][out_h][pitch] or [0]
            Place of the largest in its window, the first of equals; its area where nothing is above the lowest number.
        g, p : Windows and PoolingPlanes
        offsets : ndarray of int64, [taps]
        divisors : ndarray of float, [stack · (out_h + over) · pitch and some more] or [0]: for each lane.
        planes, results, places : scratch, [threads][stride_h · stride_w · size], [threads][size], [threads][size or 0]
        """
        plane, value, place = planes[worker], results[worker], places[worker]
        h, w, out_h, out_w, step_h = g.height, g.width, g.out_h, g.out_w, g.stride_h
        pitch, size, depth = p.pitch, p.size, p.rows + p.over
        # The row of windows, in all maps, that the next thread begins with.
        limit = min(end // p.bands * p.stack, p.maps) * out_h + end % p.bands * p.rows
        for task in range(begin, end):
            first, row = task // p.bands * p.stack, task % p.bands * p.rows
            stacked, rows = min(p.stack, p.maps - first), min(p.rows, out_h - row)
            at = row * step_h - g.pad_h
            beyond = at + (rows - 1) * step_h + g.kernel_h
            for j in range(stacked):
                for phase in range(step_h):
                    to = j * depth * pitch + phase * step * size + p.left
                    for r in range(at + phase, beyond, step_h):
                        columns = w if 0 <= r < h else 0
                        deal(x, ((first + j) * h + r) * w, columns, plane, to, size, pitch, outside, step)
                        to += pitch
            for i in range(0, ((stacked - 1) * depth + rows) * pitch, LANES):
                if mean:
                    total(plane, i, offsets, 0, len(offsets), value, i)
                    for k in range(i, i + LANES):
                        value[k] /= divisors[row * pitch + k]
                elif len(index):
                    largest(plane, i, offsets, len(offsets), value, place, i, True)
                else:
                    largest(plane, i, offsets, len(offsets), value, place, i, False)
            for j in range(stacked):
                line = j * depth * pitch
                to = (first + j) * out_h + row
                if not mean and len(index):
                    join(place, line, 0, index, to * pitch, rows * pitch, limit * pitch, 1)
                for i in range(rows):
                    join(value, line + i * pitch, 0, y, (to + i) * out_w, out_w, limit * out_w, 1)

    return forward


@specialised
def _mean_backward(step: int) -> Callable[..., None]:
    """Make the kernel of the gradient of means, for windows ``step`` columns apart."""

    def mean_backward(begin, end, worker, dy, dx, g, p, offsets, phases, divisors, planes, spread, margin):
        """dx = the sum over windows of dy over the number of elements.

        A task is a band of rows of the planes, with ``over`` rows of windows before it that reach into it.

        Parameters
        ----------
        dy, dx : ndarray of float, [maps][out_h][out_w] and [maps][height][width]
        g, p : Windows and PoolingPlanes
        offsets : ndarray of int64, [taps]
            How far back the window is that a tap belongs to, sorted by the taps' phases.
        phases : ndarray of int64, [stride_h · stride_w + 1]
            Where in ``offsets`` the taps of each phase begin, and the end.
        divisors : ndarray of float, [stack · (all rows) · pitch and some more]: for each lane.
        planes, spread : scratch, [threads][stride_h · stride_w · size] and [threads][margin + size]
        margin : int
            Lanes before the first row: as far as windows reach back from it.
        """
        plane, value = planes[worker], spread[worker]
        pitch, size = p.pitch, p.size
        # The row, in all maps, that the next thread begins with.
        limit = min(end // p.bands * p.stack, p.maps) * g.height
        limit += max(end % p.bands * p.rows * g.stride_h - g.pad_h, 0)
        for task in range(begin, end):
            first, row = task // p.bands * p.stack, task % p.bands * p.rows
            stacked = min(p.stack, p.maps - first)
            line = margin
            for j in range(stacked):
                for r in range(row - p.over, row + p.rows):
                    columns = g.out_w if 0 <= r < g.out_h else 0
                    deal(dy, ((first + j) * g.out_h + r) * g.out_w, columns, value, line, 0, pitch, 0.0, 1)
                    line += pitch
            for i in range(line - margin):
                value[margin + i] /= divisors[row * pitch + i]
            start = margin + p.over * pitch
            for phase in range(g.stride_h * step):
                for i in range(0, line - start, LANES):
                    total(value, start + i, offsets, phases[phase], phases[phase + 1], plane, phase * size + i)
            for j in range(stacked):
                at = row * g.stride_h - g.pad_h
                for r in range(max(at, 0), min(at + p.rows * g.stride_h, g.height)):
                    line = (j * (p.rows + p.over) + (r - at) // g.stride_h) * pitch
                    line += (r - at) % g.stride_h * step * size + p.left
                    join(plane, line, size, dx, ((first + j) * g.height + r) * g.width, g.width, limit * g.width, step)

    return mean_backward


def index_array(g: Windows, maps: int) -> np.ndarray:
    """Return memory for the places of the largest elements: rows of more than there are windows."""
    return arrays.zeros(maps * g.out_h * pitch(g), index_type(g))


def index_type(g: Windows) -> type:
    """Return the type of a place in a window, or of its area, which stands for none."""
    return np.uint8 if g.area <= 255 else np.int32


def _divisors(g: Windows, p: PoolingPlanes, ahead: int, rows: int, dtype: np.dtype) -> np.ndarray:
    """Return what to divide runs by: for each map ``rows`` rows, the first ``ahead`` of which have no windows."""
    lanes = np.ones((rows, p.pitch), dtype)
    lanes[ahead : ahead + g.out_h, : g.out_w] = np.outer(g.divisors(0), g.divisors(1))
    return np.append(np.tile(lanes.reshape(-1), p.stack), np.ones(p.rows * p.pitch + 2 * LANES, dtype))


def _scratch(dtype: np.dtype, *shape: int) -> np.ndarray:
    return arrays.zeros((settings.threads(), *shape), dtype)


def _forward_call(mean: bool, g: Windows, x: np.ndarray, y: np.ndarray, index: np.ndarray) -> Call:
    p, offsets = _cut(g, maps_in(g, x), g.out_h)
    planes = _scratch(x.dtype, g.stride_h * g.stride_w * p.size)
    divisors = np.empty(0, x.dtype)
    if mean:
        divisors = _divisors(g, p, 0, g.out_h + p.over, x.dtype)
    else:
        # A row is dealt out with the padding behind it; that before the first row is written here.
        planes.fill(LOWEST)
    return call(
        _forward(mean, g.stride_w),
        p.tasks,
        x.reshape(-1),
        y.reshape(-1),
        index,
        g,
        p,
        offsets,
        divisors,
        planes,
        _scratch(x.dtype, p.size),
        _scratch(index.dtype, p.size if index.size else 0),
        work=x.size + y.size * len(offsets) / 4,
    )


def max_forward(g: Windows, x: np.ndarray, y: np.ndarray, index: np.ndarray | None) -> Call:
    """Return the call that computes the largest of each window, and where it is if ``index`` is given."""
    return _forward_call(False, g, x, y, np.empty(0, index_type(g)) if index is None else index)


def average_forward(g: Windows, x: np.ndarray, y: np.ndarray) -> Call:
    """Return the call that computes the mean of each window, padding counted as zeros."""
    return _forward_call(True, g, x, y, np.empty(0, np.uint8))


def average_backward(g: Windows, dy: np.ndarray, dx: np.ndarray) -> Call:
    """Return the call that computes the gradient of :func:`average_forward`."""
    # The rows of the planes: those with windows, and at least all of the map.
    over = (g.kernel_h - 1) // g.stride_h
    rows = max(g.out_h + over, -(-(g.height + g.pad_h) // g.stride_h))
    p, taps = _cut(g, maps_in(g, dx), rows)
    phase, distance = np.divmod(taps, p.size)
    order = np.argsort(phase, kind="stable")
    phases = np.searchsorted(phase[order], np.arange(g.stride_h * g.stride_w + 1)).astype(np.int64)
    margin = -(-p.pitch // LANES) * LANES
    return call(
        _mean_backward(g.stride_w),
        p.tasks,
        dy.reshape(-1),
        dx.reshape(-1),
        g,
        p,
        -distance[order],
        phases,
        _divisors(g, p, p.over, rows + p.over, dx.dtype),
        _scratch(dx.dtype, g.stride_h * g.stride_w * p.size),
        _scratch(dx.dtype, margin + p.size),
        margin,
        work=dx.size + dy.size * len(taps) / 4,
    )
