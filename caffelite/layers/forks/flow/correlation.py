"""Correlation: how alike the neighbourhoods of two maps are, for each displacement between them."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from caffelite.kernels.engine import arrays, settings
from caffelite.kernels.engine.calls import call
from caffelite.kernels.engine.compiling import specialised
from caffelite.layers.contract.blobs import Blob, Step, with_gradient
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.words import Shape, text_of


class DisplacementWalk(NamedTuple):
    """Where neighbourhoods lie in the padded maps, in elements; ``Correlation.forward`` computes it.

    Attributes
    ----------
    channels : int
    rows, pitch : int
        Of a padded map: how many rows, and from one to the next.
    top, left : int
        The first element of the first neighbourhood.
    kernel : int
        Elements of a neighbourhood along each axis.
    step : int
        From a neighbourhood to the next one.
    height, width : int
        Of the top.
    """

    channels: int
    rows: int
    pitch: int
    top: int
    left: int
    kernel: int
    step: int
    height: int
    width: int


@specialised
def _forward(subtract: bool) -> Callable[..., None]:
    """Make the kernel of the means of products, or of ``|a - b|``."""

    def forward(begin, end, worker, a, b, y, g, moves, scale, sums):
        """y = the mean over channels and neighbourhood for each displacement; a task is a row of an image's top.

        Parameters
        ----------
        a, b : ndarray of float, [images][channels][rows][pitch]
            The padded bottoms.
        y : ndarray of float, [images][moves][height][width]
            Is set.
        g : DisplacementWalk
        moves : ndarray of int64, [moves]
            The displacements, as distances in memory.
        scale : float
            1 / (channels · kernel²).
        sums : ndarray of float, [threads][moves · width]: scratch.
        """
        channels, rows, pitch, height, width, step = g.channels, g.rows, g.pitch, g.height, g.width, g.step
        top, left, kernel = g.top, g.left, g.kernel
        total = sums[worker]
        for task in range(begin, end):
            image, line = task // height, task % height
            for i in range(len(moves) * width):
                total[i] = np.float32(0)
            for c in range(channels):
                for tap in range(kernel * kernel):
                    one = (
                        ((image * channels + c) * rows + line * step + top + tap // kernel) * pitch
                        + left
                        + tap % kernel
                    )
                    for d in range(len(moves)):
                        two, to = one + moves[d], d * width
                        if subtract:
                            for x in range(width):
                                total[to + x] += abs(a[one + x * step] - b[two + x * step])
                        else:
                            for x in range(width):
                                total[to + x] += a[one + x * step] * b[two + x * step]
            for d in range(len(moves)):
                to = ((image * len(moves) + d) * height + line) * width
                for x in range(width):
                    y[to + x] = total[d * width + x] * scale

    return forward


@specialised
def _backward(subtract: bool) -> Callable[..., None]:
    """Make the kernel of the gradient of :func:`_forward`."""

    def backward(begin, end, worker, a, b, dy, da, db, g, moves, scale):
        """The gradients to both bottoms; a task is a channel of an image.

        Parameters
        ----------
        a, b : ndarray of float, [images][channels][rows][pitch]
            The padded bottoms.
        dy : ndarray of float, [images][moves][height][width]
        da, db : ndarray of float, [images][channels][rows][pitch]
            Are set.
        g, moves, scale
            As in :func:`_forward`.
        """
        channels, rows, pitch, height, width, step = g.channels, g.rows, g.pitch, g.height, g.width, g.step
        top, left, kernel = g.top, g.left, g.kernel
        for task in range(begin, end):
            image, plane = task // channels, task * rows * pitch
            for i in range(plane, plane + rows * pitch):
                da[i] = np.float32(0)
                db[i] = np.float32(0)
            for d in range(len(moves)):
                for line in range(height):
                    out = ((image * len(moves) + d) * height + line) * width
                    for tap in range(kernel * kernel):
                        one = plane + (line * step + top + tap // kernel) * pitch + left + tap % kernel
                        two = one + moves[d]
                        if subtract:
                            for x in range(width):
                                more = a[one + x * step] >= b[two + x * step]
                                da[one + x * step] += dy[out + x] if more else -dy[out + x]
                            for x in range(width):
                                more = a[one + x * step] >= b[two + x * step]
                                db[two + x * step] -= dy[out + x] if more else -dy[out + x]
                        else:
                            for x in range(width):
                                da[one + x * step] += dy[out + x] * b[two + x * step]
                            for x in range(width):
                                db[two + x * step] += dy[out + x] * a[one + x * step]
            for i in range(plane, plane + rows * pitch):
                da[i] *= scale
                db[i] *= scale

    return backward


@layer("Correlation")
class Correlation(Layer):
    """For each displacement (u, v): ``y = mean of a[c, y + j, x + i] * b[c, y + v + j, x + u + i]`` over c, j, i.

    Bottoms: a and b, of one shape. ``correlation_param``: ``kernel_size`` (odd: the size of the neighbourhoods),
    ``max_displacement``, ``pad`` (0; zeros around both bottoms), ``stride_1`` (1; from one output pixel to the next),
    ``stride_2`` (1; from one displacement to the next), ``correlation_type`` MULTIPLY or SUBTRACT (the mean of
    ``|a - b|``). ``do_abs`` does nothing, as in FlowNet2.

    With r the whole number of times that ``stride_2`` goes into ``max_displacement`` the top has ``(2r + 1)²``
    channels, u running from ``-r * stride_2`` for each v, and as many pixels as all displacements fit for.

    FlowNet2's gradient of SUBTRACT compares a and b at the same place instead of at the displaced one; here it is that
    of what is computed. Dosovitskiy et al., "FlowNet", 2015; lmb-freiburg/flownet2 (a GPU only there).
    """

    facts = Facts(bottoms=2, backward_reads=frozenset({"bottom"}), settings=("correlation_param",))

    def setup(self) -> None:
        p = self.settings = self.param.correlation_param
        for name in ("kernel_size", "max_displacement"):
            if not p.HasField(name):
                self.error(f"correlation_param needs {name}")
        if p.kernel_size % 2 == 0:
            self.error(f"kernel_size is {p.kernel_size}, expected an odd number", "kernel_size")
        for name in ("stride_1", "stride_2"):
            if getattr(p, name) < 1:
                self.error(f"{name} is {getattr(p, name)}, expected at least 1", name)

    def _displacements(self) -> tuple[list[int], list[int]]:
        """Return the vertical and the horizontal displacements."""
        p = self.settings
        reach = p.max_displacement // p.stride_2
        both = [i * p.stride_2 for i in range(-reach, reach + 1)]
        return both, both

    def _margins(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return the zeros above, and left of, the bottoms, and how far from their edge neighbourhoods begin."""
        p = self.settings
        return (p.pad, p.pad), (p.max_displacement, p.max_displacement)

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        x = bottoms[0]
        if x != bottoms[1] or len(x) != 4:
            self.shape_error(
                f"takes two bottoms of the same 4 axes (images × channels × height × width), not {text_of(x)} and "
                f"{text_of(bottoms[1])}",
                "bottom",
                1,
            )
        p = self.settings
        down, across = self._displacements()
        pads, starts = self._margins()
        rooms = [n + 2 * pad - 2 * start - p.kernel_size + 1 for n, pad, start in zip(x[2:], pads, starts, strict=True)]
        if min(rooms) < 1:
            self.shape_error(
                f"a displacement of {p.max_displacement} and a kernel of {p.kernel_size} do not fit into maps of "
                f"{text_of(x[2:])} with pad {p.pad}",
                "max_displacement",
            )
        sizes = [-(-room // p.stride_1) for room in rooms]
        return [(x[0], len(down) * len(across), *sizes)]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        images, channels, h, w = bottoms[0].shape
        p, y = self.settings, tops[0]
        down, across = self._displacements()
        pads, starts = self._margins()
        # Where a displacement leaves the padding (see Correlation1D) there are more zeros.
        more = max(0, -min(across) - starts[1])
        rows, pitch = h + 2 * pads[0], w + 2 * pads[1] + more
        self.inside = np.s_[:, :, pads[0] : pads[0] + h, pads[1] + more : pads[1] + more + w]
        self.padded = [arrays.zeros((images, channels, rows, pitch), x.data.dtype) for x in bottoms]
        moves = np.array([v * pitch + u for v in down for u in across], np.int64)
        height, width = y.shape[2:]
        top, left = starts[0], starts[1] + more
        walk = DisplacementWalk(channels, rows, pitch, top, left, p.kernel_size, p.stride_1, height, width)
        self.walk = walk, moves, 1 / (p.kernel_size**2 * channels)
        steps: list[Step] = [
            partial(np.copyto, padded[self.inside], x.data) for padded, x in zip(self.padded, bottoms, strict=True)
        ]
        sums = arrays.zeros((settings.threads(), len(moves) * y.shape[3]), y.data.dtype)
        a, b = (padded.reshape(-1) for padded in self.padded)
        work = self._products(bottoms, tops)
        steps.append(
            call(_forward(bool(p.correlation_type)), images * y.shape[2], a, b, y.flat, *self.walk, sums, work=work)
        )
        return steps

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        if tops[0].diff is None or all(x.diff is None for x in bottoms):
            return []
        images, channels = bottoms[0].shape[:2]
        spread = [np.zeros_like(padded) for padded in self.padded]
        a, b, da, db = (array.reshape(-1) for array in (*self.padded, *spread))
        steps: list[Step] = [
            call(
                _backward(bool(self.settings.correlation_type)),
                images * channels,
                a,
                b,
                tops[0].flat_diff,
                da,
                db,
                *self.walk,
                work=2 * self._products(bottoms, tops),
            )
        ]
        for x, d in zip(bottoms, spread, strict=True):
            if x.diff is not None:
                steps.append(partial(np.copyto, x.diff, d[self.inside]))
        return steps

    def multiply_adds(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> tuple[int, int]:
        """For SUBTRACT, the differences that are summed; backward computes the gradients of both bottoms or none."""
        products = self._products(bottoms, tops)
        return products, 2 * products if with_gradient(*bottoms) else 0

    def _products(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> int:
        return tops[0].data.size * bottoms[0].shape[1] * self.settings.kernel_size**2


@layer("Correlation1D")
class Correlation1D(Correlation):
    """Correlation with horizontal displacements only, as between the two images of a stereo camera.

    Settings of Correlation, and ``single_direction``: 0 (both), 1 (0 and to the right), -1 (to the left). ``pad`` and
    ``max_displacement`` apply to the width alone. As in FlowNet2, -1 begins one displacement further to the left than 1
    ends and leaves 0 out; what lies beyond the padding counts as 0 then.

    Mayer et al., "DispNet", 2016; lmb-freiburg/flownet2.
    """

    facts = Correlation.facts.but(settings=("correlation_param",))

    def setup(self) -> None:
        super().setup()
        if self.settings.single_direction not in (-1, 0, 1):
            self.error(f"single_direction is {self.settings.single_direction}, expected -1, 0 or 1", "single_direction")

    def _displacements(self) -> tuple[list[int], list[int]]:
        p = self.settings
        reach = p.max_displacement // p.stride_2
        first, last = {0: (-reach, reach), 1: (0, reach), -1: (-reach - 1, -1)}[p.single_direction]
        return [0], [i * p.stride_2 for i in range(first, last + 1)]

    def _margins(self) -> tuple[tuple[int, int], tuple[int, int]]:
        return (0, self.settings.pad), (0, self.settings.max_displacement)
