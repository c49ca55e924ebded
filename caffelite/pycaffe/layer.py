"""A layer as pycaffe shows it."""

from collections.abc import Callable
from functools import partial

from caffelite.layers.contract import layer as contract
from caffelite.layers.contract.blobs import Blob
from caffelite.pycaffe.blob import ParameterBlob
from caffelite.user_code.classes import BlobVec, Layer


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
    blobs : BlobVec
    """

    def __init__(self, find: Callable[[], contract.Layer]) -> None:
        self._find = find
        layer = find()
        self.name = layer.name
        self.type: str = layer.param.type
        blobs = (ParameterBlob(partial(self._blob, j)) for j in range(len(layer.blobs)))
        self.blobs = BlobVec(blobs, net_layer=layer.name)

    def _blob(self, index: int) -> Blob:
        return self._find().blobs[index]


__all__ = ["Layer", "NetLayer"]
