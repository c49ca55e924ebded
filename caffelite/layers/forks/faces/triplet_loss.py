"""TripletLoss: an anchor is to be nearer to what belongs to it than to what does not."""

from collections.abc import Sequence

import numpy as np

from caffelite.kernels.engine.arrays import zeros
from caffelite.kernels.engine.calls import call
from caffelite.kernels.engine.compiling import kernel
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.loss import Loss
from caffelite.words import Shape, count, text_of


@kernel
def _forward(begin, end, worker, a, p, n, losses, length, margin):
    """losses = max(margin + |a - p|² - |a - n|², 0); a task is a row."""
    for task in range(begin, end):
        total = np.float32(0)
        for i in range(task * length, (task + 1) * length):
            near, far = a[i] - p[i], a[i] - n[i]
            total += near * near - far * far
        losses[task] = max(total + np.float32(margin), np.float32(0))


@kernel
def _backward(begin, end, worker, minuend, subtrahend, dx, losses, factor, length):
    """dx = factor[0] * (minuend - subtrahend) where there is a loss, else 0; a task is a row."""
    for task in range(begin, end):
        f = factor[0] if losses[task] > np.float32(0) else factor[0] * np.float32(0)
        for i in range(task * length, (task + 1) * length):
            dx[i] = f * (minuend[i] - subtrahend[i])


@layer("TripletLoss")
class TripletLoss(Loss):
    """``1/2N sum of max(margin + |a - p|² - |a - n|², 0)``.

    Bottoms, all of one shape, ``N × …``: anchors a, rows p that belong to them, rows n that do not.
    ``triplet_loss_param``: ``margin`` (1).

    ducha-aiki's and happynear's forks. Schroff et al., "FaceNet", 2015.
    """

    facts = Loss.facts.but(
        bottoms=3, tops=(0, 1), backward_reads=frozenset({"bottom"}), settings=("triplet_loss_param",)
    )

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        for j, x in enumerate(bottoms):
            if x != bottoms[0] or not x:
                self.shape_error(
                    f"its bottoms must have the same shape, not {text_of(bottoms[0])} and {text_of(x)}", "bottom", j
                )
        return [()]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x = bottoms[0]
        images, length = x.shape[0], count(x.shape[1:])
        self.losses, out = zeros(images, x.data.dtype), tops[0].flat

        def finish() -> None:
            out[0] = self.losses.sum(dtype=np.float64) / (2 * images)

        return [
            call(
                _forward,
                images,
                *[b.flat for b in bottoms],
                self.losses,
                length,
                float(self.param.triplet_loss_param.margin),
                work=x.data.size * 6,
            ),
            finish,
        ]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        a, p, n = bottoms
        images, length = a.shape[0], count(a.shape[1:])
        weight, factor = tops[0].flat_diff, np.zeros(1, a.data.dtype)

        def prepare() -> None:
            factor[0] = weight[0] / images

        steps: list[Step] = [prepare]
        for x, minuend, subtrahend in ((a, n, p), (p, p, a), (n, a, n)):
            if x.diff is not None:
                steps.append(
                    call(
                        _backward,
                        images,
                        minuend.flat,
                        subtrahend.flat,
                        x.flat_diff,
                        self.losses,
                        factor,
                        length,
                        work=a.data.size * 2,
                    )
                )
        return steps
