"""What a net predicts for the images of a test: which classes it takes for which, and its worst images."""

import heapq
from dataclasses import dataclass
from typing import Any

import numpy as np

from caffelite.errors import NetError
from caffelite.layers.accuracy import Accuracy
from caffelite.layers.shared.loss import SoftmaxLoss
from caffelite.net import Net
from caffelite.net.graph import Node, Version
from caffelite.words import quoted, text_of

#: What a probability counts as at least.
_LEAST = 1e-38


@dataclass(frozen=True, slots=True)
class Example:
    """An image and what was predicted for it.

    Attributes
    ----------
    loss : float
        ``-log p[label]``; of several places in an image their mean; infinite where scores are not a number.
    number : int
        Its place in the test set, from 0.
    label, prediction : int
        Of several places in an image those of the worst one.
    pixels : ndarray or None
        What the net read, channels x height x width.
    """

    loss: float
    number: int
    label: int
    prediction: int
    pixels: np.ndarray | None


class Predictions:
    """Counts what a net predicts, batch after batch.

    Parameters
    ----------
    net : Net
        It is planned again, so that scores and labels can be read after a pass.
    worst : int, optional
        So many images are kept, those of the largest losses.

    Attributes
    ----------
    matrix : ndarray of int64
        Classes x classes: how many with this label (row) were taken for that class (column).
    images : int
        How many have been counted.

    Raises
    ------
    NetError
        It has no layer that compares scores with labels; or images are to be kept and it reads none.
    """

    def __init__(self, net: Net, worst: int = 0) -> None:
        node = _comparing(net)
        self._scores, self._labels = node.bottoms[:2]
        self._layer: Any = node.layer
        self._normalised = self._scores.producer.layer.type == "Softmax"
        outer, self.classes, inner = self._sizes()
        if outer < 1 or self.classes < 1 or inner < 1:
            raise NetError(f"{_place(node)}: scores of {text_of(self._scores.shape)} predict nothing")
        self._source = _images_of(net, outer, node) if worst else None
        versions = [self._scores, self._labels, *([self._source] if self._source else [])]
        net.ask(versions)
        self._net, self._most = net, worst
        self.matrix = np.zeros((self.classes, self.classes), np.int64)
        self.images = 0
        self._heap: list[tuple[float, int, Example]] = []

    def _sizes(self) -> tuple[int, int, int]:
        shape = self._scores.shape
        if isinstance(self._layer, SoftmaxLoss):
            return self._layer.sizes(shape)
        sizes: tuple[int, int, int] = self._layer.around(self._layer.param.accuracy_param.axis, shape)
        return sizes

    def add(self, most: int | None = None) -> None:
        """Count the batch of the last pass.

        Parameters
        ----------
        most : int, optional
            No more images than so many, the first ones: the rest of a last batch was seen before.
        """
        blob = self._net.plan.blob
        outer, classes, inner = self._sizes()
        images = outer if most is None else min(most, outer)
        raw = blob(self._scores).data.reshape(outer, classes, inner)[:images]
        scores = np.moveaxis(raw, 1, 2).reshape(-1, classes).astype(np.float64)
        labels = blob(self._labels).data.reshape(outer, inner)[:images].reshape(-1).astype(np.int64)
        counted = (labels >= 0) & (labels < classes) & ~np.isin(labels, self._ignored())
        own = np.where(counted, labels, 0)
        guesses, losses = _judged(scores, own, self._normalised)
        np.add.at(self.matrix, (own[counted], guesses[counted]), 1)
        if self._most:
            self._keep(*(values.reshape(images, inner) for values in (own, guesses, losses, counted)))
        self.images += images

    def _ignored(self) -> list[int]:
        param = self._layer.param
        settings = param.loss_param if isinstance(self._layer, SoftmaxLoss) else param.accuracy_param
        return [settings.ignore_label] if settings.HasField("ignore_label") else []

    def _keep(self, labels: np.ndarray, guesses: np.ndarray, losses: np.ndarray, counted: np.ndarray) -> None:
        """Keep those images of a batch that are among the worst."""
        images = None if self._source is None else self._net.plan.blob(self._source).data
        for i in np.flatnonzero(counted.any(axis=1)):
            loss = float(losses[i][counted[i]].mean())
            number = self.images + int(i)
            if len(self._heap) >= self._most and (loss, -number) <= self._heap[0][:2]:
                continue
            place = int(np.argmax(np.where(counted[i], losses[i], -np.inf)))
            pixels = None if images is None else images[i].copy()
            example = Example(loss, number, int(labels[i, place]), int(guesses[i, place]), pixels)
            push = heapq.heappush if len(self._heap) < self._most else heapq.heapreplace
            push(self._heap, (loss, -number, example))

    def worst(self) -> list[Example]:
        """Return the images of the largest losses, the worst first."""
        return [example for _, _, example in sorted(self._heap, key=lambda entry: entry[:2], reverse=True)]

    def by_class(self) -> list[tuple[int, int, int]]:
        """Return for each class: how many images (or places) have its label, how many of them are right, how many are
        taken for it.
        """
        totals, guesses = self.matrix.sum(axis=1), self.matrix.sum(axis=0)
        return [(int(a), int(b), int(c)) for a, b, c in zip(totals, self.matrix.diagonal(), guesses, strict=True)]


def _judged(scores: np.ndarray, labels: np.ndarray, normalised: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the predictions and the losses of rows of scores.

    As the layer Accuracy has it, a score equal to the label's counts as higher, and so does one that is not a number.
    """
    rows = np.arange(len(labels))
    own = scores[rows, labels]
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        right = (scores < own[:, None]).sum(axis=1) == scores.shape[1] - 1
        others = np.where(np.isnan(scores), np.finfo(np.float64).min, scores)
        others[rows, labels] = -np.inf
        guesses = np.where(right, labels, others.argmax(axis=1))
        if normalised:
            losses = -np.log(np.maximum(own, _LEAST))
        else:
            top = scores.max(axis=1)
            losses = top + np.log(np.exp(scores - top[:, None]).sum(axis=1)) - own
    return guesses, np.where(np.isnan(losses), np.inf, losses)


def _comparing(net: Net) -> Node:
    """Return the layer that compares scores with labels: the last Accuracy, else the last loss of a softmax.

    A net with classifiers on the way has the one that counts last.
    """
    nodes = [node for node in net.graph.nodes if len(node.bottoms) > 1]
    for kind in (Accuracy, SoftmaxLoss):
        of_kind = [node for node in nodes if isinstance(node.layer, kind)]
        if of_kind:
            return of_kind[-1]
    raise NetError(
        f"{net.document.filename}: no layer compares scores of classes with labels (Accuracy, SoftmaxWithLoss), so "
        "there are no predictions to count"
    )


def _images_of(net: Net, images: int, node: Node) -> Version:
    """Return the images that a net reads from its data."""
    tops = [top for source in net.graph.nodes if not source.bottoms for top in source.tops]
    for top in tops:
        if len(top.shape) == 4 and top.shape[0] == images and top.shape[1] in (1, 3):
            return top
    shapes = ", ".join(f"{quoted(top.name)} {text_of(top.shape)}" for top in tops) or "nothing"
    raise NetError(
        f"{net.document.filename}: it reads no images of 1 or 3 channels, one for each prediction of {_place(node)}, "
        f"to show: its data is {shapes}"
    )


def _place(node: Node) -> str:
    return f"layer {quoted(node.name)} ({node.layer.type})"
