"""Pooling of two-dimensional maps.

Windows that overlap or are small are pooled many at a time (:mod:`.pooling_planes`). Here are the others, as large as
the map or nearly: one after the other, along its rows. A task is a map.
"""

import numpy as np

from caffelite.kernels.engine import arrays
from caffelite.kernels.engine.calls import Call, call
from caffelite.kernels.engine.compiling import kernel
from caffelite.kernels.pooling import planes as pooling_planes
from caffelite.kernels.pooling.windows import Windows
from caffelite.kernels.tiles.lanes import LOWEST


@kernel
def _max_forward(begin, end, worker, x, y, index, h, w, kernel_h, kernel_w, step_h, step_w, top, left, out_h, out_w):
    """y = the largest of each window; index, if there is one = its place in the window, the first of equals.

    Where nothing is larger than the lowest number (a window beyond the map, or of NaN), index is the window's area.
    """
    for window in range(begin * out_h * out_w, end * out_h * out_w):
        first = window // out_w % out_h * step_h - top
        column = window % out_w * step_w - left
        plane = window // (out_h * out_w) * h * w
        best = x.dtype.type(LOWEST)
        place = kernel_h * kernel_w
        for row in range(max(first, 0), min(first + kernel_h, h)):
            line = plane + row * w
            for i in range(line + max(column, 0), line + min(column + kernel_w, w)):
                better = x[i] > best
                best = x[i] if better else best
                place = (row - first) * kernel_w + i - line - column if better else place
        y[window] = best
        if len(index):
            index[window] = place


@kernel
def _max_backward(begin, end, worker, dy, index, pitch, places, dx, length, out_h, out_w, corner, down, across):
    """dx = dy where the largest was, summed over windows; a task is a map of ``length`` elements.

    ``index`` has rows of ``pitch``. ``places`` gives, for each index, its distance from the corner of its window; what
    lies beyond the map is left out.
    """
    for task in range(begin, end):
        plane = task * length
        for i in range(length):
            dx[plane + i] = np.float32(0)
        for oy in range(out_h):
            row = task * out_h + oy
            for ox in range(out_w):
                place = corner + oy * down + ox * across + places[index[row * pitch + ox]]
                if place < length:
                    dx[plane + place] += dy[row * out_w + ox]


@kernel
def _mask(begin, end, worker, index, pitch, places, mask, length, out_h, out_w, corner, down, across):
    """mask = the place of the largest in its map, as a float; -1 where there is none. Rows of index are ``pitch``."""
    for task in range(begin, end):
        for row in range(task * out_h, (task + 1) * out_h):
            for ox in range(out_w):
                place = corner + (row - task * out_h) * down + ox * across + places[index[row * pitch + ox]]
                mask[row * out_w + ox] = place if place < length else -1


@kernel
def _average_forward(
    begin, end, worker, x, y, h, w, kernel_h, kernel_w, step_h, step_w, top, left, out_h, out_w, down, across
):
    """y = the sum of each window over the number of elements it counts."""
    for window in range(begin * out_h * out_w, end * out_h * out_w):
        oy, ox = window // out_w % out_h, window % out_w
        first, column = oy * step_h - top, ox * step_w - left
        start, many = max(column, 0), max(min(column + kernel_w, w) - max(column, 0), 0)
        line = window // (out_h * out_w) * h * w + max(first, 0) * w + start
        rows = min(first + kernel_h, h) - max(first, 0)
        if many == w:
            # All of the rows: they are one.
            many, rows = rows * w, 1
        total = x.dtype.type(0)
        for row in range(rows):
            # A sum of its own for each row: they do not wait for each other.
            part = x.dtype.type(0)
            for i in range(line + row * w, line + row * w + many):
                part += x[i]
            total += part
        y[window] = total / (down[oy] * across[ox])


