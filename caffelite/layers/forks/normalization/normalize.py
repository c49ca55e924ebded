"""Normalize: length one for each image or each place of it, in two forks' meanings."""

from collections.abc import Callable, Sequence

import numpy as np

from caffelite.kernels.engine import arrays
from caffelite.kernels.engine.calls import call
from caffelite.kernels.engine.compiling import kernel, specialised
from caffelite.layers.contract.blobs import Blob, Parameter, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.schema.messages import FillerParameter
from caffelite.words import Shape, count, text_of

#: Added to the sum where ``norm_param`` gives none.
PLAIN_EPS = 1e-6


@specialised
def _forward(across: bool, shared: bool, absolute: bool = False) -> Callable[..., None]:
    """Make the kernel for norms of images or (not ``across``) of places; one scale for all channels (``shared``)."""

    def forward(begin, end, worker, x, y, scale, norms, channels, length, eps):
        """y = scale · x / norm (absolute: that of L1); a task is an image.

        Parameters
        ----------
        x, y : ndarray of float, [images][channels][length]
            ``y`` is set.
        scale : ndarray of float, [1] or [channels]
        norms : ndarray of float, [images] or [images][length]
            Is set.
        channels, length : int
        eps : float
            Added to the sum of squares.
        """
        for n in range(begin, end):
            start = n * channels * length
            if across:
                total = 0.0
                for i in range(start, start + channels * length):
                    total += np.float64(x[i]) * x[i]
                norms[n] = np.sqrt(total + eps)
            else:
                for i in range(length):
                    norms[n * length + i] = eps
                for c in range(channels):
                    for i in range(length):
                        value = x[start + c * length + i]
                        norms[n * length + i] += abs(value) if absolute else value * value
                for i in range(0 if absolute else length):
                    norms[n * length + i] = np.sqrt(norms[n * length + i])
            for c in range(channels):
                factor = scale[0] if shared else scale[c]
                for i in range(length):
                    norm = norms[n] if across else norms[n * length + i]
                    y[start + c * length + i] = x[start + c * length + i] / norm * factor

    return forward


@specialised
def _backward(across: bool, shared: bool) -> Callable[..., None]:
    """Make the kernel of the gradient of :func:`_forward` to x."""

    def backward(begin, end, worker, x, dy, dx, scale, norms, products, channels, length):
        """dx = scale / norm · (dy - x · sum(x · dy) / norm²), which is set; a task is an image.

        ``products`` is scratch of the shape of ``norms``; the others are as in :func:`_forward`.
        """
        for n in range(begin, end):
            start = n * channels * length
            if across:
                total = 0.0
                for i in range(start, start + channels * length):
                    total += np.float64(x[i]) * dy[i]
                products[n] = total / (np.float64(norms[n]) * norms[n])
            else:
                for i in range(length):
                    products[n * length + i] = 0
                for c in range(channels):
                    for i in range(length):
                        products[n * length + i] += x[start + c * length + i] * dy[start + c * length + i]
                for i in range(length):
                    products[n * length + i] /= norms[n * length + i] * norms[n * length + i]
            for c in range(channels):
                factor = scale[0] if shared else scale[c]
                for i in range(length):
                    place = n if across else n * length + i
                    j = start + c * length + i
                    dx[j] = (dy[j] - x[j] * products[place]) / norms[place] * factor

    return backward


@specialised
def _scale_gradient(across: bool) -> Callable[..., None]:
    """Make the kernel of the gradient of :func:`_forward` to the scale."""

    def scale_gradient(begin, end, worker, x, dy, norms, sums, images, length, channels):
        """sums[c] = sum of x / norm · dy, [channels], which is set; a task is a channel."""
        for c in range(begin, end):
            total = 0.0
            for n in range(images):
                start = (n * channels + c) * length
                for i in range(length):
                    norm = norms[n] if across else norms[n * length + i]
                    total += np.float64(x[start + i]) * dy[start + i] / norm
            sums[c] = total

    return scale_gradient


