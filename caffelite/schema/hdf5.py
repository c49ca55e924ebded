"""Weights and solver states as HDF5, laid out as Caffe does; needs the extra ``hdf5``."""

import os
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from caffelite.errors import DataError, Error, MissingExtraError, WeightsError
from caffelite.files import atomic_write
from caffelite.schema.blobs import LARGEST_BLOB

#: The attribute of files that a RowWriter made, which another one may take the place of.
_WRITER = "written_by"
_ROW_FILE = "caffelite HDF5Output"
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
#: Deflate makes nothing smaller than this; what announces more has no values in the file.
_MOST_COMPRESSED = 1032
#: Groups in groups, for names of layers with slashes.
_DEEPEST = 20
_MOST_GROUPS = 1 << 16


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


@contextmanager
def _opened(path: str | Path, what: str | None = None) -> Iterator[Any]:
    module = h5py()
    try:
        with module.File(path, "r") as file:
            yield file
    except Error:
        raise
    # h5py passes on what the library finds broken as whichever of these comes near.
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        shown = what or str(path)
        reason = str(error).replace(f"'{path}'", shown)
        raise WeightsError(f"{shown}: not a whole HDF5 file ({reason})") from None


def _own(group: Any, name: str, what: str) -> Any:
    """Return what a group holds under ``name``; a link may not lead to another file."""
    if isinstance(group.get(name, getlink=True), h5py().ExternalLink):
        raise WeightsError(f'{what}: "{name}" is a link to another file, which is not followed')
    return group[name]


def _dataset(group: Any, name: str, what: str, kinds: str) -> Any:
    """Return a dataset whose numbers are of one of the ``kinds`` (of NumPy's dtypes) and are in this file."""
    data = _own(group, name, what)
    if not isinstance(data, h5py().Dataset) or data.shape is None or data.dtype.kind not in kinds:
        raise WeightsError(f'{what}: "{name}" does not hold the numbers that are expected there')
    if data.is_virtual or data.external:
        raise WeightsError(f'{what}: the values of "{name}" are in another file, which is not read')
    stored = data.id.get_storage_size()
    if data.size > LARGEST_BLOB or data.nbytes > _MOST_COMPRESSED * stored:
        raise WeightsError(f'{what}: "{name}" announces {data.nbytes} bytes, {stored} are there')
    return data


def _values(group: Any, name: str, what: str, kinds: str) -> np.ndarray:
    return np.asarray(_dataset(group, name, what, kinds)[()])


def _blobs(group: Any, what: str) -> list[np.ndarray]:
    """Return the datasets 0, 1, 2 … of a group."""
    numbers = sorted(int(name) for name in group if name.isdecimal() and name.isascii())
    if numbers != list(range(len(numbers))):
        raise WeightsError(f"{what}: blob {next(i for i, n in enumerate(numbers) if i != n)} is missing")
    return [_values(group, str(j), what, "f").astype(np.float32, copy=False) for j in numbers]


def list_hdf5(path: str | Path) -> list[tuple[str, tuple[int, ...], str]]:
    """Return name, shape and type of numbers of all datasets in a file, by name; no values are read.

    Raises
    ------
    WeightsError
        It is damaged, has links to other files, or more groups than any of Caffe's.
    """
    listed: list[tuple[str, tuple[int, ...], str]] = []
    seen = 0

    def walk(group: Any, name: str) -> None:
        nonlocal seen
        for key in group:
            seen += 1
            if seen > _MOST_GROUPS:
                raise WeightsError(f"{path}: more groups and datasets than a file of Caffe's has")
            inner, full = _own(group, key, str(path)), f"{name}/{key}" if name else key
            if isinstance(inner, h5py().Dataset):
                listed.append((full, inner.shape or (), str(inner.dtype)))
            elif isinstance(inner, h5py().Group) and full.count("/") < _DEEPEST:
                walk(inner, full)

    with _opened(path) as file:
        walk(file, "")
    return listed


