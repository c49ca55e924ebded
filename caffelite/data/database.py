"""LMDB databases of Datum records, read by their places and written as Caffe's tools do."""

import os
import shutil
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lmdb
import numpy as np

from caffelite.data.lmdb_file import PAGE_HEADER, LmdbFile
from caffelite.data.lmdb_index import RecordIndex

_OPEN: dict[str, "Database"] = {}
#: Nets that read the same database share it, and each has a thread that does so.
_lock = threading.RLock()
if hasattr(os, "register_at_fork"):
    # A copy of the process reads on, each part of the file by its place, but nobody may be in the middle of finding
    # records then.
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


class Database:
    """An LMDB, opened for reading; records are found by position, in the order of their keys.

    What is kept of a record is its place in the file and its length. Any number of threads may read.

    Attributes
    ----------
    path : str
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.users = 0
        self._file = LmdbFile(path)
        try:
            self._index = RecordIndex(self._file)
        except BaseException:
            self._file.close()
            raise

    def __len__(self) -> int:
        return self._file.snapshot.records

    def load(self, first: int, addresses: np.ndarray, lengths: np.ndarray, buffer: np.ndarray) -> np.ndarray:
        """Read records one after the other, in a circle.

        Parameters
        ----------
        first : int
            Position of the first.
        addresses, lengths : ndarray of int64, [records]
            Are set to where each lies in memory, in bytes.
        buffer : ndarray of uint8
            Memory for them.

        Returns
        -------
        ndarray of uint8
            Where they lie: the buffer, or a larger one in its place.
        """
        positions = (first + np.arange(len(addresses))) % len(self)
        end = int(positions.max()) + 1
        if end > self._index.known:
            with _lock:
                self._index.extend(end)
        offsets, lengths[:] = self._index.offsets[positions], self._index.lengths[positions]
        large = self._index.is_large(offsets)
        headers = large * PAGE_HEADER.itemsize
        buffer, places = self._file.read(offsets - headers, offsets + lengths, buffer)
        if large.any():
            self._index.check_overflow(buffer, places[large], offsets[large], lengths[large])
        addresses[:] = buffer.ctypes.data + places + headers
        return buffer

    def read(self, position: int) -> bytes:
        """Return one record."""
        address, length = np.zeros(1, np.int64), np.zeros(1, np.int64)
        buffer = self.load(position, address, length, np.empty(0, np.uint8))
        first = int(address[0]) - buffer.ctypes.data
        return buffer[first : first + int(length[0])].tobytes()

    def close(self) -> None:
        """Give the database back; it is closed when all that opened it have done so."""
        with _lock:
            self.users -= 1
            if self.users == 0:
                _OPEN.pop(os.path.realpath(self.path), None)
                self._file.close()


def open_database(source: str | Path) -> Database:
    """Open an LMDB for reading; one that is open already is shared.

    Raises
    ------
    DataError
        It is missing, not an LMDB, damaged, cut off or empty.
    """
    path = os.path.realpath(source)
    with _lock:
        if path not in _OPEN:
            _OPEN[path] = Database(str(source))
        _OPEN[path].users += 1
        return _OPEN[path]


def write_database(path: str | Path, records: Iterable[tuple[bytes, bytes]]) -> int:
    """Write an LMDB as Caffe's tools do, whole or not at all.

    Parameters
    ----------
    path : path
        A folder; what is there is replaced.
    records : iterable of (key, value)
        In the order of their keys.

    Returns
    -------
    int
        The number of records.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        temporary.chmod(0o755)
        count = _fill(temporary, records)
        replace(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return count


def replace(made: Path, target: Path) -> None:
    """Put a finished file or folder in the place of another."""
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    os.replace(made, target)


def _fill(folder: Path, records: Iterable[tuple[bytes, bytes]]) -> int:
    environment: Any = lmdb.open(str(folder), map_size=1 << 26, sync=False, metasync=False)
    count = 0
    try:
        batch: list[tuple[bytes, bytes]] = []
        for record in records:
            batch.append(record)
            count += 1
            if len(batch) == 1000:
                _put(environment, batch)
                batch = []
        _put(environment, batch)
        environment.sync(True)
    finally:
        environment.close()
    (folder / "lock.mdb").unlink(missing_ok=True)
    return count


def _put(environment: Any, batch: list[tuple[bytes, bytes]]) -> None:
    while True:
        try:
            with environment.begin(write=True) as transaction:
                for key, value in batch:
                    transaction.put(key, value, append=True)
            return
        except lmdb.MapFullError:
            environment.set_mapsize(environment.info()["map_size"] * 2)
