"""Protobuf's wire format, read field by field straight from a file's memory map."""

from collections.abc import Iterator

from caffelite.errors import WeightsError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def heading(number: int, size: int) -> bytes:
    """Return what stands before a field of ``size`` bytes: its number and kind, and the size."""
    written = bytearray()
    for value in (number << 3 | BYTES, size):
        while value > 0x7F:
            written.append(value & 0x7F | 0x80)
            value >>= 7
        written.append(value)
    return bytes(written)


class Wire:
    """A run of encoded fields in a buffer.

    Parameters
    ----------
    data : memoryview
    start, end : int
        Where the message lies.
    filename : str
        For errors.
    """

    __slots__ = ("data", "start", "end", "filename")

    def __init__(self, data: memoryview, start: int, end: int, filename: str) -> None:
        self.data, self.start, self.end, self.filename = data, start, end, filename

    def fields(self) -> Iterator[tuple[int, int, int, int]]:
        """Yield (number, wire type, a, b): the value in ``a`` for numbers, else the bytes from a to b."""
        position = self.start
        while position < self.end:
            tag, position = self._varint(position)
            number, kind = tag >> 3, tag & 7
            if number == 0:
                raise self._broken(position, "a field number 0")
            if kind == VARINT:
                value, position = self._varint(position)
                yield number, kind, value, 0
            elif kind == BYTES:
                size, position = self._varint(position)
                if size > self.end - position:
                    raise self._broken(position, f"{size} bytes are announced, {self.end - position} are there")
                yield number, kind, position, position + size
                position += size
            elif kind in (FIXED32, FIXED64):
                size = 4 if kind == FIXED32 else 8
                if position + size > self.end:
                    raise self._broken(position, "a number is cut off")
                yield number, kind, position, position + size
                position += size
            else:
                raise self._broken(position, f"an unknown wire type {kind}")

    def inner(self, start: int, end: int) -> "Wire":
        """Return the message that lies from ``start`` to ``end``."""
        return Wire(self.data, start, end, self.filename)

    def text(self, start: int, end: int) -> str:
        """Return a string field."""
        return bytes(self.data[start:end]).decode("utf-8", "replace")

    def varints(self, start: int, end: int) -> list[int]:
        """Return a packed field of whole numbers."""
        values = []
        while start < end:
            value, start = self._varint(start)
            values.append(value)
        return values

    def _varint(self, position: int) -> tuple[int, int]:
        value = shift = 0
        while position < self.end and shift < 70:
            byte = self.data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, position
            shift += 7
        raise self._broken(position, "a number is cut off")

    def _broken(self, position: int, what: str) -> WeightsError:
        return WeightsError(f"{self.filename}: not a whole protobuf file: at byte {position}, {what}")
