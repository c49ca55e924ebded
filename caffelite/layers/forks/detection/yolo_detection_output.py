"""YoloDetectionOutput and Yolov3DetectionOutput: from the numbers of a YOLO net to its detections."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from caffelite.kernels import boxes as kernels
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.schema.messages import YoloDetectionOutputParameter, Yolov3DetectionOutputParameter
from caffelite.words import Shape, text_of


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Return the logistic function of x."""
    with np.errstate(over="ignore"):  # of an infinite exponential it is 0, as it should be
        return 1 / (1 + np.exp(-x))


class _Yolo(Layer, ABC):
    """The detections of maps that have, for each anchor, x, y, log width, log height, objectness and classes."""

    facts = Facts(
        images_meet="its detections name images by their numbers in the batch", differentiable=False, dynamic=True
    )
    settings: YoloDetectionOutputParameter | Yolov3DetectionOutputParameter
    #: For each bottom its anchors (width, height), and the size of a place of its map in their unit.
    anchors: list[np.ndarray]
    scales: list[float]
    #: How many detections an anchor at a place may make.
    each: int

    def _check(self, name: str) -> None:
        """Check the settings that both types have."""
        p = self.settings
        if not p.num_classes or not p.HasField("num_classes"):
            self.error(f"{name} needs num_classes of at least 1", name)
        if p.num_box < 1:
            self.error(f"num_box is {p.num_box}, expected at least 1", "num_box")
        if not p.nms_threshold >= 0:
            self.error(f"nms_threshold is {p.nms_threshold:g}, expected at least 0", "nms_threshold")
        for i, value in enumerate(p.biases):
            if not 0 < value < np.inf:
                self.error(f"biases are the sizes of anchors, expected above 0, not {value:g}", "biases", i)

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        p, most = self.settings, 0
        channels = p.num_box * (5 + p.num_classes)
        for j, x in enumerate(bottoms):
            if len(x) != 4 or x[1] != channels:
                self.shape_error(
                    f"{p.num_box} anchors and {p.num_classes} classes need N×{channels}×H×W, not {text_of(x)}",
                    "bottom",
                    j,
                )
            if x[0] != bottoms[0][0]:
                self.shape_error(f"its bottoms have {bottoms[0][0]} and {x[0]} images", "bottom", j)
            most += p.num_box * x[2] * x[3] * self.each
        return [(1, 1, bottoms[0][0] * max(most, 1), 7)]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        def write() -> None:
            tops[0].data[0, 0] = self.rows

        return [write]

    def resize(self, bottoms: Sequence[Blob]) -> Sequence[Shape]:
        images = bottoms[0].shape[0]
        self.rows = np.concatenate([self._detect(n, [x.data[n] for x in bottoms]) for n in range(images)])
        if not len(self.rows):
            self.rows = np.full((images, 7), -1, bottoms[0].data.dtype)
            self.rows[:, 0] = np.arange(images)
        return [(1, 1, *self.rows.shape)]

    def _detect(self, image: int, maps: list[np.ndarray]) -> np.ndarray:
        """Return the detections in an image, one a row, the best first."""
        rows = np.concatenate([self._rows_of(x, self.anchors[j], self.scales[j]) for j, x in enumerate(maps)])
        rows[:, 0] = image
        # Boxes that overlap by the threshold itself are the same, too.
        limit = float(np.nextafter(np.float32(self.settings.nms_threshold), np.float32(-1)))
        boxes = np.ascontiguousarray(rows[:, 3:])
        suppression = kernels.Suppression(boxes, 1, len(rows), len(rows), limit)
        suppression.fill(0, kernels.ranked(rows[:, 2]))
        suppression()
        return rows[suppression.kept[0, : suppression.kept_counts[0]]]

    def _rows_of(self, x: np.ndarray, anchors: np.ndarray, scale: float) -> np.ndarray:
        """Return the rows of a map of one image, before those that overlap a better one are left out."""
        _, height, width = x.shape
        x = x.reshape(len(anchors), -1, height, width)
        # No score is above the objectness.
        row, column, anchor = np.nonzero(self._enough(sigmoid(x[:, 4])).transpose(1, 2, 0))
        chosen = x[anchor, :, row, column]
        which, label, score = self._classes_of(sigmoid(chosen[:, 4]), chosen[:, 5:])
        places = np.stack([column, row], axis=-1)[which].astype(x.dtype)
        size = np.array([width, height], x.dtype)
        centre = (places + sigmoid(chosen[which, :2])) / size
        with np.errstate(over="ignore"):
            extent = np.exp(chosen[which, 2:4]) * anchors[anchor[which]].astype(x.dtype) / (size * x.dtype.type(scale))
        rows = np.empty((len(which), 7), x.dtype)
        rows[:, 1], rows[:, 2] = label + 1, score
        rows[:, 3:5], rows[:, 5:] = centre - extent / 2, centre + extent / 2
        return rows

    @abstractmethod
    def _enough(self, scores: np.ndarray) -> np.ndarray:
        """Return which scores are high enough."""

    @abstractmethod
    def _classes_of(self, objectness: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return, for each detection, its row, class (from 0) and score."""


@layer("YoloDetectionOutput")
class YoloDetectionOutput(_Yolo):
    """The boxes of YOLO version 2 whose score is high enough, without those that overlap a better one.

    Bottoms: maps ``N × A·(5 + C) × H × W``, for each of A anchors x, y, log width, log height, objectness, C classes.
    Top ``1 × 1 × K × 7``: for each detection the image, class (from 1), score (the logistic function of the objectness
    times the softmax of its best class), xmin, ymin, xmax and ymax, by image and falling score. Where there is none at
    all, a row for each image, all -1 but the image.

    ``yolo_detection_output_param``: ``num_classes``; ``num_box`` (5) anchors; ``biases``, their widths and heights in
    places of the map; ``confidence_threshold`` (0.01; scores from it up count); ``nms_threshold`` (0.45; boxes that
    overlap by this much or more are one, whatever their class). ``side`` and ``label_map_file`` are without effect.

    From the MobileNet-YOLO fork, which mixes the images of a batch and calls all of them 0; here each is by itself.
    Redmon and Farhadi, "YOLO9000: Better, Faster, Stronger", 2017.
    """

    facts = _Yolo.facts.but(bottoms=(1, 2), settings=("yolo_detection_output_param",))
    each = 1

    def setup(self) -> None:
        p = self.settings = self.param.yolo_detection_output_param
        self._check("yolo_detection_output_param")
        if p.coords != 4:
            self.error(f"coords is {p.coords}, expected 4", "coords")
        if len(p.biases) < 2 * p.num_box:
            self.error(f"{p.num_box} anchors need {2 * p.num_box} biases, not {len(p.biases)}", "biases")
        self.anchors = [np.array(p.biases[: 2 * p.num_box]).reshape(-1, 2)] * 2
        self.scales = [1, 1]

    def _enough(self, scores: np.ndarray) -> np.ndarray:
        return scores >= self.settings.confidence_threshold

    def _classes_of(self, objectness: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        label = classes.argmax(axis=1)
        shares = np.exp(classes - classes.max(axis=1, keepdims=True))
        score = objectness / shares.sum(axis=1)
        which = np.flatnonzero(self._enough(score))
        return which, label[which], score[which]


@layer("Yolov3DetectionOutput")
class Yolov3DetectionOutput(_Yolo):
    """The boxes of YOLO version 3 whose score is high enough, without those that overlap a better one.

    Bottoms and top as for YoloDetectionOutput; the score of each class is the logistic function of its number times
    that of the objectness, and a box may have several.

    ``yolov3_detection_output_param``: ``num_classes``; ``biases``, widths and heights of all anchors in pixels;
    ``mask``, the numbers of the anchors (from 0) of the first bottom, then of the second …; ``num_box`` (3), how many
    a bottom has; ``mask_group_num`` (2), how many bottoms there are; ``anchors_scale``, for each bottom the pixels
    between two places; ``confidence_threshold`` (0.01; scores above it count); ``nms_threshold`` (0.45).

    From the MobileNet-YOLO fork, which mixes the images of a batch and calls all of them 0; here each is by itself. Its
    ``gaussian_box`` is not there. Redmon and Farhadi, "YOLOv3: An Incremental Improvement", 2018.
    """

    facts = _Yolo.facts.but(bottoms=(1, None), settings=("yolov3_detection_output_param",))

    def setup(self) -> None:
        p = self.settings = self.param.yolov3_detection_output_param
        self._check("yolov3_detection_output_param")
        if p.gaussian_box:
            self.error("gaussian_box is not supported", "gaussian_box")
        maps = len(self.param.bottom)
        if p.mask_group_num != maps:
            self.error(f"mask_group_num is {p.mask_group_num}, but there are {maps} bottoms", "mask_group_num")
        if len(p.anchors_scale) < maps or not all(p.anchors_scale):
            self.error(
                f"{maps} bottoms need as many anchors_scale above 0, not {list(p.anchors_scale)}", "anchors_scale"
            )
        group = len(p.mask) // maps
        if group < p.num_box:
            self.error(
                f"{maps} bottoms of {p.num_box} anchors need a mask of {maps * p.num_box}, not {len(p.mask)}", "mask"
            )
        sizes = np.array(p.biases[: len(p.biases) // 2 * 2]).reshape(-1, 2)
        for i, number in enumerate(p.mask):
            if number >= len(sizes):
                self.error(f"mask names anchor {number}, but the biases make {len(sizes)} (from 0)", "mask", i)
        self.anchors = [sizes[list(p.mask[t * group : t * group + p.num_box])] for t in range(maps)]
        self.scales = [float(scale) for scale in p.anchors_scale]
        self.each = p.num_classes

    def _enough(self, scores: np.ndarray) -> np.ndarray:
        return scores > self.settings.confidence_threshold

    def _classes_of(self, objectness: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        scores = sigmoid(classes) * objectness[:, None]
        which, label = np.nonzero(self._enough(scores))
        return which, label, scores[which, label]
