"""Reading an LMDB as Caffe's tools write it: a file of records in the order of their keys.

The file is mapped and its tree is walked by kernels (``caffelite.kernels.records``), not by the LMDB library:
the library believes what stands in a file and takes the process down with it when that is wrong, it refuses
to open a file twice in a process, and its version 1.0 cannot read what Caffe wrote. A batch is read without a
call a record.
"""

import mmap
from pathlib import Path

import numpy as np

from caffelite.errors import DataError
from caffelite.kernels.launch import call
from caffelite.kernels.records import DEEPEST, FAULT, FOUND, NODE_HEADER, PAGE_HEADER, locate, unsigned, walk

_MAGIC, _VERSION = 0xBEEFC0DE, 1
_META_SIZE = PAGE_HEADER + 136
#: A node takes no less than this of a page: its header, a key, its pointer.
_SMALLEST_NODE = 11
#: Records that are looked up at once.
_STRIDE = 4096


class Database:
    """An LMDB database, read only.

    Parameters
    ----------
    source : Path
        The folder that holds ``data.mdb``, or the file itself.

    Raises
    ------
    DataError
        It is missing, empty, cut off, damaged or no LMDB.
    """

    def __init__(self, source: Path) -> None:
        self.source = source
        self.content = _map(source)
        self._state = np.zeros(4, np.int64)
        self.page_size, last_page, root, self._count = self._read_meta()
        self._nodes = np.empty(self._count, np.int64)
        self._stack = np.zeros((DEEPEST, 2), np.int64)
        self._stack[0, 0] = root
        if self.content.size < (last_page + 1) * self.page_size:
            # Cut off, or its last pages were never used: the tree tells which, and better now than in an
            # hour.
            self.nodes(self._count)

    def __len__(self) -> int:
        return self._count

    def _read_meta(self) -> tuple[int, int, int, int]:
        """Return page size, last page, root page and number of records, of the newer of the two meta pages."""
        content = self.content
        if content.size < _META_SIZE or unsigned(content, PAGE_HEADER, 4) != _MAGIC:
            raise DataError(f"{self.source} is not an LMDB: it does not begin as one")
        if (version := unsigned(content, PAGE_HEADER + 4, 4)) != _VERSION:
            raise DataError(
                f"{self.source} is an LMDB of data version {version}; Caffe and caffelite read version {_VERSION} "
                "(LMDB 0.9): copy it with the mdb_dump and mdb_load of both versions"
            )
        page_size = int(unsigned(content, PAGE_HEADER + 24, 4))
        if page_size not in {1 << n for n in range(9, 17)}:
            raise DataError(f"{self.source} is damaged, or not an LMDB of a 64-bit machine")
        metas = [PAGE_HEADER]
        second = page_size + PAGE_HEADER
        if content.size >= second + _META_SIZE and unsigned(content, second, 4) == _MAGIC:
            metas.append(second)
        meta = max(metas, key=lambda at: int(unsigned(content, at + 128, 8)))
        count = int(unsigned(content, meta + 104, 8))
        if count == 0:
            raise DataError(f"{self.source} is an LMDB without a record")
        if not 0 < count <= content.size // _SMALLEST_NODE:
            raise self._damaged()
        last_page, root = int(unsigned(content, meta + 120, 8)), int(unsigned(content, meta + 112, 8))
        return page_size, last_page, root, count

    def _damaged(self) -> DataError:
        return DataError(
            f"{self.source} is cut off or damaged: only {self._state[FOUND]} of its records can be found in the "
            f"{self.content.size} bytes that are there"
        )

    def nodes(self, end: int) -> np.ndarray:
        """Return where the nodes of the records 0 to ``end - 1`` (at least) begin in ``content``, as int64."""
        if end > self._state[FOUND]:
            until = min(max(end, int(self._state[FOUND]) + _STRIDE), self._count)
            call(walk, 1, self.content, self.page_size, self._stack, self._state, self._nodes[:until], work=0)()
            if self._state[FAULT] or self._state[FOUND] < end:
                raise self._damaged()
        return self._nodes

    def read(self, position: int) -> bytes:
        """Return the record at a position in the order of the keys."""
        at, size = locate(self.content, self.page_size, int(self._node(position)))
        return self.content[at : at + size].tobytes()

    def key(self, position: int) -> bytes:
        """Return the key of the record at a position."""
        node = int(self._node(position))
        size = int(unsigned(self.content, node + 6, 2))
        return self.content[node + NODE_HEADER : node + NODE_HEADER + size].tobytes()

    def _node(self, position: int) -> int:
        if not 0 <= position < self._count:
            raise IndexError(f"{self.source} has {self._count} records, not one at {position}")
        return int(self.nodes(position + 1)[position])

    def close(self) -> None:
        """Let go of the file."""
        self.content = np.empty(0, np.uint8)


def _map(source: Path) -> np.ndarray:
    """Map the data file of an LMDB into memory."""
    file = source / "data.mdb" if source.is_dir() else source
    if not source.exists():
        raise DataError(f"{source} does not exist")
    if not file.is_file():
        raise DataError(f"{source} is not an LMDB: there is no data.mdb in it")
    try:
        with file.open("rb") as stream:
            if file.stat().st_size == 0:
                raise DataError(f"{source} is not an LMDB: its data.mdb is empty")
            return np.frombuffer(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
    except OSError as error:
        raise DataError(f"{source} cannot be read: {error.strerror}") from None
