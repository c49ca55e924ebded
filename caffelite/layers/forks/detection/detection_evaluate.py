"""DetectionEvaluate: which detections are right."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from caffelite.errors import DataError
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.words import Shape, quoted, text_of

#: How images may have been resized so that a box is in the same place of the image, in parts of its size.
_WARP, _FIT_SMALL_SIZE = 1, 2


@layer("DetectionEvaluate")
class DetectionEvaluate(Layer):
    """Each detection against the true boxes of its image and class.

    Bottoms: detections ``1 × 1 × K × 7`` (see DetectionOutput), true boxes ``1 × 1 × G × 8`` (image, class, number,
    xmin, ymin, xmax, ymax, difficult; up to the first whose image is -1). Top ``1 × 1 × R × 5``: a row for each class
    but the background (-1, class, how many true boxes, -1, -1), then one for each detection (image, class, score,
    right, wrong), by image, class and falling score. Right (1, 0) is the first whose best true box overlaps it by
    ``overlap_threshold`` (0.5) or more; another of the same true box is wrong (0, 1). No gradient.

    ``detection_evaluate_param``: ``num_classes``; ``background_label_id`` (0); ``evaluate_difficult_gt`` (true; else
    difficult boxes do not count, and what finds them is neither, 0, 0); ``name_size_file``, lines of name, height and
    width of each image in the order of the data: boxes are cut and measured in their pixels, the last included (else in
    parts of the image). As in Caffe, an image without a row among those of a batch with detections takes no line of it.

    From the SSD fork. Its solver makes the mean average precision of these rows; caffelite's does not.
    """

    facts = Facts(
        images_meet="its detections name images by their numbers in the batch",
        bottoms=2,
        differentiable=False,
        dynamic=True,
        kind="measure",
        settings=("detection_evaluate_param",),
    )

    def setup(self) -> None:
        p = self.settings = self.param.detection_evaluate_param
        if not p.num_classes:
            self.error("detection_evaluate_param needs num_classes", "detection_evaluate_param")
        if not p.overlap_threshold > 0:
            self.error(f"overlap_threshold is {p.overlap_threshold:g}, expected above 0", "overlap_threshold")
        self.classes = [c for c in range(p.num_classes) if c != p.background_label_id]
        resize = p.resize_param
        if p.HasField("resize_param") and (
            resize.resize_mode not in (_WARP, _FIT_SMALL_SIZE) or resize.height_scale or resize.width_scale
        ):
            self.error(
                "resize_param makes places of the image that are not those of the original one, which is not "
                "supported; resize_mode WARP and FIT_SMALL_SIZE without height_scale and width_scale do not",
                "resize_param",
            )
        self.sizes: np.ndarray | None = None
        self.next = 0

    def _read_sizes(self) -> np.ndarray:
        """Return height and width of each image."""
        file, sizes = self.settings.name_size_file, []
        place = f"{self.where('name_size_file')}: {file}"
        try:
            lines = Path(file).read_text("utf-8", "surrogateescape").splitlines()
        except OSError as error:
            raise DataError(
                f"{self.where('name_size_file')}: {quoted(file)} cannot be read: {error.strerror}"
            ) from None
        for number, line in enumerate(lines, 1):
            words = line.split()
            if words and (len(words) != 3 or not all(word.isdecimal() and int(word) for word in words[1:])):
                raise DataError(f"{place}:{number}: expected a name, a height and a width")
            if words:
                sizes.append((int(words[1]), int(words[2])))
        if not sizes:
            raise DataError(f"{place}: no image is in it")
        return np.array(sizes)

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        for j, (x, columns) in enumerate(zip(bottoms, (7, 8), strict=True)):
            if len(x) != 4 or x[:2] != (1, 1) or x[3] != columns:
                what = ("detections", "true boxes")[j]
                self.shape_error(f"takes {what} of 1×1×N×{columns}, not {text_of(x)}", "bottom", j)
        if self.settings.name_size_file and self.sizes is None:
            self.sizes = self._read_sizes()
        return [(1, 1, len(self.classes) + bottoms[0][2], 5)]

    def resize(self, bottoms: Sequence[Blob]) -> Sequence[Shape]:
        return [(1, 1, len(self.classes) + int(_counted(bottoms[0].data[0, 0]).sum()), 5)]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        detections, truth, out = bottoms[0].data[0, 0], bottoms[1].data[0, 0], tops[0].data[0, 0]

        def evaluate() -> None:
            ends = np.flatnonzero(truth[:, 0] == -1)
            true = truth[: ends[0]] if len(ends) else truth
            for j, rows in enumerate((detections, true)):
                self._check(rows, j)
            counts = np.ones(len(true), bool) if self.settings.evaluate_difficult_gt else true[:, 7] == 0
            for row, c in zip(out, self.classes, strict=False):
                row[:] = -1, c, np.count_nonzero(counts & (true[:, 1] == c)), -1, -1
            start = len(self.classes)
            for image in np.unique(detections[detections[:, 0] != -1, 0]):
                rows = detections[_counted(detections) & (detections[:, 0] == image)]
                for c in np.unique(rows[:, 1]):
                    of = (true[:, 0] == image) & (true[:, 1] == c)
                    mine = rows[rows[:, 1] == c]
                    mine = mine[np.argsort(-mine[:, 2], kind="stable")]
                    result = out[start : start + len(mine)]
                    result[:, :3] = mine[:, :3]
                    result[:, 3:] = self._judge(mine[:, 3:], true[of, 3:7], counts[of])
                    start += len(mine)
                if self.sizes is not None:
                    self.next = (self.next + 1) % len(self.sizes)

        return [evaluate]

    def _check(self, rows: np.ndarray, j: int) -> None:
        """Raise DataError where a row that counts has no class."""
        classes = np.trunc(rows[:, 1])
        wrong = ~(np.isfinite(rows[:, :2]).all(axis=1) & (classes != self.settings.background_label_id))
        wrong &= rows[:, 0] != -1
        for i in np.flatnonzero(wrong):
            raise DataError(
                f"{self.where('bottom', j)}: row {i} has image {rows[i, 0]:g} and class {rows[i, 1]:g}, expected whole "
                f"numbers and no background, {self.settings.background_label_id}"
            )

    def _judge(self, boxes: np.ndarray, true: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Return right and wrong for boxes of falling score."""
        result = np.zeros((len(boxes), 2))
        result[:, 1] = 1
        if not len(true) or not len(boxes):
            return result
        edge = 0
        if self.sizes is not None:
            edge, scale = 1, np.tile(self.sizes[self.next, ::-1], 2)
            boxes, true = (np.clip(x, 0, 1) * scale.astype(x.dtype) for x in (boxes, true))
        overlaps = _overlaps(boxes, true, edge)
        best = overlaps.argmax(axis=1)
        seen = np.zeros(len(true), bool)
        for i in np.flatnonzero(overlaps.max(axis=1) >= np.float32(self.settings.overlap_threshold)):
            result[i] = (not seen[best[i]], seen[best[i]]) if counts[best[i]] else 0
            seen[best[i]] |= counts[best[i]]
        return result


def _counted(rows: np.ndarray) -> np.ndarray:
    """Return which rows are detections; a row with class -1 only names an image without any."""
    return (rows[:, 0] != -1) & (rows[:, 1] != -1)


def _overlaps(a: np.ndarray, b: np.ndarray, edge: int) -> np.ndarray:
    """Return the intersection over union of all boxes of ``a`` (rows) and ``b``, ``edge`` wider than their corners."""
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    size = np.maximum(high - low + edge, 0)
    shared = size[..., 0] * size[..., 1]
    areas = [np.where((x[:, 2:] < x[:, :2]).any(1), 0, (x[:, 2:] - x[:, :2] + edge).prod(1)) for x in (a, b)]
    union = areas[0][:, None] + areas[1] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)
