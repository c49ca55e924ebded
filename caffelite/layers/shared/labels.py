"""Labels: as numbers of classes, for layers that measure; how many there are, for layers that bring them."""

from collections.abc import Mapping, Sequence

import numpy as np

from caffelite.errors import DataError
from caffelite.layers.contract.layer import Layer
from caffelite.words import Shape


def class_numbers(
    layer: Layer, labels: np.ndarray, classes: int, ignored: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return labels (the layer's second bottom) as whole numbers, and which of them count.

    Raises
    ------
    DataError
        A label that counts is no class.
    """
    with np.errstate(invalid="ignore"):  # NaN becomes a number that is no class
        numbers = labels.astype(np.int64)
    counted = ~np.isin(numbers, ignored)
    outside = counted & ((numbers < 0) | (numbers >= classes))
    if outside.any():
        raise DataError(
            f"{layer.where('bottom', 1)}: label {labels[outside][0]:g} is not one of the {classes} classes "
            f"(0 to {classes - 1})"
        )
    return numbers, counted


def images_and_labels(given: Mapping[int, Shape], tops: int) -> list[Shape | None]:
    """Return what ``Layer.shapes_beside`` does where there is a label (the second top) for each image (the first)."""
    labels = given[0][:1] if 0 in given else None
    return [given.get(j, labels if j else None) for j in range(tops)]
