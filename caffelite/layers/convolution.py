"""Convolution over one, two or three spatial axes."""

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import partial

import numpy as np

from caffelite.kernels.engine.arrays import zeros
from caffelite.layers.contract.blobs import Blob, Once, Parameter, Step, with_gradient
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.elementwise import chain_of
from caffelite.layers.shared.linear import Linear
from caffelite.layers.shared.planes import Planes, planes
from caffelite.layers.shared.windows import stride_and_pad_text, window_text
from caffelite.schema.messages import LayerParameter
from caffelite.words import Shape, count, text_of


@layer("Convolution")
class Convolution(Linear):
    """Slide filters over the input: ``y[o] = b[o] + sum over c, i, j of w[o, c, i, j] * x[c, y*s + i*d - p, …]``.

    ``convolution_param``: ``num_output``; ``kernel_size``, ``stride``, ``pad``, ``dilation`` (one value, or one a
    spatial axis; or the ``_h``/``_w`` forms); ``group``; ``bias_term``; ``axis`` (the channel axis; what comes before
    it are images); ``weight_filler``, ``bias_filler``. Several bottoms with as many tops share the filters.

    Blobs: filters, ``num_output × channels / group × kernel``; bias, ``num_output``. As everywhere in this field the
    filters are not flipped. A partial window at the end of a row is left out (Pooling keeps it). ``engine`` and
    ``force_nd_im2col`` choose an implementation in Caffe and mean nothing here.
    """

    facts = Facts(
        bottoms=(1, None),
        tops=(1, None),
        backward_reads=frozenset({"bottom"}),
        kind="weights",
        settings=("convolution_param",),
        folds=frozenset({"before", "behind"}),
    )
    message = "convolution_param"

    @classmethod
    def summary(cls, param: LayerParameter) -> list[str]:
        settings = getattr(param, cls.message)
        dilation = list(settings.dilation)
        told = [f"{window_text(settings)} → {settings.num_output}", *stride_and_pad_text(settings)]
        told += [f"dilation {'×'.join(map(str, dilation))}"] if set(dilation) - {1} else []
        told += [f"group {settings.group}"] if settings.group > 1 else []
        return [", ".join(told)]

    def setup(self) -> None:
        self.settings = getattr(self.param, self.message)
        self._check_counts()
        if isinstance(self.facts.bottoms, tuple) and len(self.param.bottom) != len(self.param.top):
            self.error(f"{len(self.param.bottom)} bottoms need as many tops, not {len(self.param.top)}")

    def specific_facts(self) -> Facts:
        plain = self.settings.axis == 1
        return self.facts.but(
            absorbs=plain and type(self).forward is Convolution.forward,
            folds=self.facts.folds if plain else frozenset(),
        )

    def _check_counts(self) -> None:
        if not self.settings.num_output:
            self.error(f"{self.message} needs num_output of at least 1", "num_output")
        if self.settings.group < 1 or self.settings.num_output % self.settings.group:
            self.error(
                f"num_output {self.settings.num_output} is not divisible by group {self.settings.group}", "group"
            )

    def counts(self, channels: int) -> tuple[int, int]:
        """Return the number of outputs and of groups."""
        if channels % self.settings.group:
            self.shape_error(
                f"its bottom has {channels} channels, not divisible by group {self.settings.group}", "group"
            )
        return self.settings.num_output, self.settings.group

    def _per_axis(self, name: str, axes: int, default: int | None) -> tuple[int, ...]:
        """Return a setting for each spatial axis, from whichever form it is given in."""
        settings = self.settings
        short = name.removesuffix("_size")
        values = list(getattr(settings, name))
        forms = [f"{short}_h", f"{short}_w"]
        split = [form for form in forms if form in settings.DESCRIPTOR.fields_by_name and settings.HasField(form)]
        if split:
            if values:
                self.error(f"give either {name} or {forms[0]} and {forms[1]}, not both", split[0])
            # Of pad alone, Caffe takes one: the other is 0.
            if (len(split) != 2 and name != "pad") or axes != 2:
                self.error(f"{forms[0]} and {forms[1]} go together, for two spatial axes", split[0])
            values = [getattr(settings, form) for form in forms]
        if not values:
            if default is None:
                self.error(f"{self.message} needs {name} (or {forms[0]} and {forms[1]})")
            values = [default]
        if len(values) not in (1, axes):
            self.error(f"{name} is given {len(values)} times for {axes} spatial axes", name)
        if name != "pad" and min(values) < 1:
            self.error(f"{name} is {min(values)}, expected at least 1", split[0] if split else name)
        return tuple(values) if len(values) == axes else tuple(values) * axes

    def sizes(self, x: Shape) -> tuple[int, int, list[tuple[int, ...]]]:
        """Return images, channels and [input, kernel, stride, pad, dilation] for each spatial axis."""
        axis = self.axis(self.settings.axis, x)
        spatial = x[axis + 1 :]
        if not 1 <= len(spatial) <= 3:
            self.shape_error(
                f"its bottom of shape {text_of(x)} has {len(spatial)} spatial axes after the channel axis "
                f"{axis}, expected 1 to 3"
            )
        axes = len(spatial)
        self.counts(x[axis])
        settings = [
            self._per_axis(name, axes, default)
            for name, default in (("kernel_size", None), ("stride", 1), ("pad", 0), ("dilation", 1))
        ]
        kernel, _, pad, dilation = settings
        self._check_fit(spatial, kernel, pad, dilation)
        self.check_blob("an image with its padding", (x[axis], *(n + 2 * p for n, p in zip(spatial, pad, strict=True))))
        return math.prod(x[:axis]), x[axis], [spatial, *settings]

    def _check_fit(self, spatial: Shape, kernel: Shape, pad: Shape, dilation: Shape) -> None:
        for n, k, p, d in zip(spatial, kernel, pad, dilation, strict=True):
            if n + 2 * p < d * (k - 1) + 1:
                self.shape_error(
                    f"a kernel that spans {d * (k - 1) + 1} does not fit into {n} with pad {p}", "kernel_size"
                )

    def images_meet(self, *bottoms: Shape) -> str:
        return self.along_images(self.settings.axis, bottoms[0])

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        if any(x != bottoms[0] for x in bottoms):
            self.shape_error(f"its bottoms have different shapes: {', '.join(map(text_of, bottoms))}")
        axis = self.axis(self.settings.axis, bottoms[0])
        _, channels, (spatial, kernel, stride, pad, dilation) = self.sizes(bottoms[0])
        sizes = (
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(spatial, kernel, stride, pad, dilation, strict=True)
        )
        return [(*bottoms[0][:axis], self.counts(channels)[0], *sizes)] * len(bottoms)

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        _, channels, (_, kernel, *_) = self.sizes(bottoms[0])
        outputs, group = self.counts(channels)
        parameters = [Parameter((outputs, channels // group, *kernel), self.settings.weight_filler)]
        if self.settings.bias_term:
            parameters.append(Parameter((outputs,), self.settings.bias_filler))
        return parameters

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        steps: list[Step] = []
        for x, y in zip(bottoms, tops, strict=True):
            steps += self._plane(x).forward(x.data, *self._weights(), y.data)
        return steps

    def forward_with(self, followers: Sequence[Layer], bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        weights, bias = self._weights()
        affine = [follower for follower in followers if follower.facts.affine]
        steps: list[Step] = []
        scaled, offset = weights, bias
        if affine:
            # The weights times the factors, and the offsets in place of the bias.
            memory = self.context.scratch if self._plane(bottoms[0]).packs else zeros
            scaled, offset = memory(weights.shape, weights.dtype), zeros(len(weights), weights.dtype)
            steps.append(Once(partial(_fold, affine, weights, bias, scaled, offset)))
        x, y = bottoms[0], tops[0]
        return [*steps, *self._plane(x).forward(x.data, scaled, offset, y.data, chain_of(followers, bottoms[1:]))]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        steps: list[Step] = []
        for x, y in zip(bottoms, tops, strict=True):
            assert y.diff is not None
            gradients = [blob.diff for blob in self.blobs]
            gradients += [None] * (2 - len(gradients))
            steps += self._plane(x).backward(x.data, self._weights()[0], y.diff, x.diff, gradients[0], gradients[1])
        return steps

    def window(self, bottom: Shape) -> list[tuple[int, Fraction]]:
        _, _, (_, kernel, stride, _, dilation) = self.sizes(bottom)
        return [(d * (k - 1) + 1, Fraction(s)) for k, s, d in zip(kernel, stride, dilation, strict=True)]

    def multiply_adds(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> tuple[int, int]:
        w = self.blobs[0]
        places = [(x, y.data.size * count(w.shape[1:])) for x, y in zip(bottoms, tops, strict=True)]
        return sum(n for _, n in places), sum(n * with_gradient(x, w) for x, n in places)

    def scale_outputs(self, weights: np.ndarray, factor: np.ndarray) -> np.ndarray:
        return weights * factor.reshape(-1, *[1] * (weights.ndim - 1))

    def scale_inputs(
        self, weights: np.ndarray, factor: np.ndarray, offset: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray] | None:
        settings = self.settings
        if offset.any() and (any(settings.pad) or settings.pad_h or settings.pad_w):
            return None  # the zeros around the map are not shifted
        parts = weights.reshape(settings.group, -1, *weights.shape[1:])
        shape = (settings.group, 1, -1, *[1] * (weights.ndim - 2))
        shift = (parts * offset.reshape(shape)).sum(axis=tuple(range(2, parts.ndim))).reshape(-1)
        return (parts * factor.reshape(shape)).reshape(weights.shape), shift

    def _weights(self) -> tuple[np.ndarray, np.ndarray | None]:
        return self.blobs[0].data, self.blobs[1].data if len(self.blobs) > 1 else None

    def _plane(self, x: Blob) -> Planes:
        images, channels, sizes = self.sizes(x.shape)
        return planes(images, channels, *self.counts(channels), sizes, x.data.dtype)


def _fold(
    layers: Sequence[Layer], weights: np.ndarray, bias: np.ndarray | None, scaled: np.ndarray, offset: np.ndarray
) -> None:
    """Set ``scaled`` and ``offset`` to the weights and the bias of a convolution that computes these layers as well."""
    factor = np.ones_like(offset)
    offset[...] = 0 if bias is None else bias
    for one in layers:
        one.to_affine(factor, offset)
    np.multiply(weights, factor.reshape(-1, *[1] * (weights.ndim - 1)), out=scaled)
