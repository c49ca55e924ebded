"""What computes a convolution: which kernels for one, two or three spatial axes, and the memory that they need."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from caffelite.kernels import scale
from caffelite.kernels.convolution import depthwise, direct, direct_weights, winograd, winograd_weights
from caffelite.kernels.convolution.geometry import Geometry
from caffelite.kernels.elementwise import NOTHING, Chain
from caffelite.kernels.engine.arrays import zeros
from caffelite.layers.contract.blobs import Step
from caffelite.words import Shape


class Planes:
    """One or two spatial axes: arrays are only seen with another shape."""

    def __init__(self, images: int, channels: int, outputs: int, group: int, sizes: Sequence[Shape]) -> None:
        self.images, self.channels, self.outputs, self.group = images, channels, outputs, group
        # A row is a plane of height 1.
        fills = (1, 1, 1, 0, 1)
        self.sizes = [_height_and_width(size, fill) for size, fill in zip(sizes, fills, strict=True)]

    def geometry(self) -> Geometry:
        size, kernel, stride, pad, dilation = self.sizes
        return Geometry(self.images, self.channels, self.outputs, size, kernel, stride, pad, dilation, self.group)

    @property
    def packs(self) -> bool:
        """Whether the first step of ``forward`` packs the weights, and the others do not read them."""
        g = self.geometry()
        return not depthwise.fits(g) and direct.packs(g)

    def forward(
        self, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, y: np.ndarray, chain: Chain = NOTHING
    ) -> list[Step]:
        g = self.geometry()
        if depthwise.fits(g):
            return [*depthwise.forward(g, x, w, b, y, chain)]
        method = winograd if winograd.fits(g) else direct
        return [
            *method.forward(
                g, _maps(x, g.images, g.channels, g.size), w, b, _maps(y, g.images, g.outputs, g.output_size), chain
            )
        ]

    def backward(
        self,
        x: np.ndarray,
        w: np.ndarray,
        dy: np.ndarray,
        dx: np.ndarray | None,
        dw: np.ndarray | None,
        db: np.ndarray | None,
    ) -> list[Step]:
        g = self.geometry()
        if depthwise.fits(g):
            return self._backward_depthwise(g, x, w, dy, dx, dw, db)
        dy = _maps(dy, g.images, g.outputs, g.output_size)
        fewer = winograd.fits(g)
        steps: list[Step] = []
        if dw is not None or db is not None:
            sums = winograd_weights if fewer and winograd_weights.fits(g) else direct_weights
            steps += sums.backward_weights(g, _maps(x, g.images, g.channels, g.size), dy, dw, db)
        if dx is not None:
            method = winograd if fewer else direct
            steps += method.backward_data(g, dy, w, _maps(dx, g.images, g.channels, g.size))
        return steps

    @staticmethod
    def _backward_depthwise(
        g: Geometry,
        x: np.ndarray,
        w: np.ndarray,
        dy: np.ndarray,
        dx: np.ndarray | None,
        dw: np.ndarray | None,
        db: np.ndarray | None,
    ) -> list[Step]:
        steps: list[Step] = []
        if db is not None:
            steps.append(scale.sums(dy.reshape(-1), g.outputs, math.prod(g.output_size), db, add=True))
        if dw is not None:
            steps += depthwise.backward_weights(g, x, dy, dw)
        if dx is not None:
            steps += depthwise.backward_data(g, dy, w, dx)
        return steps


class Volumes(Planes):
    """Three spatial axes: each output slice is a two-dimensional convolution over the slices it spans."""

    #: The slices are gathered first.
    packs = False

    def __init__(
        self, images: int, channels: int, outputs: int, group: int, sizes: Sequence[Shape], dtype: np.dtype
    ) -> None:
        depth = [size[0] for size in sizes]
        self.depth, self.kernel, self.stride, self.pad, self.dilation = depth
        self.slices = (self.depth + 2 * self.pad - self.dilation * (self.kernel - 1) - 1) // self.stride + 1
        self.volumes, self.volume_channels = images, channels
        super().__init__(images * self.slices, channels * self.kernel, outputs, group, [s[1:] for s in sizes])
        g = self.geometry()
        self.gathered = zeros((images, self.slices, channels, self.kernel, *g.size), dtype)
        self.result = zeros((images, self.slices, outputs, *g.output_size), dtype)

    def _pairs(self) -> list[tuple[int, int, int]]:
        """List (output slice, kernel slice, input slice) where the input slice exists."""
        return [
            (z, k, z * self.stride + k * self.dilation - self.pad)
            for z in range(self.slices)
            for k in range(self.kernel)
            if 0 <= z * self.stride + k * self.dilation - self.pad < self.depth
        ]

    def _gather(self, x: np.ndarray) -> Step:
        volume = x.reshape(self.volumes, self.volume_channels, self.depth, *self.sizes[0])

        def gather() -> None:
            for z, k, source in self._pairs():
                self.gathered[:, z, :, k] = volume[:, :, source]

        return gather

    def forward(
        self, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, y: np.ndarray, chain: Chain = NOTHING
    ) -> list[Step]:
        target = y.reshape(self.volumes, self.outputs, self.slices, *self.result.shape[3:])
        turned = self.result.transpose(0, 2, 1, 3, 4)
        spread: Callable[[], None] = partial(np.copyto, target, turned)
        # What is added lies as the target does.
        inside, behind = (NOTHING, chain) if chain.other.size else (chain, NOTHING)
        steps = super().forward(self.gathered, _filters(w), b, self.result, inside)
        return [self._gather(x), *steps, spread, *behind.over(y.reshape(-1))]

    def backward(
        self,
        x: np.ndarray,
        w: np.ndarray,
        dy: np.ndarray,
        dx: np.ndarray | None,
        dw: np.ndarray | None,
        db: np.ndarray | None,
    ) -> list[Step]:
        source = dy.reshape(self.volumes, self.outputs, self.slices, *self.result.shape[3:])
        steps: list[Step] = [self._gather(x), partial(np.copyto, self.result, source.transpose(0, 2, 1, 3, 4))]
        spread = zeros(self.gathered.shape, self.gathered.dtype) if dx is not None else None
        to_weights = None if dw is None else _filters(dw)
        steps += super().backward(self.gathered, _filters(w), self.result, spread, to_weights, db)
        if dx is not None and spread is not None:
            volume = dx.reshape(self.volumes, self.volume_channels, self.depth, *self.sizes[0])

            def scatter() -> None:
                volume.fill(0)
                for z, k, target in self._pairs():
                    volume[:, :, target] += spread[:, z, :, k]

            steps.append(scatter)
        return steps


def planes(images: int, channels: int, outputs: int, group: int, sizes: Sequence[Shape], dtype: np.dtype) -> Planes:
    """Return what computes a convolution; ``sizes`` has input, kernel, stride, pad, dilation, each for all axes."""
    size, kernel, stride, pad, dilation = sizes
    # Kernels are made for a stride; where there is one window, how far the next one would be makes no difference.
    rooms = (n + 2 * p - d * (k - 1) for n, k, p, d in zip(size, kernel, pad, dilation, strict=True))
    stride = tuple(min(s, room) for s, room in zip(stride, rooms, strict=True))
    sizes = [size, kernel, stride, pad, dilation]
    if len(size) == 3:
        return Volumes(images, channels, outputs, group, sizes, dtype)
    return Planes(images, channels, outputs, group, sizes)


def _filters(w: np.ndarray) -> np.ndarray:
    """Return filters of three axes as those of two, whose channels are the slices of each."""
    return w.reshape(w.shape[0], -1, *w.shape[3:])


def _height_and_width(size: Shape, fill: int) -> tuple[int, int]:
    height, width = (fill, *size)[-2:]
    return height, width


def _maps(array: np.ndarray, images: int, channels: int, size: tuple[int, int]) -> np.ndarray:
    return array.reshape(images, channels, *size)
