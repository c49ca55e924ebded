"""BoxAnnotatorOHEM, SoftmaxWithLossOHEM and SmoothL1LossOHEM: to learn from the regions that are hardest."""

from collections.abc import Sequence

import numpy as np

from caffelite.errors import DataError
from caffelite.kernels.functions import FLT_MIN
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.layers.forks.detection.smooth_l1_loss import SmoothL1Loss
from caffelite.layers.shared.loss import FULL, VALID
from caffelite.layers.softmax_with_loss import SoftmaxWithLoss
from caffelite.words import Shape, count, text_of


def _four_axes(shape: Shape) -> Shape:
    """Return a shape of up to four axes as old Caffe sees it."""
    return (*shape, *(1,) * (4 - len(shape)))


@layer("BoxAnnotatorOHEM")
class BoxAnnotatorOHEM(Layer):
    """The labels of the regions with the highest losses; all others are to be ignored.

    Bottoms: regions (``N × 5``, the image first; or ``N × 5 × H × W``), their losses, their labels (``N × 1 × H × W``),
    weights for the regression of their boxes (``N × C × H × W``). Tops: the labels, ``ignore_label`` (-1) but for the
    ``roi_per_img`` regions of each image that have the highest loss; the weights, 0 for the others.
    ``box_annotator_ohem_param``: these two.

    From the R-FCN fork; Shrivastava et al., "Training Region-based Object Detectors with Online Hard Example Mining",
    2016.
    """

    facts = Facts(
        images_meet="its regions name images by their numbers in the batch",
        bottoms=4,
        tops=2,
        differentiable=False,
        settings=("box_annotator_ohem_param",),
    )

    def setup(self) -> None:
        if self.param.box_annotator_ohem_param.roi_per_img < 1:
            self.error("box_annotator_ohem_param needs roi_per_img of at least 1", "box_annotator_ohem_param")

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        regions = bottoms[0]
        if not 2 <= len(regions) <= 4 or regions[1] != 5:
            self.shape_error(f"takes regions of N×5 or N×5×H×W, not {text_of(regions)}", "bottom", 0)
        number, _, height, width = _four_axes(regions)
        for j, (what, channels) in enumerate((("losses", 1), ("labels", 1), ("weights", 0)), 1):
            x = bottoms[j]
            four = _four_axes(x)
            if not 1 <= len(x) <= 4 or (number, height, width) != (four[0], *four[2:]) or channels not in (0, four[1]):
                expected = text_of((number, channels, height, width)).replace("×0×", "×C×")
                self.shape_error(
                    f"takes {what} of {expected} for regions of {text_of(regions)}, not {text_of(x)}", "bottom", j
                )
        return [(number, 1, height, width), _four_axes(bottoms[3])]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        settings = self.param.box_annotator_ohem_param
        number, channels, *places = tops[1].shape
        size = count(places)
        regions = bottoms[0].data.reshape(number, 5, size)
        weights, kept_weights = (x.data.reshape(number, channels, size) for x in (bottoms[3], tops[1]))
        losses, labels, kept_labels = bottoms[1].flat, bottoms[2].flat, tops[0].flat

        def choose() -> None:
            images = np.trunc(regions[:, 0].reshape(-1))
            wrong = ~((images >= 0) & np.isfinite(images))
            if wrong.any():
                place = np.argmax(wrong)
                raise DataError(
                    f"{self.where('bottom', 0)}: region {place} is in image {images[place]:g}, expected a number from 0"
                )
            kept_labels.fill(settings.ignore_label)
            kept_weights.fill(0)
            hardest = np.argsort(-losses, kind="stable")
            for image in np.unique(images):
                chosen = hardest[images[hardest] == image][: settings.roi_per_img]
                kept_labels[chosen] = labels[chosen]
                region, place = np.divmod(chosen, size)
                kept_weights[region, :, place] = weights[region, :, place]

        return [choose]


@layer("SoftmaxWithLossOHEM")
class SoftmaxWithLossOHEM(SoftmaxWithLoss):
    """SoftmaxWithLoss with a third top: the loss of each place, of the labels' shape, 0 where they are ignored.

    From the R-FCN fork. The third top sends no gradient back.
    """

    facts = SoftmaxWithLoss.facts.but(tops=(0, 3))

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        return [*super().shapes(*bottoms), bottoms[1]][: max(len(self.param.top), 1)]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        steps = super().forward(bottoms, tops)
        if len(tops) < 3:
            return steps
        outer, channels, inner = self.sizes(bottoms[0].shape)
        p = self.probabilities.reshape(outer, channels, inner)
        labels, losses = bottoms[1].data.reshape(outer, inner), tops[2].data.reshape(outer, inner)

        def write() -> None:
            chosen = labels.astype(np.int64)
            counted = np.ones_like(chosen, bool) if self.ignored is None else chosen != self.ignored
            own = np.take_along_axis(p, np.where(counted, chosen, 0)[:, None], axis=1)[:, 0]
            losses[...] = np.where(counted, -np.log(np.maximum(own, FLT_MIN)), 0)

        return [*steps, write]


@layer("SmoothL1LossOHEM")
class SmoothL1LossOHEM(SmoothL1Loss):
    """SmoothL1Loss with ``sigma`` 1 and a second top: the loss of each place, a sum over channels.

    Bottoms: predictions and targets, ``N × C × H × W``, and weights of that size or none. The loss is divided as
    ``loss_param`` says (see Loss; VALID and FULL: by ``N·H·W``). Top 2: ``N × 1 × H × W``, sends no gradient back.

    From the R-FCN fork.
    """

    facts = SmoothL1Loss.facts.but(bottoms=(2, 3), tops=(0, 2), settings=("loss_param",))

    def setup(self) -> None:
        self.sigma2 = 1.0

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        (loss,), x = super().shapes(*bottoms), bottoms[0]
        if len(x) > 4:
            self.shape_error(f"takes at most 4 axes, not {text_of(x)}", "bottom", 0)
        return [loss, (x[0], 1, *_four_axes(x)[2:])][: max(len(self.param.top), 1)]

    def loss_divisor(self, x: Shape) -> float:
        places, mode = count(x[2:]), self.normalization(VALID)
        mode = FULL if mode == VALID else mode
        return self.divisor(mode, x[0], places, 0)

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        steps = super().forward(bottoms, tops)
        if len(tops) < 2:
            return steps
        images, channels, height, width = _four_axes(bottoms[0].shape)
        difference, losses = self.difference.reshape(images, channels, height, width), tops[1].data

        def write() -> None:
            size = np.abs(difference)
            np.where(size < 1, size * size / 2, size - 0.5).sum(axis=1, keepdims=True, out=losses)

        return [*steps, write]
