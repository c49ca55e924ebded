"""The net that a ``.caffemodel`` holds beside its weights."""

from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from caffelite.errors import WeightsError
from caffelite.schema import messages
from caffelite.schema.hdf5 import is_hdf5
from caffelite.schema.wire import BYTES, Wire, heading

#: Of a net: its layers, and those of V1 and V0. Of a layer of each generation: its blobs; of V1: the V0 layer inside.
_LAYER, _LAYERS = 100, 2
_BLOBS, _V1_BLOBS, _V0_BLOBS = 7, 6, 50
_V0_LAYER = 1


def read_stored_net(path: str | Path, schema: Any = messages.NetParameter) -> Any:
    """Return the net in a ``.caffemodel`` as its writer had it, of any generation, without blobs.

    Parameters
    ----------
    path : path
    schema : class of protobuf message, optional
        ``NetParameter`` of the fork that wrote it.

    Raises
    ------
    WeightsError
        The file cannot be read, is damaged, or holds no net.
    """
    try:
        if is_hdf5(Path(path)):
            raise WeightsError(f"{path}: a file of HDF5 holds weights alone, no net")
        data = Path(path).read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror}") from None
    whole = Wire(memoryview(data), 0, len(data), str(path))
    net = schema()
    try:
        net.ParseFromString(_without_blobs(whole))
    except DecodeError:
        raise WeightsError(f"{path}: not a .caffemodel, or one of a fork whose schema is another") from None
    return net


def unknown_layers(net: Any) -> list[str]:
    """Return the names of layers of a net with settings that its schema does not know: it was written with another."""
    return [layer.name for layer in (*net.layer, *net.layers) if len(UnknownFieldSet(layer))]


def _without_blobs(net: Wire) -> bytes:
    parts = []
    end = net.start
    for number, kind, a, b in net.fields():
        if kind == BYTES and number in (_LAYER, _LAYERS):
            begin = a - len(heading(number, b - a))
            layer = _layer_without_blobs(net.inner(a, b), _BLOBS if number == _LAYER else _V1_BLOBS)
            parts += [bytes(net.data[end:begin]), heading(number, len(layer)), layer]
            end = b
    return b"".join([*parts, bytes(net.data[end : net.end])])


def _layer_without_blobs(layer: Wire, blobs: int) -> bytes:
    parts = []
    end = layer.start
    for number, kind, a, b in layer.fields():
        inside = kind == BYTES and blobs == _V1_BLOBS and number == _V0_LAYER
        if kind == BYTES and number == blobs or inside:
            parts.append(bytes(layer.data[end : a - len(heading(number, b - a))]))
            end = b
        if inside:
            old = _layer_without_blobs(layer.inner(a, b), _V0_BLOBS)
            parts += [heading(number, len(old)), old]
    return b"".join([*parts, bytes(layer.data[end : layer.end])])
