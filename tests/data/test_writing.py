"""Databases that grow: all that is added, or nothing."""

import os
import subprocess
import sys
from pathlib import Path

import lmdb
import pytest
from records import raw_records

from caffelite.data import writing
from caffelite.data.database import open_database
from caffelite.data.writing import append_database, last_key, write_database
from caffelite.errors import DataError

OLD = [(b"%04d" % i, b"old" * 50) for i in range(30)]
NEW = [(b"%04d" % i, bytes([i]) * 3000) for i in range(30, 60)]


@pytest.mark.parametrize("most", [1 << 30, 0])
def test_what_is_added_stands_behind_what_is_there(most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "_LARGEST_ADDED", most)
    write_database(tmp_path / "db", OLD)
    assert append_database(tmp_path / "db", iter(NEW)) == len(NEW)
    assert raw_records(tmp_path / "db") == OLD + NEW
    assert last_key(tmp_path / "db") == NEW[-1][0]
    assert os.listdir(tmp_path) == ["db"]


def test_a_map_that_another_program_made_small_grows(tmp_path: Path) -> None:
    with lmdb.open(str(tmp_path / "db"), map_size=1 << 16) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"0000", b"first")
    values = [(b"%04d" % i, bytes(20_000)) for i in range(1, 90)]
    append_database(tmp_path / "db", values)
    assert raw_records(tmp_path / "db") == [(b"0000", b"first"), *values]


@pytest.mark.parametrize("most", [1 << 30, 0])
def test_a_key_that_is_there_already_leaves_all_as_it_was(
    most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "_LARGEST_ADDED", most)
    write_database(tmp_path / "db", OLD)
    with pytest.raises(DataError, match='db has a record with the key "0029" already'):
        append_database(tmp_path / "db", [(b"0029", b"x"), *NEW])
    assert raw_records(tmp_path / "db") == OLD


def test_an_error_on_the_way_leaves_all_as_it_was(tmp_path: Path) -> None:
    write_database(tmp_path / "db", OLD)

    def failing():
        yield NEW[0]
        raise RuntimeError

    with pytest.raises(RuntimeError):
        append_database(tmp_path / "db", failing())
    assert raw_records(tmp_path / "db") == OLD


def test_a_process_that_is_killed_in_the_last_transaction_leaves_all_as_it_was(tmp_path: Path) -> None:
    write_database(tmp_path / "db", OLD)
    program = (
        "import os, sys, lmdb\n"
        "with lmdb.open(sys.argv[1]) as db, db.begin(write=True) as t:\n"
        "    t.put(b'0099', bytes(100000)); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(tmp_path / "db")]).returncode == 9
    append_database(tmp_path / "db", NEW)
    assert raw_records(tmp_path / "db") == OLD + NEW


@pytest.mark.parametrize("most", [1 << 30, 0])
def test_databases_go_in_step(most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "_LARGEST_ADDED", most)
    labels = tmp_path / "db_labels"
    write_database(tmp_path / "db", OLD, {labels: [(key, b"label") for key, _ in OLD]})
    # A run was ended between the two.
    append_database(labels, [(NEW[0][0], b"of a lost image"), (NEW[1][0], b"of another")])
    append_database(tmp_path / "db", NEW, {labels: [(key, b"new") for key, _ in NEW]})
    assert raw_records(labels) == [(key, b"label") for key, _ in OLD] + [(key, b"new") for key, _ in NEW]


def test_only_a_whole_database_is_added_to(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such database"):
        append_database(tmp_path / "none", NEW)
    write_database(tmp_path / "db", OLD)
    file = tmp_path / "db" / "data.mdb"
    file.write_bytes(file.read_bytes()[:-4096])
    with pytest.raises(DataError, match="cut off"):
        append_database(tmp_path / "db", NEW)


def test_the_last_key_is_known_while_others_read(tmp_path: Path) -> None:
    write_database(tmp_path / "db", OLD)
    database = open_database(tmp_path / "db")
    assert last_key(tmp_path / "db") == database.last_key() == b"0029"
    database.close()
