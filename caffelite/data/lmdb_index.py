"""Where the records of an LMDB lie: a walk over the leaves of its tree, each number checked before it is followed.

Source: LMDB 0.9, ``MDB_page`` and ``MDB_node`` in ``mdb.c``. A page of the tree has a list of places, two bytes each,
in the order of the keys, free space, and the *nodes* at these places, without gaps up to the page's end. A node of a
branch is a key and the number of the page with what is not before that key; one of a leaf is a key and its record, or,
of a large record, the number of the first of its *overflow pages*, which have one header in all.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from caffelite.data.lmdb_file import BRANCH, KIND, LEAF, OVERFLOW, PAGE_HEADER, LmdbFile
from caffelite.errors import DataError

#: What every node begins with: the size of its record, or the low bytes of a page's number; flags, or the high bytes of
#: that number; the size of its key.
_NODE_HEADER = np.dtype([("low", "<u4"), ("high", "<u2"), ("key", "<u2")])
_BIG, _TREE = 0x01, 0x02

#: Bytes of leaves that are read at a time.
_TOGETHER = 256 << 10


class _Nodes(NamedTuple):
    """The nodes of some pages.

    Attributes
    ----------
    data : ndarray of uint8
        What was read.
    places : ndarray of int64, [nodes]
        Where each lies in it.
    in_file : ndarray of int64, [nodes]
        Where each lies in the file.
    low, high, key_sizes : ndarray of int64, [nodes]
        Their headers.
    """

    data: np.ndarray
    places: np.ndarray
    in_file: np.ndarray
    low: np.ndarray
    high: np.ndarray
    key_sizes: np.ndarray


class RecordIndex:
    """The places of an LMDB's records, in the order of their keys, found as far as they are needed.

    Parameters
    ----------
    file : LmdbFile

    Attributes
    ----------
    offsets, lengths : ndarray of int64, [records]
        In the file, in bytes.
    known : int
        How many of them have been found.
    last_key : bytes or None
        The largest key of these.

    Raises
    ------
    DataError
        The file is cut off.
    """

    def __init__(self, file: LmdbFile) -> None:
        self._file = file
        snapshot = file.snapshot
        self.offsets = file.memory(snapshot.records, np.int64)
        self.lengths = file.memory(snapshot.records, np.int64)
        self.known = 0
        #: Pages that are still to be visited, with the levels from them to the records; the smallest keys come last.
        self._ahead = [(snapshot.depth, np.array([snapshot.root], np.uint64))]
        self.last_key: bytes | None = None
        self._buffer = np.empty(0, np.uint8)
        if file.size < (snapshot.last_page + 1) * snapshot.page_size:
            # Pages at the end that hold nothing may never have been written; whether others are missing is asked now,
            # not in the middle of a training.
            self.extend(snapshot.records)

    def extend(self, end: int) -> None:
        """Find the records up to position ``end - 1``, and some more."""
        while self.known < end:
            ahead = list(self._ahead)
            while ahead[-1][0] > 1:
                levels, pages = ahead.pop()
                if len(pages) > 1:
                    ahead.append((levels, pages[1:]))
                ahead.append((levels - 1, self._children(pages[:1])))
            _, leaves = ahead.pop()
            together = max(_TOGETHER // self._file.snapshot.page_size, 1)
            if len(leaves) > together:
                ahead.append((1, leaves[together:]))
            offsets, lengths, last_key = self._records(leaves[:together])
            known = self.known + len(offsets)
            if known > len(self.offsets) or bool(ahead) != (known < len(self.offsets)):
                raise self._file.damaged(
                    f"it tells of {len(self.offsets)} records, and has {known}{' or more' * bool(ahead)}"
                )
            self.offsets[self.known : known] = offsets
            self.lengths[self.known : known] = lengths
            if not ahead:
                self._check_apart()
            # Ctrl-C before this line leaves all as it was.
            self._ahead, self.last_key, self.known = ahead, last_key, known

    def check_overflow(self, data: np.ndarray, places: np.ndarray, offsets: np.ndarray, lengths: np.ndarray) -> None:
        """See to it that large records stand behind headers of overflow pages.

        Parameters
        ----------
        data : ndarray of uint8
        places : ndarray of int64, [records]
            Where their headers lie in ``data``.
        offsets, lengths : ndarray of int64, [records]
            Of these records.
        """
        size = self._file.snapshot.page_size
        header = _at(data, places, PAGE_HEADER)
        numbers = offsets // size
        pages = header["lower"] + (header["upper"].astype(np.int64) << 16)
        needed = (PAGE_HEADER.itemsize + lengths + size - 1) // size
        self._expect(
            (header["number"] == numbers) & (header["flags"] & KIND == OVERFLOW) & (pages >= needed),
            numbers,
            "is not that of a large record",
        )

    def is_large(self, offsets: np.ndarray) -> np.ndarray:
        """Return which records lie on overflow pages, right behind the header: where others have a list of places."""
        return offsets % self._file.snapshot.page_size == PAGE_HEADER.itemsize

    def _children(self, page: np.ndarray) -> np.ndarray:
        nodes = self._nodes(page, BRANCH)
        return (nodes.low | (nodes.high << 32)).astype(np.uint64)

    def _records(self, leaves: np.ndarray) -> tuple[np.ndarray, np.ndarray, bytes]:
        """Return offsets and lengths of the records of some leaves, and their last key."""
        nodes = self._nodes(leaves, LEAF)
        file, snapshot = self._file, self._file.snapshot
        numbers = nodes.in_file // snapshot.page_size
        if (nodes.high == _TREE).any():
            raise DataError(
                f"{file.path}: it holds named databases; Caffe's have none, and its main one is what is read"
            )
        self._expect(nodes.high <= _BIG, numbers, "has a node that is neither a record nor a large one")
        keys_start = nodes.places + _NODE_HEADER.itemsize
        keys_end = keys_start + nodes.key_sizes
        offsets = nodes.in_file + _NODE_HEADER.itemsize + nodes.key_sizes
        big = np.flatnonzero(nodes.high)
        if len(big):
            first = _at(nodes.data, keys_end[big], np.dtype("<u8"))
            self._expect(
                (first > 1) & (first <= snapshot.last_page), numbers[big], "names a page, and there is no such page"
            )
            offsets[big] = first.astype(np.int64) * snapshot.page_size + PAGE_HEADER.itemsize
            ends = offsets[big] + nodes.low[big]
            whole = (snapshot.last_page + 1) * snapshot.page_size
            self._expect(ends <= whole, numbers[big], "has a record that is longer than the database")
            if (ends > file.size).any():
                raise file.cut_off(whole)
        data = nodes.data.tobytes()
        keys = [data[i:j] for i, j in zip(keys_start.tolist(), keys_end.tolist(), strict=True)]
        before = [] if self.last_key is None else [self.last_key]
        if any(one >= other for one, other in pairwise(before + keys)):
            raise file.damaged(f"its keys are not in order, at page {numbers[0]} or behind it")
        return offsets, nodes.low, keys[-1]

    def _nodes(self, numbers: np.ndarray, kind: int) -> _Nodes:
        """Read pages of the tree.

        Parameters
        ----------
        numbers : ndarray of uint64, [pages]
        kind : int
            LEAF or BRANCH: what they should be.
        """
        file, size, last_page = self._file, self._file.snapshot.page_size, self._file.snapshot.last_page
        self._expect((numbers > 1) & (numbers <= last_page), numbers, "is named, and there is no such page")
        pages = numbers.astype(np.int64)
        if (int(pages.max()) + 1) * size > file.size:
            raise file.cut_off((last_page + 1) * size)
        self._buffer, pages_at = file.read(pages * size, (pages + 1) * size, self._buffer)
        data = self._buffer
        header = _at(data, pages_at, PAGE_HEADER)
        lower, upper = header["lower"].astype(np.int64), header["upper"].astype(np.int64)
        entries = (lower - PAGE_HEADER.itemsize) // 2
        self._expect(
            (header["number"] == numbers)
            & (header["flags"] & KIND == kind)
            & (entries > 0)
            & (lower % 2 == 0)
            & (lower <= upper)
            & (upper <= size),
            pages,
            f"is not a {'leaf' if kind == LEAF else 'branch'} of the tree",
        )
        first = np.cumsum(entries) - entries
        page = np.repeat(np.arange(len(pages)), entries)
        listed = pages_at[page] + PAGE_HEADER.itemsize + 2 * (np.arange(len(page)) - first[page])
        places = _at(data, listed, np.dtype("<u2")).astype(np.int64)
        self._expect(
            (places >= upper[page]) & (places + _NODE_HEADER.itemsize <= size), pages[page], "has a node outside"
        )
        node = _at(data, pages_at[page] + places, _NODE_HEADER)
        low, high, key_sizes = (node[name].astype(np.int64) for name in ("low", "high", "key"))
        sizes = _NODE_HEADER.itemsize + key_sizes
        if kind == LEAF:
            sizes += np.where(high & _BIG, 8, low)
        sizes += sizes % 2
        self._expect(places + sizes <= size, pages[page], "has a node that is too long")
        self._expect(np.add.reduceat(sizes, first) == size - upper, pages, "has nodes that do not fill it")
        return _Nodes(data, pages_at[page] + places, pages[page] * size + places, low, high, key_sizes)

    def _check_apart(self) -> None:
        order = np.argsort(self.offsets)
        starts = self.offsets[order]
        if (starts[1:] < (starts + self.lengths[order])[:-1]).any():
            raise self._file.damaged("two records lie in one place")

    def _expect(self, good: np.ndarray, numbers: np.ndarray, otherwise: str) -> None:
        if not good.all():
            raise self._file.damaged(f"page {numbers[np.argmin(good)]} {otherwise}")


def _at(data: np.ndarray, places: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return what lies at places of ``data``, in bytes; an IndexError where that is outside."""
    return data[places[:, None] + np.arange(dtype.itemsize)].view(dtype)[:, 0]
