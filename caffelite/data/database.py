"""LMDB databases of Datum records, read by their places."""

import os
import threading
from pathlib import Path

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

    def load(self, numbers: np.ndarray, addresses: np.ndarray, lengths: np.ndarray, buffer: np.ndarray) -> np.ndarray:
        """Read records, which are counted in a circle.

        Parameters
        ----------
        numbers : ndarray of int64, [records]
            Which.
        addresses, lengths : ndarray of int64, [records]
            Are set to where each lies in memory, in bytes.
        buffer : ndarray of uint8
            Memory for them.

        Returns
        -------
        ndarray of uint8
            Where they lie: the buffer, or a larger one in its place.
        """
        positions = numbers % len(self)
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
        buffer = self.load(np.array([position]), address, length, np.empty(0, np.uint8))
        first = int(address[0]) - buffer.ctypes.data
        return buffer[first : first + int(length[0])].tobytes()

    def last_key(self) -> bytes:
        """Return the largest key, when all that leads to records has been checked."""
        with _lock:
            self._index.extend(len(self))
        assert self._index.last_key is not None
        return self._index.last_key

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
