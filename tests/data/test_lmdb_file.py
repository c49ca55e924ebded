"""Which files are taken for LMDBs, and what happens when one changes while it is read."""

import errno
import multiprocessing
import os
import struct
from pathlib import Path

import lmdb
import numpy as np
import pytest

from caffelite.data.database import open_database
from caffelite.data.writing import write_database
from caffelite.errors import DataError

PAGE = 4096


def meta_page(number: int, size: int, transaction: int, *tree: int, flags: int = 0) -> bytes:
    """Return a meta page; ``tree``: depth, records, root, last page."""
    depth, records, root, last = tree
    page = struct.pack("<QHHI", number, 0, 8, 0) + struct.pack("<IIQQ", 0xBEEFC0DE, 1, 0, 1 << 20)
    page += struct.pack("<IHHQQQQQ", size, 0, 0, 0, 0, 0, 0, 2**64 - 1)
    page += struct.pack("<IHHQQQQQ", 0, flags, depth, 1, 1, 0, records, root)
    return (page + struct.pack("<QQ", last, transaction)).ljust(size, b"\0")


def tree_page(number: int, size: int, flags: int, nodes: list[bytes]) -> bytes:
    """Return a page of the tree with nodes in the order of their keys."""
    nodes = [node + bytes(len(node) % 2) for node in nodes]
    places = size - np.cumsum([len(node) for node in nodes])
    header = struct.pack("<QHHHH", number, 0, flags, 16 + 2 * len(nodes), places[-1])
    head = header + b"".join(struct.pack("<H", place) for place in places)
    return head.ljust(int(places[-1]), b"\0") + b"".join(reversed(nodes))


def node(low: int, flags: int, key: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<IHH", low, flags, len(key)) + key + data


def made(size: int, flags: int = 0) -> bytes:
    """Return a database of five records on two leaves, one of them on two overflow pages, with pages of any size."""
    large = b"L" * (size + 1)
    left = [node(3, 0, b"a", b"one"), node(len(large), 1, b"b", struct.pack("<Q", 5))]
    right = [node(0, 0, b"c"), node(4, 0, b"cc", b"four"), node(4, 0, b"d", b"five")]
    pages = [meta_page(0, size, 2, 2, 5, 2, 6, flags=flags), meta_page(1, size, 1, 1, 1, 9, 9)]
    pages += [tree_page(2, size, 1, [node(3, 0, b""), node(4, 0, b"c")])]
    pages += [tree_page(3, size, 2, left), tree_page(4, size, 2, right)]
    return b"".join(pages) + (struct.pack("<QHHI", 5, 0, 4, 2) + large).ljust(2 * size, b"\0")


@pytest.mark.parametrize("size", [512, 4096, 16384, 32768])
def test_every_size_of_pages(size: int, tmp_path: Path) -> None:
    (tmp_path / "db").write_bytes(made(size))
    database = open_database(tmp_path / "db")
    assert [database.read(i) for i in range(5)] == [b"one", b"L" * (size + 1), b"", b"four", b"five"]
    database.close()


def test_the_naive_writer_writes_what_lmdb_reads(tmp_path: Path) -> None:
    (tmp_path / "db").write_bytes(made(PAGE))
    with lmdb.open(str(tmp_path / "db"), readonly=True, lock=False, subdir=False) as environment:
        with environment.begin() as transaction:
            assert list(transaction.cursor().iternext(keys=False))[1:] == [b"L" * (PAGE + 1), b"", b"four", b"five"]


def changed(at: int, form: str, *values: int) -> bytes:
    data = bytearray(made(PAGE))
    for page in (0, PAGE):
        struct.pack_into(form, data, page + at, *values)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "not an LMDB: it has 0 bytes"),
        (b"rubbish" * 1000, "not an LMDB, or damaged: it does not begin with a meta page"),
        (changed(16, ">I", 0xBEEFC0DE), "an LMDB of a big-endian machine"),
        (changed(12, "<II", 0xBEEFC0DE, 1), "an LMDB of a 32-bit machine"),
        (changed(20, "<I", 3), "an LMDB of format 3; format 1 is what Caffe writes"),
        (changed(16, "<QII", 0, 0xBEEFC0DE, 3), "an LMDB of format 3; format 1 is what Caffe writes"),
        (changed(10, "<H", 2), "page 0 is not a meta page"),
        (changed(40, "<I", 4095), "page 0 is not a meta page"),
        (made(PAGE)[:PAGE] + bytes(PAGE) + made(PAGE)[2 * PAGE :], "does not begin with a meta page"),
        (made(PAGE)[:PAGE], "cut off: 4096 bytes"),
        (made(PAGE)[: 5 * PAGE], f"cut off: {5 * PAGE} bytes of {7 * PAGE}"),
        (made(PAGE)[: 4 * PAGE], f"cut off: {4 * PAGE} bytes of {7 * PAGE}"),
        (made(PAGE, flags=4), r"keys have several values or an order of their own \(flags 0x4\)"),
        (changed(120, "<Q", 0), "the database is empty"),
        (changed(120, "<Q", 2**40), "1099511627776 records in 2 levels and 7 pages cannot be"),
        (changed(94, "<H", 33), "5 records in 33 levels"),
        (changed(94, "<H", 0), "5 records in 0 levels"),
        (changed(136, "<Q", 2**64 - 1), "18446744073709551616 pages cannot be"),
    ],
)
def test_files_that_are_refused(data: bytes, expected: str, tmp_path: Path) -> None:
    (tmp_path / "db").write_bytes(data)
    for _ in range(2):
        with pytest.raises(DataError, match=expected):
            open_database(tmp_path / "db")


