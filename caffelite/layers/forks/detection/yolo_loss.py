"""RegionLoss and Yolov3: what YOLO nets learn from."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from caffelite.errors import DataError
from caffelite.kernels.engine import arrays
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.registry import layer
from caffelite.layers.forks.detection.yolo_detection_output import sigmoid
from caffelite.layers.shared.loss import Loss
from caffelite.schema.messages import RegionLossParameter, Yolov3Parameter
from caffelite.words import Shape, count, text_of

_MSE = 2


def overlap(a: Any, b: Any) -> Any:
    """Return the intersection over union of two boxes (x and y of the centre, width, height), or of arrays of them."""
    across, along = (
        np.minimum(a[k] + a[k + 2] / 2, b[k] + b[k + 2] / 2) - np.maximum(a[k] - a[k + 2] / 2, b[k] - b[k + 2] / 2)
        for k in (0, 1)
    )
    shared = np.where((across < 0) | (along < 0), 0, across * along)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


class _YoloLoss(Loss, ABC):
    """A loss that is given by its gradient, ``delta``: the sum of its squares over the number of images."""

    facts = Loss.facts.but(bottoms=2, tops=(0, 1), without_gradient=(1,), backward_reads=frozenset(), derivative=False)
    settings: RegionLossParameter | Yolov3Parameter
    #: The anchors of the map: width and height, in parts of a place of the map times ``unit``.
    anchors: np.ndarray
    unit = 1.0

    def _check(self, name: str) -> None:
        p = self.settings
        for setting in ("num", "num_class"):
            if getattr(p, setting) < 1:
                self.error(f"{setting} is {getattr(p, setting)}, expected at least 1", setting)
        for i, value in enumerate(p.biases):
            if not 0 < value < np.inf:
                self.error(f"biases are the sizes of anchors, expected above 0, not {value:g}", "biases", i)
        if len(p.biases) < 2 * p.num:
            self.error(f"{name} needs {2 * p.num} biases for {p.num} anchors, not {len(p.biases)}", "biases")

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        x, true = bottoms
        p = self.settings
        channels = p.num * (5 + p.num_class)
        if len(x) != 4 or x[1] != channels:
            self.shape_error(
                f"{p.num} anchors and {p.num_class} classes need N×{channels}×H×W, not {text_of(x)}", "bottom", 0
            )
        if not true or true[0] != x[0] or count(true[1:]) % 5:
            self.shape_error(
                f"takes for each of {x[0]} images true boxes of five numbers (class, x, y, width, height), not "
                f"{text_of(true)}",
                "bottom",
                1,
            )
        return [()]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        p, data = self.settings, bottoms[0].data
        images, _, height, width = data.shape
        x = data.reshape(images, p.num, 5 + p.num_class, height, width)
        true = bottoms[1].data.reshape(images, -1, 5)
        self.delta, self.seen, squares = (arrays.zeros(x.shape, x.dtype) for _ in range(3))
        out = tops[0].flat

        def forward() -> None:
            self.delta.fill(0)
            for n in range(images):
                self._activate(x[n], self.seen[n])
                self._judge(n, self.seen[n], self.delta[n], true[n])
            np.square(self.delta, out=squares)
            out[0] = squares.sum(dtype=np.float64) / images

        return [forward]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        dx, weight = bottoms[0].diff, tops[0].flat_diff
        if dx is None:
            return []
        target = dx.reshape(self.delta.shape)

        def backward() -> None:
            np.multiply(self.delta, weight[0] / len(self.delta), out=target)
            self._finish(target)

        return [backward]

    def _finish(self, gradient: np.ndarray) -> None:
        """Change the gradient of an activated map to that of the map itself, where the fork does so."""

    @abstractmethod
    def _activate(self, x: np.ndarray, seen: np.ndarray) -> None:
        """Set what the numbers of an image stand for (anchors × numbers × height × width)."""

    @abstractmethod
    def _apply(self, seen: np.ndarray, delta: np.ndarray, a: int, row: np.ndarray, place: tuple[int, int]) -> None:
        """Set what anchor ``a`` at a place learns from a true box."""

    @abstractmethod
    def _chosen(self, row: np.ndarray, seen: np.ndarray) -> list[int]:
        """Return the anchors of this map that a true box is for; ``seen`` has what its place predicts."""

    def _judge(self, image: int, seen: np.ndarray, delta: np.ndarray, true: np.ndarray) -> None:
        """Set what an image sends back."""
        _, _, height, width = seen.shape
        boxes = self._boxes(seen)
        best = np.zeros(boxes[0].shape, seen.dtype)
        for row in _before_zero(true, 1):
            np.maximum(best, overlap(boxes, row[1:]), out=best)
        delta[:, 4] = np.where(best > seen.dtype.type(self.settings.thresh), 0, self._nothing(seen[:, 4]))
        for i, row in enumerate(_before_zero(true, 3)):
            self._check_box(image, i, row)
            place = int(row[2] * height), int(row[1] * width)
            for a in self._chosen(row, seen[:, :, place[0], place[1]]):
                self._apply(seen, delta, a, row, place)

    @abstractmethod
    def _nothing(self, objectness: np.ndarray) -> np.ndarray:
        """Return what the objectness learns where there is nothing."""

    def _check_box(self, image: int, i: int, row: np.ndarray) -> None:
        # Written so that NaN is wrong too.
        if not 0 <= row[0] < self.settings.num_class:
            raise DataError(
                f"{self.where('bottom', 1)}: box {i} of image {image} has class {row[0]:g}, expected 0 to "
                f"{self.settings.num_class - 1}"
            )
        if not ((row[1:3] >= 0).all() and (row[1:3] < 1).all() and (row[3:] > 0).all() and np.isfinite(row).all()):
            raise DataError(
                f"{self.where('bottom', 1)}: box {i} of image {image} has centre {row[1]:g}, {row[2]:g} and size "
                f"{row[3]:g}, {row[4]:g}, expected a centre from 0 to below 1 and a size above 0"
            )

    def _boxes(self, seen: np.ndarray) -> list[np.ndarray]:
        """Return x, y, width and height of all predicted boxes, in parts of the image."""
        _, _, height, width = seen.shape
        sizes = self._sizes(seen)
        x, y = self._centres(seen[:, :2])
        return [
            (x + np.arange(width, dtype=seen.dtype)) / width,
            (y + np.arange(height, dtype=seen.dtype)[:, None]) / height,
            np.exp(seen[:, 2]) * sizes[:, 0, None, None],
            np.exp(seen[:, 3]) * sizes[:, 1, None, None],
        ]

    def _sizes(self, seen: np.ndarray) -> np.ndarray:
        """Return width and height of the anchors, in parts of the image."""
        _, _, height, width = seen.shape
        return (self.anchors / (np.array([width, height]) * self.unit)).astype(seen.dtype)

    @abstractmethod
    def _centres(self, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where in its place the centre of each box is."""

    def _box_target(self, seen: np.ndarray, a: int, row: np.ndarray, place: tuple[int, int]) -> np.ndarray:
        """Return what x, y, log width and log height would have to be for a true box."""
        _, _, height, width = seen.shape
        centre = row[1] * width - place[1], row[2] * height - place[0]
        return np.array([*centre, *np.log(row[3:] / self._sizes(seen)[a])], seen.dtype)


