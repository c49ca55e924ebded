"""Single shot detectors: PriorBox, DetectionOutput."""

from collections.abc import Sequence

import numpy as np

from caffelite.export.onnx.graph import ANY, OnnxGraph
from caffelite.export.onnx.operators import converts
from caffelite.export.onnx.operators.forks.detection.boxes import (
    LOWEST,
    best_of_image,
    detections,
    ranked,
    suppressed,
)
from caffelite.layers.forks.detection.detection_output import DetectionOutput
from caffelite.layers.forks.detection.prior_box import PriorBox
from caffelite.net.graph import Node
from caffelite.schema.messages import PriorBoxParameter
from caffelite.words import count


@converts("PriorBox")
def _prior_box(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """A constant."""
    assert isinstance(node.layer, PriorBox)
    return [g.constant(node.layer.priors(*(version.shape for version in node.bottoms)), name="priors")]


@converts("DetectionOutput", varies=2, detects=True)
def _detection_output(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """NonMaxSuppression of the best boxes of each class, then the best of each image; or OpenCV's node."""
    layer, shape = node.layer, g.shape(node.bottoms[0])
    assert isinstance(layer, DetectionOutput)
    p, classes = layer.settings, layer.classes
    if p.nms_param.eta < 1:
        layer.error("NonMaxSuppression of ONNX keeps its threshold, so eta must be 1", "eta")
    priors = count(node.bottoms[2].shape) // 8
    looked, kept = layer.limits(priors)
    if not looked or not kept:
        layer.error("with top_k or keep_top_k 0 there are no detections", "detection_output_param")
    boxes, scores = _boxes(g, layer, x, priors), g.reshape(x[1], [shape[0], priors, p.num_classes])
    if layer.is_refined([version.shape for version in node.bottoms]):
        scores = _without_background(g, layer, scores, x[3], priors)
    if g.detections == "opencv":
        return [_for_opencv(g, layer, boxes, scores, priors)]
    scores = g.add("Transpose", scores, perm=[0, 2, 1])
    boxes = g.add("Transpose", boxes, perm=[0, 2, 1, 3])
    if len(classes) < p.num_classes:
        scores = g.add("Gather", scores, g.integers(classes, "classes"), axis=1)
    if layer.located == 1:
        boxes = g.add("Expand", boxes, g.integers([1, len(classes), 1, 1], "spread"))
    elif len(classes) < p.num_classes:
        boxes = g.add("Gather", boxes, g.integers(classes, "classes"), axis=1)
    boxes, scores = ranked(g, boxes, scores, looked)
    above = p.confidence_threshold if p.HasField("confidence_threshold") else LOWEST
    overlapping = boxes if p.code_type == PriorBoxParameter.CENTER_SIZE else _upright(g, boxes)
    size = len(classes), looked
    lists = suppressed(g, boxes, scores, size, p.nms_param.nms_threshold, above, overlapping=overlapping)
    if kept < len(classes) * looked:
        lists = best_of_image(g, lists, kept)
    labels = g.add("Gather", g.constant(classes, name="labels"), lists.number(g))
    return [detections(g, lists, labels, x[0], shape[0])]


def _boxes(g: OnnxGraph, layer: DetectionOutput, x: list[str], priors: int) -> str:
    """Return the boxes, ``images × priors × locations × 4``."""
    corners, variances = g.split(g.reshape(x[2], [2, priors, 1, 4]), 0, [1, 1])
    if len(x) > 4:
        corners = _decoded(g, layer, g.reshape(x[4], [ANY, priors, 1, 4]), corners, variances)
    return _decoded(g, layer, g.reshape(x[0], [ANY, priors, layer.located, 4]), corners, variances)


def _decoded(g: OnnxGraph, layer: DetectionOutput, locations: str, priors: str, variances: str) -> str:
    """Return the boxes that locations make of priors, as :func:`caffelite.kernels.boxes.decode` does."""
    code = layer.settings.code_type
    if not layer.settings.variance_encoded_in_target:
        locations = g.add("Mul", locations, variances)
    if code == PriorBoxParameter.CORNER:
        return g.add("Add", locations, priors)
    low, high = g.split(priors, 3, [2, 2])
    size = g.add("Sub", high, low)
    if code == PriorBoxParameter.CORNER_SIZE:
        return g.add("Add", g.add("Mul", locations, g.add("Concat", size, size, axis=3)), priors)
    middle, extent = g.split(locations, 3, [2, 2])
    half = g.constant(0.5)
    middle = g.add("Add", g.add("Mul", middle, size), g.add("Mul", g.add("Add", low, high), half))
    reach = g.add("Mul", g.add("Mul", g.add("Exp", extent), size), half)
    return g.add("Concat", g.add("Sub", middle, reach), g.add("Add", middle, reach), axis=3)


def _without_background(g: OnnxGraph, layer: DetectionOutput, scores: str, first: str, priors: int) -> str:
    """Return the scores; where those of the first stage say that there is no object, those of the background."""
    p = layer.settings
    objectness = g.slice(g.reshape(first, [ANY, priors, 2]), [2], [1], [2])
    nothing = g.add("Less", objectness, g.constant(p.objectness_score))
    background = g.constant([c == 0 for c in range(p.num_classes)], name="background")
    return g.add("Where", nothing, background, scores)


def _upright(g: OnnxGraph, boxes: str) -> str:
    """Return boxes without those whose corners have changed places, which overlap nothing: they have no size."""
    low, high = g.split(boxes, 3, [2, 2])
    return g.add("Concat", low, g.add("Max", low, high), axis=3)


def _for_opencv(g: OnnxGraph, layer: DetectionOutput, boxes: str, scores: str, priors: int) -> str:
    """Return the detections by OpenCV's DetectionOutput.

    The boxes are given as the offsets of priors without size: the new engine of OpenCV 5.0 takes any code_type for
    CORNER.
    """
    p = layer.settings
    if not p.nms_param.nms_threshold > 0:
        layer.error("OpenCV's DetectionOutput takes an nms_threshold above 0", "nms_threshold")
    looked, kept = layer.limits(priors)
    return g.add(
        "DetectionOutput",
        g.reshape(boxes, [ANY, priors * layer.located * 4]),
        g.reshape(scores, [ANY, priors * p.num_classes]),
        g.constant(np.zeros((1, 1, 4 * priors)), name="priors"),
        code_type="CORNER",
        variance_encoded_in_target=1,
        num_classes=p.num_classes,
        share_location=int(p.share_location),
        background_label_id=p.background_label_id,
        confidence_threshold=p.confidence_threshold if p.HasField("confidence_threshold") else LOWEST,
        nms_threshold=p.nms_param.nms_threshold,
        top_k=looked,
        keep_top_k=kept,
        group_by_classes=1,
    )
