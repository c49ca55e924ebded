"""Snappy's compressed blocks, decompressed.

Source: "Snappy compressed format description" (``format_description.txt`` of google/snappy): the length of what comes
out, then literals and copies of what has come out already.
"""

#: Three bytes stand for at most 64.
_MOST = 22
_LARGEST = 1 << 32


def decompress(data: bytes) -> bytes:
    """Return what a compressed block holds.

    Raises
    ------
    ValueError
        It is damaged.
    """
    try:
        length, place = _length(data)
        if length > _MOST * len(data):
            raise ValueError(f"{len(data)} bytes cannot stand for {length}")
        out = bytearray()
        while place < len(data):
            place = _element(data, place, out)
            if len(out) > length:
                break
    except IndexError:
        raise ValueError("it ends within an element") from None
    if len(out) != length:
        raise ValueError(f"it announces {length} bytes and has {'more' if len(out) > length else len(out)}")
    return bytes(out)


def _length(data: bytes) -> tuple[int, int]:
    length = place = 0
    while True:
        byte = data[place]
        length |= (byte & 0x7F) << (7 * place)
        place += 1
        if length >= _LARGEST:
            raise ValueError("its length is more than 32 bits")
        if byte < 0x80:
            return length, place


def _element(data: bytes, place: int, out: bytearray) -> int:
    """Append what an element stands for; return where the next one begins."""
    tag = data[place]
    kind, size = tag & 3, (tag >> 2) + 1
    place += 1
    if kind == 0:
        if size > 60:
            width = size - 60
            size = _number(data, place, width) + 1
            place += width
        if place + size > len(data):
            raise IndexError
        out += data[place : place + size]
        return place + size
    if kind == 1:
        size = (tag >> 2 & 7) + 4
        offset, place = tag >> 5 << 8 | data[place], place + 1
    else:
        width = 2 if kind == 2 else 4
        offset, place = _number(data, place, width), place + width
    if not 0 < offset <= len(out):
        raise ValueError(f"it copies what is {offset} bytes before the {len(out)} that there are")
    start = len(out) - offset
    piece = out[start : start + size]
    # A copy may go on into what it has just written.
    out += piece if offset >= size else (piece * (size // offset + 1))[:size]
    return place


def _number(data: bytes, place: int, width: int) -> int:
    if place + width > len(data):
        raise IndexError
    return int.from_bytes(data[place : place + width], "little")
