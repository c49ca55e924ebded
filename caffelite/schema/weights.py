"""Weights files: ``.caffemodel`` of any generation and fork, and HDF5.

Binary files are read from a memory map by a reader that knows only the names, types and blobs of layers, so that what
else a fork wrote cannot get in the way.
"""

import mmap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from caffelite.errors import WeightsError
from caffelite.schema.blobs import LARGEST_BLOB, array_to_blob, shaped
from caffelite.schema.files import atomic_write
from caffelite.schema.hdf5 import is_hdf5, read_hdf5_weights, write_hdf5
from caffelite.schema.wire import BYTES, VARINT, Wire

_LAYER, _LAYERS = 100, 2
_RAW_TYPES: dict[int, np.dtype[Any]] = {
    0: np.dtype("<f8"),
    1: np.dtype("<f4"),
    2: np.dtype("<f2"),
}  # NVCaffe's raw_data


@dataclass(slots=True)
class LayerWeights:
    """The parameters of a layer in a file.

    Attributes
    ----------
    name, type : str
        ``type`` is empty where the file has a number or nothing.
    blobs : list of ndarray of float32
    """

    name: str
    type: str = ""
    blobs: list[np.ndarray] = field(default_factory=list)


def read_weights(path: str | Path) -> list[LayerWeights]:
    """Read the parameters of all layers of a ``.caffemodel`` (V0, V1, V2) or an HDF5 weights file.

    Raises
    ------
    WeightsError
        The file is missing, cut off, or no weights file; names the layer and the byte.
    MissingExtraError
        An HDF5 file, and h5py is not installed.
    """
    file = Path(path)
    try:
        if is_hdf5(file):
            return [LayerWeights(name, "", blobs) for name, blobs in read_hdf5_weights(file).items()]
        with file.open("rb") as stream:
            if file.stat().st_size == 0:
                raise WeightsError(f"{path}: the file is empty")
            # Closed with its last reader: an error on the way may still hold a part of it.
            data = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
        layers = _read_net(Wire(data, 0, len(data), str(path)))
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror}") from None
    if not layers:
        raise WeightsError(f"{path}: not a caffemodel: no layer is in it")
    return layers


def _read_net(wire: Wire) -> list[LayerWeights]:
    layers = []
    for number, kind, a, b in wire.fields():
        if kind == BYTES and number == _LAYER:
            layers.append(_read_layer(wire.inner(a, b), name=1, kind_field=2, blobs=7))
        elif kind == BYTES and number == _LAYERS:
            layers.append(_read_layer(wire.inner(a, b), name=4, kind_field=5, blobs=6, nested=1))
    return layers


def _read_layer(wire: Wire, name: int, kind_field: int, blobs: int, nested: int = 0) -> LayerWeights:
    layer = LayerWeights("")
    found = []
    try:
        for number, kind, a, b in wire.fields():
            if kind != BYTES:
                continue
            if number == name:
                layer.name = wire.text(a, b)
            elif number == kind_field:
                layer.type = wire.text(a, b)
            elif number == blobs:
                found.append((a, b))
            elif number == nested:  # a V0 layer inside
                layer = _read_layer(wire.inner(a, b), name=1, kind_field=2, blobs=50)
        for j, (a, b) in enumerate(found):
            layer.blobs.append(_read_blob(wire.inner(a, b), f'{wire.filename}: layer "{layer.name}", blob {j}'))
    except WeightsError as error:
        where = f'{wire.filename}: layer "{layer.name}"'
        if layer.name and not str(error).startswith(where):
            raise WeightsError(f"{where}: {str(error).removeprefix(wire.filename + ': ')}") from None
        raise
    return layer


def _read_blob(wire: Wire, what: str) -> np.ndarray:
    old: dict[int, int] = {}
    shape: tuple[int, ...] | None = None
    parts: list[np.ndarray] = []
    raw: tuple[int, int] | None = None
    raw_type = 1
    for number, kind, a, b in wire.fields():
        if number in (1, 2, 3, 4) and kind == VARINT:
            old[number] = a
        elif number == 7 and kind == BYTES:
            shape = _read_shape(wire.inner(a, b))
        elif number in (5, 8):
            # data and double_data: packed, or (in files written by other programs) one number at a time
            dtype: np.dtype[Any] = np.dtype("<f4" if number == 5 else "<f8")
            if (b - a) % dtype.itemsize:
                raise WeightsError(f"{what}: its values are cut off at byte {b}")
            parts.append(np.frombuffer(wire.data[a:b], dtype))
        elif number == 10 and kind == VARINT:
            raw_type = a
        elif number == 12 and kind == BYTES:
            raw = (a, b)
    if raw is not None and not parts:
        dtype = _RAW_TYPES.get(raw_type, np.dtype("u1"))
        if raw_type not in _RAW_TYPES or (raw[1] - raw[0]) % dtype.itemsize:
            raise WeightsError(f"{what}: its raw values are of a kind ({raw_type}) that is not read, or cut off")
        parts.append(np.frombuffer(wire.data[raw[0] : raw[1]], dtype))
    if sum(part.size for part in parts) > LARGEST_BLOB:
        raise WeightsError(f"{what}: more values than a blob can have")
    # A copy: the map of the file is closed afterwards.
    values = np.concatenate(parts, dtype=np.float32) if parts else np.empty(0, np.float32)
    if shape is None:
        shape = tuple(old.get(i, 0) for i in (1, 2, 3, 4)) if old else (values.size,)
    return shaped(values, shape, what)


def _read_shape(wire: Wire) -> tuple[int, ...]:
    dims: list[int] = []
    for number, kind, a, b in wire.fields():
        if number == 1:
            dims += [a] if kind == VARINT else wire.varints(a, b)
    return tuple(dims)


def write_caffemodel(path: str | Path, net: Any, blobs: dict[str, list[np.ndarray]]) -> None:
    """Write a net and its parameters as Caffe does, whole or not at all.

    Parameters
    ----------
    path : path
    net : NetParameter message
        Its layers are written as they are, with ``blobs`` added (to the message too).
    blobs : dict of str to list of ndarray
        By layer name.
    """
    for layer in net.layer:
        del layer.blobs[:]
        for array in blobs.get(layer.name, []):
            array_to_blob(array, layer.blobs.add())
    with atomic_write(path) as temporary:
        temporary.write_bytes(net.SerializeToString())


__all__ = ["LayerWeights", "read_weights", "write_caffemodel", "write_hdf5"]
