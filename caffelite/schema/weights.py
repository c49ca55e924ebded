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
from caffelite.files import atomic_write
from caffelite.schema import messages
from caffelite.schema.blobs import LARGEST_BLOB, MOST_AXES, shaped
from caffelite.schema.hdf5 import is_hdf5, read_hdf5_weights, write_hdf5
from caffelite.schema.wire import BYTES, VARINT, Wire, heading

# Numbers of fields: of a net, of a layer, of a blob.
_LAYER, _LAYERS = 100, 2
_BLOBS = 7
_DATA, _SHAPE, _DOUBLE_DATA = 5, 7, 8
#: NVCaffe's raw_data.
_RAW_TYPES: dict[int, np.dtype[Any]] = {0: np.dtype("<f8"), 1: np.dtype("<f4"), 2: np.dtype("<f2")}


@dataclass(slots=True)
class LayerWeights:
    """The parameters of a layer in a file.

    Attributes
    ----------
    name, type : str
        ``type`` is empty where the file has a number or nothing.
    blobs : list of ndarray of float32
        Not to be written to: where they can be, they are parts of the file's memory map.
    file : mmap, optional
        That map.
    """

    name: str
    type: str = ""
    blobs: list[np.ndarray] = field(default_factory=list)
    file: mmap.mmap | None = None

    def release(self) -> None:
        """Give back the memory of what has been read of the file so far; it is read again if need be."""
        if self.file is not None and hasattr(self.file, "madvise"):
            self.file.madvise(mmap.MADV_DONTNEED)


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
            layers = [LayerWeights(name, "", blobs) for name, blobs in read_hdf5_weights(file).items()]
        else:
            with file.open("rb") as stream:
                if file.stat().st_size == 0:
                    raise WeightsError(f"{path}: the file is empty")
                # Closed with its last reader: an error on the way may still hold a part of it.
                mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            layers = _read_net(Wire(memoryview(mapped), 0, len(mapped), str(path)))
            for layer in layers:
                layer.file = mapped
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror}") from None
    return _some(layers, str(path))


def weights_from_bytes(data: memoryview, filename: str) -> list[LayerWeights]:
    """Read the parameters of all layers from the bytes of a ``.caffemodel``; ``filename`` is for errors, which are the
    same as those of :func:`read_weights`.
    """
    return _some(_read_net(Wire(data, 0, len(data), filename)), filename)


def _some(layers: list[LayerWeights], filename: str) -> list[LayerWeights]:
    if not layers:
        raise WeightsError(f"{filename}: not a weights file: no layer is in it")
    return layers


def _read_net(wire: Wire) -> list[LayerWeights]:
    layers = []
    for number, kind, a, b in wire.fields():
        if kind == BYTES and number == _LAYER:
            layers.append(_read_layer(wire.inner(a, b), name=1, kind_field=2, blobs=_BLOBS))
        elif kind == BYTES and number == _LAYERS:
            layers.append(_read_layer(wire.inner(a, b), name=4, kind_field=5, blobs=6, nested=1))
    return layers


