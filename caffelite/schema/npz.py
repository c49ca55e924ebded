"""Arrays with names in NumPy's ``.npz``, and one in ``.npy``; of a file that is not trusted nothing is unpickled."""

import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike

from caffelite.errors import DataError
from caffelite.files import atomic_write
from caffelite.words import quoted

#: So many bytes all arrays of a file may take: a small file can unpack to any size.
LARGEST = 1 << 33
#: Deflate makes nothing smaller than this; what announces more has no values in the file.
_MOST_COMPRESSED = 1032
_ENDING = ".npy"


def npz_names(path: Path) -> list[str]:
    """Return the names of the arrays of a file, in its order; errors are those of :func:`read_npz`."""
    with _errors(path), zipfile.ZipFile(path) as archive:
        return list(_entries(path, archive))


def read_npz(
    path: Path, names: Sequence[str] | None = None, dtype: DTypeLike | None = np.float32
) -> dict[str, np.ndarray]:
    """Return arrays of a file, in its order.

    Parameters
    ----------
    path : Path
    names : sequence of str, optional
        Of those that are wanted, by default all.
    dtype : dtype, optional
        None: each array keeps its own.

    Raises
    ------
    DataError
        It cannot be read, or holds something else than arrays of numbers, or more bytes than :data:`LARGEST`.
    """
    with _errors(path), zipfile.ZipFile(path) as archive:
        arrays = {}
        for name, entry in _entries(path, archive).items():
            if names is None or name in names:
                with archive.open(entry) as stream:
                    arrays[name] = _array(stream, entry.file_size, f"{path}: {quoted(name)}", dtype)
    return arrays


def _entries(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return what a file has, by the names of the arrays, if it can be all that it announces."""
    listed = archive.infolist()
    size = sum(entry.file_size for entry in listed)
    if size > LARGEST:
        raise DataError(f"{path}: its arrays take {size:,} bytes, and at most {LARGEST:,} are read")
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in listed:
        name = entry.filename.removesuffix(_ENDING)
        if name == entry.filename or name in entries:
            what = "is there twice" if name in entries else "is no array"
            raise DataError(f"{path}: {quoted(entry.filename)} {what}; an .npz file has arrays, each with a name")
        if entry.file_size > _MOST_COMPRESSED * max(entry.compress_size, 1):
            there = f"{entry.compress_size:,} are there"
            raise DataError(f"{path}: {quoted(name)} announces {entry.file_size:,} bytes, {there}")
        entries[name] = entry
    if not entries:
        raise DataError(f"{path}: there is no array in it")
    return entries


def read_npy(path: Path) -> np.ndarray:
    """Return the array of a file, as float32; errors are those of :func:`read_npz`."""
    with _errors(path), path.open("rb") as stream:
        return _array(stream, path.stat().st_size, str(path), np.float32)


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays in their order; any name will do, where ``numpy.savez`` refuses some."""
    with atomic_write(path) as made, zipfile.ZipFile(made, "w") as archive:
        for name, values in arrays.items():
            with archive.open(f"{name}{_ENDING}", "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.asarray(values), allow_pickle=False)


def _array(stream: IO[bytes], size: int, where: str, dtype: DTypeLike | None) -> np.ndarray:
    """Read one array of so many bytes, with its header."""
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise DataError(f"{where} is in version {version[0]}.{version[1]} of NumPy's format; 1.0 and 2.0 are read")
    read: Any = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_columns, stored = read(stream)
    if stored.hasobject:
        raise DataError(f"{where} holds Python objects, a pickle, which is never opened, because it can run code")
    if stored.kind not in "biuf":
        raise DataError(f"{where} is of type {stored}, and not of numbers")
    count = math.prod(shape)
    if min(shape, default=0) < 0 or stream.tell() + count * stored.itemsize != size:
        raise DataError(f"{where} has another size than its header says: it is damaged")
    values = np.frombuffer(stream.read(count * stored.itemsize), stored)
    with np.errstate(over="ignore"):
        return values.reshape(shape, order="F" if by_columns else "C").astype(stored if dtype is None else dtype)


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    """Make one sentence of what is wrong with a file."""
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file") from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError, SyntaxError) as error:
        # RuntimeError is what zipfile says of one with a password, or packed in a way that it does not know.
        reason = next(iter(str(error).splitlines()), "it is cut off")
        raise DataError(f"{path}: its arrays cannot be read: {reason}") from None
