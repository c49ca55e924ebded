"""The databases that Caffe's converting programs write."""

import argparse
import json
from pathlib import Path
from typing import Any

from caffelite.cli.arguments import UsageError
from caffelite.cli.terminal import say

BACKENDS = ("lmdb", "leveldb")


def new_database(path: Path, backend: str = "lmdb") -> Path:
    """Return where a database is to be made.

    Parameters
    ----------
    path : Path
    backend : {"lmdb", "leveldb"}
        What was asked for. Scripts that ask for a LevelDB go on as they are: it is an LMDB, and that is told.

    Raises
    ------
    UsageError
        There is something already.
    """
    if path.exists():
        raise UsageError(f"{path} is there already; remove it, or give another name")
    if backend == "leveldb":
        say(f"{path}: written as LMDB, in place of LevelDB; nets read it whichever backend they name")
    return path


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add how the result is printed."""
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def report(arguments: argparse.Namespace, made: dict[Path, int], what: str) -> int:
    """Print how many records databases have; return the exit code.

    Parameters
    ----------
    arguments : Namespace
    made : dict of Path to int
    what : str
        What the records are.
    """
    rows: list[dict[str, Any]] = [{"database": str(path), "records": count} for path, count in made.items()]
    if arguments.json:
        print(json.dumps(rows))
    else:
        print("\n".join(f"{row['database']}: {row['records']} {what}" for row in rows))
    return 0
