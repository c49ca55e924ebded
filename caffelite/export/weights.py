"""Weights alone, in the files of other programs: names and arrays.

A blob is called by its layer and its number: ``conv1/0`` in ``.npz`` and, below ``data``, in HDF5, as Caffe has it;
``conv1.0`` in ``.safetensors``.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from caffelite.errors import DataError, MissingExtraError, WeightsError
from caffelite.files import atomic_write
from caffelite.schema import npz
from caffelite.schema.blobs import LARGEST_BLOB, MOST_AXES
from caffelite.schema.hdf5 import read_hdf5_weights, write_hdf5
from caffelite.words import quoted

#: The blobs of layers, by name.
Weights = dict[str, list[np.ndarray]]


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


def _read_npz(path: Path) -> Weights:
    """Read arrays called ``LAYER/NUMBER``; raise WeightsError where it holds something else."""
    try:
        found = npz.read_npz(path, dtype=None)
    except DataError as error:
        raise WeightsError(error.message) from None
    for name, array in found.items():
        _check(array.shape, array.dtype, f"{path}: {quoted(name)}")
    return _layers(found, "/", path)


def _check(shape: Sequence[int], dtype: np.dtype[Any], what: str) -> None:
    if dtype.kind != "f":
        raise WeightsError(f"{what} has numbers of type {dtype}, expected float32 (float16 and float64 are taken too)")
    if len(shape) > MOST_AXES or np.prod(shape, dtype=object) > LARGEST_BLOB:
        raise WeightsError(f"{what} is larger than a blob can be")


def _write_npz(path: Path, weights: Weights) -> None:
    npz.write_npz(path, _named(weights, "/"))


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
        found = module.load_file(path)
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror or error}") from None
    except Exception as error:  # of safetensors' own kinds
        raise WeightsError(f"{path}: not a whole .safetensors file ({error})") from None
    for name, array in found.items():
        _check(array.shape, array.dtype, f"{path}: {quoted(name)}")
    return _layers(found, ".", path)


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


def _layers(named: Mapping[str, np.ndarray], between: str, path: Path) -> Weights:
    """Return arrays by layer, in the order of their numbers."""
    layers: dict[str, dict[int, np.ndarray]] = {}
    for name, array in named.items():
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
    ".npz": WeightsFormat(_read_npz, _write_npz),
    ".safetensors": WeightsFormat(read_safetensors, write_safetensors),
    ".h5": WeightsFormat(read_hdf5_weights, write_hdf5),
}
