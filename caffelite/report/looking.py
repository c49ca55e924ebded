"""Looking into a trained net: its filters, the maps that it makes of an image, its classes, and what in the image they
come from.

The net is planned with ``keep``, so that all its blobs can be read, and has one image at a time.
"""

from collections.abc import Callable, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from caffelite.errors import NetError
from caffelite.net import Net
from caffelite.net.graph import Node, Version
from caffelite.report.pictures import mosaic, stretched
from caffelite.schema.text import net_from_message
from caffelite.words import TEST, Shape, count, did_you_mean, quoted, text_of

#: Tiles of a mosaic: more would be too small to see.
_MOST_TILES = 1024
#: Of planes of filters that are no colours, so many rows and columns: filters, and channels of each.
_MOST_PLANES = 32
#: What covers a part of the image is this share of its sides, and moves by half of that.
_PATCH_SHARE = 6


class Scores(NamedTuple):
    """The output that has a number for each class.

    Attributes
    ----------
    version : Version
        The output.
    raw : Version
        What its softmax is taken of; the output itself where it is none.
    classes : int
    """

    version: Version
    raw: Version
    classes: int

    @property
    def shares(self) -> bool:
        """Whether they are probabilities."""
        return self.version is not self.raw


def filters_of(net: Net, names: Sequence[str] = ()) -> list[str]:
    """Return the names of layers whose filters are shown: these, or the first that has filters of more than a pixel.

    Raises
    ------
    NetError
        One has no filters; there is none at all.
    """
    filtering = [
        name
        for name, blobs in net.params.items()
        if blobs and blobs[0].data.ndim == 4 and count(blobs[0].data.shape[2:]) > 1
    ]
    for name in names:
        if name not in filtering:
            hint = did_you_mean(name, filtering, f"there are {', '.join(map(quoted, filtering))}")
            raise NetError(f"{net.document.filename}: no layer {quoted(name)} has filters{hint}")
    return list(names) or filtering[:1]


def filters_picture(net: Net, name: str, reverse: bool) -> np.ndarray:
    """Return the filters of a layer as a mosaic: in colour where they read three channels, else a plane a tile.

    Parameters
    ----------
    net : Net
    name : str
        A layer; see :func:`filters_of`.
    reverse : bool
        Whether blue is the first of three channels.

    Returns
    -------
    ndarray of uint8
        Height x width x 3. All have one scale: black is the least weight, white the largest.
    """
    weights = net.params[name][0].data
    number, channels, height, width = weights.shape
    grey = stretched(weights)
    if channels == 3:
        colours = np.moveaxis(grey[:_MOST_TILES], 1, 3)
        return mosaic(colours[..., ::-1] if reverse else colours)
    planes = grey[:_MOST_PLANES, :_MOST_PLANES] if channels > 1 else grey[:_MOST_TILES]
    return mosaic(np.repeat(planes.reshape(-1, height, width, 1), 3, axis=3))


def maps_of(net: Net, names: Sequence[str] = ()) -> list[str]:
    """Return the names of blobs that are shown: these, or that of the first layer with filters.

    Raises
    ------
    NetError
        There is no such blob.
    """
    for name in names:
        if name not in net.blobs:
            hint = did_you_mean(name, net.blobs, f"there are {', '.join(map(quoted, list(net.blobs)[:20]))}")
            raise NetError(f"{net.document.filename}: no blob {quoted(name)}{hint}")
    if names:
        return list(names)
    filtering = filters_of(net)
    return [node.tops[0].name for node in net.graph.nodes if filtering and node.name == filtering[0]]