@kernel
def _average_backward(
    begin, end, worker, dy, dx, h, w, kernel_h, kernel_w, step_h, step_w, top, left, out_h, out_w, down, across
):
    """dx = the sum over windows of dy over the number of elements."""
    for i in range(begin * h * w, end * h * w):
        dx[i] = np.float32(0)
    for window in range(begin * out_h * out_w, end * out_h * out_w):
        oy, ox = window // out_w % out_h, window % out_w
        first, column = oy * step_h - top, ox * step_w - left
        plane = window // (out_h * out_w) * h * w
        share = dx.dtype.type(dy[window] / (down[oy] * across[ox]))
        for row in range(max(first, 0), min(first + kernel_h, h)):
            line = plane + row * w
            for i in range(line + max(column, 0), line + min(column + kernel_w, w)):
                dx[i] += share


def _walk(g: Windows) -> tuple[int, ...]:
    return (*g.size, *g.kernel, *g.stride, *g.pad, *g.output_size)


def index_array(g: Windows, maps: int) -> np.ndarray:
    """Return memory for the places of the largest elements."""
    if pooling_planes.fits(g):
        return pooling_planes.index_array(g, maps)
    return arrays.zeros(maps * g.output_size[0] * g.output_size[1], pooling_planes.index_type(g))


def max_forward(g: Windows, x: np.ndarray, y: np.ndarray, index: np.ndarray | None) -> Call:
    """Return the call that computes the largest of each window, and where it is if ``index`` is given."""
    if pooling_planes.fits(g):
        return pooling_planes.max_forward(g, x, y, index)
    index = np.empty(0, pooling_planes.index_type(g)) if index is None else index
    return call(
        _max_forward,
        x.size // (g.size[0] * g.size[1]),
        x.reshape(-1),
        y.reshape(-1),
        index,
        *_walk(g),
        work=y.size * g.kernel[0] * g.kernel[1],
    )


def _index_pitch(g: Windows) -> int:
    return pooling_planes.pitch(g) if pooling_planes.fits(g) else g.output_size[1]


def _places(g: Windows) -> tuple[np.ndarray, tuple[int, ...]]:
    """Return the distance of each index from the corner of its window, and what leads to that corner."""
    w = g.size[1]
    inside = np.arange(g.kernel[0])[:, None] * w + np.arange(g.kernel[1])
    places = np.append(inside.reshape(-1), np.iinfo(np.int64).max // 2).astype(np.int64)
    corner = -g.pad[0] * w - g.pad[1]
    return places, (g.size[0] * w, *g.output_size, corner, g.stride[0] * w, g.stride[1])


def max_backward(g: Windows, dy: np.ndarray, index: np.ndarray, dx: np.ndarray) -> Call:
    """Return the call that computes the gradient of :func:`max_forward`."""
    places, walk = _places(g)
    return call(
        _max_backward,
        dx.size // (g.size[0] * g.size[1]),
        dy.reshape(-1),
        index,
        _index_pitch(g),
        places,
        dx.reshape(-1),
        *walk,
        work=dx.size + dy.size * 4,
    )


def mask(g: Windows, index: np.ndarray, out: np.ndarray) -> Call:
    """Return the call that writes, for each window, the place of its largest element in the map; -1 for none."""
    places, walk = _places(g)
    return call(
        _mask,
        out.size // (g.output_size[0] * g.output_size[1]),
        index,
        _index_pitch(g),
        places,
        out.reshape(-1),
        *walk,
        work=out.size,
    )


def average_forward(g: Windows, x: np.ndarray, y: np.ndarray) -> Call:
    """Return the call that computes the mean of each window, padding counted as zeros."""
    if pooling_planes.fits(g):
        return pooling_planes.average_forward(g, x, y)
    return call(
        _average_forward,
        x.size // (g.size[0] * g.size[1]),
        x.reshape(-1),
        y.reshape(-1),
        *_walk(g),
        g.divisors(0),
        g.divisors(1),
        work=y.size * g.kernel[0] * g.kernel[1],
    )


def average_backward(g: Windows, dy: np.ndarray, dx: np.ndarray) -> Call:
    """Return the call that computes the gradient of :func:`average_forward`."""
    if pooling_planes.fits(g):
        return pooling_planes.average_backward(g, dy, dx)
    return call(
        _average_backward,
        dx.size // (g.size[0] * g.size[1]),
        dy.reshape(-1),
        dx.reshape(-1),
        *_walk(g),
        g.divisors(0),
        g.divisors(1),
        work=dx.size + dy.size * g.kernel[0] * g.kernel[1],
    )
