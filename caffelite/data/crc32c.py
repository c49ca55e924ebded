"""CRC-32C, the checksum of LevelDB's files (polynomial 0x1EDC6F41, bits from the lowest on; RFC 3720, appendix B.4).

A checksum is linear: that of a row of bytes is the exclusive or of what each of them gives at its distance from the
end. So a row takes one look into a table and one reduction, in place of a step a byte.
"""

from functools import cache

import numpy as np

_REVERSED = 0x82F63B78
_ROW = 1024
_ALL = 0xFFFFFFFF


@cache
def _tables() -> np.ndarray:
    """Return what a byte gives with 0 to 1023 bytes behind it: uint32, [1024, 256]."""
    first: np.ndarray = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        first = (first >> 1) ^ np.where(first & 1, np.uint32(_REVERSED), np.uint32(0))
    tables = np.empty((_ROW, 256), np.uint32)
    tables[0] = first
    for i in range(1, _ROW):
        tables[i] = (tables[i - 1] >> 8) ^ first[tables[i - 1] & 0xFF]
    return tables


def crc32c(data: bytes) -> int:
    """Return the checksum of some bytes."""
    values = np.frombuffer(data, np.uint8)
    behind = np.arange(_ROW - 1, -1, -1)
    state = _ALL
    for start in range(0, len(values), _ROW):
        row = values[start : start + _ROW]
        # The bytes before this row go into the first four of it; what does not fit is shifted out at the end.
        head = row[:4] ^ np.frombuffer(state.to_bytes(4, "little"), np.uint8)[: len(row)]
        terms = _tables()[behind[-len(row) :], np.concatenate([head, row[4:]])]
        state = int(np.bitwise_xor.reduce(terms)) ^ (state >> (8 * len(row)))
    return state ^ _ALL
