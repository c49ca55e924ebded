"""Finding and opening the original files of a data set: plain, compressed or in an archive."""

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from caffelite.datasets.download import Remote
from caffelite.errors import DataError, first_line
from caffelite.files import written_until_full
from caffelite.words import quoted

#: Images (n, C, H, W) uint8 and labels (n,) uint8.
Chunk = tuple[np.ndarray, np.ndarray]
#: Images in a chunk.
CHUNK = 1000

_SUFFIXES = ("", ".gz", ".xz", ".bz2")
_LARGEST_MEMBER = 1 << 28
_BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError)
#: tarfile passes on what it stumbles over in a broken header: numbers that are none, names that are no text.
_BROKEN_TAR = (*_BROKEN, ValueError, ArithmeticError, LookupError, TypeError)


@dataclass(frozen=True, slots=True)
class Splits:
    """The two parts of a data set; each call gives the images from the first on."""

    train: Callable[[], Iterator[Chunk]]
    test: Callable[[], Iterator[Chunk]]


@dataclass(frozen=True, slots=True)
class DataSet:
    """What is known of a data set.

    Attributes
    ----------
    name, title : str
        The name in commands, and the name people use.
    files : tuple of str
        What the example nets name, in the folder ``data``.
    remotes : tuple of Remote
        The originals, as they can be downloaded.
    original_names : str
        Names of originals, for errors.
    find : callable
        Takes a folder and an empty one for unpacking; returns the parts, or None if the originals are not
        there.
    builtin : Splits
        Drawn images, for where no originals can be had.
    build : callable
        Takes parts and a folder, writes ``files`` there and returns the numbers of images of the parts.
    """

    name: str
    title: str
    files: tuple[str, ...]
    remotes: tuple[Remote, ...]
    original_names: str
    find: Callable[[Path, Path], Splits | None]
    builtin: Splits
    build: Callable[[Splits, Path], tuple[int, int]]


def places(root: Path, folders: Sequence[str]) -> Iterator[Path]:
    """Yield ``root`` and those of ``folders`` that are in it, two levels deep."""
    if root.is_dir():
        yield root
        for name in folders:
            if (root / name).is_dir():
                yield root / name
                yield from (root / name / inner for inner in folders if (root / name / inner).is_dir())


def find_file(folder: Path, *names: str) -> Path | None:
    """Return the file in ``folder`` that has one of the names, compressed or not."""
    for name in names:
        for suffix in _SUFFIXES:
            if (folder / (name + suffix)).is_file():
                return folder / (name + suffix)
    return None


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file through whatever compression its first bytes show; errors inside become DataError."""
    try:
        with path.open("rb") as plain:
            start = plain.read(6)
        if start[:2] == b"\x1f\x8b":
            stream: BinaryIO = cast(BinaryIO, gzip.open(path))
        elif start == b"\xfd7zXZ\x00":
            stream = cast(BinaryIO, lzma.open(path))
        elif start[:3] == b"BZh":
            stream = cast(BinaryIO, bz2.open(path))
        else:
            stream = path.open("rb")
        with stream:
            yield stream
    except _BROKEN as error:
        raise DataError(f"{path} cannot be read: {first_line(error)}") from None


def read_records(stream: BinaryIO, size: int, path: Path, count: int | None = None) -> Iterator[np.ndarray]:
    """Yield rows of ``size`` bytes, up to :data:`CHUNK` at a time, to the end of the file.

    Parameters
    ----------
    stream : binary file
    size : int
    path : Path
        For errors.
    count : int, optional
        How many rows there must be.

    Yields
    ------
    (n, size) uint8

    Raises
    ------
    DataError
        The file ends within a row, or has more or fewer than ``count``.
    """
    done = 0
    while content := stream.read(CHUNK * size):
        if len(content) % size:
            raise DataError(f"{path} is cut off: it ends within record {done + len(content) // size}")
        rows = np.frombuffer(content, np.uint8).reshape(-1, size)
        done += len(rows)
        if count is not None and done > count:
            break
        yield rows
    if count is not None and done != count:
        more = "more" if done > count else f"only {done}"
        raise DataError(f"{path} is not as it says: it announces {count} records and has {more}")


def unpack(archive: Path, names: Sequence[str], folder: Path) -> None:
    """Copy the files of a tar archive that have one of the names into ``folder``; nothing else is touched."""
    try:
        with tarfile.open(archive, "r|*") as tar:
            for member in tar:
                name = member.name.rsplit("/", 1)[-1]
                # Also of those that are passed over: tarfile goes on to the end of what a header announces.
                if member.size > _LARGEST_MEMBER:
                    raise DataError(f"{archive}: {quoted(name)} is of {member.size} bytes, more than expected")
                if not member.isfile() or name not in names:
                    continue
                source = cast(BinaryIO, tar.extractfile(member))
                _write(source, folder / name, archive)
    except _BROKEN_TAR as error:
        raise DataError(f"{archive} cannot be read: {first_line(error)}") from None


def _write(source: BinaryIO, path: Path, archive: Path) -> None:
    with path.open("wb") as target:
        while block := source.read(1 << 20):
            try:
                target.write(block)
                target.flush()
            except OSError as error:
                reason = written_until_full(error, path)
                raise DataError(f"{archive} cannot be unpacked: {reason}") from None
