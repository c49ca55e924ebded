"""YOLO: its detections, and Reorg."""

from collections.abc import Sequence

import numpy as np
from onnx import TensorProto

from caffelite.export.onnx.graph import ANY, OnnxGraph
from caffelite.export.onnx.operators import converts
from caffelite.export.onnx.operators.forks.detection.boxes import detections, suppressed
from caffelite.layers.forks.detection.reorg import Reorg
from caffelite.layers.forks.detection.yolo_detection_output import YoloDetectionOutput, Yolov3DetectionOutput
from caffelite.net.graph import Node

_Yolo = YoloDetectionOutput | Yolov3DetectionOutput
_F = np.float32


@converts("Reorg")
def _reorg(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """DepthToSpace with ``reverse``; else its inverse on the memory seen as a map of fewer channels."""
    layer = node.layer
    assert isinstance(layer, Reorg)
    images, channels, height, width = g.shape(node.bottoms[0])
    s = layer.stride
    if s == 1:
        return x
    if layer.settings.reverse:
        return [g.add("DepthToSpace", x[0], blocksize=s, mode="DCR")]
    wide = g.reshape(x[0], [images, channels // (s * s), height * s, width * s])
    return [g.reshape(g.add("SpaceToDepth", wide, blocksize=s), g.shape(node.tops[0]))]


@converts("YoloDetectionOutput", varies=2, detects=True)
def _yolo(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """NonMaxSuppression of all boxes, each with its best class."""
    layer, shapes = node.layer, [g.shape(version) for version in node.bottoms]
    assert isinstance(layer, YoloDetectionOutput)
    _refuse_opencv(g, layer)
    length = 0
    parts: list[list[str]] = [[], [], []]
    for j, (name, shape) in enumerate(zip(x, shapes, strict=True)):
        boxes, objectness, classes, number = _map(g, layer, name, shape, j)
        best = g.reduce("ReduceMax", g.softmax(classes, 2, 3), [2])
        for part, made in zip(parts, (boxes, g.add("Mul", objectness, best), classes), strict=True):
            part.append(made)
        length += number
    boxes, scores, classes = (_joined(g, part) for part in parts)
    # Scores from the threshold up count.
    above = float(_below(layer.settings.confidence_threshold))
    lists = suppressed(g, boxes, scores, (1, length), _threshold(layer), above)
    labels = g.add("Gather", g.reshape(g.add("ArgMax", classes, axis=2), [ANY]), lists.chosen)
    return [detections(g, lists, _from_one(g, labels), x[0], shapes[0][0])]


@converts("Yolov3DetectionOutput", varies=2, detects=True)
def _yolo_v3(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """NonMaxSuppression of all boxes, as often as there are classes."""
    layer, shapes = node.layer, [g.shape(version) for version in node.bottoms]
    assert isinstance(layer, Yolov3DetectionOutput)
    _refuse_opencv(g, layer)
    each, length = layer.settings.num_classes, 0
    parts: list[list[str]] = [[], []]
    for j, (name, shape) in enumerate(zip(x, shapes, strict=True)):
        boxes, objectness, classes, number = _map(g, layer, name, shape, j)
        scores = g.add("Mul", g.add("Sigmoid", classes), objectness)
        boxes = g.add("Expand", g.unsqueeze(boxes, [2]), g.integers([1, 1, each, 1], "spread"))
        parts[0].append(g.reshape(boxes, [shape[0], number * each, 4]))
        parts[1].append(g.reshape(scores, [shape[0], number * each]))
        length += number * each
    boxes, scores = (_joined(g, part) for part in parts)
    above = layer.settings.confidence_threshold
    lists = suppressed(g, boxes, scores, (1, length), _threshold(layer), above)
    labels = g.add("Mod", lists.chosen, g.integers(each))
    return [detections(g, lists, _from_one(g, labels), x[0], shapes[0][0])]


def _joined(g: OnnxGraph, parts: list[str]) -> str:
    """Return what was made of all maps."""
    return parts[0] if len(parts) == 1 else g.add("Concat", *parts, axis=1)


def _refuse_opencv(g: OnnxGraph, layer: _Yolo) -> None:
    if g.detections == "opencv":
        layer.error("OpenCV's importer of ONNX has no detections of YOLO: take nms or raw", "type")


def _below(x: float) -> np.float32:
    return np.nextafter(_F(x), _F(-np.inf))


def _threshold(layer: _Yolo) -> float:
    """Return what overlap is too much: from the threshold itself up."""
    return float(_below(layer.settings.nms_threshold))


def _from_one(g: OnnxGraph, labels: str) -> str:
    return g.add("Add", g.add("Cast", labels, to=TensorProto.FLOAT), g.constant(1))


def _map(g: OnnxGraph, layer: _Yolo, x: str, shape: Sequence[int], bottom: int) -> tuple[str, str, str, int]:
    """Return boxes, objectness and classes of a map, ``images × boxes × 4, 1 and classes``, and how many boxes."""
    images, channels, height, width = shape
    anchors = layer.anchors[bottom]
    number, each = height * width * len(anchors), channels // len(anchors)
    maps = g.reshape(x, [images, len(anchors), each, height, width])
    rows = g.reshape(g.add("Transpose", maps, perm=[0, 3, 4, 1, 2]), [images, number, each])
    middle, extent, objectness, classes = g.split(rows, 2, [2, 2, 1, each - 5])
    size = np.array([width, height], _F)
    places = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).reshape(-1, 2)
    middle = g.add("Add", g.add("Sigmoid", middle), g.constant(np.repeat(places, len(anchors), axis=0), name="places"))
    middle = g.add("Div", middle, g.constant(size, name="size"))
    half = np.tile(anchors.astype(_F) / (size * _F(layer.scales[bottom])) / 2, (height * width, 1))
    extent = g.add("Mul", g.add("Exp", extent), g.constant(half, name="anchors"))
    boxes = g.add("Concat", g.add("Sub", middle, extent), g.add("Add", middle, extent), axis=2)
    return boxes, g.add("Sigmoid", objectness), classes, number
