"""The statistics that the normalizing layers of a net hold: as stored, and as measured over data."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from caffelite.layers.batchnorm import BatchNorm
from caffelite.layers.contract.layer import Layer
from caffelite.layers.forks.normalization.bn import BN
from caffelite.net import Net
from caffelite.net.graph import Graph, Node

#: Tops of these are filled by the caller of the net: they bring no data of their own.
_FILLED_BY_HAND = ("Input", "MemoryData")


@dataclass(frozen=True, slots=True)
class Statistics:
    """Mean and variance of each channel.

    Attributes
    ----------
    mean, variance : ndarray of float64, shape (channels,)
        Divided by the factor; 0 where that is 0, as the layer has it.
    factor : float or None
        What the blobs were divided by; None in layouts without one.
    layout : str
        Whose order of blobs it is.
    """

    mean: np.ndarray
    variance: np.ndarray
    factor: float | None
    layout: str


def normalizing(graph: Graph) -> list[Node]:
    """Return the layers of a graph that normalize with mean and variance: BatchNorm, and the BN of forks."""
    return [node for node in graph.nodes if isinstance(node.layer, BatchNorm | BN)]


def uses_stored(layer: Layer) -> bool:
    """Whether a layer of :func:`normalizing` takes stored statistics in its phase, not those of the batch."""
    if isinstance(layer, BN):
        return layer.stored or layer.only_scales
    assert isinstance(layer, BatchNorm)
    return layer.use_global_stats


def eps_of(layer: Layer) -> float:
    """Return what a layer of :func:`normalizing` adds to the variance."""
    if isinstance(layer, BN):
        return float(layer.eps)
    assert isinstance(layer, BatchNorm)
    return float(layer.settings.eps)


def layout_of(blobs: Sequence[np.ndarray]) -> str:
    """Return whose layout the blobs of a normalizing layer have; empty where it is nobody's."""
    if len(blobs) == 5:
        old = blobs[2].size > 1 == blobs[4].size
        return "NVCaffe before 0.16" if old else "NVCaffe"
    known = {3: "Caffe", 4: "PSPNet", 2: "SegNet"}
    return known.get(len(blobs), "")


def stored_statistics(blobs: Sequence[np.ndarray]) -> Statistics | None:
    """Return the statistics in the blobs of a normalizing layer, in whichever layout they are.

    Returns
    -------
    Statistics or None
        None for a layout that holds none (SegNet's), and for one that is not known.
    """
    layout = layout_of(blobs)
    order = {"Caffe": (0, 1, 2), "NVCaffe": (0, 1, 2), "NVCaffe before 0.16": (2, 3), "PSPNet": (2, 3)}.get(layout)
    if order is None:
        return None
    values = [np.asarray(blobs[i], np.float64).reshape(-1) for i in order]
    mean, variance = values[:2]
    if len(values) == 2:
        return Statistics(mean, variance, None, layout)
    if values[2].size != 1:
        return None
    factor = float(values[2][0])
    share = 1 / factor if factor else 0.0
    return Statistics(mean * share, variance * share, factor, layout)


def brings_data(graph: Graph) -> bool:
    """Whether the layers of a graph that have no bottoms get their data by themselves."""
    sources = [node.layer for node in graph.nodes if node.layer.facts.source]
    return bool(sources) and all(layer.type not in _FILLED_BY_HAND for layer in sources)


def measured_statistics(
    net: Net, iterations: int, counted: Callable[[range], Iterable[int]] = iter
) -> dict[str, Statistics]:
    """Return the statistics of the data that goes through a net, by layer.

    The weights stay as they are and every layer normalizes with the statistics of the batch, as in training, so
    these are what its stored ones would be if they were learned now.

    Parameters
    ----------
    net : Net
        In the TRAIN phase, made with ``global_stats=False``; its stored statistics are lost.
    iterations : int
        Number of batches.
    counted : callable, optional
        Given the numbers of the batches; what it returns is walked over (for a bar of progress).

    Raises
    ------
    DataError
        The data cannot be read.
    """
    nodes = [node for node in normalizing(net.graph) if not uses_stored(node.layer)]
    for node in nodes:
        for blob in _sums(node.layer):
            blob[...] = 0
    for _ in counted(range(iterations)):
        net.forward()
    found = {}
    for node in nodes:
        mean, variance, *factor = (blob.astype(np.float64).reshape(-1) for blob in _sums(node.layer))
        # A fork's BN has no factor: what is missing to 1 is the share of the zeros that it began with.
        share = float(factor[0][0]) if factor else 1 - node.layer.keep**iterations  # type: ignore[attr-defined]
        if share:
            found[node.name] = Statistics(mean / share, variance / share, None, "")
    return found


def _sums(layer: Layer) -> list[np.ndarray]:
    """Return the blobs of a layer that its statistics are summed in."""
    if isinstance(layer, BatchNorm):
        return [blob.data for blob in layer.blobs[:3]]
    return [blob.data for blob in layer.blobs[2:4]]
