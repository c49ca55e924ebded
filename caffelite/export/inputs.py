"""Random inputs that a net can make sense of: numbers of words where it looks words up, boxes where it reads boxes."""

from collections.abc import Callable, Iterator

import numpy as np

from caffelite.layers.contract.layer import Layer
from caffelite.net.graph import Node, Version
from caffelite.words import Shape

_Draw = Callable[[Node, Shape, np.random.Generator], np.ndarray]


def random_input(version: Version, shape: Shape, rng: np.random.Generator) -> np.ndarray:
    """Return random values for an input of a net, by what reads it; normal ones of variance 1 where that is any number.

    Parameters
    ----------
    version : Version
        The blob, in the graph of the net.
    shape : tuple of int
    rng : Generator
    """
    for reader, j in _readers(version):
        draw = _DRAWN.get((reader.layer.param.type, j))
        if draw is not None:
            return draw(reader, shape, rng)
    return rng.standard_normal(shape)


def _readers(version: Version) -> Iterator[tuple[Node, int]]:
    """Yield who reads a blob, also in another shape."""
    for reader, j in version.readers:
        if reader.layer.facts.view:
            yield from _readers(reader.tops[0])
        else:
            yield reader, j


def _words(reader: Node, shape: Shape, rng: np.random.Generator) -> np.ndarray:
    return rng.integers(reader.layer.param.embed_param.input_dim, size=shape)


def _flags(reader: Node, shape: Shape, rng: np.random.Generator) -> np.ndarray:
    return rng.integers(2, size=shape)


def _rows(reader: Node, shape: Shape, rng: np.random.Generator) -> np.ndarray:
    return rng.integers(reader.bottoms[0].shape[0], size=shape)


def _boxes(reader: Node, shape: Shape, rng: np.random.Generator) -> np.ndarray:
    """Return boxes: number of the image, x and y of two corners in pixels of the image."""
    images, _, height, width = reader.bottoms[0].shape
    size = np.array([width, height]) / _spatial_scale(reader.layer)
    corners = np.sort(rng.random((shape[0], 2, 2)), axis=1) * size
    rows = np.concatenate([rng.integers(images, size=(shape[0], 1)), corners.reshape(-1, 4)], axis=1)
    return rows.reshape(shape)


def _spatial_scale(layer: Layer) -> float:
    name = {"ROIPooling": "roi_pooling_param", "PSROIPooling": "psroi_pooling_param"}[layer.param.type]
    return float(getattr(layer.param, name).spatial_scale)


_DRAWN: dict[tuple[str, int], _Draw] = {
    ("BatchReindex", 1): _rows,
    ("Embed", 0): _words,
    ("Filter", 1): _flags,
    ("LSTM", 1): _flags,
    ("RNN", 1): _flags,
    ("PSROIPooling", 1): _boxes,
    ("ROIPooling", 1): _boxes,
}
