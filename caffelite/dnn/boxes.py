"""Boxes that overlap better ones, left out: ``NMSBoxes`` and its kin, with the boxes that OpenCV keeps."""

from typing import Any

import numpy as np

from caffelite.dnn.constants import SOFT_NMSMETHOD_SOFTNMS_GAUSSIAN, SOFT_NMSMETHOD_SOFTNMS_LINEAR
from caffelite.errors import DataError
from caffelite.words import text_of

#: What OpenCV's Python face returns in place of an array without elements.
_NONE: tuple[()] = ()


def NMSBoxes(
    bboxes: Any, scores: Any, score_threshold: float, nms_threshold: float, eta: float = 1.0, top_k: int = 0
) -> Any:
    """Return which boxes are left where each leaves out those of smaller scores that overlap it.

    Parameters
    ----------
    bboxes : sequence of (x, y, width, height)
    scores : sequence of float
    score_threshold : float
        Only boxes with scores above it count.
    nms_threshold : float
        The largest share, intersection over union, that a box may have in common with one that is kept.
    eta : float, optional
        What the threshold is multiplied by after each box that is kept, while it is above 0.5.
    top_k : int, optional
        How many boxes, those of the largest scores, are looked at; 0 for all.

    Returns
    -------
    ndarray of int32
        Their numbers, the largest score first; ``()`` where there are none.

    Raises
    ------
    DataError
    """
    boxes, values = _checked(bboxes, scores, score_threshold, nms_threshold)
    return _kept(boxes, values, score_threshold, nms_threshold, eta, top_k)


def NMSBoxesBatched(
    bboxes: Any,
    scores: Any,
    class_ids: Any,
    score_threshold: float,
    nms_threshold: float,
    eta: float = 1.0,
    top_k: int = 0,
) -> Any:
    """Return which boxes are left where only those of one class leave each other out.

    Parameters
    ----------
    class_ids : sequence of int
    bboxes, scores, score_threshold, nms_threshold, eta, top_k
        As in :func:`NMSBoxes`, which has the returns and raises too.
    """
    boxes, values = _checked(bboxes, scores, score_threshold, nms_threshold)
    classes = np.asarray(class_ids, np.int64)
    if len(classes) != len(boxes):
        raise DataError(f"there are {len(classes)} class_ids for {len(boxes)} boxes")
    if len(boxes):
        # Classes are moved so far apart that their boxes have nothing in common.
        apart = max(0.0, boxes[:, :2].max(), (boxes[:, :2] + boxes[:, 2:]).max()) + 1
        boxes[:, :2] += (classes * apart)[:, None]
    return _kept(boxes, values, score_threshold, nms_threshold, eta, top_k)


def softNMSBoxes(
    bboxes: Any,
    scores: Any,
    score_threshold: float,
    nms_threshold: float,
    top_k: int = 0,
    sigma: float = 0.5,
    method: int = SOFT_NMSMETHOD_SOFTNMS_GAUSSIAN,
) -> tuple[Any, Any]:
    """Return boxes whose scores are lowered by what they have in common with better ones (Bodla and others, 2017).

    Parameters
    ----------
    bboxes : sequence of (x, y, width, height), whole numbers
    scores : sequence of float
    score_threshold : float
        Where the largest score left is below it, the search ends.
    nms_threshold : float
        ``SOFTNMS_LINEAR``: a smaller share in common lowers nothing.
    top_k : int, optional
        The most boxes to return; 0 for all.
    sigma : float, optional
        ``SOFTNMS_GAUSSIAN``: a score is multiplied by exp(-share²/sigma).
    method : int, optional

    Returns
    -------
    updated_scores : ndarray of float32
    indices : ndarray of int32
        Both ``()`` where there are none.

    Raises
    ------
    DataError
    """
    boxes, left = _checked(bboxes, scores, score_threshold, nms_threshold)
    if np.any(boxes != np.rint(boxes)):
        raise DataError("softNMSBoxes takes boxes of whole numbers")
    if method not in (SOFT_NMSMETHOD_SOFTNMS_LINEAR, SOFT_NMSMETHOD_SOFTNMS_GAUSSIAN):
        raise DataError(f"method {method} is not one of SOFTNMS_LINEAR (1) and SOFTNMS_GAUSSIAN (2)")
    scores_kept: list[float] = []
    indices: list[int] = []
    waiting = np.ones(len(boxes), bool)
    while len(indices) < (min(top_k, len(boxes)) if top_k else len(boxes)):
        best = int(np.where(waiting, left, -np.inf).argmax())
        if left[best] < np.float32(score_threshold):
            break
        indices.append(best)
        scores_kept.append(left[best])
        waiting[best] = False
        share = _overlap(boxes[best], boxes)
        if method == SOFT_NMSMETHOD_SOFTNMS_LINEAR:
            factor = np.where(share > np.float32(nms_threshold), np.float32(1) - share, np.float32(1))
        else:
            factor = np.exp(-(share * share) / np.float32(sigma))
        left = np.where(waiting, left * factor, left)
    return (np.array(scores_kept, np.float32), np.array(indices, np.int32)) if indices else (_NONE, _NONE)


def _checked(bboxes: Any, scores: Any, score_threshold: float, nms_threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes, [n][4] of float64, that may be written to, and scores of float32."""
    boxes = np.array(bboxes, np.float64) if len(bboxes) else np.empty((0, 4))
    values = np.asarray(scores, np.float32).reshape(-1)
    if boxes.shape[1:] != (4,):
        raise DataError(f"boxes are n×4 numbers (x, y, width, height), not {text_of(boxes.shape)}")
    if len(boxes) != len(values):
        raise DataError(f"there are {len(values)} scores for {len(boxes)} boxes")
    for name, value in (("score_threshold", score_threshold), ("nms_threshold", nms_threshold)):
        if value < 0:
            raise DataError(f"{name} is {value}, expected 0 or more")
    return boxes, values


def _kept(
    boxes: np.ndarray, scores: np.ndarray, score_threshold: float, nms_threshold: float, eta: float, top_k: int
) -> Any:
    if eta <= 0:
        raise DataError(f"eta is {eta}, expected more than 0")
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] > np.float32(score_threshold)]
    if top_k > 0:
        order = order[:top_k]
    boxes = boxes[order]
    threshold = np.float32(nms_threshold)
    shared = np.zeros(len(order), np.float32)  # the most that each has in common with one that is kept
    indices = []
    for i, index in enumerate(order):
        if not shared[i] <= threshold:
            continue
        indices.append(index)
        if eta < 1 and threshold > 0.5:
            threshold *= np.float32(eta)
        shared[i + 1 :] = np.maximum(shared[i + 1 :], _overlap(boxes[i], boxes[i + 1 :]))
    return np.array(indices, np.int32) if indices else _NONE


def _overlap(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return intersection over union of a box with others, in float32; 1 where neither has an area."""
    low, size = box[:2], box[2:]
    at, sizes = others[:, :2], others[:, 2:]
    # From where the one that begins first ends, as OpenCV has it: the rounding decides at a threshold.
    first = low < at
    extent = np.minimum(np.where(first, size, sizes) - np.abs(at - low), np.where(first, sizes, size))
    empty = (extent <= 0).any(axis=1) | (sizes <= 0).any(axis=1) | (size <= 0).any()
    common = np.where(empty, 0.0, extent.prod(axis=1))
    areas = size.prod() + sizes.prod(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.where(areas <= np.finfo(np.float64).eps, 0.0, 1.0 - common / (areas - common))
    return np.float32(1) - distance.astype(np.float32)


__all__ = ["NMSBoxes", "NMSBoxesBatched", "softNMSBoxes"]