def _before_zero(true: np.ndarray, column: int) -> np.ndarray:
    """Return the rows before the first that has a 0 in a column."""
    ends = np.flatnonzero(true[:, column] == 0)
    return true[: ends[0]] if len(ends) else true


def _slope(y: np.ndarray) -> np.ndarray:
    """Return the derivative of the logistic function where it is y."""
    return y * (1 - y)


@layer("RegionLoss")
class RegionLoss(_YoloLoss):
    """The loss of YOLO version 2: for each true box, the anchor of its size at its place is to predict it.

    Bottoms: maps ``N × A·(5 + C) × S × S``, for each of A anchors x, y, log width, log height, objectness, C classes;
    true boxes, for each image rows of class (from 0), x and y of the centre, width, height in parts of the image, up to
    the first without width. The gradient is made by hand, and the loss is the sum of its squares over N: it is not the
    derivative of the loss.

    ``region_loss_param``: ``num_class`` (20); ``num`` (5), A; ``biases``, widths and heights of the anchors in places
    of the map; ``thresh`` (0.2: a prediction that overlaps a true box by more is not told that there is nothing);
    ``coord_scale`` (5), ``object_scale`` (1), ``noobject_scale`` (0.5), ``class_scale`` (1); ``bias_match`` (true: the
    anchor is found by its own size, else by the one predicted); ``rescore`` (true: the objectness is to be the overlap,
    else 1, and small boxes count more). The others are without effect.

    From the MobileNet-YOLO fork; Redmon and Farhadi, "YOLO9000: Better, Faster, Stronger", 2017.
    """

    facts = _YoloLoss.facts.but(settings=("region_loss_param",))
    settings: RegionLossParameter

    def setup(self) -> None:
        p = self.settings = self.param.region_loss_param
        self._check("region_loss_param")
        if p.coords != 4:
            self.error(f"coords is {p.coords}, expected 4", "coords")
        self.anchors = np.array(p.biases[: 2 * p.num]).reshape(-1, 2)

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        result = super().shapes(*bottoms)
        if bottoms[0][2] != bottoms[0][3]:
            self.shape_error(f"takes square maps, not {text_of(bottoms[0])}", "bottom", 0)
        return result

    def _activate(self, x: np.ndarray, seen: np.ndarray) -> None:
        np.copyto(seen, x)
        seen[:, 4] = sigmoid(x[:, 4])
        shares = np.exp(x[:, 5:] - x[:, 5:].max(axis=1, keepdims=True))
        seen[:, 5:] = shares / shares.sum(axis=1, keepdims=True)

    def _centres(self, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return sigmoid(seen[:, 0]), sigmoid(seen[:, 1])

    def _nothing(self, objectness: np.ndarray) -> np.ndarray:
        return self.settings.noobject_scale * objectness * _slope(objectness)

    def _chosen(self, row: np.ndarray, seen: np.ndarray) -> list[int]:
        sizes = self._sizes(self.seen[0])
        if not self.settings.bias_match:
            sizes = sizes * np.exp(seen[:, 2:4])
        return [int(np.argmax(overlap((0, 0, *sizes.T), (0, 0, *row[3:]))))]

    def _apply(self, seen: np.ndarray, delta: np.ndarray, a: int, row: np.ndarray, place: tuple[int, int]) -> None:
        p, (y, x) = self.settings, place
        mine, target = seen[a, :, y, x], delta[a, :, y, x]
        scale = p.coord_scale * (1 if p.rescore else 2 - row[3] * row[4])
        truth, centre = self._box_target(seen, a, row, place), sigmoid(mine[:2])
        target[:2] = scale * (centre - truth[:2]) * _slope(centre)
        target[2:4] = scale * (mine[2:4] - truth[2:])
        box = [
            (x + centre[0]) / seen.shape[3],
            (y + centre[1]) / seen.shape[2],
            *(np.exp(mine[2:4]) * self._sizes(seen)[a]),
        ]
        goal = overlap(box, row[1:]) if p.rescore else 1
        target[4] = p.object_scale * (mine[4] - goal) * _slope(mine[4])
        target[5:] = p.class_scale * mine[5:]
        target[5 + int(row[0])] -= p.class_scale


@layer("Yolov3")
class Yolov3(_YoloLoss):
    """The loss of YOLO version 3: as RegionLoss, but each class is by itself, and maps share the anchors.

    Bottoms and top as for RegionLoss; maps need not be square. ``yolov3_param``: ``num_class`` (20); ``biases``, widths
    and heights of all anchors in pixels; ``num`` (5), how many this map has, and ``mask``, their numbers (from 0);
    ``anchors_scale`` (32), the pixels between two places; ``thresh`` (0.2), ``coord_scale`` (5) and ``class_scale`` (1)
    as there; ``iou_thresh`` (0.5: anchors of the map whose size overlaps that of the true box by more are to predict it
    too); ``label_smooth_eps`` (0.1); ``use_logic_gradient`` (false; else the objectness of objects is multiplied by
    ``object_scale``, and what comes out of a logistic function is sent through it). The others are without effect.

    A true box is for the anchor of its size, if the map has it. As in Caffe, ``iou_thresh`` leaves out the anchor whose
    number is the place of that one in ``mask``.

    From the MobileNet-YOLO fork, without its losses other than ``iou_loss: MSE`` and ``use_focal_loss``; Redmon and
    Farhadi, "YOLOv3: An Incremental Improvement", 2018.
    """

    facts = _YoloLoss.facts.but(settings=("yolov3_param",))
    settings: Yolov3Parameter

    def setup(self) -> None:
        p = self.settings = self.param.yolov3_param
        self._check("yolov3_param")
        if p.iou_loss != _MSE:
            self.error("iou_loss other than MSE is not supported", "iou_loss")
        if p.use_focal_loss:
            self.error("use_focal_loss is not supported", "use_focal_loss")
        if p.anchors_scale < 1:
            self.error("anchors_scale is 0, expected at least 1", "anchors_scale")
        self.all = np.array(p.biases[: len(p.biases) // 2 * 2]).reshape(-1, 2)
        if len(p.mask) < p.num:
            self.error(f"{p.num} anchors need a mask of {p.num}, not {len(p.mask)}", "mask")
        for i, number in enumerate(p.mask):
            if number >= len(self.all):
                self.error(f"mask names anchor {number}, but the biases make {len(self.all)} (from 0)", "mask", i)
        self.mask = list(p.mask[: p.num])
        self.anchors, self.unit = self.all[self.mask], float(p.anchors_scale)

    def _activate(self, x: np.ndarray, seen: np.ndarray) -> None:
        seen[:] = sigmoid(x)
        seen[:, 2:4] = x[:, 2:4]

    def _finish(self, gradient: np.ndarray) -> None:
        if self.settings.use_logic_gradient:
            for channels in (slice(0, 2), slice(4, None)):
                gradient[:, :, channels] *= _slope(self.seen[:, :, channels])

    def _centres(self, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return seen[:, 0], seen[:, 1]

    def _nothing(self, objectness: np.ndarray) -> np.ndarray:
        return objectness

    def _chosen(self, row: np.ndarray, seen: np.ndarray) -> list[int]:
        height, width = self.seen.shape[3:]
        sizes = (self.all / (np.array([width, height]) * self.unit)).astype(seen.dtype)
        overlaps = overlap((0, 0, *sizes.T), (0, 0, *row[3:]))
        best, chosen = int(np.argmax(overlaps)), []
        if best in self.mask:
            best = self.mask.index(best)
            chosen.append(best)
        threshold = self.settings.iou_thresh
        if threshold < 1:
            chosen += [
                self.mask.index(number)
                for number in range(len(sizes))
                if number in self.mask and number != best and overlaps[number] > threshold
            ]
        return chosen

    def _apply(self, seen: np.ndarray, delta: np.ndarray, a: int, row: np.ndarray, place: tuple[int, int]) -> None:
        p, (y, x), label = self.settings, place, 5 + int(row[0])
        mine, target = seen[a, :, y, x], delta[a, :, y, x]
        target[:4] = p.coord_scale * (2 - row[3] * row[4]) * (mine[:4] - self._box_target(seen, a, row, place))
        target[4] = (mine[4] - 1) * (p.object_scale if p.use_logic_gradient else 1)
        low = p.label_smooth_eps / 2
        if target[label]:
            # Another box is at this place: this class is added to its own.
            target[label] = p.class_scale * (mine[label] - (1 - low))
            return
        target[5:] = p.class_scale * (mine[5:] - low)
        target[label] = p.class_scale * (mine[label] - (1 - low))