def maps_picture(net: Net, name: str) -> np.ndarray:
    """Return a blob of the last pass as a mosaic of its maps; one without maps as pixels, line after line.

    Returns
    -------
    ndarray of uint8
        Height x width x 3. All have one scale: black is the least value, white the largest.
    """
    values = net.blobs[name].data
    if values.ndim == 4 and count(values.shape[2:]) > 1:
        grey = stretched(values[0, :_MOST_TILES])
        return mosaic(np.repeat(grey[..., None], 3, axis=3))
    grey = stretched(values[0].reshape(-1) if values.ndim > 1 else values.reshape(-1))
    side = max(1, int(np.ceil(grey.size**0.5)))
    square = np.zeros(side * -(-grey.size // side), np.uint8)
    square[: grey.size] = grey
    return np.repeat(square.reshape(-1, side, 1), 3, axis=2)


def image_input(net: Net) -> Version:
    """Return the blob that an image is put into.

    Raises
    ------
    NetError
        The net has no such input, or reads more than the image.
    """
    inputs = [top for node in net.graph.nodes if node.layer.facts.net_input for top in node.tops]
    images = [top for top in inputs if len(top.shape) == 4 and top.shape[1] in (1, 3)]
    if len(inputs) != 1 or not images:
        told = ", ".join(f"{quoted(top.name)} {text_of(top.shape)}" for top in inputs) or "nothing"
        raise NetError(
            f"{net.document.filename}: looking at an image is for nets that read one and no more; it reads {told}"
        )
    return images[0]


def scores_of(net: Net) -> Scores:
    """Return the output with the classes: the last that has two or more numbers for the image.

    Raises
    ------
    NetError
        There is none.
    """
    for name in reversed([top.name for node in net.graph.nodes for top in node.tops]):
        version = net.graph.names[name]
        if name in net.outputs and len(version.shape) > 1 and version.shape[0] == 1:
            classes = count(version.shape[1:])
            if classes > 1 and classes == version.shape[1]:
                producer = version.producer
                raw = producer.bottoms[0] if producer.layer.type == "Softmax" else version
                return Scores(version, raw, classes)
    outputs = ", ".join(f"{quoted(name)} {text_of(net.blobs[name].shape)}" for name in net.outputs)
    raise NetError(f"{net.document.filename}: no output has a number for each class: {outputs}")


def top_classes(net: Net, scores: Scores, most: int = 5) -> list[tuple[int, float]]:
    """Return the classes with the largest outputs of the last pass, and these, the largest first."""
    values = net.plan.blob(scores.version).data.reshape(-1)
    # What is not a number is last.
    order = np.argsort(-np.where(np.isnan(values), -np.inf, values), kind="stable")[:most]
    return [(int(i), float(values[i])) for i in order]


def occlusion(
    net: Net, data: Version, scores: Scores, chosen: int, advance: Callable[[], object] = lambda: None
) -> np.ndarray:
    """Return by how much the output of a class falls where a part of the image is covered.

    Parameters
    ----------
    net : Net
        The image is in its input, and stays there.
    data : Version
        The input.
    scores : Scores
    chosen : int
        The class.
    advance : callable, optional
        Called after each of :func:`occlusion_passes`.

    Returns
    -------
    ndarray of float64
        Height x width: the mean over the patches that cover a pixel.

    Notes
    -----
    Zeiler and Fergus, "Visualizing and understanding convolutional networks", ECCV 2014, section 4.2. A patch is a
    sixth of the image, moves by half of that, and has the mean of each channel of the image.
    """
    image = net.plan.blob(data).data
    output = net.plan.blob(scores.version).data.reshape(-1)
    whole = image.copy()
    net.forward()
    before = float(output[chosen])
    height, width = image.shape[2:]
    mean = whole.mean(axis=(2, 3), keepdims=True)
    falls, times = np.zeros((height, width)), np.zeros((height, width))
    try:
        for rows, columns in product(_patches(height), _patches(width)):
            image[...] = whole
            image[..., rows, columns] = mean
            net.forward()
            falls[rows, columns] += before - float(output[chosen])
            times[rows, columns] += 1
            advance()
    finally:
        image[...] = whole
    net.forward()
    return falls / times


def occlusion_passes(shape: Shape) -> int:
    """Return how many passes :func:`occlusion` takes for an input of this shape."""
    return len(_patches(shape[2])) * len(_patches(shape[3]))


def _patches(size: int) -> list[slice]:
    """Return the patches along a side; the last one ends where the image does."""
    patch = max(1, size // _PATCH_SHARE)
    starts = sorted({*range(0, size - patch, max(1, patch // 2)), size - patch})
    return [slice(start, start + patch) for start in starts]


def saliency(net: Net, data: Version, scores: Scores, chosen: int) -> np.ndarray:
    """Return how much the score of a class changes with each pixel: the largest of its channels' gradients.

    Returns
    -------
    ndarray of float64
        Height x width.

    Raises
    ------
    NetError
        A layer on the way has no gradient.

    Notes
    -----
    Simonyan, Vedaldi and Zisserman, "Deep inside convolutional networks", 2013, section 3.1: of the score, not of the
    probability, which falls where others rise.
    """
    message = type(net.document.message)()
    message.CopyFrom(net.document.message)
    message.force_backward = True
    learning = Net(net_from_message(message, net.document.filename), TEST, keep=True, share=net, output_root=None)
    try:
        return _gradient(learning, data, scores, chosen, net.plan.blob(data).data)
    finally:
        learning.close()


def _gradient(net: Net, data: Version, scores: Scores, chosen: int, image: np.ndarray) -> np.ndarray:
    nodes = net.graph.nodes
    producer: Node = nodes[scores.raw.producer.index]
    raw = producer.tops[scores.raw.producer.tops.index(scores.raw)]
    source = nodes[data.producer.index].tops[data.producer.tops.index(data)]
    net.plan.blob(source).data[...] = image
    net.forward()
    blobs = [net.plan.blob(version) for node in nodes for version in node.tops]
    for blob in blobs:
        if blob.diff is not None:
            blob.diff.fill(0)
    score, pixels = net.plan.blob(raw).diff, net.plan.blob(source).diff
    if score is None or pixels is None:
        raise NetError(f"{net.document.filename}: {quoted(raw.name)} has no gradient to {quoted(source.name)}")
    score.reshape(-1)[chosen] = 1
    for i in range(producer.index, -1, -1):
        net.backward_unit(i)
    return np.abs(pixels[0]).max(axis=0).astype(np.float64)


def heat_picture(values: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Return an image in grey with values over it: red above zero, blue below, the more of it the larger they are.

    Parameters
    ----------
    values : ndarray
        Height x width.
    pixels : ndarray of uint8
        Height x width x 3.
    """
    finite = np.nan_to_num(values)
    strength = np.abs(finite) / max(np.abs(finite).max(), np.finfo(np.float64).tiny)
    grey = 0.35 * np.repeat(pixels.mean(axis=2, keepdims=True), 3, axis=2) + 0.4 * 255
    colour = np.where(finite[..., None] >= 0, np.array([214.0, 39, 40]), np.array([31.0, 119, 180]))
    return np.rint(grey + strength[..., None] * (colour - grey)).astype(np.uint8)
