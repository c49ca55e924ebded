"""LMDB databases of Datum records, read in place and written as Caffe's tools do."""

import ctypes
import errno
import mmap
import os
import shutil
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lmdb
import numpy as np

from caffelite.errors import DataError
from caffelite.files import replace, scratch_folder, written_until_full

#: ``madvise(2)``, on Linux.
_madvise: Any = ctypes.CDLL(None).madvise if sys.platform == "linux" else None
_DONTNEED, _PAGE = 4, mmap.PAGESIZE

_OPEN: dict[str, "Database"] = {}
#: Nets that read the same database share it, and each has a thread that does so.
_lock = threading.RLock()
if hasattr(os, "register_at_fork"):
    # A copy of the process reads on in its own map, as there is no lock file that would know it: but nobody may be in
    # the middle of moving a cursor then.
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


class Database:
    """An LMDB, opened for reading; records are found by position, in the order of their keys.

    The memory map is read where it lies: what is kept of a record is its address. Any number of threads may read.

    Attributes
    ----------
    path : str
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.users = 0
        try:
            self._environment = lmdb.open(path, readonly=True, lock=False, subdir=os.path.isdir(path), max_readers=1)
        except lmdb.Error as error:
            raise DataError(_open_error(path, error)) from None
        try:
            self._check_size()
            self._transaction = self._environment.begin(buffers=True)
            self._count = int(self._transaction.stat()["entries"])
            if self._count == 0:
                raise DataError(f"{path}: the database is empty")
            self._addresses = np.zeros(self._count, np.int64)
            self._lengths = np.zeros(self._count, np.int64)
            self._known = 0
            self._cursor = iter(self._transaction.cursor().iternext(keys=False))
        except lmdb.Error as error:
            self._environment.close()
            raise DataError(f"{path}: the database cannot be read: {error}") from None
        except BaseException:
            self._environment.close()
            raise

    def _check_size(self) -> None:
        # A map of a file that is cut off ends the process when its missing part is read.
        info, stat = self._environment.info(), self._environment.stat()
        needed = (info["last_pgno"] + 1) * stat["psize"]
        file = Path(self.path, "data.mdb") if os.path.isdir(self.path) else Path(self.path)
        if file.stat().st_size < needed:
            raise DataError(f"{self.path}: the database is cut off: {file.stat().st_size} bytes of {needed}")

    def __len__(self) -> int:
        return self._count

    def locate(self, first: int, addresses: np.ndarray, lengths: np.ndarray) -> None:
        """Set addresses and lengths of as many records as the arrays hold, from position ``first`` on, in a circle."""
        positions = (first + np.arange(len(addresses))) % self._count
        self._index(int(positions.max()) + 1)
        addresses[:] = self._addresses[positions]
        lengths[:] = self._lengths[positions]

    @staticmethod
    def release(addresses: np.ndarray, lengths: np.ndarray) -> None:
        """Let go of the memory that records were read from: it stays in the system's cache, but not in this process.

        Without it a whole database that has been read once counts as memory of the process.
        """
        if _madvise is None or not len(addresses):
            return
        order = np.argsort(addresses)
        begin = int(addresses[order[0]]) // _PAGE * _PAGE
        end = int(addresses[order[-1]] + lengths[order[-1]])
        # Records that follow one another lie together; after a jump back to the first they do not.
        if end - begin < 4 * (int(lengths.sum()) + _PAGE * len(addresses)):
            _madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), _DONTNEED)

    def read(self, position: int) -> bytes:
        """Return a copy of one record."""
        self._index(position % self._count + 1)
        i = position % self._count
        return ctypes.string_at(int(self._addresses[i]), int(self._lengths[i]))

    def _index(self, end: int) -> None:
        if end <= self._known:
            return
        with _lock:
            try:
                for i in range(self._known, end):
                    value = np.frombuffer(next(self._cursor), np.uint8)
                    self._addresses[i] = value.__array_interface__["data"][0]
                    self._lengths[i] = value.size
                    self._known = i + 1
            except lmdb.Error as error:
                raise DataError(f"{self.path}: the database cannot be read: {error}") from None

    def close(self) -> None:
        """Give the database back; it is closed when all that opened it have done so."""
        with _lock:
            self.users -= 1
            if self.users == 0:
                _OPEN.pop(os.path.realpath(self.path), None)
                del self._cursor
                self._transaction.abort()
                self._environment.close()


def _open_error(path: str, error: Exception) -> str:
    if not os.path.exists(path):
        return f"{path}: there is no such database"
    if os.path.isdir(path) and any(name.startswith("MANIFEST") for name in os.listdir(path)):
        return f"{path}: this is a LevelDB; convert it to LMDB (convert_imageset -backend lmdb), which is what is read"
    if os.path.isdir(path) and not os.path.exists(os.path.join(path, "data.mdb")):
        return f"{path}: not an LMDB: the folder has no data.mdb"
    return f"{path}: not an LMDB, or damaged: {str(error).removeprefix(path + ': ')}"


def open_database(source: str | Path) -> Database:
    """Open an LMDB for reading; one that is open already is shared.

    Raises
    ------
    DataError
        It is missing, not an LMDB, cut off or empty.
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

    Raises
    ------
    OSError
        It cannot be written.
    """
    target = Path(path)
    with scratch_folder(target.parent, target.name) as scratch:
        made = scratch / target.name
        made.mkdir()
        try:
            count = _fill(made, records)
        except lmdb.Error as error:
            # Its words end with the system's. It calls a write that was cut short by a full disk an input/output error.
            full = shutil.disk_usage(made).free < mmap.PAGESIZE
            cause = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC) if full else str(error).rpartition(": ")[2])
            raise OSError(cause.errno, written_until_full(cause, made), str(target)) from None
        replace(made, target)
    return count


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
