"""Weights alone, in the files of other programs: names and arrays.

A blob is called by its layer and its number: ``conv1/0`` in ``.npz`` and, below ``data``, in HDF5, as Caffe has it;
``conv1.0`` in ``.safetensors``. What a PyTorch module was saved as has names of its own.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from caffelite.errors import DataError, MissingExtraError, WeightsError
from caffelite.files import atomic_write
from caffelite.schema import npz
from caffelite.schema.blobs import LARGEST_BLOB, MOST_AXES
from caffelite.schema.hdf5 import write_hdf5
from caffelite.words import quoted

#: The blobs of layers, by name.
Weights = dict[str, list[np.ndarray]]

#: What stands between the layer and the number in the name of a blob, by the ending of a file of named arrays.
BETWEEN = {".npz": "/", ".safetensors": "."}


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of a ``.npz`` or ``.safetensors`` file, by name.

    Raises
    ------
    WeightsError
        It is damaged, or an array is larger than a blob can be.
    MissingExtraError
        safetensors is not installed.
    """
    arrays = _read_npz(path) if path.suffix == ".npz" else _read_safetensors(path)
    for name, array in arrays.items():
        if array.ndim > MOST_AXES or array.size > LARGEST_BLOB:
            raise WeightsError(f"{path}: {quoted(name)} is larger than a blob can be")
    return arrays


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        return npz.read_npz(path, dtype=None)
    except DataError as error:
        raise WeightsError(error.message) from None


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    module = _safetensors()
    try:
        return dict(module.load_file(path))
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror or error}") from None
    except TypeError as error:  # bfloat16, and types of eight bits and fewer
        raise WeightsError(f"{path}: {error}; expected float32 (float16 and float64 are taken too)") from None
    except Exception as error:  # of safetensors' own kinds
        raise WeightsError(f"{path}: not a whole .safetensors file ({error})") from None


def _safetensors() -> Any:
    try:
        import safetensors.numpy as module
    except ImportError:
        raise MissingExtraError(
            "safetensors files need safetensors: pip install safetensors, or 'caffelite[torch]'"
        ) from None
    return module


def are_blobs(names: Iterable[str], path: Path) -> bool:
    """Return whether all arrays of a file are called as blobs are."""
    return all(_blob_of(name, BETWEEN[path.suffix]) for name in names)


def blobs_of(arrays: Mapping[str, np.ndarray], path: Path) -> Weights:
    """Return the arrays of a file by layer, in the order of their numbers.

    Raises
    ------
    WeightsError
        The name or the numbers of an array are not those of a blob.
    """
    layers: dict[str, dict[int, np.ndarray]] = {}
    for name, array in arrays.items():
        if array.dtype.kind != "f":
            raise WeightsError(
                f"{path}: {quoted(name)} has numbers of type {array.dtype}, expected float32 (float16 and float64 are "
                "taken too)"
            )
        blob = _blob_of(name, BETWEEN[path.suffix])
        if blob is None:
            raise WeightsError(
                f"{path}: {quoted(name)} is not LAYER{BETWEEN[path.suffix]}NUMBER, as a blob of Caffe is called; what "
                "a PyTorch module has learned goes into a .caffemodel with --net, the prototxt that it was made of"
            )
        layers.setdefault(blob[0], {})[blob[1]] = array.astype(np.float32, copy=False)
    for layer, blobs in layers.items():
        missing = next((j for j in range(len(blobs)) if j not in blobs), None)
        if missing is not None:
            raise WeightsError(f"{path}: layer {quoted(layer)}: blob {missing} is missing")
    return {layer: [blobs[j] for j in range(len(blobs))] for layer, blobs in layers.items()}


def _blob_of(name: str, between: str) -> tuple[str, int] | None:
    """Return the layer and the number in the name of a blob; None where it is no such name."""
    layer, mark, number = name.rpartition(between)
    if not (layer and mark and number.isdecimal() and number.isascii() and len(number) < 5):
        return None
    return layer, int(number)


def write_blobs(path: Path, weights: Weights) -> None:
    """Write blobs alone, as the ending of the file says; it is there whole or not at all."""
    if path.suffix not in BETWEEN:
        write_hdf5(path, weights)
        return
    named = {
        f"{layer}{BETWEEN[path.suffix]}{j}": np.ascontiguousarray(blob, np.float32).reshape(blob.shape)
        for layer, blobs in weights.items()
        for j, blob in enumerate(blobs)
    }
    if path.suffix == ".npz":
        npz.write_npz(path, named)
        return
    module = _safetensors()
    with atomic_write(path) as made:
        # Not by its save_file, whose files nobody else can read.
        made.write_bytes(module.save(named, {"format": "caffe"}))