def read_hdf5_weights(path: str | Path) -> dict[str, list[np.ndarray]]:
    """Return the blobs of every layer in the group ``data``.

    A layer is a group with datasets, or an empty one; the name of a layer can have slashes, and groups within groups
    are what HDF5 makes of them.
    """
    layers: dict[str, list[np.ndarray]] = {}
    seen = 0

    def walk(group: Any, name: str) -> None:
        nonlocal seen
        seen += 1
        if seen > _MOST_GROUPS:  # links can make a few groups look like any number of them
            raise WeightsError(f"{path}: more groups than a net has layers")
        what = f'{path}: layer "{name}"'
        inner = [key for key in group if isinstance(_own(group, key, what), h5py().Group)]
        if name and (len(inner) < len(group) or not inner):
            layers[name] = _blobs(group, what)
        if name.count("/") < _DEEPEST:
            for key in inner:
                walk(group[key], f"{name}/{key}" if name else key)

    with _opened(path) as file:
        if "data" not in file or not isinstance(_own(file, "data", str(path)), h5py().Group):
            raise WeightsError(f'{path}: no weights: the group "data" is missing')
        walk(file["data"], "")
    return layers


@contextmanager
def _written(path: str | Path) -> Iterator[Any]:
    """Give an HDF5 file in memory, which is written as ``path`` at the end.

    On a disk that is full, the library fails where it cleans up, and may take the process along.
    """
    with h5py().File("memory", "w", driver="core", backing_store=False) as file:
        yield file
        file.flush()
        image = file.id.get_file_image()
    with atomic_write(path) as temporary:
        temporary.write_bytes(image)


def write_hdf5(path: str | Path, blobs: dict[str, list[np.ndarray]]) -> None:
    """Write the blobs of layers as ``data/LAYER/INDEX``, whole or not at all."""
    with _written(path) as file:
        group = file.create_group("data")
        for name, arrays in blobs.items():
            try:
                if name.startswith("/"):
                    raise ValueError("a path from the root")
                inner = group.require_group(name)
            except (TypeError, ValueError):
                raise WeightsError(
                    f'{path}: "{name}" cannot be the name of a layer in an HDF5 file, or clashes with another; '
                    "write a .caffemodel"
                ) from None
            for j, array in enumerate(arrays):
                inner[str(j)] = np.asarray(array, np.float32)


def read_hdf5_state(path: str | Path) -> tuple[dict[str, Any], list[np.ndarray], dict[str, np.ndarray]]:
    """Return the numbers, the history and caffelite's own arrays of a solver state."""
    with _opened(path) as file:
        if "iter" not in file or "history" not in file:
            raise WeightsError(f'{path}: not a solver state: "iter" or "history" is missing')
        learned = file["learned_net"][()] if "learned_net" in file else b""
        facts = {
            "iter": _number(file, "iter", path),
            "current_step": _number(file, "current_step", path) if "current_step" in file else 0,
            "learned_net": learned.decode("utf-8", "replace") if isinstance(learned, bytes) else str(learned),
        }
        history = _blobs(_own(file, "history", str(path)), f"{path}: history")
        own = _own(file, "caffelite_state", str(path)) if "caffelite_state" in file else {}
        extra = {_name_of(key): _values(own, key, str(path), "fiub") for key in own}
        return facts, history, extra


def _key_of(name: str) -> str:
    """Return the name of a dataset for the name of an array, which may have slashes; see :func:`_name_of`."""
    return name.replace("%", "%25").replace("|", "%7C").replace("/", "|")


def _name_of(key: str) -> str:
    return key.replace("|", "/").replace("%7C", "|").replace("%25", "%")


def _number(file: Any, name: str, path: str | Path) -> int:
    values = _values(file, name, str(path), "iu")
    if values.size != 1:
        raise WeightsError(f'{path}: "{name}" is {values.size} numbers, expected one')
    return int(values.reshape(-1)[0])


def write_hdf5_state(
    path: str | Path, facts: dict[str, Any], history: list[np.ndarray], extra: dict[str, np.ndarray]
) -> None:
    """Write a solver state as Caffe does, with caffelite's own arrays in a group that Caffe does not read."""
    with _written(path) as file:
        file["iter"] = np.array([facts["iter"]], np.int32)
        file["current_step"] = np.array([facts["current_step"]], np.int32)
        file["learned_net"] = np.bytes_(facts["learned_net"].encode())
        group = file.create_group("history")
        for j, array in enumerate(history):
            group[str(j)] = array
        own = file.create_group("caffelite_state")
        for name, array in extra.items():
            own[_key_of(name)] = array


