"""Pooling of two-dimensional maps.

First the rows of a window are combined, element by element along the row, into one padded row; then that row is
combined horizontally. Both loops are contiguous or nearly so. A task is one map of one channel.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

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

    @property
    def row_length(self) -> int:
        """Length of a row with its padding, as far as windows reach."""
        reach = (self.output_size[1] - 1) * self.stride[1] + self.kernel[1]
        return max(reach, self.pad[1] + self.size[1])

    def divisors(self, axis: int) -> np.ndarray:
        """Return how many elements each window counts along an axis: those in the map and its padding."""
        starts = np.arange(self.output_size[axis]) * self.stride[axis] - self.pad[axis]
        ends = np.minimum(starts + self.kernel[axis], self.size[axis] + self.pad[axis])
        return (ends - starts).astype(np.float32)


@specialised
def _max_forward(width: int, step: int) -> Callable[..., None]:
    def max_forward(begin, end, worker, x, y, index, with_index, h, w, kernel_h, step_h, top, left, out_h, out_w,
                    values, rows):  # fmt: skip
        """y = the largest of each window; index = its place in the window, the first of equals."""
        value, row_of = values[worker], rows[worker]
        length = len(value)
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
                            value[left + i] = max(value[left + i], x[line + i])
                out = (task * out_h + oy) * out_w
                if with_index:
                    for ox in range(out_w):
                        best = value[ox * step]
                        row = row_of[ox * step]
                        place = row * np.float32(width)
                        for j in range(1, width):
                            v = value[ox * step + j]
                            r = row_of[ox * step + j]
                            better = v > best or (v == best and r < row)
                            best = v if better else best
                            place = r * np.float32(width) + np.float32(j) if better else place
                            row = r if better else row
                        y[out + ox] = best
                        index[out + ox] = np.int32(place)
                else:
                    for ox in range(out_w):
                        best = value[ox * step]
                        for j in range(1, width):
                            best = max(best, value[ox * step + j])
                        y[out + ox] = best

    return max_forward


@kernel
def _max_backward(begin, end, worker, dy, index, dx, h, w, kernel_w, step_h, step_w, top, left, out_h, out_w):
    """dx = dy where the largest was, summed over windows."""
    for task in range(begin, end):
        plane = task * h * w
        for i in range(h * w):
            dx[plane + i] = np.float32(0)
        for oy in range(out_h):
            out = (task * out_h + oy) * out_w
            for ox in range(out_w):
                place = np.int64(index[out + ox])
                row = oy * step_h - top + place // kernel_w
                column = ox * step_w - left + place % kernel_w
                dx[plane + row * w + column] += dy[out + ox]


@kernel
def _mask(begin, end, worker, index, mask, w, kernel_w, step_h, step_w, top, left, out_h, out_w):
    """mask = the place of the largest in its map, as a float."""
    for task in range(begin, end):
        for oy in range(out_h):
            for ox in range(out_w):
                out = (task * out_h + oy) * out_w + ox
                place = np.int64(index[out])
                row = oy * step_h - top + place // kernel_w
                mask[out] = row * w + ox * step_w - left + place % kernel_w


@specialised
def _average_forward(width: int, step: int) -> Callable[..., None]:
    def average_forward(
        begin, end, worker, x, y, h, w, kernel_h, step_h, top, left, out_h, out_w, down, across, values
    ):
        """y = the sum of each window over the number of elements it counts."""
        value = values[worker]
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
                for ox in range(out_w):
                    total = value[ox * step]
                    for j in range(1, width):
                        total += value[ox * step + j]
                    y[out + ox] = total / (down[oy] * across[ox])

    return average_forward


@specialised
def _average_backward(width: int, step: int) -> Callable[..., None]:
    def average_backward(
        begin, end, worker, dy, dx, h, w, kernel_h, step_h, top, left, out_h, out_w, down, across, values
    ):
        """dx = the sum over windows of dy over the number of elements."""
        value = values[worker]
        for task in range(begin, end):
            plane = task * h * w
            for i in range(h * w):
                dx[plane + i] = np.float32(0)
            for oy in range(out_h):
                first = max(oy * step_h - top, 0)
                last = min(oy * step_h - top + kernel_h, h)
                for i in range(len(value)):
                    value[i] = np.float32(0)
                out = (task * out_h + oy) * out_w
                for j in range(width):
                    for ox in range(out_w):
                        value[ox * step + j] += dy[out + ox] / (down[oy] * across[ox])
                for row in range(first, last):
                    line = plane + row * w
                    for i in range(w):
                        dx[line + i] += value[left + i]

    return average_backward


def _row_scratch(g: Windows) -> np.ndarray:
    return arrays.zeros((settings.threads(), g.row_length))


def index_array(g: Windows, planes: int) -> np.ndarray:
    """Return memory for the places of the largest elements."""
    small = g.kernel[0] * g.kernel[1] <= 256
    return arrays.zeros(planes * g.output_size[0] * g.output_size[1], np.uint8 if small else np.int32)


def max_forward(g: Windows, x: np.ndarray, y: np.ndarray, index: np.ndarray | None) -> Call:
    """Return the call that computes the largest of each window, and where it is if ``index`` is given."""
    planes = x.size // (g.size[0] * g.size[1])
    return call(
        _max_forward(g.kernel[1], g.stride[1]), planes, x.reshape(-1), y.reshape(-1),
        np.empty(0, np.uint8) if index is None else index, int(index is not None), *g.size, g.kernel[0], g.stride[0],
        *g.pad, *g.output_size, _row_scratch(g), _row_scratch(g), work=y.size * g.kernel[0] * 4,
    )  # fmt: skip


def max_backward(g: Windows, dy: np.ndarray, index: np.ndarray, dx: np.ndarray) -> Call:
    """Return the call that computes the gradient of :func:`max_forward`."""
    planes = dx.size // (g.size[0] * g.size[1])
    return call(_max_backward, planes, dy.reshape(-1), index, dx.reshape(-1), *g.size, g.kernel[1], *g.stride, *g.pad,
                *g.output_size, work=dx.size + dy.size * 4)  # fmt: skip


def mask(g: Windows, index: np.ndarray, out: np.ndarray) -> Call:
    """Return the call that writes, for each window, the place of its largest element in the map."""
    planes = out.size // (g.output_size[0] * g.output_size[1])
    return call(_mask, planes, index, out.reshape(-1), g.size[1], g.kernel[1], *g.stride, *g.pad, *g.output_size,
                work=out.size)  # fmt: skip


def average_forward(g: Windows, x: np.ndarray, y: np.ndarray) -> Call:
    """Return the call that computes the mean of each window, padding counted as zeros."""
    planes = x.size // (g.size[0] * g.size[1])
    return call(
        _average_forward(g.kernel[1], g.stride[1]), planes, x.reshape(-1), y.reshape(-1), *g.size, g.kernel[0],
        g.stride[0], *g.pad, *g.output_size, g.divisors(0), g.divisors(1), _row_scratch(g),
        work=y.size * g.kernel[0] * 4,
    )  # fmt: skip


def average_backward(g: Windows, dy: np.ndarray, dx: np.ndarray) -> Call:
    """Return the call that computes the gradient of :func:`average_forward`."""
    planes = dx.size // (g.size[0] * g.size[1])
    return call(
        _average_backward(g.kernel[1], g.stride[1]), planes, dy.reshape(-1), dx.reshape(-1), *g.size, g.kernel[0],
        g.stride[0], *g.pad, *g.output_size, g.divisors(0), g.divisors(1), _row_scratch(g),
        work=dy.size * g.kernel[0] * 4,
    )  # fmt: skip
