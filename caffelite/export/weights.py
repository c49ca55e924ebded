"""Weights alone, in the files of other programs: names and arrays.

A blob is called by its layer and its number: ``conv1/0`` in ``.npz`` and, below ``data``, in HDF5, as Caffe has it;
``conv1.0`` in ``.safetensors``.
"""

import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from caffelite.errors import MissingExtraError, WeightsError
from caffelite.files import atomic_write
from caffelite.schema.blobs import LARGEST_BLOB, MOST_AXES
from caffelite.schema.hdf5 import read_hdf5_weights, write_hdf5
from caffelite.words import quoted

#: The blobs of layers, by name.
Weights = dict[str, list[np.ndarray]]
#: Deflate makes nothing smaller than this; what announces more has no values in the file.
_MOST_COMPRESSED = 1032
#: Of an array in a zip file: its shape and the kind of its numbers, before they begin.
_HEADER = 1 << 16


class WeightsFormat(NamedTuple):
    """How a kind of file is read and written.

    Attributes
    ----------
    read : callable
        Takes a path, returns the blobs.
    write : callable
        Takes a path and the blobs; the file is there whole or not at all.
    """

    read: Callable[[Path], Weights]
    write: Callable[[Path, Weights], None]


def read_npz(path: Path) -> Weights:
    """Read arrays called ``LAYER/NUMBER`` from a ``.npz`` file; nothing in it is unpickled.

    Raises
    ------
    WeightsError
        It is damaged, an array announces more than is there, or its name or numbers are not those of a blob.
    """
    arrays = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                name = member.filename.removesuffix(".npy")
                what = f"{path}: {quoted(name)}"
                if member.file_size > _MOST_COMPRESSED * max(member.compress_size, 1):
                    raise WeightsError(f"{what} announces {member.file_size} bytes, {member.compress_size} are there")
                with archive.open(member) as stream:
                    arrays[name] = _array(stream, member.file_size, what)
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror or error}") from None
    except (zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError, EOFError, zlib.error) as error:
        raise WeightsError(f"{path}: not a whole .npz file ({error})") from None
    return _layers(arrays, "/", path)


def _array(stream: Any, size: int, what: str) -> np.ndarray:
    """Read an array of NumPy's format, if the file has as many bytes as it announces."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_columns, dtype = read(stream, max_header_size=_HEADER)
    _check(shape, dtype, what)
    count = int(np.prod(shape, dtype=object))
    there = size - stream.tell()
    if count * dtype.itemsize != there:
        raise WeightsError(f"{what} announces {count * dtype.itemsize} bytes, {there} are there")
    values = np.frombuffer(stream.read(), dtype)
    return values.reshape(shape, order="F" if by_columns else "C")


def _check(shape: Sequence[int], dtype: np.dtype[Any], what: str) -> None:
    if dtype.kind != "f":
        raise WeightsError(f"{what} has numbers of type {dtype}, expected float32 (float16 and float64 are taken too)")
    if len(shape) > MOST_AXES or np.prod(shape, dtype=object) > LARGEST_BLOB:
        raise WeightsError(f"{what} is larger than a blob can be")


def write_npz(path: Path, weights: Weights) -> None:
    """Write arrays called ``LAYER/NUMBER``, not compressed, as ``numpy.load`` reads them."""
    with atomic_write(path) as made, zipfile.ZipFile(made, "w") as archive:
        for name, array in _named(weights, "/").items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, array, allow_pickle=False)


def _safetensors() -> Any:
    try:
        import safetensors.numpy as module
    except ImportError:
        raise MissingExtraError(
            "safetensors files need safetensors: pip install safetensors, or 'caffelite[torch]'"
        ) from None
    return module


def read_safetensors(path: Path) -> Weights:
    """Read arrays called ``LAYER.NUMBER`` from a ``.safetensors`` file.

    Raises
    ------
    WeightsError
        It is damaged, or the name or the numbers of an array are not those of a blob.
    MissingExtraError
        safetensors is not installed.
    """
    module = _safetensors()
    try:
        arrays = module.load_file(path)
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror or error}") from None
    except Exception as error:  # of safetensors' own kinds
        raise WeightsError(f"{path}: not a whole .safetensors file ({error})") from None
    for name, array in arrays.items():
        _check(array.shape, array.dtype, f"{path}: {quoted(name)}")
    return _layers(arrays, ".", path)


def write_safetensors(path: Path, weights: Weights) -> None:
    """Write arrays called ``LAYER.NUMBER``."""
    module = _safetensors()
    with atomic_write(path) as made:
        # Not by its save_file, whose files nobody else can read.
        made.write_bytes(module.save(_named(weights, "."), {"format": "caffe"}))


def _named(weights: Weights, between: str) -> dict[str, np.ndarray]:
    return {
        f"{layer}{between}{j}": np.ascontiguousarray(blob, np.float32).reshape(blob.shape)
        for layer, blobs in weights.items()
        for j, blob in enumerate(blobs)
    }


def _layers(arrays: Mapping[str, np.ndarray], between: str, path: Path) -> Weights:
    """Return arrays by layer, in the order of their numbers."""
    layers: dict[str, dict[int, np.ndarray]] = {}
    for name, array in arrays.items():
        layer, mark, number = name.rpartition(between)
        if not (layer and mark and number.isdecimal() and number.isascii() and len(number) < 5):
            raise WeightsError(f"{path}: {quoted(name)} is not LAYER{between}NUMBER, as a blob of Caffe is called")
        layers.setdefault(layer, {})[int(number)] = array.astype(np.float32, copy=False)
    for layer, blobs in layers.items():
        missing = next((j for j in range(len(blobs)) if j not in blobs), None)
        if missing is not None:
            raise WeightsError(f"{path}: layer {quoted(layer)}: blob {missing} is missing")
    return {layer: [blobs[j] for j in range(len(blobs))] for layer, blobs in layers.items()}


#: By the ending of the file.
FORMATS = {
    ".npz": WeightsFormat(read_npz, write_npz),
    ".safetensors": WeightsFormat(read_safetensors, write_safetensors),
    ".h5": WeightsFormat(read_hdf5_weights, write_hdf5),
}
