"""FocalLoss: a softmax loss in which what is already right counts less."""

from collections.abc import Sequence

import numpy as np

from caffelite.kernels import softmax
from caffelite.kernels.engine import arrays
from caffelite.kernels.engine.calls import call
from caffelite.kernels.engine.compiling import kernel
from caffelite.kernels.functions import FLT_MIN, log32
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.loss import VALID, SoftmaxLoss
from caffelite.words import Shape

_F = np.float32
_IGNORE_NOTHING = -(1 << 40)
_ONE_ADD_P = 2


@kernel
def _forward(begin, end, worker, p, labels, losses, counts, channels, inner, ignore, offset, sign, gamma):
    """losses = -sum of (offset + sign * p)^gamma log p, counts = labels that count; a task is an outer index."""
    for n in range(begin, end):
        total, counted = 0.0, 0
        for i in range(inner):
            label = np.int64(labels[n * inner + i])
            if label != ignore:
                value = p[(n * channels + label) * inner + i]
                total -= (_F(offset) + _F(sign) * value) ** _F(gamma) * log32(max(value, FLT_MIN))
                counted += 1
        losses[n] = total
        counts[n] = counted


@kernel
def _backward(begin, end, worker, p, labels, dx, scale, channels, inner, ignore, offset, sign, gamma):
    """dx = the gradient of :func:`_forward` through the softmax, times scale[0]; a task is an outer index."""
    for n in range(begin, end):
        base = n * channels * inner
        for i in range(inner):
            label = np.int64(labels[n * inner + i])
            slope = scale[0] * _F(0)
            if label != ignore:
                value = p[base + label * inner + i]
                factor = _F(offset) + _F(sign) * value
                power = factor ** _F(gamma)
                inside = _F(gamma) * _F(sign) * power / max(factor, _F(1e-10)) * log32(max(value, FLT_MIN)) * value
                slope = (inside + power) * scale[0]
            for c in range(channels):
                place = base + c * inner + i
                dx[place] = slope * (p[place] - (_F(1) if c == label else _F(0)))


@layer("FocalLoss")
class FocalLoss(SoftmaxLoss):
    """Mean of ``-alpha (1 - p)^gamma log p``, with p the softmax of the label's class.

    Bottoms: scores (``N × C × …``, classes along ``axis``), labels (``N × …``, whole numbers from 0). Tops: the loss;
    the probabilities, if a second is named. ``focal_loss_param``: ``alpha`` (0.25), ``gamma`` (2), ``axis`` (or that of
    ``softmax_param``; 1); ``type``: ORIGIN; LINEAR, which is the same; ONEADDP, ``-(alpha + p)^gamma log p`` with
    alpha 1 by default. ``loss_param``: see Loss; VALID by default.

    From jolibrain's and makefile's (frcnn) forks, which agree; ONEADDP from happynear's. With type ORIGIN happynear's
    is ``-(alpha - p)^gamma log p``, with alpha 1 by default: what is computed here for ``alpha: 1``.

    Lin et al., "Focal Loss for Dense Object Detection", 2017.
    """

    facts = SoftmaxLoss.facts.but(
        backward_reads=frozenset({"bottom"}),
        settings=("focal_loss_param", "loss_param", "softmax_param"),
    )

    def setup(self) -> None:
        p = self.param.focal_loss_param
        if not p.gamma >= 0:
            self.error(f"gamma is {p.gamma:g}, expected 0 or more", "gamma")
        if not p.alpha > 0:
            self.error(f"alpha is {p.alpha:g}, expected above 0", "alpha")
        self.gamma = float(p.gamma)
        self.offset, self.sign, self.factor = 1.0, -1.0, float(p.alpha)
        if p.type == _ONE_ADD_P:
            self.offset, self.sign, self.factor = float(p.alpha) if p.HasField("alpha") else 1.0, 1.0, 1.0

    def sizes(self, scores: Shape) -> tuple[int, int, int]:
        p = self.param.focal_loss_param
        return self.around(p.axis if p.HasField("axis") else self.param.softmax_param.axis, scores)

    def _constants(self) -> tuple[int, float, float, float]:
        return (_IGNORE_NOTHING if self.ignored is None else self.ignored), self.offset, self.sign, self.gamma

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, labels = bottoms[0], bottoms[1].flat
        outer, channels, inner = self.sizes(x.shape)
        self.probabilities = arrays.zeros(x.data.size, x.data.dtype)
        losses, counts = np.zeros(outer), np.zeros(outer, np.int64)
        mode, out = self.normalization_by_labels(VALID), tops[0].flat
        self.divided_by = 1.0

        def finish() -> None:
            self.divided_by = self.divisor(mode, outer, inner, int(counts.sum()))
            out[0] = self.factor * losses.sum() / self.divided_by

        steps: list[Step] = [
            self.class_checker(labels, channels, self.ignored),
            softmax.forward(x.data, self.probabilities, outer, channels, inner),
            call(
                _forward,
                outer,
                self.probabilities,
                labels,
                losses,
                counts,
                channels,
                inner,
                *self._constants(),
                work=labels.size * 40,
            ),
            finish,
        ]
        return [*steps, arrays.copy(self.probabilities, tops[1].flat)] if len(tops) > 1 else steps

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x = bottoms[0]
        if x.diff is None:
            return []
        outer, channels, inner = self.sizes(x.shape)
        weight, scale = tops[0].flat_diff, np.zeros(1, x.data.dtype)

        def prepare() -> None:
            scale[0] = self.factor * weight[0] / self.divided_by

        return [
            prepare,
            call(
                _backward,
                outer,
                self.probabilities,
                bottoms[1].flat,
                x.flat_diff,
                scale,
                channels,
                inner,
                *self._constants(),
                work=x.data.size * 4,
            ),
        ]
