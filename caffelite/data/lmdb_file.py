"""The file of an LMDB: which snapshot it holds, and its bytes, read without a memory map.

A map would end the process when the file behind it is cut off, or its disk fails; what is read into memory of one's own
is an error that can be told.

Source: LMDB 0.9, ``lmdb.h`` and the structures ``MDB_page``, ``MDB_meta`` and ``MDB_db`` of ``mdb.c``. The file is
a row of pages. The first two are *meta pages*: transaction n, when it ends, writes to page n % 2 where the root of its
tree is, and has changed no page of the transaction before. The newer of them is the snapshot that is read.
"""

import os
import struct
import threading
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from caffelite.errors import DataError

#: What every page begins with: its number, two unused bytes, flags, where its free space begins and ends.
PAGE_HEADER = np.dtype([("number", "<u8"), ("pad", "<u2"), ("flags", "<u2"), ("lower", "<u2"), ("upper", "<u2")])

#: Bits of the flags that tell a page's kind: all but those of pages in memory (dirty, loose, keep).
KIND, BRANCH, LEAF, OVERFLOW, META = 0x6F, 0x01, 0x02, 0x04, 0x08

#: The header's flags, magic, version, page size; the main tree's flags, depth, records, root; last page, transaction.
_META_PAGE = struct.Struct("<10xH4x II16x I44x 4xHH24xQQ QQ")
_MAGIC, _VERSION = 0xBEEFC0DE, 1
_PAGE_SIZES = [1 << n for n in range(8, 16)]
#: Flags of a tree whose keys have several values, or another order: all but the one that says that it is in use.
_OTHER_KEYS = 0x7FFF
_DEEPEST = 32

#: What lies this near together is read in one piece: so many bytes take no longer than another call.
_GAP = 16 << 10


class Snapshot(NamedTuple):
    """What a meta page tells.

    Attributes
    ----------
    page_size : int
        Bytes.
    depth, records, root, last_page : int
        Levels of the tree, its records, the number of its first page; the largest number of a page in use.
    """

    page_size: int
    depth: int
    records: int
    root: int
    last_page: int


