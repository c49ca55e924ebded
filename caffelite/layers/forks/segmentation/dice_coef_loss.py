"""DiceCoefLoss: how little what is predicted and what is labelled overlap."""

from collections.abc import Sequence

import numpy as np

from caffelite.errors import SchemaError, WeightsError
from caffelite.kernels.engine.calls import call
from caffelite.kernels.engine.compiling import kernel
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.loss import Loss
from caffelite.schema.blobs import read_blob
from caffelite.words import Shape, count, text_of

_NONE, _MULTICLASS, _WEIGHTED, _BATCH, _ALL = range(5)
#: The exponent that weight_mode stands for.
_POWERS = (-2, -1, -3)
#: How many times the places of an image an ignored class counts as.
_IGNORED = 1e6


@kernel
def _sums(begin, end, worker, p, labels, squares, places, products, classes, length):
    """Sum p², the places that have the class as label, and p at these; a task is a map."""
    for task in range(begin, end):
        first, label, c = task * length, task // classes * length, task % classes
        square, own, product = 0.0, 0.0, 0.0
        for i in range(length):
            value = p[first + i]
            square += value * value
            if np.int64(labels[label + i]) == c:
                own += 1.0
                product += value
        squares[task], places[task], products[task] = square, own, product


@kernel
def _gradient(begin, end, worker, p, labels, dx, factors, offsets, classes, length):
    """dx = factor * p - offset where the class is the label; a task is a map."""
    for task in range(begin, end):
        first, label, c = task * length, task // classes * length, task % classes
        for i in range(length):
            own = offsets[task] if np.int64(labels[label + i]) == c else offsets[task] * np.float32(0)
            dx[first + i] = factors[task] * p[first + i] - own


@layer("DiceCoefLoss")
class DiceCoefLoss(Loss):
    """1 minus the mean over images of ``(s + 2 sum of w p t) / (s + sum of w p² + w t)``.

    p is the prediction (first bottom, ``N × C × …``, such as the top of a Softmax), t is 1 for the class that is the
    label (second bottom, ``N × 1 × …``), else 0; the sums are over an image. ``dice_coef_loss_param``:
    ``generalization``:

    NONE: all w are 1, ``s = 1/N``. MULTICLASS: as that, but the class ``ignore_label`` does not count.
    MULTICLASS_WEIGHTED: s is 0, and the w of a class in an image is a power of 1 more than the places it has there, by
    ``weight_mode`` INVERSE_VOLUME (-2, the default), EQUALIZE_CLASSES (-1), EXTRA_SMALL_VOLUMES (-3); ``ignore_label``
    counts as if it had a million times the places of an image. MULTICLASS_WEIGHTED_BATCH: the places are the mean of
    the batch's images; MULTICLASS_WEIGHTED_ALL: of all images so far. ``weights``, a file of a C × C blob: each w is
    also multiplied by the class's share of its diagonal. ``contour_shape`` other than NO is not known here.

    As in jolibrain's fork, whose layer this is, the gradient is N times that of the loss, and with MULTICLASS that of
    the ignored class is as if it counted.

    Milletari et al., "V-Net", 2016; Sudre et al., "Generalised Dice overlap as a deep learning loss function for highly
    unbalanced segmentations", 2017.
    """

    facts = Loss.facts.but(
        bottoms=2,
        tops=(0, 1),
        backward_reads=frozenset({"bottom"}),
        without_gradient=(1,),
        settings=("dice_coef_loss_param",),
    )

    def setup(self) -> None:
        p = self.settings = self.param.dice_coef_loss_param
        if p.contour_shape:
            self.error("contour_shape must be NO: there are no weights of contours here", "contour_shape")
        self.mode = p.generalization
        self.ignored_class = p.ignore_label if self.mode != _NONE else -1
        self.power = _POWERS[p.weight_mode]
        self.outer: np.ndarray | None = None
        if p.HasField("weights"):
            try:
                self.outer = np.maximum(np.diag(np.atleast_2d(np.squeeze(read_blob(p.weights)))), 1e-9)
            except (SchemaError, WeightsError, OSError) as error:
                self.error(f"weights: {error}", "weights")

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        p, labels = bottoms
        if len(p) < 2 or labels[:1] != p[:1] or count(labels) != p[0] * count(p[2:]):
            self.shape_error(f"takes one label a place of {text_of(p)}, not {text_of(labels)}", "bottom", 1)
        if not -1 <= self.ignored_class < p[1]:
            self.error(f"ignore_label is {self.ignored_class}, but there are {p[1]} classes", "ignore_label")
        if self.outer is not None and len(self.outer) != p[1]:
            self.shape_error(f"weights has {len(self.outer)} values on its diagonal for {p[1]} classes", "weights")
        return [()]

    def _weights(self, places: np.ndarray, length: int) -> np.ndarray:
        """Return the weight of each class in each image, from how many places it has there."""
        weights = np.ones_like(places)
        if self.mode >= _WEIGHTED:
            weights = places + 1
            if self.ignored_class >= 0:
                weights[:, self.ignored_class] = places[:, self.ignored_class] + _IGNORED * length
            if self.mode >= _BATCH:
                weights[:] = self.context.over_batch(weights.mean(0) * self.context.part)
            if self.mode == _ALL:
                mean, passes = self.state["mean"], self.state["passes"]
                mean[:] = (mean * passes[0] + weights[0]) / (passes[0] + 1)
                passes[0] += 1
                weights[:] = mean
            weights **= self.power
        if self.outer is not None:
            weights *= self.outer / self.outer.sum()
        return weights

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        p, labels, out = bottoms[0], bottoms[1].flat, tops[0].flat
        images, classes = p.shape[:2]
        length = count(p.shape[2:])
        squares, places, products = np.zeros((3, images, classes))
        self.weights = np.zeros((images, classes))
        self.scores, self.bases = np.zeros(images), np.zeros(images)
        if self.mode == _ALL:
            self.state["mean"], self.state["passes"] = np.zeros(classes), np.zeros(1, np.int64)
        counts = np.ones(classes)
        if self.mode == _MULTICLASS and self.ignored_class >= 0 and classes > 1:
            counts[self.ignored_class] = 0
        smooth = 0.0 if self.mode >= _WEIGHTED else self.context.part / images

        def finish() -> None:
            self.weights[:] = self._weights(places, length)
            shares = self.weights * counts
            self.bases[:] = smooth + (shares * (squares + places)).sum(1)
            self.scores[:] = (smooth + 2 * (shares * products).sum(1)) / self.bases
            out[0] = 1 - self.scores.mean()

        return [
            self.class_checker(labels, classes),
            call(
                _sums,
                images * classes,
                p.flat,
                labels,
                squares.reshape(-1),
                places.reshape(-1),
                products.reshape(-1),
                classes,
                length,
                work=p.data.size * 4,
            ),
            finish,
        ]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        p, weight = bottoms[0], tops[0].flat_diff
        if p.diff is None:
            return []
        images, classes = p.shape[:2]
        factors, offsets = np.zeros((2, images * classes), p.data.dtype)

        def prepare() -> None:
            # N times the gradient of the loss: as much for each image, however many a process has.
            share = 2 * (weight[0] / self.context.part) * self.weights / self.bases[:, None]
            offsets[:] = share.reshape(-1)
            factors[:] = (share * self.scores[:, None]).reshape(-1)

        return [
            prepare,
            call(
                _gradient,
                images * classes,
                p.flat,
                bottoms[1].flat,
                p.flat_diff,
                factors,
                offsets,
                classes,
                count(p.shape[2:]),
                work=p.data.size * 3,
            ),
        ]
