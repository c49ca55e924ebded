"""The published MTCNN face detector, all four nets, on a photograph.

FOLDER holds a checkout of kpzhang93/MTCNN_face_detection_alignment. Printed are a box and five landmarks a face. With
``--opencv`` the nets are run by OpenCV too, and the table tells how far its boxes are.

Source: Zhang et al., "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks", 2016. The
nets were trained in MATLAB, where the first axis of an image is its height, so they see images transposed.
"""

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from published import find

from caffelite.net import Net
from caffelite.words import TEST

REPOSITORY = "kpzhang93/MTCNN_face_detection_alignment"
MODELS = "code/codes/MTCNNv2/model/det{}.{}"
SMALLEST, FACTOR, THRESHOLDS = 20, 0.709, (0.6, 0.7, 0.7)
#: What a net makes of images (N × C × width × height): its outputs by name.
Run = Callable[[np.ndarray], dict[str, np.ndarray]]


def with_caffelite(prototxt: Path, weights: Path) -> Run:
    net = Net(prototxt, TEST, weights=weights)
    name = net.inputs[0]
    layer = next(layer for layer in net.layers if layer.type == "Input")

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        if net.blobs[name].shape != images.shape:
            layer.top_shapes = [images.shape]
            net.reshape()
        net.blobs[name].data[...] = images
        net.forward()
        return {output: net.blobs[output].data.copy() for output in net.outputs}

    return run


def with_opencv(prototxt: Path, weights: Path) -> Run:
    import cv2

    net = cv2.dnn.readNetFromCaffe(str(prototxt), str(weights))
    names = net.getUnconnectedOutLayersNames()

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        net.setInput(images)
        return dict(zip(names, net.forward(names), strict=True))

    return run


def detect(image: Image.Image, nets: Sequence[Run]) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes (left, top, right, bottom, score) and landmarks (faces × 5 × 2)."""
    boxes = _calibrate(*_propose(image, nets[0]), grow=0)
    for run, size, threshold in zip(nets[1:3], (24, 48), THRESHOLDS[1:], strict=True):
        if not len(boxes):
            break
        boxes = np.trunc(_squared(boxes))
        found = run(_patches(image, boxes, size))
        scores = found["prob1"][:, 1]
        passed = scores > threshold
        boxes = np.hstack([boxes[passed, :4], scores[passed, None]])
        moves = next(values for name, values in found.items() if name.endswith("-2"))[passed]
        if size == 24:
            kept = suppress(boxes, 0.7)
            boxes = _calibrate(boxes[kept], moves[kept], grow=1)
            continue
        extent = boxes[:, 2:4] - boxes[:, :2] + 1
        points = found["conv6-3"][passed].reshape(-1, 2, 5).transpose(0, 2, 1) * extent[:, None] + boxes[:, None, :2]
        boxes = _calibrate(boxes, moves, grow=1)
        kept = suppress(boxes, 0.7, by_smaller=True)
        boxes = boxes[kept]
        return boxes, _refined(image, boxes, points[kept], nets[3])
    return np.zeros((0, 5)), np.zeros((0, 5, 2))


def _propose(image: Image.Image, run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Return the boxes that the first net finds in the image at all sizes, and how they are to be moved."""
    found, scale = [np.zeros((0, 9))], 12 / SMALLEST
    while min(image.size) * scale >= 12:
        size = (math.ceil(image.width * scale), math.ceil(image.height * scale))
        outputs = run(_as_input([image.resize(size, Image.Resampling.BILINEAR)]))
        scores, moves = outputs["prob1"][0, 1], outputs["conv4-2"][0]
        at = np.argwhere(scores >= THRESHOLDS[0])
        corners = np.hstack([np.trunc((2 * at + 1) / scale), np.trunc((2 * at + 12) / scale)])
        boxes = np.hstack([corners, scores[at[:, 0], at[:, 1], None], moves[:, at[:, 0], at[:, 1]].T])
        found.append(boxes[suppress(boxes, 0.5)])
        scale *= FACTOR
    every = np.concatenate(found)
    every = every[suppress(every, 0.7)]
    return every[:, :5], every[:, 5:]


