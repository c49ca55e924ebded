"""Convolution by direct sums: forward, and the gradient to the data; both are correlations.

``y[o, i, j] = b[o] + sum over c, u, v of x[c, i * s + u * d - p, j * s + v * d - p] * w[o, c, u, v]``; the plain loops
are ``convolution`` and ``convolution_gradients`` in ``tests/naive.py``. What is computed how stands in
:mod:`.correlation_kernel`.
"""

import numpy as np

from caffelite.kernels import elementwise
from caffelite.kernels.convolution.correlation import Filters, View, correlate
from caffelite.kernels.convolution.geometry import Geometry
from caffelite.kernels.engine import arrays
from caffelite.kernels.engine.calls import Call
from caffelite.kernels.inner_product import product


def packs(g: Geometry) -> bool:
    """Whether the first call of :func:`forward` packs the weights, and the others do not read them."""
    return not (g.kernel == g.size and g.pad == (0, 0) and g.group == 1)


def forward(
    g: Geometry,
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray | None,
    y: np.ndarray,
    chain: elementwise.Chain = elementwise.NOTHING,
) -> list[Call]:
    """Return the calls that compute ``y`` from ``x``.

    Parameters
    ----------
    g : Geometry
    x : ndarray of float32, images x channels x height x width
    w : ndarray of float32, outputs x channels / group x kernel height x kernel width
    bias : ndarray of float32 or None
        One value an output channel.
    y : ndarray of float32, images x outputs x output height x output width
    chain : Chain, optional
        What is applied to the results.
    """
    if not packs(g):
        # One window, the whole image: an inner product.
        count = g.channels * g.size[0] * g.size[1]
        calls = product(x, (count, 1), w, (1, count), y, (g.images, g.outputs, count), bias)
        return [*calls, *chain.over(y.reshape(-1))]
    taps = g.kernel[0] * g.kernel[1]
    per_output = g.channels // g.group * taps
    down, across = np.divmod(np.arange(taps), g.kernel[1])
    filters = Filters(
        w.reshape(-1),
        np.empty(0, np.float32) if bias is None else bias.reshape(-1),
        np.arange(per_output, dtype=np.int64),
        per_output,
        g.outputs // g.group * per_output,
    )
    view = View(down * g.dilation[0], across * g.dilation[1], g.pad, g.stride, g.output_size)
    return correlate(x, y, g.group, filters, view, chain)


def backward_data(g: Geometry, dy: np.ndarray, w: np.ndarray, dx: np.ndarray) -> list[Call]:
    """Return the calls that compute the gradient to the data.

    With a stride, each of its phases of ``dx`` that taps reach is a convolution of ``dy`` with some of the taps.

    Parameters
    ----------
    g : Geometry
    dy : ndarray of float32, images x outputs x output height x output width
    w : ndarray of float32, outputs x channels / group x kernel height x kernel width
    dx : ndarray of float32, images x channels x height x width
        Is set.
    """
    taps = g.kernel[0] * g.kernel[1]
    channels, outputs = g.channels // g.group, g.outputs // g.group
    phases = _phases(g, 0), _phases(g, 1)
    calls: list[Call] = []
    if any(len(reached) < min(g.stride[axis], g.size[axis]) for axis, reached in enumerate(phases)):
        # No tap reaches some pixels. With a large stride these are nearly all phases, too many for a call each.
        calls.append(arrays.clear(dx.reshape(-1), arrays.shares([dx.size])))
    for phase_y, rows in phases[0].items():
        for phase_x, columns in phases[1].items():
            down = np.repeat([d for _, d in rows], len(columns))
            across = np.tile([d for _, d in columns], len(rows))
            tap = np.array([i * g.kernel[1] + j for i, _ in rows for j, _ in columns], np.int64)
            top, left = -int(down.min()), -int(across.min())
            result = (-(-(g.size[0] - phase_y) // g.stride[0]), -(-(g.size[1] - phase_x) // g.stride[1]))
            offsets = (np.arange(outputs)[:, None] * channels * taps + tap[None, :]).reshape(-1).astype(np.int64)
            filters = Filters(w.reshape(-1), np.empty(0, np.float32), offsets, taps, outputs * channels * taps)
            first = phase_y * g.size[1] + phase_x
            view = View(down + top, across + left, (top, left), (1, 1), result, first, g.stride)
            calls += correlate(dy, dx, g.group, filters, view)
    return calls


def _phases(g: Geometry, axis: int) -> dict[int, list[tuple[int, int]]]:
    """Return the phases that taps reach, in order.

    For each, the taps that reach its pixels, with the distance of the output pixel that one comes from.
    """
    phases: dict[int, list[tuple[int, int]]] = {}
    for tap in range(g.kernel[axis]):
        shift = tap * g.dilation[axis] - g.pad[axis]
        phase = shift % g.stride[axis]
        if phase < g.size[axis]:
            phases.setdefault(phase, []).append((tap, (phase - shift) // g.stride[axis]))
    return dict(sorted(phases.items()))
