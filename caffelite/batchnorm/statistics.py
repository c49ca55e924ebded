"""The statistics of the normalizing layers of a net, measured over data."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from caffelite.layers.shared.normalizing import Normalizing, Statistics
from caffelite.net import Net
from caffelite.net.graph import Graph, Node
from caffelite.words import count

#: What the statistics of batches are put together to.
AVERAGES = ("exact", "simple", "exponential")


def normalizing(graph: Graph) -> list[tuple[Node, Normalizing]]:
    """Return the layers of a graph that normalize with mean and variance (BatchNorm, forks' BN), and their nodes."""
    return [(node, node.layer) for node in graph.nodes if isinstance(node.layer, Normalizing)]


def brings_data(graph: Graph) -> bool:
    """Whether the layers of a graph that have no bottoms get their data by themselves."""
    sources = [node.layer.facts for node in graph.nodes if node.layer.facts.source]
    return bool(sources) and not any(facts.filled_by_caller for facts in sources)


def measured_statistics(
    net: Net, layers: Sequence[tuple[Node, Normalizing]], batches: Iterable[int], average: str
) -> dict[str, Statistics]:
    """Return the statistics of the data that goes through a net, by layer.

    The weights stay as they are and every layer normalizes by the statistics of the batch, as in training, so what a
    layer sees is what it saw while it learned (Ioffe and Szegedy, "Batch Normalization", 2015, algorithm 2).

    Parameters
    ----------
    net : Net
        In the TRAIN phase, made with ``global_stats=False``. The stored statistics of ``layers`` are lost.
    layers : sequence of (Node, Normalizing)
        Those of :func:`normalizing` to measure; all but ``"exponential"`` is for those that store the unbiased variance
        of a batch (BatchNorm).
    batches : iterable of int
        One pass for each; the numbers mean nothing.
    average : str
        ``"exact"``: mean and variance of all values seen, from mean and variance of each batch and the variance between
        the means. ``"simple"``: the mean of the batches' means and of their unbiased variances, as in the paper's
        algorithm 2. ``"exponential"``: the layer's own sums from zero on, in Caffe with ``moving_average_fraction``.

    Returns
    -------
    dict of str to Statistics
        Without the layers that sum nothing up; empty where there are no batches.

    Raises
    ------
    DataError
        The data cannot be read.
    """
    _clear(layers)
    if average == "exponential":
        passes = 0
        for _ in batches:
            net.forward()
            passes += 1
        own = {node.name: layer.averaged(passes) for node, layer in layers}
        return {name: statistics for name, statistics in own.items() if statistics is not None}
    means: dict[str, _Mean] = {}
    for _ in batches:
        _take_batch(net, layers, means)
    return {name: mean.exact() if average == "exact" else mean.simple() for name, mean in means.items()}


def growing_statistics(
    net: Net, layers: Sequence[tuple[Node, Normalizing]], counts: Iterable[int]
) -> Iterator[dict[str, Statistics]]:
    """Yield the exact statistics of more and more data, by layer: :func:`measured_statistics` after so many batches.

    Parameters
    ----------
    net, layers
        As there.
    counts : iterable of int
        Numbers of batches, rising, from 1.
    """
    means: dict[str, _Mean] = {}
    _clear(layers)
    done = 0
    for total in counts:
        for _ in range(total - done):
            _take_batch(net, layers, means)
        done = total
        yield {name: mean.exact() for name, mean in means.items()}


def _take_batch(net: Net, layers: Sequence[tuple[Node, Normalizing]], means: dict[str, "_Mean"]) -> None:
    """Run a batch and add its statistics, which the layers hold alone, to those of the batches before."""
    net.forward()
    for node, layer in layers:
        batch = layer.averaged(1)
        if batch is not None:
            means.setdefault(node.name, _Mean(count(node.bottoms[0].shape) // batch.mean.size)).add(batch)
    _clear(layers)


class _Mean:
    """Sums over batches of means, unbiased variances and squared means; a batch has ``values`` values a channel."""

    def __init__(self, values: int) -> None:
        self.values, self.batches = values, 0
        self.sums = np.zeros((3, 1))

    def add(self, batch: Statistics) -> None:
        """Take in the statistics of a batch."""
        self.sums = self.sums + [batch.mean, batch.variance, batch.mean**2]
        self.batches += 1

    def simple(self) -> Statistics:
        """Return the means over the batches."""
        mean, variance, _ = self.sums / self.batches
        return Statistics(mean, np.maximum(variance, 0), None, "")

    def exact(self) -> Statistics:
        """Return mean and unbiased variance of all values."""
        mean, variance, square = self.sums / self.batches
        within = variance * (self.values - 1) / self.values if self.values > 1 else variance
        values = self.batches * self.values
        variance = (within + square - mean**2) * values / max(values - 1, 1)
        return Statistics(mean, np.maximum(variance, 0), None, "")


def _clear(layers: Sequence[tuple[Node, Normalizing]]) -> None:
    for _, layer in layers:
        for blob in layer.sums:
            blob.fill(0)
