"""DetectionOutput: from the numbers of a single shot detector to its detections."""

import warnings
from collections.abc import Sequence

import numpy as np

from caffelite.kernels import boxes as kernels
from caffelite.kernels.engine.calls import Call
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.words import Shape, count, text_of

_LOWEST = -3.4028234663852886e38  # of float32


@layer("DetectionOutput")
class DetectionOutput(Layer):
    """The boxes whose score is high enough, without those that overlap a better one of their class.

    Bottoms: locations (N × 4PL), scores (N × PC), priors (1 × 2 × 4P, see PriorBox), with P priors, C classes, and L
    = 1 or, without ``share_location``, C. A fourth is ignored if it is an image (SSD draws on it). RefineDet has two
    more: scores (N × 2P) and locations (N × 4P) of its first stage; a prior whose second score is below
    ``objectness_score`` (0.01) becomes background, and the locations move the priors of each image.

    Top ``1 × 1 × K × 7``: for each detection the image, class, score, xmin, ymin, xmax and ymax, by image, class and
    falling score. Where there is none at all, a row for each image, all -1 but the image.

    ``detection_output_param``: ``num_classes``; ``share_location`` (true); ``background_label_id`` (0; -1: none);
    ``confidence_threshold``; ``nms_param`` with ``nms_threshold`` (0.3), ``top_k`` (boxes of a class to look at) and
    ``eta`` (1); ``keep_top_k`` (-1: all; boxes of an image to keep); ``code_type`` (CORNER);
    ``variance_encoded_in_target`` (false: locations are to be multiplied by the variances). Boxes of equal score keep
    their order. ``save_output_param`` and ``visualize`` are ignored.

    From the SSD fork; Liu et al., "SSD: Single Shot MultiBox Detector", 2016; Zhang et al., "Single-Shot Refinement
    Neural Network for Object Detection", 2018.
    """

    facts = Facts(
        images_meet="its detections name images by their numbers in the batch",
        bottoms=(3, 5),
        differentiable=False,
        dynamic=True,
        settings=("detection_output_param",),
    )

    def setup(self) -> None:
        p = self.settings = self.param.detection_output_param
        nms = p.nms_param
        if p.num_classes < 1:
            self.error("detection_output_param needs num_classes", "num_classes")
        if not nms.nms_threshold >= 0:
            self.error(f"nms_threshold is {nms.nms_threshold:g}, expected at least 0", "nms_threshold")
        if not 0 < nms.eta <= 1:
            self.error(f"eta is {nms.eta:g}, expected above 0 and at most 1", "eta")
        for name in ("save_output_param", "visualize"):
            if p.HasField(name) and (name != "visualize" or p.visualize):
                warnings.warn(f"{self.where(name)}: {name} is ignored: nothing is written or drawn", stacklevel=2)
        self.classes = [c for c in range(p.num_classes) if c != p.background_label_id]
        if not self.classes:
            self.error("num_classes is 1, and that is the background", "num_classes")
        self.located = 1 if p.share_location else p.num_classes
        self._bound: list[tuple[int, Shape]] = []

    def limits(self, priors: int) -> tuple[int, int]:
        """Return how many boxes of a class are looked at, and how many of an image are kept."""
        p = self.settings
        looked = p.nms_param.top_k if p.nms_param.HasField("top_k") and p.nms_param.top_k >= 0 else priors
        looked = min(looked, priors)
        most = len(self.classes) * looked
        return looked, min(most, p.keep_top_k) if p.keep_top_k >= 0 else most

    def is_refined(self, bottoms: Sequence[Shape]) -> bool:
        """Return whether the fourth bottom is the scores of a first stage, and not an image."""
        scores = count(bottoms[2]) // 4 * bottoms[0][0]
        return len(bottoms) > 4 or (len(bottoms) == 4 and count(bottoms[3]) == scores)

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        images, priors = check_predictions(self, bottoms, self.located, self.settings.num_classes)
        if self.is_refined(bottoms):
            for j, each in enumerate((2, 4)[: len(bottoms) - 3], 3):
                if not bottoms[j] or bottoms[j][0] != images or count(bottoms[j]) != images * priors * each:
                    self.shape_error(
                        f"{priors} priors need {priors * each} numbers an image of the first stage, not "
                        f"{text_of(bottoms[j])}",
                        "bottom",
                        j,
                    )
        return [(1, 1, images * max(self.limits(priors)[1], 1), 7)]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        bound = [(x.data.ctypes.data, x.shape) for x in bottoms]
        if bound != self._bound:
            self._bind([x.data for x in bottoms])
            self._bound = bound

        def write() -> None:
            tops[0].data[0, 0] = self.rows

        return [write]

    def _bind(self, bottoms: Sequence[np.ndarray]) -> None:
        p, images = self.settings, bottoms[0].shape[0]
        priors, variances = bottoms[2].reshape(2, -1, 4)
        number = len(priors)
        self.decoding: list[Call] = []
        self.objectness = None
        scaled = not p.variance_encoded_in_target
        if self.is_refined([x.shape for x in bottoms]):
            self.objectness = bottoms[3].reshape(images, number, 2)[:, :, 1]
            if len(bottoms) > 4:
                first = bottoms[4].reshape(images, number, 1, 4)
                moved = np.zeros_like(first)
                self.decoding.append(kernels.decode(first, priors, variances, moved, p.code_type, scaled))
                priors = moved
        locations = bottoms[0].reshape(images, number, self.located, 4)
        self.boxes = np.zeros_like(locations)
        self.decoding.append(kernels.decode(locations, priors, variances, self.boxes, p.code_type, scaled))
        self.given = bottoms[1].reshape(images, number, p.num_classes)
        self.scores = np.zeros((images, p.num_classes, number), self.given.dtype)
        looked, _ = self.limits(number)
        self.suppression = kernels.Suppression(
            self.boxes, images * len(self.classes), looked, looked, p.nms_param.nms_threshold, p.nms_param.eta
        )

    def resize(self, bottoms: Sequence[Blob]) -> Sequence[Shape]:
        for step in self.decoding:
            step()
        np.copyto(self.scores, self.given.transpose(0, 2, 1))
        if self.objectness is not None:
            nothing = self.objectness < self.settings.objectness_score
            self.scores.transpose(0, 2, 1)[nothing] = np.arange(self.settings.num_classes) == 0
        p, (images, priors, located, _) = self.settings, self.boxes.shape
        above = p.confidence_threshold if p.HasField("confidence_threshold") else _LOWEST
        looked, _ = self.limits(priors)
        for n in range(images):
            for k, c in enumerate(self.classes):
                places = n * priors + kernels.ranked(self.scores[n, c], above, looked)
                self.suppression.fill(n * len(self.classes) + k, places * located + (c if located > 1 else 0))
        self.suppression()
        self.rows = np.concatenate([self._rows_of(n) for n in range(images)])
        if not len(self.rows):
            self.rows = np.full((images, 7), -1, self.boxes.dtype)
            self.rows[:, 0] = np.arange(images)
        return [(1, 1, *self.rows.shape)]

    def _rows_of(self, image: int) -> np.ndarray:
        """Return the detections of an image, one a row."""
        _, priors, located, _ = self.boxes.shape
        mine = slice(image * len(self.classes), (image + 1) * len(self.classes))
        kept, number = self.suppression.kept[mine], self.suppression.kept_counts[mine]
        which, place = np.nonzero(np.arange(kept.shape[1]) < number[:, None])
        box, label = kept[which, place], np.array(self.classes)[which]
        score = self.scores[image, label, box // located % priors]
        _, most = self.limits(priors)
        if len(score) > most:
            best = np.sort(kernels.ranked(score, most=most))
            box, label, score = box[best], label[best], score[best]
        rows = np.empty((len(score), 7), self.boxes.dtype)
        rows[:, 0], rows[:, 1], rows[:, 2] = image, label, score
        rows[:, 3:] = self.boxes.reshape(-1, 4)[box]
        return rows


def check_predictions(layer: Layer, bottoms: Sequence[Shape], located: int, classes: int) -> tuple[int, int]:
    """Return images and priors; raise ShapeError where locations, scores and priors (the first bottoms) do not fit."""
    locations, scores, priors = bottoms[:3]
    if len(priors) < 2 or priors[:2] != (1, 2) or count(priors) % 8 or not count(priors):
        layer.shape_error(f"takes priors of shape 1×2×4P, not {text_of(priors)}", "bottom", 2)
    number = count(priors) // 8
    for j, (what, x, each) in enumerate((("locations", locations, 4 * located), ("scores", scores, classes))):
        if not x or count(x[1:]) != number * each:
            layer.shape_error(
                f"{number} priors and {classes} classes need {number * each} {what} an image, not {text_of(x)}",
                "bottom",
                j,
            )
    if locations[0] != scores[0]:
        layer.shape_error(f"has locations of {locations[0]} images, but scores of {scores[0]}", "bottom", 1)
    return locations[0], number
