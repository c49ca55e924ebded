"""DeformableConvolution: a convolution whose filters look where a second bottom says."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable

from caffelite.kernels.engine import arrays
from caffelite.kernels.engine.calls import call
from caffelite.kernels.engine.compiling import kernel
from caffelite.layers.contract.blobs import Blob, Parameter, Step, with_gradient
from caffelite.layers.contract.registry import layer
from caffelite.layers.convolution import Convolution
from caffelite.layers.shared.planes import planes
from caffelite.schema.messages import LayerParameter
from caffelite.words import Shape, count, text_of

_ZERO = np.float32(0)


@register_jitable
def _between(start, tap, offset, size):
    """The two places that ``start + tap + offset`` lies between, and how far from the first; -1 outside the map."""
    position = (start + tap) + offset
    if not (position >= 0 and position < size):
        return -1, -1, offset * _ZERO
    near = int(np.floor(tap + offset))
    if start + near >= size - 1:
        return size - 1, size - 1, offset * _ZERO
    return start + near, start + near + 1, tap + offset - near


class Taps(NamedTuple):
    """How the taps of a filter lie in the maps, in elements; ``DeformableConvolution`` computes it.

    Attributes
    ----------
    channels, groups : int
        Of an image; the channels of a group share their offsets.
    height, width : int
        Of a map.
    kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w : int
        As in Convolution.
    out_h, out_w : int
        Of the top.
    """

    channels: int
    groups: int
    height: int
    width: int
    kernel_h: int
    kernel_w: int
    stride_h: int
    stride_w: int
    pad_h: int
    pad_w: int
    dilation_h: int
    dilation_w: int
    out_h: int
    out_w: int


@kernel
def _sample(begin, end, worker, x, offsets, columns, g):
    """columns = what each tap sees of x, between four values; 0 outside. A task is a channel of an image.

    Parameters
    ----------
    x : ndarray of float, [images][channels][height][width]
    offsets : ndarray of float, [images][groups][taps][2][out_h][out_w]
        Down, then to the right.
    columns : ndarray of float, [images][channels][taps][out_h][out_w]
        Is set.
    g : Taps
    """
    taps, size, width = g.kernel_h * g.kernel_w, g.out_h * g.out_w, g.width
    for task in range(begin, end):
        plane = task * g.height * width
        group = task // g.channels * g.groups + task % g.channels // (g.channels // g.groups)
        for tap in range(taps):
            down, across = tap // g.kernel_w * g.dilation_h, tap % g.kernel_w * g.dilation_w
            for h in range(g.out_h):
                for w in range(g.out_w):
                    place = h * g.out_w + w
                    k = (group * 2 * taps + 2 * tap) * size + place
                    target = (task * taps + tap) * size + place
                    top, bottom, b = _between(h * g.stride_h - g.pad_h, down, offsets[k], g.height)
                    left, right, d = _between(w * g.stride_w - g.pad_w, across, offsets[k + size], width)
                    if top < 0 or left < 0:
                        columns[target] = 0
                        continue
                    above, below = plane + top * width, plane + bottom * width
                    a, c = 1 - b, 1 - d
                    columns[target] = a * (c * x[above + left] + d * x[above + right]) + b * (
                        c * x[below + left] + d * x[below + right]
                    )


@kernel
def _sample_gradient(begin, end, worker, dx, offsets, columns, g):
    """dx = the sum over taps of the shares that its values had in columns; a task is a channel of an image.

    ``dx`` is set, ``columns`` are gradients; arrays as in :func:`_sample`.
    """
    taps, size, width = g.kernel_h * g.kernel_w, g.out_h * g.out_w, g.width
    for task in range(begin, end):
        plane = task * g.height * width
        group = task // g.channels * g.groups + task % g.channels // (g.channels // g.groups)
        for i in range(plane, plane + g.height * width):
            dx[i] = 0
        for tap in range(taps):
            down, across = tap // g.kernel_w * g.dilation_h, tap % g.kernel_w * g.dilation_w
            for h in range(g.out_h):
                for w in range(g.out_w):
                    place = h * g.out_w + w
                    k = (group * 2 * taps + 2 * tap) * size + place
                    top, bottom, b = _between(h * g.stride_h - g.pad_h, down, offsets[k], g.height)
                    left, right, d = _between(w * g.stride_w - g.pad_w, across, offsets[k + size], width)
                    if top < 0 or left < 0:
                        continue
                    above, below = plane + top * width, plane + bottom * width
                    a, c = 1 - b, 1 - d
                    value = columns[(task * taps + tap) * size + place]
                    dx[above + left] += a * c * value
                    dx[above + right] += a * d * value
                    dx[below + left] += b * c * value
                    dx[below + right] += b * d * value


@kernel
def _offset_gradient(begin, end, worker, x, offsets, columns, gradient, g):
    """The gradient of the offsets from that of ``columns``; a task is a tap of a group of an image.

    ``gradient``, of the shape of ``offsets``, is set; arrays as in :func:`_sample`.
    """
    taps, size, each = g.kernel_h * g.kernel_w, g.out_h * g.out_w, g.channels // g.groups
    height, width = g.height, g.width
    for task in range(begin, end):
        group, tap = task // taps, task % taps
        first = group // g.groups * g.channels + group % g.groups * each
        down, across = tap // g.kernel_w * g.dilation_h, tap % g.kernel_w * g.dilation_w
        for h in range(g.out_h):
            for w in range(g.out_w):
                place = h * g.out_w + w
                k = 2 * task * size + place
                top, bottom, b = _between(h * g.stride_h - g.pad_h, down, offsets[k], height)
                left, right, d = _between(w * g.stride_w - g.pad_w, across, offsets[k + size], width)
                along, aside = _ZERO * b, _ZERO * b
                if top >= 0 and left >= 0:
                    for channel in range(first, first + each):
                        value = columns[(channel * taps + tap) * size + place]
                        above, below = (channel * height + top) * width, (channel * height + bottom) * width
                        from_left = x[below + left] - x[above + left]
                        from_right = x[below + right] - x[above + right]
                        along += value * (from_left + d * (from_right - from_left))
                        aside += value * (x[above + right] - x[above + left] + b * (from_right - from_left))
                gradient[k] = along
                gradient[k + size] = aside


@layer("DeformableConvolution")
class DeformableConvolution(Convolution):
    """A convolution each tap of which is moved, at each place, by an offset down and one to the right.

    Bottoms: x ``N × C × H × W``; offsets ``N × 2·K·D × H' × W'`` for K taps, D groups of channels and an output of
    ``H' × W'``: for each group and each tap, down, then to the right. What lies between the values of x is interpolated
    from four of them; outside it is 0. ``deformable_convolution_param``: that of Convolution over two axes, and
    ``deformable_group`` (4), D. Blobs as in Convolution.

    From the makefile/frcnn fork, which takes offsets of the size of x, so that only a convolution that keeps it is
    right, and mixes up the gradients of a batch of several images. Dai et al., "Deformable Convolutional Networks",
    2017.
    """

    facts = Convolution.facts.but(
        bottoms=2, tops=1, kind="weights", settings=("deformable_convolution_param",), folds=frozenset()
    )
    message = "deformable_convolution_param"

    @classmethod
    def summary(cls, param: LayerParameter) -> list[str]:
        (told,) = super().summary(param)
        return [f"{told}, deformable group {param.deformable_convolution_param.deformable_group}"]

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        x, offsets = bottoms
        if len(x) != 4 or self.axis(self.settings.axis, x) != 1:
            self.shape_error(f"takes N×C×H×W with axis 1, not {text_of(x)} with axis {self.settings.axis}")
        (y,) = super().shapes(x)
        groups, taps = self.settings.deformable_group, count(self.sizes(x)[2][1])
        if groups < 1 or x[1] % groups:
            self.error(f"{x[1]} channels are not divisible by deformable_group {groups}", "deformable_group")
        expected = (x[0], 2 * taps * groups, *y[2:])
        if offsets != expected:
            self.shape_error(
                f"{taps} taps and {groups} groups need offsets of {text_of(expected)}, not {text_of(offsets)}",
                "bottom",
                1,
            )
        return [y]

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        return super().parameters(bottoms[0])

    def _geometry(self, x: Blob, y: Blob) -> Taps:
        _, channels, (spatial, *settings) = self.sizes(x.shape)
        pairs = (n for pair in settings for n in pair)
        return Taps(channels, self.settings.deformable_group, *spatial, *pairs, *y.shape[2:])

    def _product(self, x: Blob, y: Blob) -> tuple[np.ndarray, list[np.ndarray | None]]:
        """Return the filters and their gradients, each as one of a single tap."""
        outputs = self.counts(x.shape[1])[0]
        gradients = [blob.diff for blob in self.blobs] + [None] * (2 - len(self.blobs))
        if gradients[0] is not None:
            gradients[0] = gradients[0].reshape(outputs, -1, 1, 1)
        return self.blobs[0].data.reshape(outputs, -1, 1, 1), gradients

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, offsets, y = *bottoms, tops[0]
        images, channels = x.shape[:2]
        taps = count(self.sizes(x.shape)[2][1])
        ones, nothing = (1, 1), (0, 0)
        #: What each tap sees, as channels, over which the filters are those of a convolution of one tap.
        self.columns = arrays.zeros((images, channels * taps, *y.shape[2:]), x.data.dtype)
        self.plane = planes(
            images, channels * taps, *self.counts(channels), [y.shape[2:], ones, ones, nothing, ones], x.data.dtype
        )
        bias = self.blobs[1].data if len(self.blobs) > 1 else None
        sample = call(
            _sample,
            images * channels,
            x.flat,
            offsets.flat,
            self.columns.reshape(-1),
            self._geometry(x, y),
            work=20 * self.columns.size,
        )
        return [sample, *self.plane.forward(self.columns, self._product(x, y)[0], bias, y.data)]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, offsets, y = *bottoms, tops[0]
        assert y.diff is not None
        images, channels = x.shape[:2]
        to_bottoms = x.diff is not None or offsets.diff is not None
        columns = arrays.zeros(self.columns.shape, x.data.dtype) if to_bottoms else None
        w, (dw, db) = self._product(x, y)
        steps: list[Step] = [*self.plane.backward(self.columns, w, y.diff, columns, dw, db)]
        if columns is None:
            return steps
        flat, geometry = columns.reshape(-1), self._geometry(x, y)
        if offsets.diff is not None:
            tasks = images * self.settings.deformable_group * (columns.shape[1] // channels)
            steps.append(
                call(
                    _offset_gradient,
                    tasks,
                    x.flat,
                    offsets.flat,
                    flat,
                    offsets.flat_diff,
                    geometry,
                    work=20 * columns.size,
                )
            )
        if x.diff is not None:
            steps.append(
                call(
                    _sample_gradient,
                    images * channels,
                    x.flat_diff,
                    offsets.flat,
                    flat,
                    geometry,
                    work=20 * columns.size,
                )
            )
        return steps

    def multiply_adds(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> tuple[int, int]:
        """Those of the filters; what is interpolated between four values is little beside them."""
        products = tops[0].data.size * count(self.blobs[0].shape[1:])
        # One product gives the gradient of what was sampled, which both bottoms get theirs from.
        return products, products * (bool(with_gradient(*bottoms)) + with_gradient(self.blobs[0]))