@kernel
def _absolute_gradient(begin, end, worker, x, dy, dx, norms, shares, channels, length):
    """dx = (dy - sign(x) · sum(x · dy) / norm) / norm, which is set; a task is an image.

    ``norms`` is [images][length], ``shares`` scratch of that shape; the others are [images][channels][length].
    """
    for n in range(begin, end):
        for i in range(n * length, (n + 1) * length):
            shares[i] = np.float32(0)
        for c in range(channels):
            row = (n * channels + c) * length
            for i in range(length):
                shares[n * length + i] += x[row + i] * dy[row + i]
        for i in range(n * length, (n + 1) * length):
            shares[i] /= norms[i]
        for c in range(channels):
            row = (n * channels + c) * length
            for i in range(length):
                sign = np.float32(1) if x[row + i] > 0 else (np.float32(-1) if x[row + i] < 0 else np.float32(0))
                dx[row + i] = (dy[row + i] - sign * shares[n * length + i]) / norms[n * length + i]


@specialised
def _norm_gradient(absolute: bool) -> Callable[..., None]:
    """Make the kernel of the gradient that comes by the second top, the norms."""

    def norm_gradient(begin, end, worker, x, dx, norms, d_norms, channels, length):
        """dx += the gradient of the norms, whose own is ``d_norms``, [images][length]; a task is an image."""
        for n in range(begin, end):
            for c in range(channels):
                row = (n * channels + c) * length
                for i in range(length):
                    value = x[row + i]
                    if absolute:
                        slope = np.float32(1) if value > 0 else (np.float32(-1) if value < 0 else np.float32(0))
                        dx[row + i] += d_norms[n * length + i] * slope
                    else:
                        dx[row + i] += d_norms[n * length + i] * value / norms[n * length + i]

    return norm_gradient


