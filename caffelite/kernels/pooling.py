"""Pooling of two-dimensional maps.

First the rows of a window are combined, element by element along the row, into one padded row. That row is dealt out
into ``stride`` rows, element i to row i % stride, so that neighbouring windows read neighbouring elements; these are
combined element by element again. So LLVM vectorises all of it, without gathers. A task is one map of one channel.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numba.extending import register_jitable

from caffelite.kernels import arrays, settings
from caffelite.kernels.launch import Call, call, kernel, specialised

_LOWEST = np.float32(-3.4028234663852886e38)


@dataclass(frozen=True, slots=True)
class Windows:
    """Where the windows lie; pairs are (vertical, horizontal)."""

    size: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]
    output_size: tuple[int, int]
    counts_padding: bool = True

    @property
    def dealt_length(self) -> int:
        """Length of each of the rows that a row is dealt out into."""
        return self.output_size[1] + (self.kernel[1] - 1) // self.stride[1]

    @property
    def row_length(self) -> int:
        """Length of a row with its padding, as far as windows reach."""
        return max(self.dealt_length * self.stride[1], self.pad[1] + self.size[1])

    def divisors(self, axis: int) -> np.ndarray:
        """Return how many elements each window counts along an axis: in the map, and in its padding if that counts."""
        starts = np.arange(self.output_size[axis]) * self.stride[axis] - self.pad[axis]
        ends = np.minimum(starts + self.kernel[axis], self.size[axis] + self.pad[axis])
        if not self.counts_padding:
            starts, ends = np.maximum(starts, 0), np.minimum(ends, self.size[axis])
        return (ends - starts).astype(np.float32)


def _dealer(step: int) -> Callable[..., None]:
    """Return the function that deals a row out; ``step`` is a constant, so LLVM loads vectors and shuffles them."""

    def deal(row, dealt):
        for i in range(dealt.shape[1]):
            for j in range(step):
                dealt[j, i] = row[i * step + j]

    return register_jitable(deal)


@specialised
def _max_forward(width: int, step: int) -> Callable[..., None]:
    deal = _dealer(step)

    def max_forward(begin, end, worker, x, y, index, with_index, h, w, kernel_h, step_h, top, left, out_h, out_w,
                    values, rows, dealt):  # fmt: skip
        """y = the largest of each window; index = its place in the window, the first of equals; a task is a map.

        Where nothing is larger than the lowest number (a window beyond the map, or of NaN), index is the window's area.
        """
        value, row_of, best_of, row_of_best = values[worker], rows[worker], dealt[worker, 0], dealt[worker, 1]
        length = len(value)
        nowhere = np.float32(kernel_h * width)
        for task in range(begin, end):
            plane = task * h * w
            for oy in range(out_h):
                first = max(oy * step_h - top, 0)
                last = min(oy * step_h - top + kernel_h, h)
                for i in range(length):
                    value[i] = _LOWEST
                if with_index:
                    for i in range(length):
                        row_of[i] = np.float32(0)
                    for row in range(first, last):
                        number = np.float32(row - (oy * step_h - top))
                        line = plane + row * w
                        for i in range(w):
                            v = x[line + i]
                            better = v > value[left + i]
                            value[left + i] = v if better else value[left + i]
                            row_of[left + i] = number if better else row_of[left + i]
                else:
                    for row in range(first, last):
                        line = plane + row * w
                        for i in range(w):
                            v = x[line + i]
                            value[left + i] = v if v > value[left + i] else value[left + i]
                out = (task * out_h + oy) * out_w
                deal(value, best_of)
                if with_index:
                    deal(row_of, row_of_best)
                    for ox in range(out_w):
                        best = best_of[0, ox]
                        row = row_of_best[0, ox]
                        place = row * np.float32(width)
                        for j in range(1, width):
                            v = best_of[j % step, ox + j // step]
                            r = row_of_best[j % step, ox + j // step]
                            better = v > best or (v == best and r < row)
                            best = v if better else best
                            place = r * np.float32(width) + np.float32(j) if better else place
                            row = r if better else row
                        y[out + ox] = best
                        index[out + ox] = np.int32(place if best > _LOWEST else nowhere)
                else:
                    for ox in range(out_w):
                        best = best_of[0, ox]
                        for j in range(1, width):
                            v = best_of[j % step, ox + j // step]
                            best = v if v > best else best
                        y[out + ox] = best

    return max_forward


@kernel
def _max_backward(begin, end, worker, dy, index, places, dx, length, out_h, out_w, corner, down, across):
    """dx = dy where the largest was, summed over windows; a task is a map of ``length`` elements.

    ``places`` gives, for each index, its distance from the corner of its window; what lies beyond the map is left out.
    """
    for task in range(begin, end):
        plane = task * length
        for i in range(length):
            dx[plane + i] = np.float32(0)
        for oy in range(out_h):
            out = (task * out_h + oy) * out_w
            for ox in range(out_w):
                place = corner + oy * down + ox * across + places[index[out + ox]]
                if place < length:
                    dx[plane + place] += dy[out + ox]


@kernel
def _mask(begin, end, worker, index, places, mask, length, out_h, out_w, corner, down, across):
    """mask = the place of the largest in its map, as a float; -1 where there is none."""
    for task in range(begin, end):
        for oy in range(out_h):
            for ox in range(out_w):
                out = (task * out_h + oy) * out_w + ox
                place = corner + oy * down + ox * across + places[index[out]]
                mask[out] = place if place < length else -1


@specialised
def _average_forward(width: int, step: int) -> Callable[..., None]:
    deal = _dealer(step)

    def average_forward(
        begin, end, worker, x, y, h, w, kernel_h, step_h, top, left, out_h, out_w, down, across, values, dealt
    ):
        """y = the sum of each window over the number of elements it counts."""
        value, sums = values[worker], dealt[worker]
        for task in range(begin, end):
            plane = task * h * w
            for oy in range(out_h):
                first = max(oy * step_h - top, 0)
                last = min(oy * step_h - top + kernel_h, h)
                for i in range(len(value)):
                    value[i] = np.float32(0)
                for row in range(first, last):
                    line = plane + row * w
                    for i in range(w):
                        value[left + i] += x[line + i]
                out = (task * out_h + oy) * out_w
                deal(value, sums)
                for ox in range(out_w):
                    total = sums[0, ox]
                    for j in range(1, width):
                        total += sums[j % step, ox + j // step]
                    y[out + ox] = total / (down[oy] * across[ox])

    return average_forward


@specialised
def _average_backward(width: int, step: int) -> Callable[..., None]:
    def average_backward(
        begin, end, worker, dy, dx, h, w, kernel_h, step_h, top, left, out_h, out_w, down, across, values, dealt
    ):
        """dx = the sum over windows of dy over the number of elements."""
        value, sums = values[worker], dealt[worker]
        for task in range(begin, end):
            plane = task * h * w
            for i in range(h * w):
                dx[plane + i] = np.float32(0)
            for oy in range(out_h):
                first = max(oy * step_h - top, 0)
                last = min(oy * step_h - top + kernel_h, h)
                for j in range(step):
                    for i in range(sums.shape[1]):
                        sums[j, i] = np.float32(0)
                out = (task * out_h + oy) * out_w
                for ox in range(out_w):
                    value[ox] = dy[out + ox] / (down[oy] * across[ox])
                for j in range(width):
                    for ox in range(out_w):
                        sums[j % step, ox + j // step] += value[ox]
                for i in range(sums.shape[1]):
                    for j in range(step):
                        value[i * step + j] = sums[j, i]
                for row in range(first, last):
                    line = plane + row * w
                    for i in range(w):
                        dx[line + i] += value[left + i]

    return average_backward


def _row_scratch(g: Windows, dtype: np.dtype) -> np.ndarray:
    return arrays.zeros((settings.threads(), g.row_length), dtype)


def _dealt_scratch(g: Windows, dtype: np.dtype, *many: int) -> np.ndarray:
    return arrays.zeros((settings.threads(), *many, g.stride[1], g.dealt_length), dtype)


def index_array(g: Windows, planes: int) -> np.ndarray:
    """Return memory for the places of the largest elements."""
    small = g.kernel[0] * g.kernel[1] <= 255  # the area itself is an index too: none
    return arrays.zeros(planes * g.output_size[0] * g.output_size[1], np.uint8 if small else np.int32)


def max_forward(g: Windows, x: np.ndarray, y: np.ndarray, index: np.ndarray | None) -> Call:
    """Return the call that computes the largest of each window, and where it is if ``index`` is given."""
    planes = x.size // (g.size[0] * g.size[1])
    return call(
        _max_forward(g.kernel[1], g.stride[1]), planes, x.reshape(-1), y.reshape(-1),
        np.empty(0, np.uint8) if index is None else index, int(index is not None), *g.size, g.kernel[0], g.stride[0],
        *g.pad, *g.output_size, _row_scratch(g, x.dtype), _row_scratch(g, x.dtype),
        _dealt_scratch(g, x.dtype, 2),
        work=y.size * g.kernel[0] * 4,
    )  # fmt: skip


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
    return call(_max_backward, dx.size // (g.size[0] * g.size[1]), dy.reshape(-1), index, places, dx.reshape(-1), *walk,
                work=dx.size + dy.size * 4)  # fmt: skip


def mask(g: Windows, index: np.ndarray, out: np.ndarray) -> Call:
    """Return the call that writes, for each window, the place of its largest element in the map; -1 for none."""
    places, walk = _places(g)
    return call(_mask, out.size // (g.output_size[0] * g.output_size[1]), index, places, out.reshape(-1), *walk,
                work=out.size)  # fmt: skip


def average_forward(g: Windows, x: np.ndarray, y: np.ndarray) -> Call:
    """Return the call that computes the mean of each window, padding counted as zeros."""
    planes = x.size // (g.size[0] * g.size[1])
    return call(
        _average_forward(g.kernel[1], g.stride[1]), planes, x.reshape(-1), y.reshape(-1), *g.size, g.kernel[0],
        g.stride[0], *g.pad, *g.output_size, g.divisors(0), g.divisors(1),
        _row_scratch(g, x.dtype), _dealt_scratch(g, x.dtype), work=y.size * g.kernel[0] * 4,
    )  # fmt: skip


def average_backward(g: Windows, dy: np.ndarray, dx: np.ndarray) -> Call:
    """Return the call that computes the gradient of :func:`average_forward`."""
    planes = dx.size // (g.size[0] * g.size[1])
    return call(
        _average_backward(g.kernel[1], g.stride[1]), planes, dy.reshape(-1), dx.reshape(-1), *g.size, g.kernel[0],
        g.stride[0], *g.pad, *g.output_size, g.divisors(0), g.divisors(1),
        _row_scratch(g, dy.dtype), _dealt_scratch(g, dy.dtype), work=dy.size * g.kernel[0] * 4,
    )  # fmt: skip
