"""BatchNorm: zero mean and unit variance for each channel."""

from collections.abc import Sequence

import numpy as np

from caffelite.errors import WeightsError
from caffelite.kernels import scale
from caffelite.kernels.batchnorm import backward, by_stored, forward
from caffelite.kernels.batchnorm.statistics import Constants
from caffelite.kernels.engine.arrays import zeros
from caffelite.layers.contract.blobs import Blob, Once, Parameter, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.elementwise import chain_of
from caffelite.layers.shared.normalizing import (
    CAFFE,
    NVCAFFE,
    NVCAFFE_BEFORE_016,
    BatchSetting,
    Normalizing,
    Statistics,
    layout_of,
)
from caffelite.schema.messages import BatchNormParameter, FillerParameter, LayerParameter, ParamSpec
from caffelite.words import TRAIN, Shape, count

#: Blobs that are no parameters: the sums of means and of variances, and their count.
STATISTICS = 3
_ONE = FillerParameter(type="constant", value=1)


def _rate(spec: ParamSpec) -> float:
    """Return the rate that is given, not the default one."""
    return float(spec.lr_mult) if spec.HasField("lr_mult") else 0.0


def _has_scale(settings: BatchNormParameter) -> bool:
    return bool(settings.scale_bias or settings.HasField("scale_filler") or settings.HasField("bias_filler"))


