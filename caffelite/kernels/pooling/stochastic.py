"""Stochastic pooling: one element of each window, drawn with a probability that is its share of the window's sum."""

import numpy as np

from caffelite.kernels.engine.calls import Call, call
from caffelite.kernels.engine.compiling import kernel
from caffelite.kernels.functions import FLT_MIN, random32
from caffelite.kernels.pooling.windows import Windows


@kernel
def _draw(begin, end, worker, x, y, chosen, seed, passes, h, w, kernel_h, kernel_w, step_h, step_w, out_h, out_w):
    """y = the element drawn, chosen = where it is in the map; a task is a map."""
    for task in range(begin, end):
        for oy in range(out_h):
            for ox in range(out_w):
                out = (task * out_h + oy) * out_w + ox
                top, left = oy * step_h, ox * step_w
                bottom, right = min(top + kernel_h, h), min(left + kernel_w, w)
                total = np.float32(0)
                for i in range(top, bottom):
                    for j in range(left, right):
                        total += x[(task * h + i) * w + j]
                limit = random32(seed, passes[0], out) * total
                # Where no partial sum reaches the limit, it is the last one.
                place = (bottom - 1) * w + right - 1
                sum_ = np.float32(0)
                found = False
                for i in range(top, bottom):
                    for j in range(left, right):
                        sum_ += x[(task * h + i) * w + j]
                        if not found and sum_ >= limit:
                            place = i * w + j
                            found = True
                chosen[out] = place
                y[out] = x[task * h * w + place]


@kernel
def _draw_backward(begin, end, worker, dy, chosen, dx, plane, out_plane):
    """dx = dy where it was drawn, else 0; a task is a map."""
    for task in range(begin, end):
        for i in range(task * plane, (task + 1) * plane):
            dx[i] = np.float32(0)
        for out in range(task * out_plane, (task + 1) * out_plane):
            dx[task * plane + chosen[out]] += dy[out]


@kernel
def _expect(begin, end, worker, x, y, h, w, kernel_h, kernel_w, step_h, step_w, out_h, out_w):
    """y = sum of x² / sum of x over each window; a task is a map."""
    for task in range(begin, end):
        for oy in range(out_h):
            for ox in range(out_w):
                top, left = oy * step_h, ox * step_w
                total, squares = FLT_MIN, np.float32(0)
                for i in range(top, min(top + kernel_h, h)):
                    for j in range(left, min(left + kernel_w, w)):
                        v = x[(task * h + i) * w + j]
                        total += v
                        squares += v * v
                y[(task * out_h + oy) * out_w + ox] = squares / total


@kernel
def _expect_backward(begin, end, worker, x, y, dy, dx, h, w, kernel_h, kernel_w, step_h, step_w, out_h, out_w):
    """dx = dy * (2 x - y) / sum of x; a task is a map."""
    for task in range(begin, end):
        for i in range(task * h * w, (task + 1) * h * w):
            dx[i] = np.float32(0)
        for oy in range(out_h):
            for ox in range(out_w):
                out = (task * out_h + oy) * out_w + ox
                top, left = oy * step_h, ox * step_w
                bottom, right = min(top + kernel_h, h), min(left + kernel_w, w)
                total = FLT_MIN
                for i in range(top, bottom):
                    for j in range(left, right):
                        total += x[(task * h + i) * w + j]
                for i in range(top, bottom):
                    for j in range(left, right):
                        place = (task * h + i) * w + j
                        dx[place] += dy[out] * (x[place] + x[place] - y[out]) / total


def _walk(g: Windows) -> tuple[int, ...]:
    return (*g.size, *g.kernel, *g.stride, *g.output_size)


def draw(g: Windows, x: np.ndarray, y: np.ndarray, chosen: np.ndarray, seed: int, passes: np.ndarray) -> Call:
    """Return the call that draws an element of each window, for pass number ``passes[0]``."""
    return call(
        _draw,
        x.size // (g.size[0] * g.size[1]),
        x.reshape(-1),
        y.reshape(-1),
        chosen,
        seed,
        passes,
        *_walk(g),
        work=y.size * g.kernel[0] * g.kernel[1] * 3,
    )


def draw_backward(g: Windows, dy: np.ndarray, chosen: np.ndarray, dx: np.ndarray) -> Call:
    """Return the call that computes the gradient of :func:`draw`."""
    plane = g.size[0] * g.size[1]
    return call(
        _draw_backward,
        dx.size // plane,
        dy.reshape(-1),
        chosen,
        dx.reshape(-1),
        plane,
        g.output_size[0] * g.output_size[1],
        work=dx.size + dy.size,
    )


def expect(g: Windows, x: np.ndarray, y: np.ndarray) -> Call:
    """Return the call that computes what :func:`draw` gives on average."""
    return call(
        _expect,
        x.size // (g.size[0] * g.size[1]),
        x.reshape(-1),
        y.reshape(-1),
        *_walk(g),
        work=y.size * g.kernel[0] * g.kernel[1] * 2,
    )


def expect_backward(g: Windows, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray) -> Call:
    """Return the call that computes the gradient of :func:`expect`."""
    return call(
        _expect_backward,
        x.size // (g.size[0] * g.size[1]),
        x.reshape(-1),
        y.reshape(-1),
        dy.reshape(-1),
        dx.reshape(-1),
        *_walk(g),
        work=y.size * g.kernel[0] * g.kernel[1] * 4,
    )
