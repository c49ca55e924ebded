"""The two kinds of file that a LevelDB has: logs, and sorted tables.

Source: LevelDB's ``doc/log_format.md`` and ``doc/table_format.md``. A log is cut into blocks of 32 KiB; a record, or
the part of it that a block has room for, follows a header: checksum, length, kind. A table is a row of blocks of
entries; its last 48 bytes tell where the block is that tells where the others are. Each block has a byte behind it
that tells whether it is compressed, and a checksum.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from caffelite.data.crc32c import crc32c
from caffelite.data.snappy import decompress
from caffelite.errors import DataError

_BLOCK = 32 << 10
#: Checksum, length and kind of a log's record.
_HEADER = struct.Struct("<IHB")
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4

_FOOTER = 48
_MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
#: Behind a block: kind of compression, checksum.
_TRAILER = 5
_PLAIN, _SNAPPY, _ZSTANDARD = 0, 1, 2


class Reader:
    """Numbers and texts, one after the other.

    Parameters
    ----------
    data : bytes
    what : str
        For errors.
    place, end : int, optional
        The part of ``data`` that is read.
    """

    def __init__(self, data: bytes, what: str, place: int = 0, end: int | None = None) -> None:
        self._data, self._what = data, what
        self.place = place
        self.end = len(data) if end is None else end

    def __bool__(self) -> bool:
        return self.place < self.end

    def varint(self) -> int:
        """Return a number of up to 64 bits, seven of them a byte."""
        value = 0
        for shift in range(0, 70, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise DataError(f"{self._what} is damaged: a number has no end")

    def take(self, size: int) -> bytes:
        """Return so many bytes."""
        first = self.place
        if size > self.end - first:
            raise DataError(f"{self._what} is damaged: it ends within an entry")
        self.place = first + size
        return self._data[first : self.place]

    def text(self) -> bytes:
        """Return bytes behind their number."""
        return self.take(self.varint())


def log_records(path: Path, notes: list[str] | None = None) -> Iterator[bytes]:
    """Yield the records of a log.

    Parameters
    ----------
    path : Path
    notes : list of str, optional
        Is told where the log ends within a record, which was never written to its end; without it that is
        an error.

    Raises
    ------
    DataError
        A checksum or an order is not right.
    """
    data = _whole(path)
    parts: list[bytes] = []
    place = 0
    while place + _HEADER.size <= len(data):
        room = _BLOCK - place % _BLOCK
        if room < _HEADER.size:
            place += room
            continue
        checksum, length, kind = _HEADER.unpack_from(data, place)
        end = place + _HEADER.size + length
        if kind == 0 and length == 0:  # space that was reserved and never written to
            place += room
            continue
        if length > room - _HEADER.size:
            raise DataError(f"{path} is damaged at byte {place}: a record goes beyond its block")
        if end > len(data):
            break
        _check(data[place + 6 : end], checksum, f"{path} is damaged at byte {place}")
        if kind not in (_FULL, _FIRST, _MIDDLE, _LAST) or (kind in (_FULL, _FIRST)) == bool(parts):
            raise DataError(f"{path} is damaged at byte {place}: a part of a record (kind {kind}) is out of order")
        parts.append(data[place + _HEADER.size : end])
        place = end
        if kind in (_FULL, _LAST):
            yield b"".join(parts)
            parts = []
    if parts or place < len(data):
        if notes is None:
            raise DataError(f"{path} is damaged, or cut off: it ends within a record")
        notes.append(f"{path} ends within a record, which was never written to its end; it is left out")


def table_entries(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a sorted table, in the order in which they stand.

    Raises
    ------
    DataError
        It cannot be read, is no table, or is damaged.
    """
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(size - _FOOTER, 0))
            footer = stream.read()
            if len(footer) < _FOOTER or footer[-8:] != _MAGIC:
                raise DataError(f"{path} is not a table of a LevelDB, or cut off")
            handles = Reader(footer, str(path))
            handles.varint(), handles.varint()  # of filters, which are not needed
            index = _block(stream, size, handles, path)
            for _, handle in _entries(index, str(path)):
                yield from _entries(_block(stream, size, Reader(handle, str(path)), path), str(path))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None


def _block(stream: BinaryIO, size: int, handle: Reader, path: Path) -> bytes:
    """Return a block, decompressed."""
    place, length = handle.varint(), handle.varint()
    if place + length + _TRAILER > size:
        raise DataError(f"{path} is damaged, or cut off: a block ends at byte {place + length} of {size}")
    stream.seek(place)
    content = stream.read(length + _TRAILER)
    if len(content) != length + _TRAILER:
        raise DataError(f"{path} has been cut off since it was opened")
    what = f"{path} is damaged: the block at byte {place}"
    kind = content[length]
    _check(content[: length + 1], int.from_bytes(content[length + 1 :], "little"), what)
    if kind == _ZSTANDARD:
        raise DataError(f"{path}: it is compressed with Zstandard; Snappy, which Caffe's are compressed with, is read")
    if kind not in (_PLAIN, _SNAPPY):
        raise DataError(f"{what} is compressed in an unknown way ({kind})")
    if kind == _PLAIN:
        return content[:length]
    try:
        return decompress(content[:length])
    except ValueError as error:
        raise DataError(f"{what}: {error}") from None


def _entries(block: bytes, what: str) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a block; a key is told by what it has of the one before, and the rest."""
    restarts = int.from_bytes(block[-4:], "little") if len(block) >= 4 else len(block)
    end = len(block) - 4 * (restarts + 1)
    if end < 0:
        raise DataError(f"{what} is damaged: a block has no room for its {restarts} restarts")
    reader = Reader(block, what, 0, end)
    key = b""
    while reader:
        shared, own, length = reader.varint(), reader.varint(), reader.varint()
        if shared > len(key):
            raise DataError(f"{what} is damaged: a key has {shared} bytes of one that has {len(key)}")
        key = key[:shared] + reader.take(own)
        yield key, reader.take(length)


def _check(data: bytes, masked: int, what: str) -> None:
    """Hold bytes against their checksum, which LevelDB stores turned by 15 bits and with a number added."""
    turned = (masked - 0xA282EAD8) & 0xFFFFFFFF
    if crc32c(data) != ((turned << 15 | turned >> 17) & 0xFFFFFFFF):
        raise DataError(f"{what}: its checksum is not right")


def _whole(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