@layer("Normalize")
class Normalize(Layer):
    """``y = scale * x / sqrt(sum of x² + eps)``, or, with ``normalize_param`` or a second top, without the scale.

    Two forks have a layer of this name. *SSD's* has ``norm_param``: ``across_spatial`` (true: the sum is over the whole
    image; false: over the channels at each place), ``channel_shared`` (true: one scale; false: one for each channel),
    ``scale_filler`` (1), ``eps`` (1e-10). One blob, the scale.

    As in SSD, the gradient to x takes the scale to be the same for all channels; where ``channel_shared: false`` has
    made them different it is off by their differences.

    *happynear's* (caffe-windows) has ``normalize_param`` and no blob: ``y = x / norm``, norm being the root of the sum
    over the channels of x² at each place, plus 1e-6, or for ``normalize_type: "L1"`` the sum of ``|x|``, plus 1e-6. A
    second top, ``N × 1 × …``, holds the norms; its gradient counts only with ``bp_norm: true``. With ``fix_gradient:
    true`` the gradient to x is not divided by the norm, as in its layer on a GPU.

    From the SSD fork: Liu, Rabinovich and Berg, "ParseNet: Looking Wider to See Better", 2015.
    """

    facts = Facts(
        tops=(1, 2),
        backward_reads=frozenset({"bottom"}),
        kind="normalization",
        settings=("norm_param", "normalize_param"),
    )

    def setup(self) -> None:
        self.settings = self.param.norm_param
        own = self.param.normalize_param
        self.plain = self.param.HasField("normalize_param") or len(self.param.top) > 1
        if self.plain and self.param.HasField("norm_param"):
            what = "normalize_param" if self.param.HasField("normalize_param") else "a second top"
            self.error(f"norm_param and {what} belong to different forks' Normalize layers", "norm_param")
        if own.normalize_type not in ("L1", "L2"):
            self.error(f'normalize_type is "{own.normalize_type}", expected "L1" or "L2"', "normalize_type")
        self.absolute = own.normalize_type == "L1"

    @staticmethod
    def _sizes(x: Shape) -> tuple[int, int, int]:
        """Return images, channels, and the values of a map."""
        return x[0], x[1], count(x[2:])

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        if len(bottoms[0]) < 2:
            self.shape_error(f"takes a bottom of at least 2 axes (images × channels × …), not {text_of(bottoms[0])}")
        x = bottoms[0]
        return [x, (x[0], 1, *x[2:])][: len(self.param.top)]

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        if self.plain:
            return []
        if self.settings.HasField("scale_filler"):
            filler = self.settings.scale_filler
        else:
            filler = FillerParameter(type="constant", value=1)
        return [Parameter(() if self.settings.channel_shared else bottoms[0][1:2], filler)]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, y = bottoms[0], tops[0]
        images, channels, length = self._sizes(x.shape)
        if self.plain:
            self.norms = arrays.zeros(images * length, x.data.dtype)
            self.one = np.ones(1, x.data.dtype)
            steps: list[Step] = [
                call(
                    _forward(False, True, self.absolute),
                    images,
                    x.flat,
                    y.flat,
                    self.one,
                    self.norms,
                    channels,
                    length,
                    PLAIN_EPS,
                    work=4 * x.data.size,
                )
            ]
            return [*steps, arrays.copy(self.norms, tops[1].data)] if len(tops) > 1 else steps
        across, shared = self.settings.across_spatial, self.settings.channel_shared
        self.norms = arrays.zeros(images if across else images * length, x.data.dtype)
        return [
            call(
                _forward(across, shared),
                images,
                x.flat,
                y.flat,
                self.blobs[0].flat,
                self.norms,
                channels,
                length,
                float(self.settings.eps),
                work=4 * x.data.size,
            )
        ]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        if self.plain:
            return self._backward_plain(bottoms[0], tops)
        x, dy, scale = bottoms[0], tops[0].flat_diff, self.blobs[0]
        images, channels, length = self._sizes(x.shape)
        across, shared = self.settings.across_spatial, self.settings.channel_shared
        steps: list[Step] = []
        if scale.diff is not None:
            steps += self._scale_steps(x, dy, scale.flat_diff)
        if x.diff is not None:
            products = np.zeros_like(self.norms)
            steps.append(
                call(
                    _backward(across, shared),
                    images,
                    x.flat,
                    dy,
                    x.flat_diff,
                    scale.flat,
                    self.norms,
                    products,
                    channels,
                    length,
                    work=6 * x.data.size,
                )
            )
        return steps

    def _backward_plain(self, x: Blob, tops: Sequence[Blob]) -> list[Step]:
        if x.diff is None:
            return []
        p, dy, dx = self.param.normalize_param, tops[0].flat_diff, x.flat_diff
        images, channels, length = self._sizes(x.shape)
        products = np.zeros_like(self.norms)
        steps: list[Step] = []
        if self.absolute:
            steps.append(
                call(
                    _absolute_gradient, images, x.flat, dy, dx, self.norms, products, channels, length, work=6 * dx.size
                )
            )
        else:
            steps.append(
                call(
                    _backward(False, True),
                    images,
                    x.flat,
                    dy,
                    dx,
                    self.one,
                    self.norms,
                    products,
                    channels,
                    length,
                    work=6 * dx.size,
                )
            )
        if p.fix_gradient:
            rows = x.diff.reshape(images, channels, length)
            norms = self.norms.reshape(images, 1, length)
            steps.append(lambda: np.multiply(rows, norms, out=rows))
        if p.bp_norm and len(tops) > 1 and tops[1].diff is not None:
            steps.append(
                call(
                    _norm_gradient(self.absolute),
                    images,
                    x.flat,
                    dx,
                    self.norms,
                    tops[1].flat_diff,
                    channels,
                    length,
                    work=4 * dx.size,
                )
            )
        return steps

    def _scale_steps(self, x: Blob, dy: np.ndarray, diff: np.ndarray) -> list[Step]:
        images, channels, length = self._sizes(x.shape)
        sums = np.zeros(channels, x.data.dtype)

        def add() -> None:
            diff[:] += sums.sum(dtype=np.float64) if self.settings.channel_shared else sums

        return [
            call(
                _scale_gradient(self.settings.across_spatial),
                channels,
                x.flat,
                dy,
                self.norms,
                sums,
                images,
                length,
                channels,
                work=4 * x.data.size,
            ),
            add,
        ]
