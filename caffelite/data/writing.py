"""LMDB databases as Caffe's tools write them: whole or not at all, and larger, whole or not at all.

The map of an LMDB, which limits its size, grows by itself.
"""

import errno
import heapq
import mmap
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb

from caffelite.data.database import open_database
from caffelite.errors import DataError
from caffelite.files import replace, scratch_folder, written_until_full
from caffelite.words import quoted

#: A key and its value.
Record = tuple[bytes, bytes]
#: LMDB takes no longer keys.
LONGEST_KEY = 511
#: Records in a transaction that makes a database, and about as many bytes: while it is written, what makes records
#: goes on only as far as it is ahead.
_BATCH, _BATCH_BYTES = 1000, 16 << 20
#: Bytes that one transaction adds: LMDB has them in memory until it ends.
_LARGEST_ADDED = 1 << 30


def write_database(
    path: str | Path, records: Iterable[Record], also: Mapping[Path, Iterable[Record]] | None = None
) -> int:
    """Write an LMDB as Caffe's tools do, whole or not at all.

    Parameters
    ----------
    path : path
        A folder; what is there is replaced.
    records : iterable of (key, value)
        In the order of their keys.
    also : mapping of Path to iterable of (key, value), optional
        Other databases in the same folder. Their records are taken when those of the first have been, so that they
        may come to be meanwhile.

    Returns
    -------
    int
        The number of records.

    Raises
    ------
    OSError
        It cannot be written.
    """
    target = Path(path)
    with scratch_folder(target.parent, target.name) as scratch:
        count = _make(scratch, target, records)
        for other, its_records in (also or {}).items():
            _make(scratch, other, its_records)
        for made in (*(also or {}), target):
            replace(scratch / made.name, made)
    return count


def append_database(
    path: str | Path, records: Iterable[Record], also: Mapping[Path, Iterable[Record]] | None = None
) -> int:
    """Put records into an LMDB that is there, all of them or none.

    They are collected beside it first, then moved in one transaction; where that would take much memory, both become a
    new database, which takes the place of the old one. Whatever happens before leaves the database as it was.

    Parameters
    ----------
    path : path
    records : iterable of (key, value)
        In the order of their keys.
    also : mapping of Path to iterable of (key, value), optional
        Other databases with the same keys, in the same folder, which are added to in step with the first: what one
        has behind the last key of the first (a run was ended between the two) is removed from it.

    Returns
    -------
    int
        The number of records.

    Raises
    ------
    DataError
        It is missing, damaged or not an LMDB, or has one of the keys.
    OSError
        It cannot be written.
    """
    target = Path(path)
    everything = [*(also or {}), target]
    # The lmdb package follows a damaged file wherever it leads; what our reader has gone through whole is not damaged.
    last = [last_key(one) for one in everything][-1]
    with scratch_folder(target.parent, target.name) as scratch:
        count = _make(scratch, target, records)
        for other, its_records in (also or {}).items():
            _make(scratch, other, its_records)
        for one in everything:
            cut = None if one == target else last
            if (scratch / one.name / "data.mdb").stat().st_size > _LARGEST_ADDED and one.is_dir():
                _join(scratch / one.name, one, cut)
            else:
                _move(scratch / one.name, one, cut)
    return count


def last_key(path: Path) -> bytes:
    """Return the largest key of a database, of which all that leads to records has been checked."""
    database = open_database(path)
    try:
        return database.last_key()
    finally:
        database.close()


def _make(scratch: Path, target: Path, records: Iterable[Record]) -> int:
    """Write a database into a scratch folder, under the name of its target."""
    made = scratch / target.name
    made.mkdir()
    with _told(made / "data.mdb", target):
        count = _fill(made, records)
    (made / "lock.mdb").unlink(missing_ok=True)
    return count


@contextmanager
def _told(file: Path, target: Path) -> Iterator[None]:
    """Make an error of LMDB one that names the target and says why; ``file`` is one to be thrown away."""
    try:
        yield
    except lmdb.Error as error:
        cause = _cause(error, file)
        raise OSError(cause.errno, written_until_full(cause, file.parent), str(target)) from None