@layer("BatchNorm")
class BatchNorm(Normalizing):
    """Normalise each channel: ``y = (x - mean) / sqrt(variance + eps)``.

    ``batch_norm_param``: ``use_global_stats``, ``moving_average_fraction`` (0.999), ``eps`` (1e-5); and, in caffelite
    alone, ``moving_average`` (EXPONENTIAL, or SIMPLE).

    *Which statistics.* With ``use_global_stats: false`` mean and variance are those of this batch, over all axes but
    the channels: for a batch of m maps of p × q they are taken over m·p·q values. With ``true`` they are the stored
    ones. Unset, it is false in the TRAIN phase and true in TEST: leave it unset unless you know better.

    *The three blobs* hold no parameters but sums: of means, of variances, and the factor both are to be divided by.
    Each training pass does ``blob = blob * moving_average_fraction + new`` to all three (new is the batch's mean; its
    variance times m/(m-1), the unbiased estimate; and 1). So ``blob[0] / blob[2]`` is an exponentially weighted mean
    that is right from the first batch on. A factor of 0 means that nothing was ever stored; means and variances count
    as 0 then. With ``moving_average: SIMPLE`` nothing decays: the sums are divided by the number of batches seen, all
    of which count alike, the first ones of an untrained net too. Caffe reads such weights right.

    *Learning.* The layer keeps the blobs itself; a solver must not touch them. ``param { lr_mult: 0 }``, up to three
    times, is the default; any other rate is an error. There is no scale and no shift here: a Scale layer with
    ``bias_term: true`` behind it has them.

    *The gradient* goes through mean and variance: ``dx = (dy - mean(dy) - y · mean(dy · y)) / sqrt(variance + eps)``;
    with stored statistics only through x.

    What people get wrong: ``use_global_stats: true`` while training from scratch (the stored statistics never change);
    ``false`` in TEST (results depend on the batch); a train and a test layer of different names (the statistics are
    shared by name); a batch of one.

    *Scale and shift inside*, as NVCaffe has them: ``scale_bias: true`` (or a ``scale_filler`` or ``bias_filler``) adds
    two learned blobs, scale (1) and bias (0), and the top is ``scale * y + bias``. Weights of NVCaffe are taken in both
    of its orders: mean, variance, correction, scale, bias (from 0.16 on), and scale, bias, mean, variance, reserved
    (before). So is ``param``: where the first or the second has a rate, these are those of scale and bias.

    *Several processes* that share a batch take the statistics of the whole batch, forward and backward, so that the
    division changes nothing; with ``--bn-statistics process`` each takes those of its own images.

    On a GPU, where the net has one: ``docs/gpu.md``. Most of its many methods are the contract's.

    Ioffe and Szegedy, "Batch Normalization", 2015. Numbers as BVLC Caffe 1.0.
    """

    facts = Facts(
        in_place=True, backward_reads=frozenset({"top"}), kind="normalization", settings=("batch_norm_param",)
    )

    def setup(self) -> None:
        self.settings = p = self.param.batch_norm_param
        self.eps: float = p.eps
        self.scales = _has_scale(p)
        self.layout = NVCAFFE if self.scales else CAFFE
        indices = self.of_statistics(self.param)
        self.scale_first: bool = indices.start > 0
        for i in indices:
            spec = self.param.param[i]
            if _rate(spec):
                self.error(
                    f"BatchNorm keeps its statistics itself, so a solver must not learn them: lr_mult must be 0, not "
                    f"{spec.lr_mult:g} (a scale and a shift that are learned belong into a Scale layer behind it)",
                    "param",
                    i,
                )
        simple = p.moving_average == p.SIMPLE
        if simple and p.HasField("moving_average_fraction"):
            self.error(
                "moving_average: SIMPLE forgets nothing, so there is no moving_average_fraction",
                "moving_average_fraction",
            )
        self.fraction = 1.0 if simple else p.moving_average_fraction
        use = self.context.phase != TRAIN
        if self.settings.HasField("use_global_stats"):
            use = self.settings.use_global_stats
        if self.context.global_stats is not None:
            use = self.context.global_stats
        self.uses_stored = use

    def specific_facts(self) -> Facts:
        if self.uses_stored:
            return self.facts.but(affine=True, absorbs=True, backward_reads=frozenset())
        facts = self.facts.but(absorbs_affine=not self.scales, absorbs_activation=frozenset({"ReLU"}))
        return facts.but(backward_reads=frozenset({"bottom"})) if self.scales else facts

    @staticmethod
    def of_statistics(param: LayerParameter) -> range:
        """Return which of the ``param`` fields of a BatchNorm layer are those of its statistics."""
        given = param.param
        first = 2 if _has_scale(param.batch_norm_param) and any(_rate(spec) for spec in given[:2]) else 0
        return range(first, min(len(given), first + STATISTICS))

    @staticmethod
    def channels_and_length(x: Shape) -> tuple[int, int]:
        """Return channels and the number of values a channel has in one image."""
        return (1, 1) if len(x) < 2 else (x[1], count(x[2:]))

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        channels, _ = self.channels_and_length(bottoms[0])
        parameters = [Parameter(shape, learned=False) for shape in ((channels,), (channels,), (1,))]
        if self.scales:
            filler = self.settings.scale_filler if self.settings.HasField("scale_filler") else _ONE
            parameters += [Parameter((channels,), filler), Parameter((channels,), self.settings.bias_filler)]
        return parameters

    def specs(self) -> list[ParamSpec]:
        given = super().specs()
        if not self.scale_first:
            return given
        statistics = given[2:]
        return [*statistics, *[ParamSpec()] * (STATISTICS - len(statistics)), *given[:2]]

    def convert_blobs(self, blobs: list[np.ndarray], where: str) -> list[np.ndarray]:
        layout = layout_of(blobs)
        if layout not in (NVCAFFE, NVCAFFE_BEFORE_016):
            return blobs
        if not self.takes(blobs):
            raise WeightsError(
                f"{where} has a learned scale and bias, as in NVCaffe; batch_norm_param {{ scale_bias: true }} in the "
                "net takes them"
            )
        by_name = {"correction": np.ones(1, np.float32)} | dict(zip(layout.blobs, blobs, strict=True))
        return [by_name[name] for name in (NVCAFFE.blobs if self.scales else NVCAFFE.blobs[:STATISTICS])]

    def takes(self, blobs: Sequence[np.ndarray]) -> bool:
        layout = layout_of(blobs)
        if layout not in (NVCAFFE, NVCAFFE_BEFORE_016):
            return layout is CAFFE
        by_name = dict(zip(layout.blobs, blobs, strict=True))
        # A scale of 1 and a bias of 0 need no place.
        return self.scales or bool((by_name["scale"] == 1).all() and not by_name["bias"].any())

    @property
    def batch_setting(self) -> BatchSetting:
        return BatchSetting("use_global_stats", "false", "leave it out: it is true in TEST by itself")

    @property
    def batch_statistics(self) -> tuple[np.ndarray, np.ndarray] | None:
        return None if self.uses_stored else (self.mean, self.inverse_std)

    def averaged(self, passes: int) -> Statistics | None:
        mean, variance, factor = (blob.astype(np.float64).reshape(-1) for blob in self.sums)
        return Statistics(mean / factor[0], variance / factor[0], None, "") if factor[0] else None

    @property
    def _share(self) -> float:
        """What the stored sums are multiplied by."""
        stored_count = self.blobs[2].data[0]
        return 0 if stored_count == 0 else 1 / stored_count

    def to_affine(self, factor: np.ndarray, offset: np.ndarray) -> None:
        mean_sum, variance_sum, _, *learned = (blob.data for blob in self.blobs)
        share = self._share
        inverse_std = 1 / np.sqrt(variance_sum * share + self.eps)
        factor *= inverse_std
        offset[...] = (offset - mean_sum * share) * inverse_std
        if learned:
            factor *= learned[0]
            offset[...] = offset * learned[0] + learned[1]

    def own_affine(self) -> tuple[Blob | None, Blob | None]:
        """Return the scale and the bias inside, or None twice."""
        return (self.blobs[3], self.blobs[4]) if self.scales else (None, None)

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, y = bottoms[0].flat, tops[0].flat
        channels, length = self.channels_and_length(bottoms[0].shape)
        if not self.uses_stored:
            return self.forward_with([], bottoms, tops)
        stored = (self.blobs[0].data, self.blobs[1].data, self.blobs[2].data)
        self.inverse_std = np.zeros(channels, x.dtype)
        mean = np.zeros(channels, x.dtype)
        self.normal = zeros(x.size, x.dtype) if self.scales else y
        steps: list[Step] = [
            *by_stored.forward(x, self.normal, channels, length, self.eps, stored, mean, self.inverse_std)
        ]
        if self.scales:
            steps.append(scale.forward(self.normal, y, self.blobs[3].data, self.blobs[4].data, channels, length))
        return steps

    def _behind(self, followers: Sequence[Layer]) -> tuple[Blob | None, Blob | None, tuple[str, float] | None]:
        """Return gamma and beta, of this layer or of one behind it, and the activation behind them."""
        affine = next((values for layer in followers if (values := layer.learned_affine())), self.own_affine())
        return *affine, followers[-1].facts.activation if followers else None

    def forward_with(self, followers: Sequence[Layer], bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        if self.uses_stored:
            return self._forward_folded(followers, bottoms, tops)
        x, y = bottoms[0].flat, tops[0].flat
        channels, length = self.channels_and_length(bottoms[0].shape)
        stored = (self.blobs[0].data, self.blobs[1].data, self.blobs[2].data)
        gamma, beta, activation = self._behind(followers)
        self.mean, self.inverse_std = np.zeros(channels), np.zeros(channels, x.dtype)
        self.whole = self.whole_batch(stored[0], stored[2])
        return [
            *forward.by_batch(
                x,
                y,
                channels,
                length,
                Constants(self.eps, self.fraction),
                stored,
                self.mean,
                self.inverse_std,
                None if gamma is None else gamma.data,
                None if beta is None else beta.data,
                self.whole,
                None if activation is None else activation[1],
            )
        ]

    def _forward_folded(self, followers: Sequence[Layer], bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        """Return the steps of a chain where nothing learns: all that is affine is one function of each channel."""
        x, y = bottoms[0].flat, tops[0].flat
        channels, length = self.channels_and_length(bottoms[0].shape)
        mean, factor, offset = (zeros(channels, x.dtype) for _ in range(3))

        def fold() -> None:
            factor[...], offset[...] = 1, 0
            self.to_affine(factor, offset)
            # The mean is taken off first: in one number with the offset, a large one would cost digits.
            mean[...] = self.blobs[0].data * self._share
            offset[...] = self.blobs[4].data if self.scales else 0
            for follower in followers:
                if follower.facts.affine:
                    follower.to_affine(factor, offset)

        chain = chain_of(followers, bottoms[1:])
        return [Once(fold), by_stored.affine(x, y, length, mean, factor, offset, chain)]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        channels, length = self.channels_and_length(bottoms[0].shape)
        dy = tops[0].flat_diff
        dx = None if bottoms[0].diff is None else bottoms[0].flat_diff
        if not self.uses_stored:
            if self.scales:
                return self.backward_with([], bottoms, tops)
            if dx is None:
                return []
            return [*backward.by_batch(tops[0].flat, dy, dx, channels, length, self.inverse_std, whole=self.whole)]
        steps: list[Step] = []
        if self.scales:
            steps.append(
                scale.backward(
                    self.normal,
                    dy,
                    dx,
                    self.blobs[3].data,
                    self.blobs[3].diff,
                    self.blobs[4].diff,
                    channels,
                    length,
                    add=True,
                )
            )
        if dx is not None:
            steps.append(by_stored.backward(dx if self.scales else dy, dx, channels, length, self.inverse_std))
        return steps

    def backward_with(self, followers: Sequence[Layer], bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        channels, length = self.channels_and_length(bottoms[0].shape)
        gamma, beta, activation = self._behind(followers)
        return [
            *backward.by_batch(
                bottoms[0].flat,
                tops[0].flat_diff,
                None if bottoms[0].diff is None else bottoms[0].flat_diff,
                channels,
                length,
                self.inverse_std,
                self.mean,
                None if gamma is None else gamma.data,
                None if beta is None else beta.data,
                None if gamma is None else gamma.diff,
                None if beta is None else beta.diff,
                self.whole,
                None if activation is None else activation[1],
            )
        ]
