"""Pooling: the largest, the mean or a random element of each window."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from caffelite.kernels.pooling import pooling
from caffelite.kernels.pooling import stochastic as stochastic_pooling
from caffelite.kernels.pooling.windows import Windows
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.windows import stride_and_pad_text, window_text
from caffelite.schema.messages import LayerParameter
from caffelite.words import TRAIN, Shape, text_of

_MAX, _AVE, _STOCHASTIC = 0, 1, 2
_AVE_EXC_PAD = 20009
_CEIL = 0
#: Elements a window may have: their places are kept as float32.
_LARGEST = 2**24 - 1


@layer("Pooling")
class Pooling(Layer):
    """Reduce each ``kernel_size`` window of a map to its largest (``MAX``) or mean (``AVE``) value, or a random one.

    ``pooling_param``: ``pool``; ``kernel_size``, ``stride``, ``pad`` (or ``_h``/``_w``); ``global_pooling`` (one
    window, the whole map); ``round_mode``. A second top of MAX holds the place of the largest in its map.

    A partial window at the end counts (the size is rounded up, where Convolution rounds down), unless there is a pad
    and it would begin in the padding. AVE divides by the elements of the window that lie in the map or its padding; by
    those in the map alone with ``avg_include_pad: false`` (of Intel's fork; ``AVE_EXC_PAD`` in that of Synopsys). Of
    equal values MAX takes the first.

    STOCHASTIC is for values that are not negative and for maps without pad: TRAIN takes an element with the probability
    that is its share of the window's sum, TEST the mean under these probabilities. It depends on the seed and the
    number of the pass alone; Caffe has it on a GPU only. Zeiler and Fergus, "Stochastic Pooling for Regularization
    of Deep Convolutional Neural Networks", 2013.

    As in Caffe, a stride above the kernel size can put the last window beyond the map when there is no pad: MAX is
    then the lowest float32 (mask -1, no gradient), AVE is NaN.
    """

    facts = Facts(tops=(1, 2), backward_reads=frozenset(), kind="pooling", settings=("pooling_param",))

    @classmethod
    def summary(cls, param: LayerParameter) -> list[str]:
        settings = param.pooling_param
        pool = settings.DESCRIPTOR.fields_by_name["pool"].enum_type.values_by_number[settings.pool].name
        if settings.global_pooling:
            return [f"{pool} over the whole map"]
        return [", ".join([f"{pool} {window_text(settings)}", *stride_and_pad_text(settings)])]

    def setup(self) -> None:
        p = self.settings = self.param.pooling_param
        self.averages = p.pool in (_AVE, _AVE_EXC_PAD)
        if not self.averages and p.pool not in (_MAX, _STOCHASTIC):
            name = p.DESCRIPTOR.fields_by_name["pool"].enum_type.values_by_number[p.pool].name
            self.error(f"there is no pool {name} in caffelite; it can be MAX, AVE, STOCHASTIC or AVE_EXC_PAD", "pool")
        if p.pool != _MAX and len(self.param.top) > 1:
            self.error("a second top (the places of the largest values) goes with pool MAX")
        if p.pool == _STOCHASTIC:
            if self.context.phase == TRAIN:
                self.state["passes"] = np.zeros(1, np.int64)
        if p.global_pooling:
            if p.HasField("kernel_size") or p.HasField("kernel_h") or p.HasField("kernel_w"):
                self.error("global_pooling takes no kernel size", "global_pooling")
            self.kernel, self.stride, self.pad = (0, 0), self._pair("stride", "stride", 1), self._pair("pad", "pad", 0)
            if self.stride != (1, 1) or self.pad != (0, 0):
                self.error("global_pooling takes no stride and no pad", "global_pooling")
            return
        self.kernel = self._pair("kernel_size", "kernel", None)
        self.stride = self._pair("stride", "stride", 1)
        self.pad = self._pair("pad", "pad", 0)
        for k, q in zip(self.kernel, self.pad, strict=True):
            if q >= k:
                self.error(f"pad {q} must be smaller than the kernel, {k}", "pad")
            if q and p.pool == _STOCHASTIC:
                self.error("pool STOCHASTIC takes no pad", "pad")

    def specific_facts(self) -> Facts:
        reads = frozenset({"bottom", "top"}) if self.settings.pool == _STOCHASTIC else frozenset[str]()
        return self.facts.but(backward_reads=reads)

    def _pair(self, name: str, short: str, default: int | None) -> tuple[int, int]:
        p = self.settings
        split = p.HasField(f"{short}_h") or p.HasField(f"{short}_w")
        if split and p.HasField(name):
            self.error(f"give either {name} or {short}_h and {short}_w, not both", name)
        if split:
            if not (p.HasField(f"{short}_h") and p.HasField(f"{short}_w")) and default is None:
                self.error(f"{short}_h and {short}_w go together")
            values = (getattr(p, f"{short}_h"), getattr(p, f"{short}_w"))
        elif p.HasField(name) or default is not None:
            values = (getattr(p, name),) * 2
        else:
            self.error(f"pooling_param needs {name} (or {short}_h and {short}_w, or global_pooling)")
        if name != "pad" and min(values) < 1:
            self.error(f"{name} is {min(values)}, expected at least 1", name)
        return values

    def windows(self, x: Shape) -> Windows:
        if len(x) != 4:
            self.shape_error(f"takes a bottom of 4 axes (images × channels × height × width), not {text_of(x)}")
        size = (x[2], x[3])
        kernel = size if self.settings.global_pooling else self.kernel
        output = [self._output(*sizes) for sizes in zip(size, kernel, self.stride, self.pad, strict=True)]
        # What a window has beyond map and padding counts for nothing, and how far beyond it begins.
        kernel = (min(kernel[0], size[0] + 2 * self.pad[0]), min(kernel[1], size[1] + 2 * self.pad[1]))
        stride = (min(self.stride[0], size[0] + self.pad[0]), min(self.stride[1], size[1] + self.pad[1]))
        if kernel[0] * kernel[1] > _LARGEST:
            self.shape_error(f"a window of {text_of(kernel)} is larger than the {_LARGEST} elements it may have")
        counts_padding = self.settings.pool == _AVE and self.settings.avg_include_pad
        return Windows(*size, *kernel, *stride, *self.pad, output[0], output[1], counts_padding)

    def _output(self, size: int, kernel: int, stride: int, pad: int) -> int:
        room = size + 2 * pad - kernel
        up = self.settings.round_mode == _CEIL
        if self.settings.HasField("ceil_mode"):  # the name other forks have for it
            up = self.settings.ceil_mode
        windows = (-(-room // stride) if up else room // stride) + 1
        if any(self.pad) and (windows - 1) * stride >= size + pad:
            windows -= 1
        if windows < 1:
            self.shape_error(f"a window of {kernel} does not fit into {size} with pad {pad}", "kernel_size")
        return windows

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        g = self.windows(bottoms[0])
        return [(*bottoms[0][:2], g.out_h, g.out_w)] * len(self.param.top)

    def window(self, bottom: Shape) -> list[tuple[int, Fraction]]:
        g = self.windows(bottom)
        return [(g.kernel_h, Fraction(g.stride_h)), (g.kernel_w, Fraction(g.stride_w))]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, y = bottoms[0], tops[0]
        g = self.windows(x.shape)
        if self.averages:
            return [pooling.average_forward(g, x.data, y.data)]
        if self.settings.pool == _STOCHASTIC:
            return self._stochastic(g, x, y)
        needs_places = x.diff is not None or len(tops) > 1
        self.index = pooling.index_array(g, x.shape[0] * x.shape[1]) if needs_places else None
        steps: list[Step] = [pooling.max_forward(g, x.data, y.data, self.index)]
        if len(tops) > 1 and self.index is not None:
            steps.append(pooling.mask(g, self.index, tops[1].data))
        return steps

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        dx, dy = bottoms[0].diff, tops[0].diff
        if dx is None or dy is None:
            return []
        g = self.windows(bottoms[0].shape)
        if self.averages:
            return [pooling.average_backward(g, dy, dx)]
        if self.settings.pool == _STOCHASTIC:
            if self.context.phase == TRAIN:
                return [stochastic_pooling.draw_backward(g, dy, self.chosen, dx)]
            return [stochastic_pooling.expect_backward(g, bottoms[0].data, tops[0].data, dy, dx)]
        assert self.index is not None
        return [pooling.max_backward(g, dy, self.index, dx)]

    def _stochastic(self, g: Windows, x: Blob, y: Blob) -> list[Step]:
        if self.context.phase != TRAIN:
            return [stochastic_pooling.expect(g, x.data, y.data)]
        passes = self.state["passes"]
        self.chosen = np.zeros(y.data.size, np.int64)

        def count_pass() -> None:
            passes[0] += 1

        first, _ = self.context.place_in_batch(y.data.size)
        return [count_pass, stochastic_pooling.draw(g, x.data, y.data, self.chosen, self.seed, passes, first)]
