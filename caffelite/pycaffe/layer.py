"""A layer as pycaffe shows it."""

from collections.abc import Callable
from functools import partial

from caffelite.layers.contract import blobs
from caffelite.layers.contract import layer as contract
from caffelite.pycaffe.blob import Blob
from caffelite.user_code.classes import Layer
from caffelite.words import quoted


class NetLayer(Layer):
    """A layer of a net.

    Parameters
    ----------
    find : callable
        Returns the layer of the net that this one shows.

    Attributes
    ----------
    name : str
    type : str
        As in the prototxt.
    blobs : list of Blob
        Its parameters.
    """

    def __init__(self, find: Callable[[], contract.Layer]) -> None:
        self._find = find
        layer = find()
        self.name = layer.name
        self.type: str = layer.param.type
        refused = f"it is a parameter of layer {quoted(layer.name)}"
        self.blobs = [Blob(partial(self._blob, j), refused) for j in range(len(layer.blobs))]

    def _blob(self, index: int) -> blobs.Blob:
        return self._find().blobs[index]


__all__ = ["Layer", "NetLayer"]