def _cause(error: lmdb.Error, file: Path) -> OSError:
    """Return why LMDB could not write to a file that is to be thrown away.

    It calls a write that a full disk, a quota or a limit of file sizes has cut short an input/output error: another
    page tells which of these it is.
    """
    try:
        with open(file, "ab") as end:
            end.write(bytes(mmap.PAGESIZE))
    except OSError as cause:
        return cause
    return OSError(errno.EIO, str(error).rpartition(": ")[2])  # its words end with the system's


def _fill(folder: Path, records: Iterable[Record]) -> int:
    environment: Any = lmdb.open(str(folder), map_size=1 << 26, sync=False, metasync=False)
    count = size = 0
    try:
        # What is written goes to the disk while more of it is made; at the end little is left to wait for.
        with ThreadPoolExecutor(1) as pool:
            flushed = pool.submit(environment.sync, True)
            batch: list[Record] = []
            for record in records:
                batch.append(record)
                count += 1
                size += len(record[1])
                if len(batch) == _BATCH or size >= _BATCH_BYTES:
                    _put(environment, batch)
                    batch, size = [], 0
                    if flushed.done():
                        flushed.result()  # its error: the system tells of a disk that fails once
                        flushed = pool.submit(environment.sync, True)
            _put(environment, batch)
            flushed.result()
        environment.sync(True)
    finally:
        environment.close()
    return count


def _put(environment: Any, batch: list[Record]) -> None:
    while True:
        try:
            with environment.begin(write=True) as transaction:
                for key, value in batch:
                    transaction.put(key, value, append=True)
            return
        except lmdb.MapFullError:
            environment.set_mapsize(environment.info()["map_size"] * 2)


def _join(made: Path, target: Path, last: bytes | None) -> None:
    """Make one database of two, without what the old one has behind the key ``last``, and put it in its place."""
    whole = made.with_name(f"{made.name}.whole") / target.name
    whole.parent.mkdir()
    with _read(target) as old, _read(made) as new, old.begin() as here, new.begin() as there:
        kept = (record for record in here.cursor() if last is None or record[0] <= last)
        _make(whole.parent, target, _apart(heapq.merge(kept, there.cursor()), target))
    replace(whole, target)


def _apart(records: Iterable[Record], target: Path) -> Iterator[Record]:
    """Yield records in order; two with the same key are an error."""
    before = None
    for key, value in records:
        if key == before:
            raise _there_already(target, key)
        before = key
        yield key, value


def _there_already(target: Path, key: bytes) -> DataError:
    return DataError(f"{target} has a record with the key {quoted(bytes(key).decode('utf-8', 'replace'))} already")


def _read(folder: Path) -> Any:
    return lmdb.open(str(folder), readonly=True, lock=False)


def _move(made: Path, target: Path, last: bytes | None) -> None:
    """Put the records of a database into another, in one transaction; first remove what is behind the key ``last``."""
    file = made / "data.mdb"
    with _told(file, target), _read(made) as source:
        # 0: as large as it is; a database that is a file has no folder.
        environment: Any = lmdb.open(str(target), subdir=target.is_dir(), map_size=0, create=False)
        try:
            room = environment.info()["map_size"] + 2 * file.stat().st_size
            while not _moved(source, environment, room, target, last):
                room *= 2
        finally:
            environment.close()


def _moved(source: Any, environment: Any, room: int, target: Path, last: bytes | None) -> bool:
    """Put the records of a database into another, whose map gets so many bytes; false where that is too little."""
    environment.set_mapsize(room)
    try:
        with environment.begin(write=True) as writing, source.begin(buffers=True) as reading:
            if last is not None:
                cursor = writing.cursor()
                while cursor.set_range(last + b"\0"):
                    cursor.delete()
            for key, value in reading.cursor():
                if not writing.put(key, value, overwrite=False):
                    raise _there_already(target, key)
    except lmdb.MapFullError:
        return False
    return True
