"""Proposal: the regions that a region proposal network finds."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from caffelite.errors import DataError
from caffelite.kernels import boxes as kernels
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer, provides
from caffelite.layers.forks.detection.regions import rounded
from caffelite.words import Shape, count, quoted, text_of

#: Further out the exponential of a float32 is infinite.
FURTHEST = 80
#: ``key: number`` or ``key: [number, …]`` of the YAML in a ``param_str``.
_SETTING = re.compile(r"""(['"]?)(\w+)\1\s*:\s*(?:!!python/tuple\s*)?(\[[^][]*\]|[^][,:\s]+)\s*(?:,\s*|$|(?<=\s))""")


def anchors(
    base_size: float, ratios: Sequence[float], scales: Sequence[float], rounding: Callable[[Any], Any] = rounded
) -> np.ndarray:
    """Return the boxes a place starts from, one a row: for each ratio (height / width) one of each scale.

    They lie around the middle of the pixels 0 to ``base_size - 1`` and have, for scale 1, about its area.
    """
    ratio, scale = np.array(ratios, np.float64)[:, None], np.array(scales, np.float64)
    width = rounding(np.sqrt(base_size * base_size / ratio))
    height = rounding(width * ratio)
    middle, half_width, half_height = (base_size - 1) / 2, (width * scale - 1) / 2, (height * scale - 1) / 2
    corners = [middle - half_width, middle - half_height, middle + half_width, middle + half_height]
    return np.stack(corners, axis=-1).reshape(-1, 4)


@layer("Proposal")
class Proposal(Layer):
    """The best regions of each image, those that overlap a better one left out.

    Bottoms: scores ``N × 2A × H × W`` (background of A anchors, then objects), offsets ``N × 4A × H × W`` (x, y, log
    width, log height of each anchor), sizes ``N × 3`` or ``1 × 3`` (height and width of the image, and the factor it
    was resized by; or ``× 4``, with a factor for each of them). Tops: regions ``K × 5`` (image, xmin, ymin, xmax,
    ymax), by image and falling score; their scores, if a second is named. No gradient.

    ``proposal_param``: ``feat_stride`` (16), pixels between two places; anchors of each ``ratio`` (height / width) and
    each ``scale`` times ``base_size`` (16); ``pre_nms_topn`` (6000) regions are looked at and ``post_nms_topn`` (300)
    of an image are kept; two that overlap by more than ``nms_thresh`` (0.7) are one; a region that is lower or narrower
    than ``min_size`` (16) times the factor gets the score 0.

    From PVANet and mini-caffe; Ren et al., "Faster R-CNN: Towards Real-Time Object Detection with Region Proposal
    Networks", 2015. The layer of this name in caffe-windows divides the anchors by ``base_size``, which is not told
    by the settings.
    """

    facts = Facts(
        images_meet="its regions name images by their numbers in the batch",
        bottoms=3,
        tops=(1, 2),
        differentiable=False,
        dynamic=True,
        settings=("proposal_param",),
    )
    #: Whether regions that are too small are left out; else they only have score 0.
    drops_small = False
    #: Pixels between two places.
    stride: float

    def setup(self) -> None:
        p = self.param.proposal_param
        for name in ("feat_stride", "base_size", "pre_nms_topn", "post_nms_topn"):
            if getattr(p, name) < 1:
                self.error(f"{name} is {getattr(p, name)}, expected at least 1", name)
        for name in ("ratio", "scale"):
            if not getattr(p, name):
                self.error(f"proposal_param needs {name}", "proposal_param")
            for i, value in enumerate(getattr(p, name)):
                if not 0 < value < np.inf:
                    self.error(f"{name} is {value:g}, expected above 0", name, i)
        if not p.nms_thresh >= 0:
            self.error(f"nms_thresh is {p.nms_thresh:g}, expected at least 0", "nms_thresh")
        self.stride, self.min_size, self.threshold = p.feat_stride, p.min_size, p.nms_thresh
        self.looked, self.kept = p.pre_nms_topn, p.post_nms_topn
        self.anchors = anchors(p.base_size, p.ratio, p.scale)
        self._planned = (0, 0, 0)

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        scores, offsets, sizes = bottoms
        anchors = len(self.anchors)
        for j, (what, x, channels) in enumerate((("scores", scores, 2 * anchors), ("offsets", offsets, 4 * anchors))):
            if len(x) != 4 or x[1] != channels:
                self.shape_error(f"{anchors} anchors need {what} of N×{channels}×H×W, not {text_of(x)}", "bottom", j)
        if scores[0] != offsets[0] or scores[2:] != offsets[2:]:
            self.shape_error(f"its scores, {text_of(scores)}, and offsets, {text_of(offsets)}, do not fit", "bottom", 1)
        if len(sizes) < 2 or sizes[0] not in (1, scores[0]) or count(sizes[1:]) < 3:
            self.shape_error(
                f"takes the sizes of {scores[0]} images (height, width, factor), not {text_of(sizes)}", "bottom", 2
            )
        return self._tops(scores[0] * self.limits(anchors * scores[2] * scores[3])[1])

    def limits(self, regions: int) -> tuple[int, int]:
        """Return how many of so many regions are looked at and kept."""
        looked = min(self.looked, regions)
        return looked, min(self.kept, looked)

    def anchors_at(self, height: int, width: int) -> np.ndarray:
        """Return the anchors at all places of a map, row after row of it, ``places · anchors × 4``."""
        shift = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)[:, :, None] * self.stride
        places: np.ndarray = self.anchors + np.concatenate([shift, shift], axis=-1)
        return places.reshape(-1, 4)

    def _tops(self, rows: int) -> Sequence[Shape]:
        return [(rows, 5), (rows,)][: len(self.param.top)]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        images, _, height, width = bottoms[0].shape
        regions = len(self.anchors) * height * width
        if (images, height, width) != self._planned:
            self._planned = images, height, width
            #: The anchors at all places in each image.
            self.places = np.tile(self.anchors_at(height, width), (images, 1)).astype(bottoms[0].data.dtype)
            self.boxes = np.zeros_like(self.places)
            looked, kept = self.limits(regions)
            self.suppression = kernels.Suppression(self.boxes, images, looked, kept, self.threshold, pixels=True)

        def write() -> None:
            tops[0].data[...] = self.rows
            if len(tops) > 1:
                tops[1].data.reshape(-1)[:] = self.best

        return [write]

    def resize(self, bottoms: Sequence[Blob]) -> Sequence[Shape]:
        scores, offsets, sizes = (x.data for x in bottoms)
        images, regions = len(scores), len(self.places) // len(scores)
        sizes = np.broadcast_to(sizes.reshape(len(sizes), -1), (images, sizes[0].size))
        wrong = ~(np.isfinite(sizes) & (sizes >= 0)).all(axis=1)
        if wrong.any():
            raise DataError(
                f"{self.where('bottom', 2)}: the sizes of image {np.argmax(wrong)} (height, width, factor) are "
                f"{', '.join(f'{size:g}' for size in sizes[np.argmax(wrong)])}, expected numbers from 0 up"
            )
        self._move(offsets.transpose(0, 2, 3, 1).reshape(-1, 4), np.repeat(sizes[:, 1::-1], regions, axis=0))
        scores = scores[:, len(self.anchors) :].transpose(0, 2, 3, 1).reshape(images, regions).copy()
        factors = sizes[:, [3, 2]] if sizes.shape[1] == 4 else sizes[:, [2, 2]]
        least = np.repeat(scores.dtype.type(self.min_size) * factors, regions, axis=0)
        large = (self.boxes[:, 2:] - self.boxes[:, :2] + 1 >= least).all(axis=1).reshape(images, regions)
        scores[~large] = -np.inf if self.drops_small else 0
        for n in range(images):
            best = kernels.ranked(scores[n], most=self.limits(regions)[0])
            self.suppression.fill(n, n * regions + best)
        self.suppression()
        box = np.concatenate([self.suppression.kept[n, : self.suppression.kept_counts[n]] for n in range(images)])
        self.rows = np.column_stack([box // regions, self.boxes[box]])
        self.best = scores.reshape(-1)[box]
        return self._tops(len(box))

    def _move(self, offsets: np.ndarray, limits: np.ndarray) -> None:
        """Set the boxes: the anchors moved by their offsets and cut to the width and height of their image."""
        half = offsets.dtype.type(0.5)
        size = self.places[:, 2:] - self.places[:, :2] + 1
        centre = offsets[:, :2] * size + (self.places[:, :2] + half * size)
        reach = half * (np.exp(np.minimum(offsets[:, 2:], FURTHEST)) * size)
        self.boxes[:, :2] = np.maximum(np.minimum(centre - reach, limits - 1), 0)
        self.boxes[:, 2:] = np.maximum(np.minimum(centre + reach, limits - 1), 0)


@provides("rpn.proposal_layer", "ProposalLayer")
class ProposalLayer(Proposal):
    """What the class ``ProposalLayer`` of the module ``rpn.proposal_layer`` of py-faster-rcnn computes in TEST.

    Like Proposal, for one image, but regions that are too small are left out and the scores are ``K × 1``.
    ``param_str``: ``feat_stride``, and ``scales`` ([8, 16, 32]) and ``ratios`` ([0.5, 1, 2]) for the anchors. The rest
    is that of its configuration: 6000 regions are looked at and 300 kept, two that overlap by more than 0.7 are one,
    the smallest have 16 pixels.
    """

    drops_small = True

    def setup(self) -> None:
        values: dict[str, list[float]] = {"scales": [8, 16, 32], "ratios": [0.5, 1, 2]}
        values |= self._read(self.param.python_param.param_str)
        if "feat_stride" not in values:
            self.error("param_str needs 'feat_stride'", "param_str")
        (self.stride,), self.min_size, self.threshold = values["feat_stride"], 16, 0.7
        self.looked, self.kept = 6000, 300
        self.anchors = anchors(16, values["ratios"], values["scales"], np.round)
        self._planned = (0, 0, 0)

    def _read(self, text: str) -> dict[str, list[float]]:
        """Return what ``param_str`` says: ``'key': value, …``, with or without braces, or one a line."""
        body, values, end = text.strip().removeprefix("{").removesuffix("}").strip(), {}, 0
        while end < len(body):
            match = _SETTING.match(body, end)
            if match is None:
                self.error(f"param_str {quoted(text)} is not a list of 'key': value", "param_str")
            _, key, value = match.groups()
            end = match.end()
            if key not in ("feat_stride", "scales", "ratios"):
                self.error(f"param_str sets {key!r}; it can set feat_stride, ratios, scales", "param_str")
            try:
                values[key] = [float(number) for number in value.strip("[]").split(",")]
            except ValueError:
                values[key] = [0.0]
            if value.startswith("[") != (key != "feat_stride") or not all(0 < v < np.inf for v in values[key]):
                expected = "a number" if key == "feat_stride" else "a list of numbers"
                self.error(f"param_str sets {key!r} to {value}, expected {expected} above 0", "param_str")
        return values

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        if bottoms[0] and bottoms[0][0] != 1:
            self.shape_error(f"takes one image at a time, not {bottoms[0][0]}", "bottom", 0)
        return super().shapes(*bottoms)

    def _tops(self, rows: int) -> Sequence[Shape]:
        return [(rows, 5), (rows, 1)][: len(self.param.top)]
