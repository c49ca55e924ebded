"""Accuracy of scores that are not numbers; its other values are golden."""

from typing import Any

import numpy as np
import pytest
from runner import layer_net, outputs

from caffelite.words import TEST

LABELS = [0, 1, 2, 2]
#: Right, wrong, right, wrong: each the highest score of its label, but for one.
SCORES = np.array([[9, 1, 2], [9, 1, 2], [0, 1, 2], [5, 1, 2]], float)


def accuracy(scores: np.ndarray, settings: str = "", labels: Any = LABELS) -> tuple[float, list[float]]:
    share, of_class = outputs(
        layer_net("Accuracy", f"accuracy_param {{ {settings} }}", scores, labels, tops=2, phase=TEST, force=False)
    )
    return float(share), of_class.tolist()


@pytest.mark.parametrize("settings", ["", "top_k: 2", "top_k: 3", "ignore_label: 1"])
def test_scores_that_are_not_numbers_are_wrong(settings: str) -> None:
    assert accuracy(np.full((4, 3), np.nan), settings) == (0, [0, 0, 0])


def test_one_score_that_is_not_a_number() -> None:
    assert accuracy(SCORES) == (0.5, [1, 0, 0.5])
    own, other = SCORES.copy(), SCORES.copy()
    own[2, 2] = other[2, 0] = np.nan
    # Wrong where it is the label's, and else as high as can be.
    assert accuracy(own) == accuracy(other) == (0.25, [1, 0, 0])
    assert accuracy(other, "top_k: 2") == (0.75, [1, 0, 1])
    assert accuracy(own, "top_k: 3") == (0.75, [1, 1, 0.5])
    assert accuracy(own, "ignore_label: 2") == (0.5, [1, 0, 0])


def test_infinite_scores_are_compared() -> None:
    scores = np.array([[np.inf, 1, 2], [-np.inf, 1, 0], [np.inf, 0, np.inf], [0, 0, np.inf]])
    assert accuracy(scores) == (0.75, [1, 1, 0.5])
