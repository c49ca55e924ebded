"""Upsample: put values back where a Pooling layer took them from, or repeat each of them."""

from collections.abc import Sequence

import numpy as np

from caffelite.errors import DataError
from caffelite.kernels import resize
from caffelite.kernels.engine.calls import call
from caffelite.kernels.engine.compiling import kernel
from caffelite.kernels.resize import Places
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.words import Shape, text_of


@kernel
def _put(begin, end, worker, x, mask, y, length, out_length, wrong):
    """y = x at the places of the mask, else 0; wrong = 1 + the first element without one; a task is a map."""
    for task in range(begin, end):
        wrong[task] = 0
        for i in range(task * out_length, (task + 1) * out_length):
            y[i] = np.float32(0)
        for i in range(task * length, (task + 1) * length):
            if mask[i] >= 0 and mask[i] < out_length:
                y[task * out_length + np.int64(mask[i])] = x[i]
            elif wrong[task] == 0:
                wrong[task] = i + 1


@kernel
def _take(begin, end, worker, dy, mask, dx, length, out_length):
    """dx = dy at the places of the mask; a task is a map."""
    for task in range(begin, end):
        for i in range(task * length, (task + 1) * length):
            dx[i] = dy[task * out_length + np.int64(mask[i])]


@layer("Upsample")
class Upsample(Layer):
    """Enlarge maps: with two bottoms by unpooling, with one by repeating each value.

    *Two bottoms*: values, and the places that the second top of a MAX Pooling layer holds. Each value is put at its
    place of a map of zeros. ``upsample_param``: ``upsample_h`` and ``upsample_w`` are the size of that map; or it is
    ``scale`` (2), or ``scale_h`` and ``scale_w``, times the size of the bottom, less 1 with ``pad_out_h`` and
    ``pad_out_w`` (scale 2 only). Of several values for one place the last one counts; as in Caffe each of them gets
    the gradient of the place. SegNet: Badrinarayanan et al., 2015; also jolibrain's.

    *One bottom*: each value is repeated ``scale`` times (or ``scale_h`` times down and ``scale_w`` times across), and
    gets the sum of the gradients. This is YOLO's layer, in eric612/MobileNet-YOLO.
    """

    facts = Facts(
        bottoms=(1, 2),
        backward_reads=frozenset(),
        without_gradient=(1,),
        refuses_gradient=False,
        kind="pooling",
        settings=("upsample_param",),
    )

    def setup(self) -> None:
        p = self.settings = self.param.upsample_param
        self.unpools = len(self.param.bottom) == 2
        self.size: tuple[int, int] | None = None
        self.pad_out = (int(p.pad_out_h), int(p.pad_out_w))
        for name in ("scale", "scale_h", "scale_w", "upsample_h", "upsample_w"):
            least = 2 if self.unpools else 1
            if p.HasField(name) and getattr(p, name) < least:
                self.error(f"{name} is {getattr(p, name)}, expected at least {least}", name)
        for name in ("upsample_h", "upsample_w", "pad_out_h", "pad_out_w"):
            if not self.unpools and p.HasField(name):
                self.error(f"{name} goes with a second bottom, the places that a Pooling layer took values from", name)
        for one, two in (("scale_h", "scale_w"), ("upsample_h", "upsample_w")):
            if p.HasField(one) != p.HasField(two):
                self.error(f"{one} and {two} go together", one if p.HasField(one) else two)
        if p.HasField("upsample_h"):
            self.size = (p.upsample_h, p.upsample_w)
            return
        if p.HasField("scale_h") and p.HasField("scale"):
            self.error("give either scale or scale_h and scale_w, not both", "scale")
        if not self.unpools and not p.HasField("scale_h") and not p.HasField("scale"):
            self.error("upsample_param needs scale")
        self.scale = (p.scale_h, p.scale_w) if p.HasField("scale_h") else (p.scale, p.scale)
        for pad, scale, end in zip(self.pad_out, self.scale, "hw", strict=True):
            if pad and scale != 2:
                self.error(f"pad_out_{end} goes with a scale of 2, not {scale}", f"pad_out_{end}")

    def specific_facts(self) -> Facts:
        return self.facts.but(backward_reads=frozenset({"bottom"})) if self.unpools else self.facts

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        x = bottoms[0]
        if len(x) < 2:
            self.shape_error(f"takes maps, with a height and a width, not {text_of(x)}")
        if self.unpools and bottoms[1] != x:
            self.shape_error(f"takes one place a value: {text_of(x)}, not {text_of(bottoms[1])}", "bottom", 1)
        if self.size is not None:
            return [(*x[:-2], *self.size)]
        sizes = (size * scale - pad for size, scale, pad in zip(x[-2:], self.scale, self.pad_out, strict=True))
        return [(*x[:-2], *sizes)]

    def _places(self, x: Blob, y: Blob) -> list[Places]:
        return [
            resize.at(np.arange(target) // scale, size, x.data.dtype)
            for size, target, scale in zip(x.shape[-2:], y.shape[-2:], self.scale, strict=True)
        ]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, y = bottoms[0], tops[0]
        if not self.unpools:
            return [resize.forward(x.data, y.data, *self._places(x, y))]
        mask = bottoms[1]
        length, out_length = x.shape[-2] * x.shape[-1], y.shape[-2] * y.shape[-1]
        maps = x.data.size // length
        wrong = np.zeros(maps, np.int64)

        def check() -> None:
            if wrong.any():
                place = mask.flat[wrong[np.argmax(wrong != 0)] - 1]
                raise DataError(
                    f"{self.where('bottom', 1)}: place {place:g} does not lie in its top, which has {out_length} "
                    f"({text_of(y.shape[-2:])}) places a map: does the Pooling layer have a bottom of that size?"
                )

        return [call(_put, maps, x.flat, mask.flat, y.flat, length, out_length, wrong, work=y.data.size), check]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, y = bottoms[0], tops[0]
        if x.diff is None or y.diff is None:
            return []
        if not self.unpools:
            return [resize.backward(y.diff, x.diff, *self._places(x, y))]
        length, out_length = x.shape[-2] * x.shape[-1], y.shape[-2] * y.shape[-1]
        return [
            call(
                _take,
                x.data.size // length,
                y.flat_diff,
                bottoms[1].flat,
                x.flat_diff,
                length,
                out_length,
                work=x.data.size,
            )
        ]
