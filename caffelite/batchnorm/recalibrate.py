"""The statistics of BatchNorm measured anew over data, with all other weights as they are."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from caffelite.batchnorm.statistics import measured_statistics, normalizing
from caffelite.errors import NetError
from caffelite.layers.shared.normalizing import Normalizing, Statistics
from caffelite.net import Net
from caffelite.words import count


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

    Parameters
    ----------
    net : Net
        In the TRAIN phase, with ``global_stats=False``. Nothing but the blobs of its BatchNorm layers is changed; their
        factor is 1 afterwards (with ``"exponential"``, what Caffe would have stored).
    batches : iterable of int
        One pass for each; the numbers mean nothing.
    average : str
        One of ``AVERAGES``; see :func:`caffelite.batchnorm.statistics.measured_statistics`.

    Returns
    -------
    list of Change
        In the order of the net.

    Raises
    ------
    NetError
        There is no BatchNorm, there are no batches, or a statistic is no number.
    """
    # Where there is no factor, what is stored is no sum.
    layers = [(node, layer) for node, layer in normalizing(net.graph) if layer.layout.factor]
    if not layers:
        raise NetError(f"{net.document.filename}: there is no BatchNorm layer whose statistics could be measured")
    before = [_stored(layer) for _, layer in layers]
    measured = measured_statistics(net, layers, batches, average)
    if not measured:
        raise NetError(f"{net.document.filename}: without a batch there are no statistics")
    changes = []
    for (node, layer), old in zip(layers, before, strict=True):
        if average != "exponential":
            mean, variance, factor = layer.sums
            mean[...], variance[...], factor[...] = measured[node.name].mean, measured[node.name].variance, 1
        new = _stored(layer)
        if not np.isfinite([*new.mean, *new.variance]).all():
            raise NetError(
                f"{layer.where()}: its statistics are no numbers: the weights or the data before it are at fault"
            )
        changes.append(_change(node.name, count(node.bottoms[0].shape) // new.mean.size, old, new))
    return changes


def _stored(layer: Normalizing) -> Statistics:
    statistics = layer.layout.statistics([blob.data for blob in layer.blobs])
    assert statistics is not None, "the factor is one number"
    return statistics


def _change(layer: str, values: int, old: Statistics, new: Statistics) -> Change:
    deviation = np.sqrt(np.maximum(new.variance, np.finfo(np.float32).tiny))
    ratios = new.variance[old.variance > 0] / old.variance[old.variance > 0]
    return Change(
        layer,
        values,
        float(np.mean(np.abs(new.mean - old.mean) / deviation)),
        float(np.median(ratios)) if ratios.size else float("nan"),
    )
