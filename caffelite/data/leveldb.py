"""LevelDB databases, read: what Caffe wrote before it had LMDB.

Source: LevelDB's ``doc/impl.md``, and ``version_edit.cc`` and ``write_batch.cc`` for the numbers. ``CURRENT`` names the
manifest, a log of what was added and taken away: sorted tables in levels, and the number of the first log that is not
in them yet. Tables of level 0 may overlap, those of another level do not; of a key that is there several times, the
entry with the largest sequence number counts, and it may say that the key is gone.
"""

import heapq
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from caffelite.data.leveldb_files import Reader, log_records, table_entries
from caffelite.errors import DataError

#: What a manifest tells of.
_COMPARATOR, _LOG, _NEXT_FILE, _SEQUENCE, _COMPACTION, _GONE, _NEW, _LOG_BEFORE = 1, 2, 3, 4, 5, 6, 7, 9
_BYTEWISE = b"leveldb.BytewiseComparator"
_DELETION, _VALUE = 0, 1

#: Key, tag with its sign turned (so that the newest comes first), value.
_Entry = tuple[bytes, int, bytes]


@dataclass(slots=True)
class _Version:
    """What a manifest tells: by level and number, the smallest key of each table; the first log."""

    tables: dict[tuple[int, int], bytes] = field(default_factory=dict)
    log: int = 0
    log_before: int = 0


class LevelDb:
    """A LevelDB, opened for reading.

    Parameters
    ----------
    path : path
        Its folder. Nothing in it is changed.

    Attributes
    ----------
    path : Path
    notes : list of str
        What is to be said of it once it has been read.

    Raises
    ------
    DataError
        There is none, or its manifest is damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.notes: list[str] = []
        self._version = self._read_manifest()

    def records(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and values in the order of the keys.

        Raises
        ------
        DataError
            A file is missing or damaged.
        """
        last: bytes | None = None
        for key, tag, value in heapq.merge(*self._sources()):
            if last is not None and key <= last:
                if key < last:
                    raise DataError(f"{self.path}: the database is damaged: its keys are out of order")
                continue  # older than what has been seen
            last = key
            if -tag & 0xFF == _VALUE:
                yield key, value

    def size(self) -> int:
        """Return how many bytes its tables and logs take."""
        return sum(
            file.stat().st_size for file in [*map(self._table, self._version.tables), *self._logs()] if file.exists()
        )

    def _sources(self) -> list[Iterator[_Entry]]:
        """Return what is to be merged: each in the order of its keys."""
        levels: dict[int, list[tuple[int, int]]] = {}
        for table in sorted(self._version.tables, key=lambda table: self._version.tables[table]):
            levels.setdefault(table[0], []).append(table)
        sources = [self._entries([table]) for table in levels.pop(0, [])]
        return [*sources, *map(self._entries, levels.values()), self._logged()]

    def _entries(self, tables: list[tuple[int, int]]) -> Iterator[_Entry]:
        for table in tables:
            path = self._table(table)
            for key, value in table_entries(path):
                if len(key) < 8:
                    raise DataError(f"{path} is damaged: a key of {len(key)} bytes has no sequence number")
                yield key[:-8], -int.from_bytes(key[-8:], "little"), value

    def _logged(self) -> Iterator[_Entry]:
        """Yield what stands in logs alone."""
        entries: list[_Entry] = []
        for path in self._logs():
            for record in log_records(path, self.notes):
                reader = Reader(record, str(path))
                sequence = int.from_bytes(reader.take(8), "little")
                count = int.from_bytes(reader.take(4), "little")
                first = len(entries)
                while reader:
                    kind = reader.take(1)[0]
                    if kind not in (_DELETION, _VALUE):
                        raise DataError(f"{path} is damaged: an entry of kind {kind}")
                    key = reader.text()
                    value = reader.text() if kind == _VALUE else b""
                    entries.append((key, -(sequence + len(entries) - first << 8 | kind), value))
                if len(entries) - first != count:
                    raise DataError(f"{path} is damaged: {len(entries) - first} entries where {count} are announced")
        entries.sort(key=lambda entry: entry[:2])
        yield from entries

    def _table(self, table: tuple[int, int]) -> Path:
        path = self.path / f"{table[1]:06d}.ldb"
        # Before version 1.14.
        return path if path.exists() else path.with_suffix(".sst")

    def _logs(self) -> list[Path]:
        files = [(int(path.stem), path) for path in self.path.glob("*.log") if path.stem.isdecimal()]
        version = self._version
        return [path for number, path in sorted(files) if number >= version.log or number == version.log_before]

    def _read_manifest(self) -> _Version:
        try:
            current = (self.path / "CURRENT").read_bytes()[:64]
        except OSError as error:
            raise DataError(f"{self.path}: not a LevelDB: its file CURRENT cannot be read: {error.strerror}") from None
        if not re.fullmatch(rb"MANIFEST-\d+\n", current):
            raise DataError(f"{self.path}: not a LevelDB, or damaged: CURRENT names no manifest")
        path = self.path / current.decode().strip()
        version = _Version()
        for record in log_records(path):
            _edit(version, Reader(record, str(path)), path)
        return version


def _edit(version: _Version, reader: Reader, path: Path) -> None:
    """Change what is known of a database as a record of its manifest says."""
    while reader:
        kind = reader.varint()
        if kind == _COMPARATOR:
            name = reader.text()
            if name != _BYTEWISE:
                raise DataError(f"{path}: its keys have an order of their own ({name!r}); Caffe's have none")
        elif kind == _LOG:
            version.log = reader.varint()
        elif kind == _LOG_BEFORE:
            version.log_before = reader.varint()
        elif kind in (_NEXT_FILE, _SEQUENCE):
            reader.varint()
        elif kind == _COMPACTION:
            reader.varint(), reader.text()
        elif kind == _GONE:
            version.tables.pop((reader.varint(), reader.varint()), None)
        elif kind == _NEW:
            level, number, _, smallest, _ = (
                reader.varint(),
                reader.varint(),
                reader.varint(),
                reader.text(),
                reader.text(),
            )
            version.tables[level, number] = smallest
        else:
            raise DataError(f"{path} is damaged: it tells of something unknown ({kind})")
