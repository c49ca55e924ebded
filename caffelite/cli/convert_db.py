"""Copy a LevelDB, which Caffe wrote unless it was told otherwise, into an LMDB, which is what nets read here: the same
records under the same keys."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from caffelite.cli.databases import add_json, new_database, report
from caffelite.cli.terminal import amount, say
from caffelite.data.leveldb import LevelDb
from caffelite.data.writing import LONGEST_KEY, write_database
from caffelite.errors import DataError

EXAMPLES = """examples:
  caffelite convert_db mnist_train_leveldb mnist_train_lmdb
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what the command takes."""
    parser.add_argument("source", type=Path, metavar="SOURCE", help="folder of a LevelDB")
    parser.add_argument("database", type=Path, metavar="DATABASE", help="folder to make")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Copy the records, and tell how many they are."""
    source = LevelDb(arguments.source)
    target = new_database(arguments.database)
    count = write_database(target, _copied(source))
    for note in source.notes:
        say(note)
    return report(arguments, {target: count}, "records")


def _copied(source: LevelDb) -> Iterator[tuple[bytes, bytes]]:
    with amount(source.size(), "copying") as advance:
        empty = True
        for key, value in source.records():
            if not 0 < len(key) <= LONGEST_KEY:
                raise DataError(f"{source.path}: a key of {len(key)} bytes; LMDB's have 1 to {LONGEST_KEY}")
            yield key, value
            advance(len(key) + len(value))
            empty = False
    if empty:
        raise DataError("; ".join([f"{source.path}: the database is empty", *source.notes]))
