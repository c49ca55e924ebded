"""What LMDB writes, in all shapes, is read as LMDB's own cursor reads it; what is damaged is told."""

import os
import random
import struct
from collections.abc import Callable
from pathlib import Path

import lmdb
import numpy as np
import pytest

from caffelite.data.database import open_database
from caffelite.data.writing import write_database
from caffelite.errors import DataError

PAGE = 4096


def by_lmdb(path: Path) -> list[bytes]:
    with lmdb.open(str(path), readonly=True, lock=False, subdir=path.is_dir()) as environment:
        with environment.begin() as transaction:
            return list(transaction.cursor().iternext(keys=False))


def by_us(path: Path) -> list[bytes]:
    database = open_database(path)
    try:
        return [database.read(i) for i in range(len(database))]
    finally:
        database.close()


def put(environment: lmdb.Environment, pairs: list[tuple[bytes, bytes]], append: bool = False) -> None:
    with environment.begin(write=True) as transaction:
        for key, value in pairs:
            transaction.put(key, value, append=append)


def appended(environment: lmdb.Environment) -> None:
    put(environment, [(b"%08d" % i, b"%d" % i * (i % 300)) for i in range(3000)], append=True)


def one(environment: lmdb.Environment) -> None:
    put(environment, [(b"k", b"")])


def sizes_around_those_of_pages(environment: lmdb.Environment) -> None:
    sizes = [*range(2000, 2060), *range(4060, 4100), *range(8150, 8200), 100_000, 1_000_000, 0, 1]
    put(environment, [(b"%05d" % i, bytes([i % 256]) * size) for i, size in enumerate(sizes)])


def random_order(environment: lmdb.Environment) -> None:
    draw = random.Random(1)
    for _ in range(5):
        keys = [draw.randbytes(draw.randint(1, 40)) for _ in range(400)]
        put(environment, [(key, draw.randbytes(draw.choice([3, 50, 900, 3000, 9000]))) for key in keys])


