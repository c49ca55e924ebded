"""Boxes that are left out: those that OpenCV leaves out."""

import numpy as np
import pytest
from opencv_cases import THRESHOLDS, boxes

from caffelite import dnn
from caffelite.errors import DataError


@pytest.mark.parametrize("number", range(len(THRESHOLDS)))
def test_the_boxes_that_opencv_keeps(number, opencv):
    corners, scores, classes = boxes(60)
    score, share, eta, top = THRESHOLDS[number]
    np.testing.assert_array_equal(dnn.NMSBoxes(corners, scores, score, share, eta, top), opencv[f"nms {number}"])
    batched = dnn.NMSBoxesBatched(np.array(corners), np.array(scores), np.array(classes), score, share, eta, top)
    np.testing.assert_array_equal(batched, opencv[f"nms batched {number}"])
    for method in (dnn.SOFT_NMSMETHOD_SOFTNMS_LINEAR, dnn.SOFT_NMSMETHOD_SOFTNMS_GAUSSIAN):
        updated, indices = dnn.softNMSBoxes(corners, scores, score, share, top, 0.5, method)
        np.testing.assert_array_equal(indices, opencv[f"soft {method} {number}"])
        np.testing.assert_allclose(updated, opencv[f"soft {method} {number} scores"], rtol=1e-5)


def test_no_boxes_are_an_empty_tuple():
    # OpenCV's Python has it so, and scripts write len(indices) > 0.
    assert dnn.NMSBoxes([], [], 0.5, 0.5) == ()
    assert dnn.NMSBoxes([[0, 0, 2, 2]], [0.1], 0.5, 0.5) == ()
    assert dnn.NMSBoxesBatched([], [], [], 0.5, 0.5) == ()
    assert dnn.softNMSBoxes([], [], 0.5, 0.5) == ((), ())


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: dnn.NMSBoxes([[0, 0, 1, 1]], [1, 2], 0, 0), "there are 2 scores for 1 boxes"),
        (lambda: dnn.NMSBoxes([[0, 0, 1]], [1], 0, 0), r"n×4 numbers \(x, y, width, height\), not 1×3"),
        (lambda: dnn.NMSBoxes([[0, 0, 1, 1]], [1], -1, 0), "score_threshold is -1, expected 0 or more"),
        (lambda: dnn.NMSBoxes([[0, 0, 1, 1]], [1], 0, -1), "nms_threshold is -1"),
        (lambda: dnn.NMSBoxes([[0, 0, 1, 1]], [1], 0, 0, 0), "eta is 0, expected more than 0"),
        (lambda: dnn.NMSBoxesBatched([[0, 0, 1, 1]], [1], [], 0, 0), "there are 0 class_ids for 1 boxes"),
        (lambda: dnn.softNMSBoxes([[0, 0, 1.5, 1]], [1], 0, 0), "boxes of whole numbers"),
        (lambda: dnn.softNMSBoxes([[0, 0, 1, 1]], [1], 0, 0, method=3), "method 3 is not one of"),
    ],
)
def test_what_does_not_fit_is_an_error(call, said):
    with pytest.raises(DataError, match=said):
        call()
