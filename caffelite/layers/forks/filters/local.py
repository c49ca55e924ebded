"""Local: a convolution with filters of its own at each place."""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable

from caffelite.kernels.bias import add_rows
from caffelite.kernels.engine.calls import call
from caffelite.kernels.engine.compiling import kernel
from caffelite.layers.contract.blobs import Blob, Parameter, Step, with_gradient
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.words import Shape, text_of


class Sizes(NamedTuple):
    """What a layer computes on, in elements.

    Attributes
    ----------
    outputs, channels : int
        Maps of top and bottom.
    height, width : int
        Of a map of the bottom.
    size, stride, pad : int
        Of a window; the same along both axes.
    out_h, out_w : int
        Of a map of the top.
    """

    outputs: int
    channels: int
    height: int
    width: int
    size: int
    stride: int
    pad: int
    out_h: int
    out_w: int


@register_jitable
def _inside(tap, pad, stride, size, places):
    """Return the first of the top's places along an axis whose tap lies in the bottom, and the one behind the last."""
    first = max((pad - tap + stride - 1) // stride, 0)
    last = min((size - 1 + pad - tap) // stride + 1, places)
    return first, max(last, first)


@kernel
def _forward(begin, end, worker, x, w, bias, y, g):
    """y = sum over channels and taps of x · w + bias; a task is a map of the top.

    Parameters
    ----------
    x : ndarray of float, [images][channels][height][width]
    w : ndarray of float, [outputs][channels][size][size][out_h · out_w]
    bias : ndarray of float, [outputs][out_h · out_w] or [0]
    y : ndarray of float, [images][outputs][out_h · out_w]
        Is set.
    g : Sizes
    """
    outputs, channels, height, width, out_h, out_w = g.outputs, g.channels, g.height, g.width, g.out_h, g.out_w
    size, stride, pad = g.size, g.stride, g.pad
    places = out_h * out_w
    for task in range(begin, end):
        n, m = task // outputs, task % outputs
        for i in range(places):
            y[task * places + i] = bias[m * places + i] if len(bias) else np.float32(0)
        for c in range(channels):
            for i in range(size):
                first_y, last_y = _inside(i, pad, stride, height, out_h)
                for j in range(size):
                    first, last = _inside(j, pad, stride, width, out_w)
                    weights = (((m * channels + c) * size + i) * size + j) * places
                    for oy in range(first_y, last_y):
                        row = ((n * channels + c) * height + oy * stride + i - pad) * width + j - pad
                        for ox in range(first, last):
                            place = oy * out_w + ox
                            y[task * places + place] += x[row + ox * stride] * w[weights + place]


@kernel
def _to_bottom(begin, end, worker, dy, w, dx, g):
    """dx = sum over outputs and taps of dy · w, arrays as in :func:`_forward`; a task is a map of the bottom."""
    outputs, channels, height, width, out_h, out_w = g.outputs, g.channels, g.height, g.width, g.out_h, g.out_w
    size, stride, pad = g.size, g.stride, g.pad
    places = out_h * out_w
    for task in range(begin, end):
        n, c = task // channels, task % channels
        for i in range(task * height * width, (task + 1) * height * width):
            dx[i] = np.float32(0)
        for m in range(outputs):
            for i in range(size):
                first_y, last_y = _inside(i, pad, stride, height, out_h)
                for j in range(size):
                    first, last = _inside(j, pad, stride, width, out_w)
                    weights = (((m * channels + c) * size + i) * size + j) * places
                    for oy in range(first_y, last_y):
                        row = (task * height + oy * stride + i - pad) * width + j - pad
                        for ox in range(first, last):
                            place = oy * out_w + ox
                            dx[row + ox * stride] += dy[(n * outputs + m) * places + place] * w[weights + place]


@kernel
def _to_weights(begin, end, worker, x, dy, dw, g):
    """dw += sum over images of x · dy, arrays as in :func:`_forward`; a task is a channel of an output's filters."""
    outputs, channels, height, width, out_h, out_w = g.outputs, g.channels, g.height, g.width, g.out_h, g.out_w
    size, stride, pad = g.size, g.stride, g.pad
    places = out_h * out_w
    for task in range(begin, end):
        m, c = task // channels, task % channels
        for n in range(len(dy) // (outputs * places)):
            for i in range(size):
                first_y, last_y = _inside(i, pad, stride, height, out_h)
                for j in range(size):
                    first, last = _inside(j, pad, stride, width, out_w)
                    weights = ((task * size + i) * size + j) * places
                    for oy in range(first_y, last_y):
                        row = ((n * channels + c) * height + oy * stride + i - pad) * width + j - pad
                        for ox in range(first, last):
                            place = oy * out_w + ox
                            dw[weights + place] += x[row + ox * stride] * dy[(n * outputs + m) * places + place]


@layer("Local")
class Local(Layer):
    """Convolution whose filters differ from place to place: ``y[o, p] = b[o, p] + sum over k of w[o, k, p] * x[k, p]``.

    k goes over the channels and taps of the window of place p. ``local_param``: ``num_output``, ``kernel_size``,
    ``stride`` (1), ``pad`` (0), ``bias_term``, ``weight_filler``, ``bias_filler``. Blobs: filters, ``num_output × 1 ×
    (channels kernel_size²) × places``; bias, ``1 × 1 × num_output × places``.

    ducha-aiki's and happynear's forks. Taigman et al., "DeepFace", 2014.
    """

    facts = Facts(backward_reads=frozenset({"bottom"}), kind="weights", settings=("local_param",))

    def setup(self) -> None:
        p = self.settings = self.param.local_param
        for name in ("num_output", "kernel_size", "stride"):
            if getattr(p, name) < 1:
                self.error(f"local_param needs {name} of at least 1", name)

    def sizes(self, x: Shape) -> Sizes:
        """Return what it computes on, for a bottom of this shape."""
        p = self.settings
        if len(x) != 4:
            self.shape_error(f"takes a bottom of 4 axes (images × channels × height × width), not {text_of(x)}")
        if min(x[2:]) + 2 * p.pad < p.kernel_size:
            self.shape_error(
                f"a kernel of {p.kernel_size} does not fit into {text_of(x[2:])} with pad {p.pad}", "kernel_size"
            )
        top = ((n + 2 * p.pad - p.kernel_size) // p.stride + 1 for n in x[2:])
        return Sizes(p.num_output, *x[1:], p.kernel_size, p.stride, p.pad, *top)

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        g = self.sizes(bottoms[0])
        return [(bottoms[0][0], g.outputs, g.out_h, g.out_w)]

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        g, p = self.sizes(bottoms[0]), self.settings
        places = g.out_h * g.out_w
        parameters = [Parameter((g.outputs, 1, g.channels * g.size**2, places), p.weight_filler)]
        if p.bias_term:
            parameters.append(Parameter((1, 1, g.outputs, places), p.bias_filler))
        return parameters

    def window(self, bottom: Shape) -> list[tuple[int, Fraction]]:
        return [(self.settings.kernel_size, Fraction(self.settings.stride))] * 2

    def _work(self, x: Blob, y: Blob) -> int:
        return y.data.size * x.shape[1] * self.settings.kernel_size**2

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, y = bottoms[0], tops[0]
        bias = self.blobs[1].flat if len(self.blobs) > 1 else np.empty(0, x.data.dtype)
        return [
            call(
                _forward,
                y.shape[0] * y.shape[1],
                x.flat,
                self.blobs[0].flat,
                bias,
                y.flat,
                self.sizes(x.shape),
                work=self._work(x, y),
            )
        ]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, y, w = bottoms[0], tops[0], self.blobs[0]
        dy, sizes, work = y.flat_diff, self.sizes(x.shape), self._work(x, y)
        steps: list[Step] = []
        if w.diff is not None:
            steps.append(call(_to_weights, sizes.outputs * sizes.channels, x.flat, dy, w.flat_diff, sizes, work=work))
        if len(self.blobs) > 1 and self.blobs[1].diff is not None:
            steps.append(add_rows(dy, dy.size // y.shape[0], self.blobs[1].flat_diff))
        if x.diff is not None:
            steps.append(call(_to_bottom, x.shape[0] * x.shape[1], dy, w.flat, x.flat_diff, sizes, work=work))
        return steps

    def multiply_adds(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> tuple[int, int]:
        products = self._work(bottoms[0], tops[0])
        return products, products * with_gradient(bottoms[0], self.blobs[0])