def deleted_and_written_over(environment: lmdb.Environment) -> None:
    draw = random.Random(2)
    random_order(environment)
    for _ in range(6):
        with environment.begin(write=True) as transaction:
            keys = list(transaction.cursor().iternext(values=False))
            for key in draw.sample(keys, len(keys) // 3):
                transaction.delete(key)
            for key in draw.sample(keys, len(keys) // 3):
                transaction.put(key, draw.randbytes(draw.choice([1, 100, 2500, 6000])))


def deep(environment: lmdb.Environment) -> None:
    put(environment, [(b"%0511d" % i, b"%d" % i) for i in range(2500)])
    assert environment.stat()["depth"] >= 4


SHAPES: list[Callable[[lmdb.Environment], None]] = [
    one,
    appended,
    sizes_around_those_of_pages,
    random_order,
    deleted_and_written_over,
    deep,
]


@pytest.mark.parametrize("write", SHAPES, ids=lambda write: write.__name__)
@pytest.mark.parametrize("form", ["folder", "file", "map", "compacted"])
def test_reads_as_lmdb_does(write: Callable[[lmdb.Environment], None], form: str, tmp_path: Path) -> None:
    path = tmp_path / "db"
    with lmdb.open(str(path), subdir=form != "file", map_size=1 << 26, writemap=form == "map") as environment:
        write(environment)
        if form == "compacted":
            (tmp_path / "copy").mkdir()
            environment.copy(str(tmp_path / "copy"), compact=True)
            path = tmp_path / "copy"
    expected = by_lmdb(path)
    assert by_us(path) == expected


def test_batches_of_records_far_apart(tmp_path: Path) -> None:
    values = {b"%03d" % i: b"%03d" % i * (1 + i * 131 % 4000) for i in range(200)}
    with lmdb.open(str(tmp_path / "db"), map_size=1 << 26) as environment:
        put(environment, random.Random(1).sample(sorted(values.items()), 200))
    database = open_database(tmp_path / "db")
    addresses, lengths, buffer = np.zeros(70, np.int64), np.zeros(70, np.int64), np.empty(0, np.uint8)
    for first in (0, 150, 199, 10_000, 60):
        buffer = database.load(first + np.arange(70), addresses, lengths, buffer)
        places = addresses - buffer.ctypes.data
        found = [buffer[place : place + length].tobytes() for place, length in zip(places, lengths, strict=True)]
        assert found == [values[b"%03d" % ((first + i) % 200)] for i in range(70)]
    database.close()


def test_opening_takes_a_few_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_database(tmp_path / "db", ((b"%08d" % i, b"x" * 900) for i in range(20_000)))
    sizes: list[int] = []
    preadv = os.preadv
    monkeypatch.setattr(os, "preadv", lambda *arguments: sizes.append(preadv(*arguments)) or sizes[-1])
    database = open_database(tmp_path / "db")
    assert len(database) == 20_000 and sum(sizes) < PAGE
    assert database.read(0) == b"x" * 900 and sum(sizes) < 1 << 20
    database.close()


def pages(data: bytes, kind: int) -> list[int]:
    """Return where the pages of a kind lie."""
    return [at for at in range(0, len(data), PAGE) if struct.unpack_from("<H", data, at + 10)[0] == kind]


def replace(at: int, form: str, value: int) -> Callable[[bytearray], None]:
    return lambda data: struct.pack_into(form, data, at, value)


def branch(at: int, form: str, value: int) -> Callable[[bytearray], None]:
    return lambda data: struct.pack_into(form, data, pages(data, 1)[0] + at, value)


def leaf(at: int, form: str, value: int) -> Callable[[bytearray], None]:
    return lambda data: struct.pack_into(form, data, pages(data, 2)[1] + at, value)


def node(at: int, form: str, value: int) -> Callable[[bytearray], None]:
    def change(data: bytearray) -> None:
        page = pages(data, 2)[1]
        struct.pack_into(form, data, page + struct.unpack_from("<H", data, page + 16)[0] + at, value)

    return change


def child(number: int) -> Callable[[bytearray], None]:
    """Name another page in the second node of the root."""

    def change(data: bytearray) -> None:
        root = pages(data, 1)[0]
        struct.pack_into("<I", data, root + struct.unpack_from("<H", data, root + 18)[0], number or root // PAGE)

    return change


def overflow(at: int, form: str, value: int) -> Callable[[bytearray], None]:
    return lambda data: struct.pack_into(form, data, pages(data, 4)[0] + at, value)


def shared_page(data: bytearray) -> None:
    """Have two large records in one place."""
    page = pages(data, 2)[-1]
    (lower,) = struct.unpack_from("<H", data, page + 12)
    last, before = (page + struct.unpack_from("<H", data, page + lower - at)[0] + 8 + len("x0000") for at in (2, 4))
    data[last : last + 8] = data[before : before + 8]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (leaf(0, "<Q", 99), "page . is not a leaf of the tree"),
        (leaf(10, "<H", 1), "page . is not a leaf of the tree"),
        (leaf(12, "<H", 16), "page . is not a leaf of the tree"),
        (leaf(12, "<H", 19), "page . is not a leaf of the tree"),
        (leaf(14, "<H", PAGE + 2), "page . is not a leaf of the tree"),
        (leaf(16, "<H", PAGE - 4), "page . has a node outside"),
        (leaf(16, "<H", 8), "page . has a node outside"),
        (node(0, "<I", 5000), "page . has a node that is too long"),
        (node(6, "<H", 60_000), "page . has a node that is too long"),
        (node(0, "<I", 2), "page . has nodes that do not fill it"),
        (node(4, "<H", 2), "holds named databases"),
        (node(4, "<H", 8), "page . has a node that is neither a record nor a large one"),
        (node(8, "<H", 0xFFFF), "keys are not in order"),
        (branch(12, "<H", 16), "page . is not a branch of the tree"),
        (child(0), "is not a leaf of the tree"),
        (child(1), "page 1 is named, and there is no such page"),
        (child(2**31), f"page {2**31} is named, and there is no such page"),
        (child(2), "keys are not in order"),
        (overflow(0, "<Q", 3), "is not that of a large record"),
        (overflow(10, "<H", 2), "is not that of a large record"),
        (overflow(12, "<I", 1), "is not that of a large record"),
        (shared_page, "two records lie in one place"),
    ],
)
def test_damaged_pages(change: Callable[[bytearray], None], expected: str, tmp_path: Path) -> None:
    pairs = [(b"%05d" % i, b"%d" % i * 100) for i in range(60)] + [(b"x%04d" % i, bytes(5000)) for i in range(5)]
    with lmdb.open(str(tmp_path / "db"), subdir=False, map_size=1 << 24) as environment:
        put(environment, pairs)
    data = bytearray((tmp_path / "db").read_bytes())
    change(data)
    (tmp_path / "db").write_bytes(data)
    with pytest.raises(DataError, match=expected):
        by_us(tmp_path / "db")


@pytest.mark.parametrize("entries", [59, 61])
def test_another_number_of_records(entries: int, tmp_path: Path) -> None:
    write_database(tmp_path / "db", ((b"%05d" % i, b"%d" % i * 100) for i in range(60)))
    file = tmp_path / "db" / "data.mdb"
    data = bytearray(file.read_bytes())
    for at in (0, PAGE):
        struct.pack_into("<Q", data, at + 120, entries)
    file.write_bytes(data)
    for _ in range(2):  # it is told again to whoever asks again
        with pytest.raises(DataError, match=f"it tells of {entries} records, and has 60"):
            by_us(tmp_path / "db")
