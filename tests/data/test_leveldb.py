"""LevelDBs are read as LevelDB reads them; what is damaged is told.

``tests/data/leveldb`` was written by LevelDB 1.23 (through plyvel 1.5.1): two tables with blocks that Snappy compressed,
which overlap, and a log; keys written again and removed.
"""

import os
import shutil
import struct
from pathlib import Path

import pytest

from caffelite.data.crc32c import crc32c
from caffelite.data.database import open_database
from caffelite.data.leveldb import LevelDb
from caffelite.data.snappy import decompress
from caffelite.errors import DataError

HERE = Path(__file__).parent / "leveldb"
CAFFE = Path(__file__).parents[1] / "caffe"


def value(i: int, turn: int) -> bytes:
    return bytes([i % 7]) * (i % 70) + b"%d of %d;" % (i, turn) * (i % 5)


def expected() -> dict[bytes, bytes]:
    """What was written, in three turns."""
    turns = {i: 0 for i in range(200)}
    turns |= {i: 1 for i in range(0, 200, 3)}
    for i in range(0, 200, 10):
        del turns[i]
    turns |= {i: 2 for i in range(100, 300, 4)}
    for i in range(2, 300, 11):
        turns.pop(i, None)
    return {b"%08d" % i: value(i, turn) for i, turn in sorted(turns.items())}


def test_tables_and_a_log_are_merged() -> None:
    database = LevelDb(HERE)
    records = list(database.records())
    assert records == list(expected().items())
    assert database.notes == []
    assert database.size() == sum(file.stat().st_size for file in HERE.iterdir() if file.suffix in (".ldb", ".log"))


def test_what_caffe_wrote() -> None:
    lmdb = open_database(CAFFE / "train_lmdb")
    try:
        in_lmdb = [lmdb.read(i) for i in range(len(lmdb))]
    finally:
        lmdb.close()
    assert [record for _, record in LevelDb(CAFFE / "train_leveldb").records()] == in_lmdb


def copied(folder: Path) -> Path:
    return Path(shutil.copytree(HERE, folder / "leveldb"))


@pytest.mark.parametrize("name", ["000005.ldb", "000010.ldb", "000011.log", "MANIFEST-000009", "CURRENT"])
def test_a_changed_byte_is_told_or_makes_no_difference(name: str, tmp_path: Path) -> None:
    folder = copied(tmp_path)
    content = (folder / name).read_bytes()
    told = 0
    places = range(0, len(content), max(len(content) // 40, 1))
    for place in places:
        (folder / name).write_bytes(content[:place] + bytes([content[place] ^ 0x41]) + content[place + 1 :])
        try:
            database = LevelDb(folder)
            assert dict(database.records()) == expected() or database.notes
        except DataError as error:
            told += 1
            assert str(folder) in str(error)
    assert told > len(places) // 2


def test_a_log_that_was_not_written_to_its_end(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    log = folder / "000011.log"
    log.write_bytes(log.read_bytes()[:-3])
    database = LevelDb(folder)
    records = dict(database.records())
    assert records.keys() - expected().keys() <= {b"00000299"}  # the last one that was removed
    assert len(database.notes) == 1
    assert "ends within a record" in database.notes[0] and str(log) in database.notes[0]


def test_older_names_of_tables(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    for table in folder.glob("*.ldb"):
        table.rename(table.with_suffix(".sst"))
    assert dict(LevelDb(folder).records()) == expected()


def log_record(data: bytes) -> bytes:
    checksum = crc32c(b"\x01" + data)
    masked = ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF
    return struct.pack("<IHB", masked, len(data), 1) + data


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ({}, "its file CURRENT cannot be read: No such file"),
        ({"CURRENT": b"../../secret\n"}, "CURRENT names no manifest"),
        ({"CURRENT": b"MANIFEST-000001\n"}, "MANIFEST-000001: No such file"),
        ({"MANIFEST-000001": log_record(b"\x01\x03abc")}, "keys have an order of their own"),
        ({"MANIFEST-000001": log_record(b"\x2a")}, "tells of something unknown (42)"),
        ({"MANIFEST-000001": log_record(b"\x02" + b"\xff" * 11)}, "a number has no end"),
        ({"MANIFEST-000001": log_record(b"\x02\x03"), "000003.log": log_record(bytes(8) + b"\1\0\0\0\2")}, "of kind 2"),
        (
            {"MANIFEST-000001": log_record(b"\x02\x03"), "000003.log": log_record(bytes(8) + b"\2\0\0\0\1\1a\1b")},
            "1 entries where 2 are announced",
        ),
        (
            {"MANIFEST-000001": log_record(b"\x02\x03"), "000003.log": log_record(bytes(8) + b"\1\0\0\0\1\1a\7b")},
            "ends within an entry",
        ),
        ({"MANIFEST-000001": log_record(b"\x07\x00\x05\x03\x01a\x01b")}, "000005.sst: No such file"),
        (
            {"MANIFEST-000001": log_record(b"\x07\x00\x05\x03\x01a\x01b"), "000005.ldb": bytes(60)},
            "is not a table of a LevelDB",
        ),
    ],
)
def test_what_is_no_leveldb(files: dict[str, bytes], text: str, tmp_path: Path) -> None:
    (tmp_path / "CURRENT").write_bytes(b"MANIFEST-000001\n") if "MANIFEST-000001" in files else None
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=text.replace("(", r"\(").replace(")", r"\)")) as told:
        list(LevelDb(tmp_path).records())
    assert str(tmp_path) in str(told.value)


@pytest.mark.parametrize(
    ("compressed", "plain"),
    [
        (b"\x00", b""),
        (b"\x0b\x00a\x2a\x01\x00", b"a" * 12),
        (b"\x0d\x10abcde\x11\x05", b"abcde" * 2 + b"abc"),
        (b"\x04\x00a\x0b\x01\x00\x00\x00", b"a" * 4),
        (b"\x46\xf0\x3d" + bytes(range(62)) + b"\x1e\x3e\x00", bytes(range(62)) + bytes(range(8))),
    ],
)
def test_snappy(compressed: bytes, plain: bytes) -> None:
    compressed = bytes([len(plain)]) + compressed[1:]
    assert decompress(compressed) == plain
    for end in range(len(compressed)):
        with pytest.raises(ValueError):
            decompress(compressed[:end])


@pytest.mark.parametrize(
    ("compressed", "text"),
    [
        (b"\xff\xff\xff\xff\x0f", "cannot stand for"),
        (b"\xff\xff\xff\xff\xff\x0f", "more than 32 bits"),
        (b"\x01\x04ab", "has more"),
        (b"\x03\x04ab", "has 2"),
        (b"\x05\x00a\x0a\x02\x00", "2 bytes before the 1"),
        (b"\x05\x00a\x0a\x00\x00", "0 bytes before"),
        (b"\x05\xfc\xff\xff\xff\xff", "within an element"),
    ],
)
def test_damaged_snappy(compressed: bytes, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        decompress(compressed)


def test_crc32c() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # the check value of RFC 3720
    for size in (0, 1, 3, 4, 1023, 1024, 1025, 2050):
        data = os.urandom(size)
        state = 0xFFFFFFFF
        for byte in data:
            state ^= byte
            for _ in range(8):
                state = (state >> 1) ^ (0x82F63B78 if state & 1 else 0)
        assert crc32c(data) == state ^ 0xFFFFFFFF
