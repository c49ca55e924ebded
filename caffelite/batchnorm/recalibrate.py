"""The statistics of BatchNorm measured anew over data, with all other weights as they are."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from caffelite.batchnorm.statistics import Statistics, stored_statistics
from caffelite.errors import NetError
from caffelite.layers.batchnorm import BatchNorm
from caffelite.net import Net

#: What the means of batches are put together to.
AVERAGES = ("exact", "simple", "exponential")


@dataclass(frozen=True, slots=True)
class Change:
    """How far the stored statistics of a layer have moved.

    Attributes
    ----------
    layer : str
    values : int
        Values that a channel had in a batch.
    mean : float
        Mean over the channels of the absolute change of the mean, in standard deviations (the new ones).
    variance : float
        Median over the channels of the new variance over the old one; NaN where nothing was stored.
    """

    layer: str
    values: int
    mean: float
    variance: float


def recalibrate(net: Net, batches: Iterable[int], average: str = "exact") -> list[Change]:
    """Run a net over batches of its data and store the statistics of BatchNorm that they have.

    In each pass every layer normalises by the statistics of the batch, as in training, so what a layer sees is what it
    saw while it learned (Ioffe and Szegedy, "Batch Normalization", 2015, algorithm 2).

    Parameters
    ----------
    net : Net
        In the TRAIN phase, with ``global_stats=False``. Nothing but the blobs of its BatchNorm layers is changed; their
        factor is 1 afterwards (with ``"exponential"``, what Caffe would have stored).
    batches : iterable of int
        One pass for each; the numbers mean nothing.
    average : str
        ``"exact"``: mean and variance of all values seen, from mean and variance of each batch and the variance between
        the means. ``"simple"``: the mean of the batches' means and of their unbiased variances, as in the paper's
        algorithm 2. ``"exponential"``: Caffe's sums from zero on, with ``moving_average_fraction``.

    Returns
    -------
    list of Change
        In the order of the net.

    Raises
    ------
    NetError
        There is no BatchNorm, there are no batches, or a statistic is no number.
    """
    layers = [node for node in net.graph.nodes if isinstance(node.layer, BatchNorm)]
    if not layers:
        raise NetError(f"{net.document.filename}: there is no BatchNorm layer whose statistics could be measured")
    stored = [[blob.data for blob in node.layer.blobs[:3]] for node in layers]
    before = [_statistics(blobs) for blobs in stored]
    sums = [np.zeros((3, blobs[0].size)) for blobs in stored]
    for blobs in stored:
        _clear(blobs)
    count = 0
    for _ in batches:
        net.forward()
        count += 1
        if average == "exponential":
            continue
        for (mean, variance, _), total in zip(stored, sums, strict=True):
            total += [mean, variance, mean.astype(np.float64) ** 2]
        for blobs in stored:
            _clear(blobs)
    if not count:
        raise NetError(f"{net.document.filename}: without a batch there are no statistics")
    changes = []
    for node, blobs, total, old in zip(layers, stored, sums, before, strict=True):
        shape = node.bottoms[0].shape
        values = int(np.prod(shape)) // blobs[0].size
        if average != "exponential":
            mean, variance, square = total / count
            if average == "exact":
                within = variance * (values - 1) / values if values > 1 else variance
                all_values = count * values
                variance = (within + square - mean**2) * all_values / max(all_values - 1, 1)
            blobs[0][...], blobs[1][...], blobs[2][...] = mean, np.maximum(variance, 0), 1
        new = _statistics(blobs)
        if not np.isfinite([*new.mean, *new.variance]).all():
            raise NetError(
                f"{node.layer.where()}: its statistics are no numbers: the weights or the data before it are at fault"
            )
        changes.append(_change(node.layer.name, values, old, new))
    return changes


def _clear(blobs: Sequence[np.ndarray]) -> None:
    for blob in blobs:
        blob.fill(0)


def _statistics(blobs: Sequence[np.ndarray]) -> Statistics:
    found = stored_statistics(blobs)
    assert found is not None, "three blobs are Caffe's layout"
    return found


def _change(layer: str, values: int, old: Statistics, new: Statistics) -> Change:
    deviation = np.sqrt(np.maximum(new.variance, np.finfo(np.float32).tiny))
    ratios = new.variance[old.variance > 0] / old.variance[old.variance > 0]
    return Change(
        layer,
        values,
        float(np.mean(np.abs(new.mean - old.mean) / deviation)),
        float(np.median(ratios)) if ratios.size else float("nan"),
    )
