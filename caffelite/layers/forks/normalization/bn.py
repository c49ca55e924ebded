"""BN: the batch normalisation, with scale and shift, of forks that are older than Caffe's BatchNorm."""

from collections.abc import Sequence

import numpy as np

from caffelite.kernels import scale as scaling
from caffelite.kernels.batchnorm import backward, by_stored, forward
from caffelite.kernels.batchnorm.statistics import Constants
from caffelite.kernels.engine import arrays
from caffelite.layers.contract.blobs import Blob, Parameter, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.normalizing import PSPNET, SEGNET, BatchSetting, Normalizing, Statistics, layout_of
from caffelite.schema.messages import FillerParameter
from caffelite.words import TRAIN, Shape, count, text_of

_INFERENCE = 1
#: What tells the dialects apart, in the order in which they are tried.
_DIALECTS = {
    "PSPNet": ("slope_filler", "bias_filler", "momentum", "eps", "frozen", "engine"),
    "ducha-aiki": ("var_eps", "moving_average", "decay"),
    "SegNet": ("bn_mode", "scale_filler", "shift_filler"),
}


@layer("BN")
class BN(Normalizing):
    """Normalise each channel, then scale and shift it: ``y = scale * (x - mean) / sqrt(variance + eps) + shift``.

    Three families of forks have a layer of this name, with other settings and blobs. ``bn_param`` tells them apart:

    *PSPNet*, yjxiong, happynear, L-Softmax (``slope_filler``, ``bias_filler``, ``momentum`` 0.9, ``eps`` 1e-5,
    ``frozen``): 4 blobs, scale, shift, mean, variance. TRAIN takes the statistics of the batch, over all axes but the
    channels, and does ``blob = momentum * blob + (1 - momentum) * new``; TEST takes the stored ones. ``frozen`` takes
    the stored ones always and learns nothing. The variance is that of the batch (not the unbiased estimate) and starts
    as 0, with ``frozen`` as 1.

    *ducha-aiki* (``scale_filler``, ``shift_filler`` and any of ``var_eps`` 1e-10, ``moving_average`` true, ``decay``
    0.95): the same 4 blobs. ``blob = (1 - decay) * blob + decay * new``: decay is the share of the *new* value. TEST
    takes the stored ones with ``moving_average``, else those of the batch.

    *SegNet* (``scale_filler``, ``shift_filler``, ``bn_mode``): 2 blobs, scale and shift. ``bn_mode: LEARN`` takes the
    statistics of the batch, in TEST too, with an eps of 1e-9; INFERENCE is ``y = scale * x + shift`` (SegNet's script
    works the statistics into the blobs). A second and third top hold mean and variance of the batch.

    With none of these settings it is PSPNet's. A ``.caffemodel`` of another family has another number of blobs, which
    is an error when it is loaded; naming one setting of the family (``bn_param { bn_mode: INFERENCE }``) cures it.
    Blobs are ``1 × C × 1 × 1``. A filler that is not given is 0, as in the forks, so scale starts as 0.

    The gradient goes through mean and variance where they are the batch's. PSPNet's layer takes that formula in TEST
    too, where the statistics are stored; here the gradient is that of what is computed.

    Its attributes are many because the families differ in so much: each is what one of their settings comes to.

    Ioffe and Szegedy, "Batch Normalization", 2015.
    """

    facts = Facts(tops=(1, 3), in_place=True, backward_reads=frozenset(), kind="normalization", settings=("bn_param",))

    scales = True

    def setup(self) -> None:
        p = self.settings = self.param.bn_param
        settings_of = {name: [s for s in settings if p.HasField(s)] for name, settings in _DIALECTS.items()}
        given = [name for name, settings in settings_of.items() if settings]
        # The fillers are common to the last two.
        if "PSPNet" in given and len(given) > 1:
            mine, other = settings_of["PSPNet"][0], settings_of[given[1]][0]
            self.error(f"{mine} and {other} belong to different forks' BN layers; give those of one", other)
        if settings_of["ducha-aiki"] and p.HasField("bn_mode"):
            self.error(f"{settings_of['ducha-aiki'][0]} and bn_mode belong to different forks' BN layers", "bn_mode")
        self.dialect = given[0] if given else "PSPNet"
        train = self.context.phase == TRAIN
        self.learned = True
        if self.dialect == "PSPNet":
            self.eps, self.fraction, self.learned = p.eps, p.momentum, not p.frozen
            self.stored = p.frozen or not train
            self.fillers = p.slope_filler, p.bias_filler
        elif self.dialect == "ducha-aiki":
            self.eps = p.var_eps if p.HasField("var_eps") else 1e-10
            self.fraction = 1 - p.decay
            moving = p.moving_average if p.HasField("moving_average") else True
            self.stored = moving and not train
            self.fillers = p.scale_filler, p.shift_filler
        else:
            self.eps, self.stored, self.fraction = 1e-9, False, 1.0
            self.fillers = p.scale_filler, p.shift_filler
        self.updates = self.dialect != "SegNet" and train and not self.stored
        self.only_scales = self.dialect == "SegNet" and p.bn_mode == _INFERENCE
        self.uses_stored = self.stored or self.only_scales
        self.layout = SEGNET if self.dialect == "SegNet" else PSPNET
        if len(self.param.top) > 1 and (self.dialect != "SegNet" or self.only_scales):
            self.error("a second and third top (mean and variance of the batch) go with SegNet's bn_mode: LEARN")

    def specific_facts(self) -> Facts:
        facts = self.facts.but(affine=self.uses_stored)
        return facts.but(backward_reads=frozenset({"bottom"})) if self.only_scales else facts

    def takes(self, blobs: Sequence[np.ndarray]) -> bool:
        return layout_of(blobs) is self.layout

    @property
    def batch_setting(self) -> BatchSetting:
        if self.settings.HasField("moving_average"):
            return BatchSetting("moving_average", "false", "write moving_average: true")
        return BatchSetting(
            "bn_mode",
            "LEARN",
            "write bn_mode: INFERENCE, with weights into which SegNet's script has worked the statistics",
        )

    @property
    def batch_statistics(self) -> tuple[np.ndarray, np.ndarray] | None:
        return None if self.uses_stored else (self.mean, self.inverse_std)

    def averaged(self, passes: int) -> Statistics | None:
        # There is no factor: what is missing to 1 is the share of the zeros that it began with.
        share = 1 - self.fraction**passes if self.updates else 0
        if not share:
            return None
        mean, variance = (blob.astype(np.float64).reshape(-1) for blob in self.sums)
        return Statistics(mean / share, variance / share, None, "")

    def to_affine(self, factor: np.ndarray, offset: np.ndarray) -> None:
        scale, shift, *statistics = (blob.data.reshape(-1).astype(factor.dtype) for blob in self.blobs)
        if self.stored:
            mean, variance = statistics
            inverse_std = 1 / np.sqrt(variance + self.eps)
            factor *= inverse_std
            offset[:] = (offset - mean) * inverse_std
        factor *= scale
        offset[:] = offset * scale + shift

    @staticmethod
    def _sizes(x: Shape) -> tuple[int, int]:
        return x[1], count(x[2:])

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        x = bottoms[0]
        if len(x) < 2:
            self.shape_error(f"takes a bottom with a channel axis (images × channels × …), not {text_of(x)}")
        return [x, *[(1, x[1], 1, 1)] * (len(self.param.top) - 1)]

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        shape = (1, bottoms[0][1], 1, 1)
        parameters = [Parameter(shape, filler, self.learned) for filler in self.fillers]
        if self.dialect != "SegNet":
            frozen = self.dialect == "PSPNet" and self.settings.frozen
            one = FillerParameter(type="constant", value=1) if frozen else None
            parameters += [Parameter(shape, learned=False), Parameter(shape, one, learned=False)]
        return parameters

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, y = bottoms[0].flat, tops[0].flat
        channels, length = self._sizes(bottoms[0].shape)
        scale, shift = self.blobs[0].data, self.blobs[1].data
        if self.only_scales:
            return [scaling.forward(x, y, scale, shift, channels, length)]
        dtype = bottoms[0].data.dtype
        # The gradient needs the normalised values; where there is none they take the place of the top.
        learns = bottoms[0].diff is not None or any(blob.diff is not None for blob in self.blobs)
        self.normalised = arrays.zeros(x.size, dtype) if learns else y
        self.inverse_std = np.zeros(channels, dtype)
        steps: list[Step] = []
        if self.stored:
            stored_count, mean = np.ones(1, dtype), np.zeros(channels, dtype)
            stored = (self.blobs[2].flat, self.blobs[3].flat, stored_count)
            steps += by_stored.forward(x, self.normalised, channels, length, self.eps, stored, mean, self.inverse_std)
        else:
            mean, variance, stored_count = np.zeros(channels, dtype), np.zeros(channels, dtype), np.zeros(1, dtype)
            # All processes have the same centre, and a resumed run has it too.
            centre = (self.blobs[2].flat, np.ones(1)) if len(self.blobs) > 2 else (np.zeros(channels), np.zeros(1))
            self.whole = self.whole_batch(*centre)
            # With a share of 0 for what was there, the kernel leaves the statistics of this batch alone.
            steps += forward.by_batch(
                x,
                self.normalised,
                channels,
                length,
                Constants(self.eps, 0.0),
                (mean, variance, stored_count),
                np.zeros(channels),
                self.inverse_std,
                whole=self.whole,
            )
            self.mean = mean
            if self.updates or len(tops) > 1:
                steps.append(lambda: self._keep_statistics(tops, mean, variance, x.size // channels))
        steps.append(scaling.forward(self.normalised, y, scale, shift, channels, length))
        return steps

    def _keep_statistics(self, tops: Sequence[Blob], mean: np.ndarray, variance: np.ndarray, count: float) -> None:
        count = count if self.whole is None else self.whole.count
        batch = (mean, variance * ((count - 1) / count))
        if self.updates:
            for blob, new in zip(self.blobs[2:], batch, strict=True):
                blob.flat[:] = self.fraction * blob.flat + (1 - self.fraction) * new
        for top, new in zip(tops[1:], batch, strict=False):
            top.flat[:] = new

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        if tops[0].diff is None:
            return []
        channels, length = self._sizes(bottoms[0].shape)
        dy = tops[0].flat_diff
        dx = None if bottoms[0].diff is None else bottoms[0].flat_diff
        scale, shift = self.blobs[0], self.blobs[1]
        source = bottoms[0].flat if self.only_scales else self.normalised
        steps: list[Step] = []
        if scale.diff is not None or shift.diff is not None:
            steps.append(
                scaling.backward(source, dy, dx, scale.data, scale.diff, shift.diff, channels, length, add=True)
            )
        elif dx is not None:
            steps.append(scaling.forward(dy, dx, scale.data, None, channels, length))
        if dx is None or self.only_scales:
            return steps
        if self.stored:
            return [*steps, by_stored.backward(dx, dx, channels, length, self.inverse_std)]
        return [*steps, *backward.by_batch(source, dx, dx, channels, length, self.inverse_std, whole=self.whole)]
