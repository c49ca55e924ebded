"""Databases of records, as the ``source`` and ``backend`` of a Data layer name them."""

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import lmdb

from caffelite.data.lmdb_file import Database
from caffelite.errors import DataError

_RECORDS_A_TRANSACTION = 1000
_FIRST_MAP = 16 << 20


def open_database(source: str | Path, backend: str = "LMDB") -> Database:
    """Open a database for reading.

    Parameters
    ----------
    source : path
        A folder, relative to the current one, as in Caffe.
    backend : {"LMDB", "LEVELDB"}
        What the prototxt says. An LMDB is read whatever it says: ``backend`` is LEVELDB where it is left out.

    Raises
    ------
    DataError
        The database is missing, empty, cut off, damaged, or of a kind that is not read.
    """
    path = Path(source)
    if (path / "CURRENT").is_file() and not (path / "data.mdb").is_file():
        raise DataError(
            f"{source} is a LevelDB, which caffelite does not read: copy its records into an LMDB once "
            '(docs/data.md, "From LevelDB", has the few lines) and name that with backend: LMDB'
        )
    if backend not in ("LMDB", "LEVELDB"):
        raise DataError(f'there is no database backend "{backend}"; LMDB is the one that is read')
    return Database(path)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder beside ``path`` that takes its place at the end, or is removed on an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        yield temporary
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o777 & ~mask)
        replace(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def replace(made: Path, path: Path) -> None:
    """Rename a folder or file to ``path``, in place of what is there."""
    if made.is_dir() and path.exists():
        # A folder that is not empty cannot be renamed over; the old one goes aside first.
        aside = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.old."))
        os.replace(path, aside / path.name)
        os.replace(made, path)
        shutil.rmtree(aside, ignore_errors=True)
    else:
        os.replace(made, path)


def write_database(path: str | Path, records: Iterable[tuple[bytes, bytes]]) -> int:
    """Write an LMDB that Caffe can read, whole or not at all.

    Parameters
    ----------
    path : path
        The folder. What was there before is replaced when the new one is complete.
    records : iterable of (bytes, bytes)
        Key and value, the value a serialized Datum. They are read in the order of the keys, not in this one.

    Returns
    -------
    int
        The number of records written.

    Raises
    ------
    DataError
        There is no record, a key is empty or too long, or the disk is full.
    """
    count = 0
    with new_folder(Path(path)) as folder:
        try:
            # Without a lock file: nobody else knows the folder yet, and Caffe makes one when it reads.
            with lmdb.open(str(folder), map_size=_FIRST_MAP, lock=False, sync=False) as environment:
                source = iter(records)
                while group := list(islice(source, _RECORDS_A_TRANSACTION)):
                    _put(environment, group)
                    count += len(group)
                environment.sync(True)
        except lmdb.Error as error:
            raise DataError(f"{path} cannot be written: {error}") from None
        if count == 0:
            raise DataError(f"{path} is not written: there is no record for it")
    return count


def _put(environment: lmdb.Environment, group: list[tuple[bytes, bytes]]) -> None:
    """Write records in one transaction; as often as the map is full, double it and begin again."""
    while True:
        try:
            with environment.begin(write=True) as transaction:
                for key, value in group:
                    transaction.put(key, value)
            return
        except lmdb.MapFullError:
            environment.set_mapsize(environment.info()["map_size"] * 2)