@pytest.mark.parametrize("several", [True, False])
def test_named_databases(several: bool, tmp_path: Path) -> None:
    with lmdb.open(str(tmp_path), max_dbs=1, map_size=1 << 20) as environment:
        table = environment.open_db(b"one", dupsort=several)
        with environment.begin(write=True, db=table) as transaction:
            transaction.put(b"key", b"value")
    database = open_database(tmp_path)
    with pytest.raises(DataError, match="it holds named databases; Caffe's have none"):
        database.read(0)
    database.close()


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").mkdir()
    with pytest.raises(DataError, match="not an LMDB: data.mdb is not a file"):
        open_database(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="not an LMDB: pipe is not a file"):
        open_database(tmp_path / "pipe")


def test_pages_at_the_end_that_were_never_written(tmp_path: Path) -> None:
    file = tmp_path / "data.mdb"
    write_database(tmp_path, ((b"%03d" % i, b"%d" % i * 100) for i in range(200)))
    data = bytearray(file.read_bytes())
    for page in (0, PAGE):
        (last,) = struct.unpack_from("<Q", data, page + 136)
        struct.pack_into("<Q", data, page + 136, last + 3)
    file.write_bytes(data)
    database = open_database(tmp_path)
    assert database.read(199) == b"199" * 100
    database.close()


def test_a_file_that_is_cut_off_while_it_is_read(tmp_path: Path) -> None:
    write_database(tmp_path / "db", ((b"%05d" % i, b"x" * 900) for i in range(5000)))
    database = open_database(tmp_path / "db")
    assert database.read(4999) == b"x" * 900
    os.truncate(tmp_path / "db" / "data.mdb", 20 * PAGE)
    with pytest.raises(DataError, match="has been cut off since it was opened"):
        database.read(4999)
    database.close()


def test_a_disk_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_database(tmp_path / "db", [(b"a", b"b")])
    database = open_database(tmp_path / "db")

    def failing(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "preadv", failing)
    with pytest.raises(DataError, match="cannot be read: Input/output error"):
        database.read(0)
    database.close()


def test_where_there_is_no_preadv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "preadv")
    (tmp_path / "db").write_bytes(made(PAGE))
    database = open_database(tmp_path / "db")
    assert [database.read(i) for i in (4, 1)] == [b"five", b"L" * (PAGE + 1)]
    database.close()


def test_the_records_of_opening_or_an_error_while_another_program_writes(tmp_path: Path) -> None:
    values = [b"%d" % i * 300 for i in range(400)]
    write_database(tmp_path / "db", ((b"%05d" % i, value) for i, value in enumerate(values)))
    database = open_database(tmp_path / "db")
    with lmdb.open(str(tmp_path / "db"), map_size=1 << 26) as environment:
        for times in range(6):
            with environment.begin(write=True) as transaction:
                for i in range(0, 400, 3):
                    transaction.put(b"%05d" % i, b"other %d" % times * 150)
            if times == 0:  # the pages of the transaction before are never used by the next
                assert [database.read(i) for i in range(400)] == values
            else:
                with pytest.raises(DataError, match="another program has written to the database since it was opened"):
                    database.read(0)
    database.close()
    database = open_database(tmp_path / "db")
    assert database.read(0) == b"other 5" * 150
    database.close()


def _read_all(path: Path, queue: "multiprocessing.Queue[list[bytes]]") -> None:
    database = open_database(path)
    queue.put([database.read(i) for i in range(len(database))])


def test_a_fork_reads_on(tmp_path: Path) -> None:
    values = [b"%d" % i * 100 for i in range(1000)]
    write_database(tmp_path / "db", ((b"%05d" % i, value) for i, value in enumerate(values)))
    database = open_database(tmp_path / "db")
    assert database.read(3) == values[3]
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    copies = [context.Process(target=_read_all, args=(tmp_path / "db", queue)) for _ in range(3)]
    for copy in copies:
        copy.start()
    found = [[database.read(i) for i in range(1000)], *(queue.get(timeout=60) for _ in copies)]
    for copy in copies:
        copy.join()
    assert all(one == values for one in found)
    database.close()