def _read_layer(wire: Wire, name: int, kind_field: int, blobs: int, nested: int = 0) -> LayerWeights:
    layer = LayerWeights("")
    places = []
    try:
        for number, kind, a, b in wire.fields():
            if kind != BYTES:
                continue
            if number == name:
                layer.name = wire.text(a, b)
            elif number == kind_field:
                layer.type = wire.text(a, b)
            elif number == blobs:
                places.append((a, b))
            elif number == nested:  # a V0 layer inside
                layer = _read_layer(wire.inner(a, b), name=1, kind_field=2, blobs=50)
        for j, (a, b) in enumerate(places):
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
    encoded: dict[int, list[Any]] = {_DATA: [], _DOUBLE_DATA: []}
    raw: tuple[int, int] | None = None
    raw_type = 1
    for number, kind, a, b in wire.fields():
        if number in (1, 2, 3, 4) and kind == VARINT:
            old[number] = a
        elif number == _SHAPE and kind == BYTES:
            shape = _read_shape(wire.inner(a, b), what)
        elif number in encoded:
            parts = encoded[number]
            if kind == BYTES:
                parts.append(wire.data[a:b])
            elif parts and isinstance(parts[-1], bytearray):
                # One number at a time, as some programs write: gathered, since an object each would take far more.
                parts[-1] += wire.data[a:b]
            else:
                parts.append(bytearray(wire.data[a:b]))
        elif number == 10 and kind == VARINT:
            raw_type = a
        elif number == 12 and kind == BYTES:
            raw = (a, b)
    dtype: np.dtype[Any] = np.dtype("<f8" if encoded[_DOUBLE_DATA] else "<f4")
    pieces = encoded[_DOUBLE_DATA] or encoded[_DATA]
    if raw is not None and not pieces:
        if raw_type not in _RAW_TYPES:
            raise WeightsError(f"{what}: its raw values are of a kind ({raw_type}) that is not read")
        dtype, pieces = _RAW_TYPES[raw_type], [wire.data[raw[0] : raw[1]]]
    if any(len(piece) % dtype.itemsize for piece in pieces):
        raise WeightsError(f"{what}: its values are cut off before byte {wire.end}")
    if sum(map(len, pieces)) // dtype.itemsize > LARGEST_BLOB:
        raise WeightsError(f"{what}: more values than a blob can have")
    arrays = [np.frombuffer(piece, dtype) for piece in pieces]
    if len(arrays) == 1 and arrays[0].dtype == np.float32:
        values = arrays[0]
    else:
        values = np.concatenate(arrays, dtype=np.float32) if arrays else np.empty(0, np.float32)
    if shape is None:
        shape = tuple(old.get(i, 0) for i in (1, 2, 3, 4)) if old else (values.size,)
    return shaped(values, shape, what)


def _read_shape(wire: Wire, what: str) -> tuple[int, ...]:
    dims: list[int] = []
    for number, kind, a, b in wire.fields():
        if number == 1:
            dims += [a] if kind == VARINT else wire.varints(a, min(b, a + 10 * MOST_AXES + 10))
        if len(dims) > MOST_AXES:
            raise WeightsError(f"{what}: its shape has more than {MOST_AXES} axes")
    return tuple(n - (1 << 64) if n >> 63 else n for n in dims)


def write_caffemodel(path: str | Path, net: messages.NetParameter, blobs: dict[str, list[np.ndarray]]) -> None:
    """Write a net and its parameters as Caffe does, whole or not at all.

    The values go from the arrays to the file as they are: a message that holds them would take twice their memory and
    most of the time.

    Parameters
    ----------
    path : path
    net : NetParameter message
        Its layers are written as they are, with ``blobs`` in place of any that they hold; it is left unchanged.
    blobs : dict of str to list of ndarray
        By layer name.
    """
    head = messages.NetParameter()
    head.CopyFrom(net)
    del head.layer[:]
    with atomic_write(path) as temporary, temporary.open("wb") as stream:
        stream.write(head.SerializeToString())
        for layer in net.layer:
            settings = messages.LayerParameter()
            settings.CopyFrom(layer)
            del settings.blobs[:]
            parts: list[Any] = [settings.SerializeToString()]
            for array in blobs.get(layer.name, []):
                values = np.ascontiguousarray(array, "<f4").reshape(-1).data.cast("B")
                shape = messages.BlobShape(dim=array.shape).SerializeToString()
                blob = [heading(_DATA, len(values)), values, heading(_SHAPE, len(shape)), shape]
                parts += [heading(_BLOBS, sum(map(len, blob))), *blob]
            stream.write(heading(_LAYER, sum(map(len, parts))))
            stream.writelines(parts)


__all__ = ["LayerWeights", "read_weights", "weights_from_bytes", "write_caffemodel", "write_hdf5"]
