"""BatchNorm's X-ray: how far the statistics that a layer stores are from those of the batch that it has just seen.

TEST normalizes by the stored ones. As long as the weights change fast, these are an average over what the layer saw
when the weights were others: they lag behind, and what comes out in TEST is shifted and stretched by just so much.
"""

from dataclasses import dataclass

import numpy as np

from caffelite.layers.shared.normalizing import Normalizing
from caffelite.net import Net

#: So many channels of a net are kept, or of each layer the least, so that a deep one does not fill the disk.
_CHANNELS, _FEWEST = 1024, 8


@dataclass(frozen=True, slots=True)
class Ray:
    """A layer that is looked into.

    Attributes
    ----------
    name : str
    layer : Normalizing
    images : int
        In a batch.
    channels : ndarray of int
        Those that are kept, evenly spread.
    """

    name: str
    layer: Normalizing
    images: int
    channels: np.ndarray

    def behind(self) -> tuple[np.ndarray, np.ndarray]:
        """Return how far the stored statistics are from those of the last batch, by channel that is kept.

        Returns
        -------
        mean : ndarray of float64
            ``(stored mean - mean of the batch) / its standard deviation``.
        deviation : ndarray of float64
            ``(stored standard deviation - that of the batch) / that of the batch``: -1 or more.
            A standard deviation is the root of variance and eps, by which the layer divides.
        """
        stored, batch = self.layer.stored_statistics, self.layer.batch_statistics
        assert stored is not None and batch is not None
        mean, inverse_std = (values[self.channels].astype(np.float64) for values in batch)
        stored_std = np.sqrt(stored.variance[self.channels] + self.layer.eps)
        return (stored.mean[self.channels] - mean) * inverse_std, stored_std * inverse_std - 1


def rays(net: Net) -> list[Ray]:
    """Return the layers of a net that normalize by the batch and store its statistics."""
    layers = [
        (node.name, node.layer, node.bottoms[0].shape[0])
        for node in net.graph.nodes
        if isinstance(node.layer, Normalizing)
        and node.layer.batch_statistics is not None
        and node.layer.stored_statistics is not None
    ]
    most = max(_CHANNELS // max(len(layers), 1), _FEWEST)
    return [Ray(name, layer, images, _spread(layer.sums[0].size, most)) for name, layer, images in layers]


def _spread(count: int, most: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the last measurements of a layer say.

    Attributes
    ----------
    mean, worst_mean : float
        Distance of the stored means from those of the batch, in standard deviations: the median of the channels, the
        largest.
    deviation, worst_deviation : float
        The same for the standard deviations.
    chance : float
        How far the mean of a batch is from that of all images by chance, at most: a standard error of 1 / √images.
    """

    mean: float
    worst_mean: float
    deviation: float
    worst_deviation: float
    chance: float

    @property
    def behind(self) -> bool:
        """Whether they are further apart than by chance, which makes the median 0.67 of it and the worst 3 times it."""
        return max(self.mean, self.deviation) > 1.4 * self.chance or self.worst_mean > 5 * self.chance


def verdict(measurements: list[dict[str, list[float | None]]], images: int) -> Verdict | None:
    """Return what the last measurements of a layer say: the median of five; None where they hold no numbers.

    Parameters
    ----------
    measurements : list of dict
        What lines of the event "train" have for the layer, in their order.
    images : int
        In a batch.
    """
    rows = []
    for one in measurements[-5:]:
        sizes = [np.abs(np.array([v for v in one[key] if v is not None])) for key in ("mean", "deviation")]
        if all(size.size for size in sizes):
            rows.append([part for size in sizes for part in (float(np.median(size)), float(size.max()))])
    if not rows:
        return None
    mean, worst_mean, deviation, worst_deviation = np.median(rows, axis=0).tolist()
    return Verdict(mean, worst_mean, deviation, worst_deviation, images**-0.5)
