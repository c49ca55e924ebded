"""The inputs of a net, and random ones that it can make sense of: numbers of words where it looks words up, boxes
where it reads boxes."""

from collections.abc import Callable, Iterator

import numpy as np

from caffelite.layers.forks.detection.proposal import Proposal
from caffelite.layers.forks.detection.regions import Regions
from caffelite.net import Net
from caffelite.net.graph import Node, Version
from caffelite.words import Shape, count

_Draw = Callable[[Node, Shape, np.random.Generator], np.ndarray]


def inputs_of(net: Net) -> list[Version]:
    """Return the blobs that a net is given."""
    return [version for node in net.graph.nodes if node.layer.facts.net_input for version in node.tops]


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
        draw = _DRAWN.get((reader.layer.type, j))
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
    assert isinstance(reader.layer, Regions)
    images, _, height, width = reader.bottoms[0].shape
    size = np.array([width, height]) / reader.layer.scale
    corners = np.sort(rng.random((shape[0], 2, 2)), axis=1) * size
    rows = np.concatenate([rng.integers(images, size=(shape[0], 1)), corners.reshape(-1, 4)], axis=1)
    return rows.reshape(shape)


def _places(reader: Node, shape: Shape, rng: np.random.Generator) -> np.ndarray:
    """Return places in the map that values are put back into, no two the same."""
    size = count(reader.tops[0].shape[-2:])
    maps = [rng.permutation(size)[: count(shape[-2:])] for _ in range(count(shape[:-2]))]
    return np.array(maps).reshape(shape)


def _sizes(reader: Node, shape: Shape, rng: np.random.Generator) -> np.ndarray:
    """Return the sizes of images: height and width in pixels, and the factors that they were resized by."""
    assert isinstance(reader.layer, Proposal)
    sizes = np.ones((shape[0], count(shape[1:])))
    sizes[:, :2] = np.array(reader.bottoms[0].shape[2:]) * reader.layer.stride
    return sizes.reshape(shape)


_DRAWN: dict[tuple[str, int], _Draw] = {
    ("BatchReindex", 1): _rows,
    ("Embed", 0): _words,
    ("Filter", 1): _flags,
    ("LSTM", 1): _flags,
    ("RNN", 1): _flags,
    ("DeformablePSROIPooling", 1): _boxes,
    ("PSROIAlign", 1): _boxes,
    ("PSROIPooling", 1): _boxes,
    ("Proposal", 2): _sizes,
    ("ROIAlign", 1): _boxes,
    ("ROIPooling", 1): _boxes,
    ("Upsample", 1): _places,
}
