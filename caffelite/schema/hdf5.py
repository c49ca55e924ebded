"""Weights and solver states as HDF5, laid out as Caffe does; needs the extra ``hdf5``."""

from pathlib import Path
from typing import Any

import numpy as np

from caffelite.errors import MissingExtraError, WeightsError
from caffelite.schema.files import atomic_write

_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def h5py() -> Any:
    """Return the h5py module, or say what to install."""
    try:
        import h5py as module
    except ImportError:
        raise MissingExtraError("HDF5 files need h5py: pip install 'caffelite[hdf5]'") from None
    return module


def is_hdf5(path: Path) -> bool:
    """Whether a file begins as HDF5 files do."""
    with path.open("rb") as stream:
        return stream.read(len(_SIGNATURE)) == _SIGNATURE


def _open(path: str | Path) -> Any:
    try:
        return h5py().File(path, "r")
    except OSError as error:
        raise WeightsError(f"{path}: not a whole HDF5 file ({error})") from None


def _arrays(group: Any, what: str) -> list[np.ndarray]:
    found: list[np.ndarray] = []
    while str(len(found)) in group:
        data = group[str(len(found))]
        if not hasattr(data, "shape") or data.dtype.kind != "f":
            raise WeightsError(f"{what}: dataset {len(found)} holds no floating-point numbers")
        found.append(np.asarray(data, np.float32))
    return found


def read_hdf5_weights(path: str | Path) -> dict[str, list[np.ndarray]]:
    """Return the blobs of every layer in the group ``data``."""
    with _open(path) as file:
        if "data" not in file:
            raise WeightsError(f'{path}: no weights: the group "data" is missing')
        return {name: _arrays(group, f'{path}: layer "{name}"') for name, group in file["data"].items()}


def write_hdf5(path: str | Path, blobs: dict[str, list[np.ndarray]]) -> None:
    """Write the blobs of layers as ``data/LAYER/INDEX``, whole or not at all."""
    module = h5py()
    with atomic_write(path) as temporary, module.File(temporary, "w") as file:
        group = file.create_group("data")
        for name, arrays in blobs.items():
            inner = group.create_group(name)
            for j, array in enumerate(arrays):
                inner[str(j)] = np.asarray(array, np.float32)


def read_hdf5_state(path: str | Path) -> tuple[dict[str, Any], list[np.ndarray], dict[str, np.ndarray]]:
    """Return the numbers, the history and caffelite's own arrays of a solver state."""
    with _open(path) as file:
        if "iter" not in file or "history" not in file:
            raise WeightsError(f'{path}: not a solver state: "iter" or "history" is missing')
        learned = file["learned_net"][()] if "learned_net" in file else b""
        facts = {
            "iter": int(np.ravel(file["iter"][()])[0]),
            "current_step": int(np.ravel(file["current_step"][()])[0]) if "current_step" in file else 0,
            "learned_net": learned.decode() if isinstance(learned, bytes) else str(learned),
        }
        own = file.get("caffelite_state", {})
        extra = {name.replace("|", "/"): np.asarray(own[name]) for name in own}
        return facts, _arrays(file["history"], str(path)), extra


def write_hdf5_state(
    path: str | Path, facts: dict[str, Any], history: list[np.ndarray], extra: dict[str, np.ndarray]
) -> None:
    """Write a solver state as Caffe does, with caffelite's own arrays in a group that Caffe does not read."""
    module = h5py()
    with atomic_write(path) as temporary, module.File(temporary, "w") as file:
        file["iter"] = np.array([facts["iter"]], np.int32)
        file["current_step"] = np.array([facts["current_step"]], np.int32)
        file["learned_net"] = np.bytes_(facts["learned_net"])
        group = file.create_group("history")
        for j, array in enumerate(history):
            group[str(j)] = array
        own = file.create_group("caffelite_state")
        for name, array in extra.items():
            own[name.replace("/", "|")] = array