def _calibrate(boxes: np.ndarray, moves: np.ndarray, grow: int) -> np.ndarray:
    extent = boxes[:, 2:4] - boxes[:, :2] + grow
    return np.hstack([boxes[:, :4] + moves * np.tile(extent, 2), boxes[:, 4:]])


def _squared(boxes: np.ndarray) -> np.ndarray:
    extent = boxes[:, 2:4] - boxes[:, :2]
    side = extent.max(1, keepdims=True)
    corner = boxes[:, :2] + extent / 2 - side / 2
    return np.hstack([corner, corner + side, boxes[:, 4:]])


def suppress(boxes: np.ndarray, overlap: float, by_smaller: bool = False) -> list[int]:
    """Return which boxes stay when those that overlap a better one are left out."""
    area = (boxes[:, 2] - boxes[:, 0] + 1) * (boxes[:, 3] - boxes[:, 1] + 1)
    left = list(np.argsort(-boxes[:, 4], kind="stable"))
    kept: list[int] = []
    while left:
        best, rest = left[0], np.array(left[1:], int)
        kept.append(best)
        inner = np.minimum(boxes[rest, 2:4], boxes[best, 2:4]) - np.maximum(boxes[rest, :2], boxes[best, :2]) + 1
        common = np.maximum(inner, 0).prod(1)
        whole = np.minimum(area[rest], area[best]) if by_smaller else area[rest] + area[best] - common
        left = list(rest[common / whole <= overlap])
    return kept


def _patches(image: Image.Image, boxes: np.ndarray, size: int) -> np.ndarray:
    """Return the parts of the image in the boxes, black outside of it."""
    parts = [image.crop((int(x) - 1, int(y) - 1, int(right), int(bottom))) for x, y, right, bottom in boxes[:, :4]]
    return _as_input([part.resize((size, size), Image.Resampling.BILINEAR) for part in parts])


def _as_input(images: list[Image.Image]) -> np.ndarray:
    pixels = np.stack([np.asarray(image, np.float32) for image in images])
    return np.ascontiguousarray((pixels.transpose(0, 3, 2, 1) - 127.5) / 128)


def _refined(image: Image.Image, boxes: np.ndarray, points: np.ndarray, run: Run) -> np.ndarray:
    """Return the landmarks as the last net moves them, each in a patch of its own."""
    if not len(boxes):
        return points
    side = np.trunc((boxes[:, 2:4] - boxes[:, :2] + 1).max(1) / 4)
    side = (side + side % 2)[:, None]
    patches = []
    for k in range(5):
        corner = np.trunc(points[:, k] - side / 2)
        patches.append(_patches(image, np.hstack([corner, corner + side]), 24))
    found = run(np.concatenate(patches, 1))
    moves = np.stack([found[f"fc5_{k + 1}"].reshape(-1, 2) for k in range(5)], 1)
    # No landmark goes far.
    moves[(np.abs(moves - 0.5) > 0.35).any(2)] = 0.5
    return points + (moves - 0.5) * side[:, None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("image", type=Path, nargs="+")
    parser.add_argument("--opencv", action="store_true")
    options = parser.parse_args()
    files: list[list[Any]] = [
        [find(options.folder, REPOSITORY, MODELS.format(n, ending)) for ending in ("prototxt", "caffemodel")]
        for n in range(1, 5)
    ]
    if any(file is None for pair in files for file in pair):
        parser.error(f"{REPOSITORY} is not there")
    nets = [with_caffelite(*pair) for pair in files]
    others = [with_opencv(*pair) for pair in files] if options.opencv else []
    for path in options.image:
        image = Image.open(path).convert("RGB")
        boxes, points = detect(image, nets)
        print(f"{path.name}: {len(boxes)} faces")
        for box, marks in zip(boxes, points, strict=True):
            at = " ".join(f"({x:.0f}, {y:.0f})" for x, y in marks)
            print(f"  {box[4]:.4f}  {box[0]:.0f} {box[1]:.0f} {box[2]:.0f} {box[3]:.0f}  {at}")
        if others:
            theirs, marks = detect(image, others)
            far = max(np.abs(theirs - boxes).max(), np.abs(marks - points).max()) if len(theirs) == len(boxes) else None
            print("  OpenCV: another number of faces" if far is None else f"  OpenCV: at most {far:.1e} pixels away")


if __name__ == "__main__":
    main()