@contextmanager
def _row_datasets(path: str | Path, names: Sequence[str], what: str) -> Iterator[list[Any]]:
    """Give datasets of numbers that have equally many rows."""
    if not os.path.isfile(path):
        raise DataError(f"{what}: there is no such file")
    try:
        with _opened(path, what) as file:
            datasets = []
            for name in names:
                group, *parts = file, *name.strip("/").split("/")
                for part in parts[:-1]:
                    group = _own(group, part, what) if part in group else {}
                if parts[-1] not in group:
                    raise DataError(f'{what}: there is no dataset "{name}"')
                datasets.append(_dataset(group, parts[-1], what, "fiu"))
            for name, dataset in zip(names, datasets, strict=True):
                if not dataset.shape or not dataset.size or dataset.shape[:1] != datasets[0].shape[:1]:
                    raise DataError(
                        f'{what}: "{name}" has shape {dataset.shape}, "{names[0]}" {datasets[0].shape}; '
                        "there must be rows, and the same number of them"
                    )
            yield datasets
    except WeightsError as error:
        raise DataError(str(error)) from None


def row_shapes(path: str | Path, names: Sequence[str], what: str) -> list[tuple[int, ...]]:
    """Return the shapes of datasets of numbers, all with the same number of rows; ``what`` the file is in errors.

    Raises
    ------
    DataError
        The file or a dataset is missing or damaged, or numbers of rows differ.
    """
    with _row_datasets(path, names, what) as datasets:
        return [dataset.shape for dataset in datasets]


def read_rows(path: str | Path, names: Sequence[str], what: str, dtype: Any = np.float32) -> list[np.ndarray]:
    """Return datasets of numbers, as :func:`row_shapes` takes them; with None as ``dtype`` each in its own."""
    with _row_datasets(path, names, what) as datasets:
        return [np.asarray((dataset if dtype is None else dataset.astype(dtype))[()]) for dataset in datasets]


def dataset_names(path: str | Path) -> list[str]:
    """Return the names of the datasets that a file has outside of groups.

    Raises
    ------
    DataError
        The file is missing or damaged.
    """
    if not os.path.isfile(path):
        raise DataError(f"{path}: there is no such file")
    try:
        with _opened(path) as file:
            return [name for name in file if isinstance(_own(file, name, str(path)), h5py().Dataset)]
    except WeightsError as error:
        raise DataError(str(error)) from None


class RowWriter:
    """An HDF5 file of float32 datasets that grow by rows; it has its name when it is closed, and is whole then.

    It takes its name also when it is forgotten or the program ends.

    Parameters
    ----------
    path : path

    Raises
    ------
    FileExistsError
        There is something that another RowWriter did not make.
    """

    def __init__(self, path: str | Path) -> None:
        if os.path.lexists(path) and not _is_row_file(path):
            raise FileExistsError("it is there already, and was not made by an HDF5Output layer")
        self.path = path
        self._context = atomic_write(path)
        temporary = self._context.__enter__()
        self._file = h5py().File(temporary, "w")
        self._file.attrs[_WRITER] = _ROW_FILE
        self.close = weakref.finalize(self, _finish, self._file, self._context)

    def append(self, name: str, rows: np.ndarray) -> None:
        """Add rows to a dataset; all rows of one have one shape."""
        if not len(rows):
            return
        if name not in self._file:
            self._file.create_dataset(
                name, data=rows, dtype=np.float32, chunks=rows.shape, maxshape=(None, *rows.shape[1:])
            )
            return
        dataset = self._file[name]
        dataset.resize(dataset.shape[0] + len(rows), axis=0)
        dataset[-len(rows) :] = rows


def _is_row_file(path: str | Path) -> bool:
    try:
        with _opened(path) as file:
            return bool(file.attrs.get(_WRITER) == _ROW_FILE)
    except WeightsError:
        return False


def _finish(file: Any, context: Any) -> None:
    file.close()
    context.__exit__(None, None, None)
