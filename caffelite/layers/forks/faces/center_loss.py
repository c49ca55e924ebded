"""CenterLoss: the distance of features from the centre of their class."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from caffelite.kernels import losses, rows
from caffelite.kernels.engine.arrays import zeros
from caffelite.layers.contract.blobs import Blob, Parameter, Step
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.loss import Loss
from caffelite.words import Shape, count


@layer("CenterLoss")
class CenterLoss(Loss):
    """``1/2N sum of |x - centre of the label|²``; ``1/N sum of |x - centre|`` with ``distance_type: "L1"``.

    Bottoms: features (``N × …``, one row from ``axis`` on), labels (N). ``center_loss_param``: ``num_output`` (the
    classes), ``center_filler``, ``axis`` (1), ``distance_type`` ("L2"; "L1" is of happynear's fork). One blob, the
    centres, ``num_output × features``.

    The centres do not follow the gradient of the loss. What a solver is given for the centre of a class of which there
    are m rows is ``sum of (centre - x) / (m + 1)``, not multiplied by the loss weight; with L1, of the signs.

    From caffe-face (Wen et al., "A Discriminative Feature Learning Approach for Deep Face Recognition", 2016), also in
    MNN's schema. In happynear's fork that step is m times as long.
    """

    facts = Loss.facts.but(
        bottoms=2,
        tops=(0, 1),
        backward_reads=frozenset({"bottom"}),
        without_gradient=(1,),
        settings=("center_loss_param",),
    )

    def setup(self) -> None:
        self.settings = self.param.center_loss_param
        if not self.settings.num_output:
            self.error("center_loss_param needs num_output of at least 1", "num_output")
        if self.settings.distance_type not in ("L1", "L2"):
            self.error(f'distance_type is "{self.settings.distance_type}", expected "L1" or "L2"', "distance_type")
        self.squared = self.settings.distance_type == "L2"

    def _sizes(self, x: Shape) -> tuple[int, int]:
        axis = self.axis(self.settings.axis, x)
        return count(x[:axis]), count(x[axis:])

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        number, _ = self._sizes(bottoms[0])
        self.check_labels_of_rows(number, bottoms[1])
        return [()]

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        shape = (self.settings.num_output, self._sizes(bottoms[0])[1])
        return [Parameter(shape, self.settings.center_filler)]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, labels = bottoms[0].data, bottoms[1].flat
        number, length = self._sizes(x.shape)
        self.index = np.zeros(number, np.int64)
        own, self.difference = zeros((number, length), x.dtype), zeros((number, length), x.dtype)
        squares, out = np.zeros(number, x.dtype), tops[0].flat

        def finish() -> None:
            if self.squared:
                out[0] = squares.sum(dtype=np.float64) / (2 * number)
            else:
                out[0] = np.abs(self.difference).sum(dtype=np.float64) / number

        return [
            self.class_checker(labels, self.settings.num_output),
            partial(np.copyto, self.index, labels, casting="unsafe"),
            rows.gather(self.blobs[0].data, self.index, own),
            losses.difference(x, own, self.difference, squares),
            finish,
        ]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, centres, weight = bottoms[0], self.blobs[0], tops[0].flat_diff
        number, _ = self._sizes(x.shape)
        steps: list[Step] = []
        if not self.squared:
            steps.append(lambda: np.sign(self.difference, out=self.difference))
        if x.diff is not None:
            factors = np.zeros(number, x.data.dtype)
            steps += [lambda: factors.fill(weight[0] / number), losses.scaled_rows(self.difference, factors, x.diff)]
        if centres.diff is not None:
            shares, moves = np.zeros(number, x.data.dtype), np.zeros_like(self.difference)

            def share() -> None:
                rows_of = self.context.over_batch(np.bincount(self.index, minlength=self.settings.num_output))
                shares[:] = -1 / (rows_of[self.index] + 1.0)

            steps += [
                share,
                losses.scaled_rows(self.difference, shares, moves),
                rows.scatter(moves, self.index, centres.diff),
            ]
        return steps
