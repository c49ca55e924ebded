"""Pooling of windows that overlap or are small, with vectors.

A map is dealt out, with its padding, into ``stride × stride`` planes: row y goes to a plane of phase y % stride,
likewise its columns. There, what neighbouring windows have at one place are neighbours too, over the whole plane: a
place of the windows (a tap) is one offset, and a run of windows is the sum or the largest of a few loads
(:mod:`.lanes`), whatever the map's width. Some windows of a run lie between two rows of the output; they are left out
when it is copied.

A task is a stack of small maps, or a band of a large one, so that its planes stay in the cache. Rows are moved with
whole vectors that may go on into the next rows, which are written later.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from caffelite.kernels.engine import arrays, settings
from caffelite.kernels.engine.calls import Call, call
from caffelite.kernels.engine.compiling import specialised
from caffelite.kernels.pooling.windows import Windows
from caffelite.kernels.tiles.lanes import LANES, LOWEST, deal, join, largest, total

#: Elements the planes of a task should have.
_CACHED = 4096
#: Horizontal strides that a row is dealt out by with vectors: the shuffles grow with their square.
_LARGEST_STRIDE = 4
#: How many times more windows may be computed than are wanted.
_LARGEST_WASTE = 4


@dataclass(frozen=True, slots=True)
class _Planes:
    """How maps are cut into tasks, and how those lie in the planes.

    Attributes
    ----------
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
    offsets : ndarray of int64
        For each tap, in the order of the window, the distance of what it reads.
    """

    stack: int
    bands: int
    rows: int
    over: int
    left: int
    pitch: int
    size: int
    offsets: np.ndarray

    def tasks(self, maps: int) -> int:
        return -(-maps // self.stack) * self.bands

    @property
    def walk(self) -> tuple[int, ...]:
        return self.stack, self.bands, self.rows, self.over, self.left, self.pitch, self.size


def _columns(g: Windows) -> tuple[int, int, int]:
    """Return where a map and where its first window begin in a dealt row (the latter before dealing), and its pitch."""
    # The map begins with a whole group of ``stride``, so that it can be dealt out from its first column on.
    left = -(-g.pad[1] // g.stride[1])
    first = left * g.stride[1] - g.pad[1]
    windows = g.output_size[1] + (first + g.kernel[1] - 1) // g.stride[1]
    return left, first, max(windows, left - (-g.size[1] // g.stride[1]))


def pitch(g: Windows) -> int:
    """Return the distance of a row of a plane, or of the places in ``index``, from the next one."""
    return _columns(g)[2]


def fits(g: Windows) -> bool:
    """Whether these kernels are for these windows."""
    over = (g.kernel[0] - 1) // g.stride[0]
    lanes = (g.output_size[0] + over) * pitch(g)
    return g.stride[1] <= _LARGEST_STRIDE and lanes <= _LARGEST_WASTE * g.output_size[0] * g.output_size[1]


def _planes(g: Windows, maps: int, all_rows: int) -> _Planes:
    """Return the cut of maps that have ``all_rows`` rows of windows."""
    left, first, row = _columns(g)
    over = (g.kernel[0] - 1) // g.stride[0]
    line = g.stride[0] * g.stride[1] * row
    bands = -(-all_rows // max(_CACHED // line - over, 2 * over, 1))
    rows = -(-all_rows // bands)
    bands = -(-all_rows // rows)
    stack = 1
    if bands == 1:
        # As many tasks as keep all threads busy, if there are so many maps.
        stack = max(1, min(_CACHED // (line * (rows + over)), maps // (4 * settings.threads())))
    # Behind the last row: what a last run reads, and what a last vector writes.
    size = (stack * (rows + over) + 1) * row + 2 * LANES
    down, across = np.divmod(np.arange(g.kernel[0] * g.kernel[1], dtype=np.int64), g.kernel[1])
    across += first
    phase = down % g.stride[0] * g.stride[1] + across % g.stride[1]
    offsets = phase * size + down // g.stride[0] * row + across // g.stride[1]
    return _Planes(stack, bands, rows, over, left, row, size, offsets)


@specialised
def _forward(mean: bool, step: int) -> Callable[..., None]:
    outside = 0.0 if mean else LOWEST

    def forward(
        begin,
        end,
        worker,
        x,
        y,
        index,
        maps,
        h,
        w,
        kernel_h,
        step_h,
        top,
        out_h,
        out_w,
        stack,
        bands,
        rows,
        over,
        left,
        pitch,
        size,
        offsets,
        divisors,
        planes,
        results,
        places,
    ):
        """y = the largest of each window, or its sum over the number of elements it counts.

        index, if there is one = the place of the largest in its window, the first of equals, in rows of ``pitch``.
        Where nothing is larger than the lowest number (a window beyond the map, or of NaN), it is the window's area.
        """
        plane, value, place = planes[worker], results[worker], places[worker]
        # The row of windows, in all maps, that the next thread begins with.
        limit = min(end // bands * stack, maps) * out_h + end % bands * rows
        for task in range(begin, end):
            first = task // bands * stack
            many = min(stack, maps - first)
            row = task % bands * rows
            wanted = min(rows, out_h - row)
            at = row * step_h - top
            beyond = at + (wanted - 1) * step_h + kernel_h
            for j in range(many):
                for phase in range(step_h):
                    to = j * (rows + over) * pitch + phase * step * size + left
                    for r in range(at + phase, beyond, step_h):
                        columns = w if 0 <= r < h else 0
                        deal(x, ((first + j) * h + r) * w, columns, plane, to, size, pitch, outside, step)
                        to += pitch
            lanes = ((many - 1) * (rows + over) + wanted) * pitch
            for i in range(0, lanes, LANES):
                if mean:
                    total(plane, i, offsets, 0, len(offsets), value, i)
                    for k in range(i, i + LANES):
                        value[k] /= divisors[row * pitch + k]
                elif len(index):
                    largest(plane, i, offsets, len(offsets), value, place, i, True)
                else:
                    largest(plane, i, offsets, len(offsets), value, place, i, False)
            for j in range(many):
                line = j * (rows + over) * pitch
                to = (first + j) * out_h + row
                if not mean and len(index):
                    join(place, line, 0, index, to * pitch, wanted * pitch, limit * pitch, 1)
                for i in range(wanted):
                    join(value, line + i * pitch, 0, y, (to + i) * out_w, out_w, limit * out_w, 1)

    return forward


@specialised
def _mean_backward(step: int) -> Callable[..., None]:
    def mean_backward(
        begin,
        end,
        worker,
        dy,
        dx,
        maps,
        h,
        w,
        step_h,
        top,
        out_h,
        out_w,
        stack,
        bands,
        rows,
        over,
        left,
        pitch,
        size,
        margin,
        offsets,
        phases,
        divisors,
        planes,
        spread,
    ):
        """dx = the sum over windows of dy over the number of elements.

        A task is a band of rows of the planes, with ``over`` rows of windows before it that reach into it.
        """
        plane, value = planes[worker], spread[worker]
        # The row, in all maps, that the next thread begins with.
        limit = min(end // bands * stack, maps) * h + max(end % bands * rows * step_h - top, 0)
        for task in range(begin, end):
            first = task // bands * stack
            many = min(stack, maps - first)
            row = task % bands * rows
            line = margin
            for j in range(many):
                for r in range(row - over, row + rows):
                    columns = out_w if 0 <= r < out_h else 0
                    deal(dy, ((first + j) * out_h + r) * out_w, columns, value, line, 0, pitch, 0.0, 1)
                    line += pitch
            for i in range(line - margin):
                value[margin + i] /= divisors[row * pitch + i]
            start = margin + over * pitch
            for phase in range(step_h * step):
                for i in range(0, line - start, LANES):
                    total(value, start + i, offsets, phases[phase], phases[phase + 1], plane, phase * size + i)
            for j in range(many):
                at = row * step_h - top
                for r in range(max(at, 0), min(at + rows * step_h, h)):
                    line = (j * (rows + over) + (r - at) // step_h) * pitch + (r - at) % step_h * step * size + left
                    join(plane, line, size, dx, ((first + j) * h + r) * w, w, limit * w, step)

    return mean_backward


def index_array(g: Windows, maps: int) -> np.ndarray:
    """Return memory for the places of the largest elements: rows of more than there are windows."""
    return arrays.zeros(maps * g.output_size[0] * pitch(g), index_type(g))


def index_type(g: Windows) -> type:
    """Return the type of a place in a window, or of its area, which stands for none."""
    return np.uint8 if g.kernel[0] * g.kernel[1] <= 255 else np.int32


def _divisors(g: Windows, p: _Planes, ahead: int, rows: int, dtype: np.dtype) -> np.ndarray:
    """Return what to divide runs by: for each map ``rows`` rows, the first ``ahead`` of which have no windows."""
    lanes = np.ones((rows, p.pitch), dtype)
    lanes[ahead : ahead + g.output_size[0], : g.output_size[1]] = np.outer(g.divisors(0), g.divisors(1))
    return np.append(np.tile(lanes.reshape(-1), p.stack), np.ones(p.rows * p.pitch + 2 * LANES, dtype))


def _scratch(dtype: np.dtype, *shape: int) -> np.ndarray:
    return arrays.zeros((settings.threads(), *shape), dtype)


def _maps(g: Windows, x: np.ndarray) -> int:
    return x.size // (g.size[0] * g.size[1])


def _forward_call(mean: bool, g: Windows, x: np.ndarray, y: np.ndarray, index: np.ndarray) -> Call:
    maps = _maps(g, x)
    p = _planes(g, maps, g.output_size[0])
    planes = _scratch(x.dtype, g.stride[0] * g.stride[1] * p.size)
    divisors = np.empty(0, x.dtype)
    if mean:
        divisors = _divisors(g, p, 0, g.output_size[0] + p.over, x.dtype)
    else:
        # A row is dealt out with the padding behind it; that before the first row is written here.
        planes.fill(LOWEST)
    return call(
        _forward(mean, g.stride[1]),
        p.tasks(maps),
        x.reshape(-1),
        y.reshape(-1),
        index,
        maps,
        *g.size,
        g.kernel[0],
        g.stride[0],
        g.pad[0],
        *g.output_size,
        *p.walk,
        p.offsets,
        divisors,
        planes,
        _scratch(x.dtype, p.size),
        _scratch(index.dtype, p.size if index.size else 0),
        work=x.size + y.size * len(p.offsets) / 4,
    )


def max_forward(g: Windows, x: np.ndarray, y: np.ndarray, index: np.ndarray | None) -> Call:
    """Return the call that computes the largest of each window, and where it is if ``index`` is given."""
    return _forward_call(False, g, x, y, np.empty(0, index_type(g)) if index is None else index)


def average_forward(g: Windows, x: np.ndarray, y: np.ndarray) -> Call:
    """Return the call that computes the mean of each window, padding counted as zeros."""
    return _forward_call(True, g, x, y, np.empty(0, np.uint8))


def average_backward(g: Windows, dy: np.ndarray, dx: np.ndarray) -> Call:
    """Return the call that computes the gradient of :func:`average_forward`."""
    maps = _maps(g, dx)
    # The rows of the planes: those with windows, and at least all of the map.
    over = (g.kernel[0] - 1) // g.stride[0]
    rows = max(g.output_size[0] + over, -(-(g.size[0] + g.pad[0]) // g.stride[0]))
    p = _planes(g, maps, rows)
    phase, distance = np.divmod(p.offsets, p.size)
    order = np.argsort(phase, kind="stable")
    phases = np.searchsorted(phase[order], np.arange(g.stride[0] * g.stride[1] + 1)).astype(np.int64)
    # Before the first row: as far as windows reach back from it.
    margin = -(-p.pitch // LANES) * LANES
    return call(
        _mean_backward(g.stride[1]),
        p.tasks(maps),
        dy.reshape(-1),
        dx.reshape(-1),
        maps,
        *g.size,
        g.stride[0],
        g.pad[0],
        *g.output_size,
        *p.walk,
        margin,
        -distance[order],
        phases,
        _divisors(g, p, p.over, rows + p.over, dx.dtype),
        _scratch(dx.dtype, g.stride[0] * g.stride[1] * p.size),
        _scratch(dx.dtype, margin + p.size),
        work=dx.size + dy.size * len(p.offsets) / 4,
    )
