"""A layer as pycaffe shows it."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from caffelite.errors import NetError
from caffelite.layers.contract import blobs
from caffelite.layers.contract import layer as contract
from caffelite.pycaffe.blob import ParameterBlob
from caffelite.user_code.classes import BlobVec, Layer
from caffelite.words import quoted


class Parameters(BlobVec):
    """The parameters of a layer that is in a net, whose name errors tell."""

    def __init__(self, layer: str, blobs: Iterable[ParameterBlob]) -> None:
        super().__init__(blobs)
        self._layer = layer

    def add_blob(self, *dims: Any) -> None:
        """Refuse: the net was planned with the parameters that it has."""
        raise NetError(f"layer {quoted(self._layer)} is in a net, which has its parameters; none can be added")


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
    blobs : Parameters
    """

    def __init__(self, find: Callable[[], contract.Layer]) -> None:
        self._find = find
        layer = find()
        self.name = layer.name
        self.type: str = layer.param.type
        self.blobs = Parameters(layer.name, [ParameterBlob(partial(self._blob, j)) for j in range(len(layer.blobs))])

    def _blob(self, index: int) -> blobs.Blob:
        return self._find().blobs[index]


__all__ = ["Layer", "NetLayer"]
