"""The built-in set: always the same, all classes, and of little use to a linear classifier."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from caffelite.datasets.originals import Chunk
from caffelite.datasets.synthetic import digits, shapes

Maker = Callable[[int, int], Iterator[Chunk]]
MAKERS = pytest.mark.parametrize(("make", "shape"), [(shapes, (3, 32, 32)), (digits, (1, 28, 28))])


def whole(chunks: Iterator[Chunk]) -> Chunk:
    images, labels = zip(*chunks, strict=True)
    return np.concatenate(images), np.concatenate(labels)


@MAKERS
def test_an_image_depends_on_its_number_alone(make: Maker, shape: tuple[int, ...]) -> None:
    images, labels = whole(make(0, 1100))
    assert images.shape == (1100, *shape)
    assert images.dtype == labels.dtype == np.uint8
    again, numbers = whole(make(1020, 80))
    np.testing.assert_array_equal(again, images[1020:])
    np.testing.assert_array_equal(numbers, labels[1020:])
    assert len({image.tobytes() for image in images}) == 1100


@MAKERS
def test_all_classes_and_the_range_of_grey_are_used(make: Maker, shape: tuple[int, ...]) -> None:
    images, labels = whole(make(0, 2000))
    assert np.bincount(labels, minlength=10).min() > 140
    assert labels.max() == 9
    assert images.min() == 0
    assert images.max() == 255
    assert 100 < images.mean() < 155


def softmax_regression(x: np.ndarray, y: np.ndarray, steps: int = 150) -> np.ndarray:
    """Return the weights, (values + 1, 10), that gradient descent with momentum finds."""
    weights = np.zeros((x.shape[1], 10), np.float32)
    speed = np.zeros_like(weights)
    target = np.eye(10, dtype=np.float32)[y]
    for _ in range(steps):
        scores = np.exp(x @ weights)
        gradient = x.T @ (scores / scores.sum(axis=1, keepdims=True) - target) / len(x)
        speed = 0.9 * speed - 0.05 * gradient
        weights += speed
    return weights


@MAKERS
def test_a_linear_classifier_stays_below_three_quarters(make: Maker, shape: tuple[int, ...]) -> None:
    images, labels = whole(make(0, 5000))
    x = images.reshape(5000, -1) / np.float32(128) - 1
    x = np.concatenate([x - x.mean(axis=0), np.ones((5000, 1), np.float32)], axis=1) / np.float32(4)
    weights = softmax_regression(x[:4000], labels[:4000])
    right = (x @ weights).argmax(axis=1) == labels
    assert right[:4000].mean() > 0.2  # it has learned something, and by heart
    assert right[4000:].mean() < 0.75