class LmdbFile:
    """An LMDB's file, open for reading. Any number of threads may read.

    Parameters
    ----------
    path : str
        The database as the user named it: the folder of a ``data.mdb``, or a file.

    Attributes
    ----------
    path : str
    size : int
        Bytes.
    snapshot : Snapshot

    Raises
    ------
    DataError
        There is no such file, or it is not an LMDB that can be read here.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            self._file = open(_data_file(path), "rb", buffering=0)  # noqa: SIM115 - closed by close()
        except OSError as error:
            raise DataError(f"{path}: the database cannot be opened: {error.strerror}") from None
        try:
            self.size = os.fstat(self._file.fileno()).st_size
            self.snapshot = self._newest()
        except BaseException:
            self.close()
            raise

    def damaged(self, what: str) -> DataError:
        """Return the error that says so."""
        return DataError(f"{self.path}: the database is damaged: {what}")

    def memory(self, size: int, dtype: DTypeLike) -> np.ndarray:
        """Return an array; that there is not so much memory is an error."""
        try:
            return np.zeros(size, dtype)
        except MemoryError:
            raise DataError(f"{self.path}: reading it takes more memory than there is") from None

    def cut_off(self, needed: int) -> DataError:
        """Return the error that says that the file should have so many bytes."""
        return DataError(f"{self.path}: the database is cut off: {self.size} bytes of {needed}")

    def _newest(self) -> Snapshot:
        first = self._meta_bytes(0)
        page_size = self._page_size(0, first)
        second = self._meta_bytes(page_size)
        self._page_size(1, second)
        transactions = [_META_PAGE.unpack(page)[-1] for page in (first, second)]
        newest = int(transactions[0] < transactions[1])
        self._meta, self._meta_place = (first, second)[newest], page_size * newest
        _, _, _, _, flags, depth, records, root, last_page, _ = _META_PAGE.unpack(self._meta)
        if flags & _OTHER_KEYS:
            what = "its keys have several values or an order of their own"
            raise DataError(f"{self.path}: {what} (flags {flags:#x}); Caffe's have neither")
        if records == 0:
            raise DataError(f"{self.path}: the database is empty")
        # Places are to fit in 63 bits; a record takes two bytes in its page's list, eight of a node, and a key.
        if not 0 < depth <= _DEEPEST or last_page >= 1 << 47 or records * 11 > self.size:
            raise self.damaged(f"{records} records in {depth} levels and {last_page + 1} pages cannot be")
        return Snapshot(page_size, depth, records, root, last_page)

    def _meta_bytes(self, place: int) -> bytes:
        if self.size < place + _META_PAGE.size:
            what = f"the database is cut off: {self.size} bytes" if place else f"not an LMDB: it has {self.size} bytes"
            raise DataError(f"{self.path}: {what}")
        page = bytearray(_META_PAGE.size)
        self._fill(place, memoryview(page))
        return bytes(page)

    def _page_size(self, number: int, page: bytes) -> int:
        """Return the size of pages that a meta page tells, once it is known to be one."""
        flags, magic, version, page_size, *_ = _META_PAGE.unpack(page)
        if magic != _MAGIC:
            raise DataError(f"{self.path}: {_foreign(page)}")
        if version != _VERSION:
            raise DataError(f"{self.path}: {_other_format(version)}")
        if flags & KIND != META or page_size not in _PAGE_SIZES:
            raise self.damaged(f"page {number} is not a meta page")
        return page_size

    def read(self, starts: np.ndarray, ends: np.ndarray, buffer: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Read parts of the snapshot.

        Parameters
        ----------
        starts, ends : ndarray of int64, [parts]
            Places in the file, in bytes.
        buffer : ndarray of uint8
            Memory for them.

        Returns
        -------
        buffer : ndarray of uint8
            The same one, or a larger one in its place. It takes no more than the file has, parts may overlap.
        places : ndarray of int64, [parts]
            Where each part starts in it.

        Raises
        ------
        DataError
            The file has become shorter, its disk fails, or the snapshot may be no more: others have written to it.
        """
        order = np.argsort(starts)
        starts = starts[order]
        reached = np.maximum.accumulate(ends[order])
        heads = np.flatnonzero(np.append(True, starts[1:] > reached[:-1] + _GAP))
        pieces = starts[heads]
        sizes = np.append(reached[heads[1:] - 1], reached[-1]) - pieces
        bases = np.cumsum(sizes) - sizes
        total = int(sizes.sum())
        if len(buffer) < total:
            buffer = self.memory(total + total // 8, np.uint8)
        for piece, base, size in zip(pieces.tolist(), bases.tolist(), sizes.tolist(), strict=True):
            self._fill(piece, buffer[base : base + size].data)
        places = np.empty_like(starts)
        places[order] = starts + np.repeat(bases - pieces, np.diff(heads, append=len(starts)))
        self._check_unchanged()
        return buffer, places

    def _check_unchanged(self) -> None:
        # Transaction n may use pages anew that were given up in n - 2 or before, so those of snapshot t can change when
        # t + 3 has begun: that is after t + 2 has ended, which writes to the same meta page as t.
        page = bytearray(_META_PAGE.size)
        self._fill(self._meta_place, memoryview(page))
        if page != self._meta:
            raise DataError(f"{self.path}: another program has written to the database since it was opened")

    def _fill(self, place: int, rest: memoryview) -> None:
        while rest:
            try:
                count = self._read_some(place, rest)
            except OSError as error:
                raise DataError(f"{self.path}: the database cannot be read: {error.strerror}") from None
            if not count:
                raise DataError(f"{self.path}: the database has been cut off since it was opened")
            rest, place = rest[count:], place + count

    def _read_some(self, place: int, rest: memoryview) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._file.fileno(), [rest], place)
        with self._lock:  # Windows
            self._file.seek(place)
            return self._file.readinto(rest) or 0

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _data_file(path: str) -> Path:
    folder = Path(path)
    if not folder.exists():
        raise DataError(f"{path}: there is no such database")
    if not folder.is_dir():
        file = folder
    elif any(name.startswith("MANIFEST") for name in os.listdir(folder)):
        raise DataError(
            f'{path}: this is a LevelDB; "caffelite convert_db {path} NEW" copies it into an LMDB, which can be read'
        )
    else:
        file = folder / "data.mdb"
        if not file.exists():
            raise DataError(f"{path}: not an LMDB: the folder has no data.mdb")
    if not file.is_file():
        raise DataError(f"{path}: not an LMDB: {file.name} is not a file")
    return file


def _foreign(page: bytes) -> str:
    """Say what begins with these bytes, and is no LMDB that is read."""
    magic = struct.pack("<I", _MAGIC)
    if magic[::-1] in (page[12:16], page[16:20]):
        return "an LMDB of a big-endian machine; those of little-endian ones are read"
    if page[12:16] == magic:
        return "an LMDB of a 32-bit machine; those of 64-bit ones are read"
    if page[24:28] == magic:
        return _other_format(int.from_bytes(page[28:32], "little"))
    return "not an LMDB, or damaged: it does not begin with a meta page"


def _other_format(version: int) -> str:
    return f"an LMDB of format {version}; format {_VERSION} is what Caffe writes and is read"
