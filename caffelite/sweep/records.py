"""The runs that are done, a line of JSON each."""

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from caffelite.errors import DataError
from caffelite.sweep.grid import Key
from caffelite.sweep.run import FAILED, Record

try:
    import fcntl
except ImportError:  # Windows: nothing is locked there
    fcntl = None  # type: ignore[assignment]

#: In the folder of a sweep.
FILE = "runs.jsonl"
_KEYS = {"settings", "seed", "digest", "folder", "state", "message", "loss", "tests", "shares", "losses", "seconds"}


class Records:
    """What a sweep has in its folder: read when it is opened, added to a line at a time.

    What a killed sweep has left of a last line is removed.

    Parameters
    ----------
    folder : Path
        It is made if it is missing.

    Raises
    ------
    DataError
        The file holds something else, or another process is writing it.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / FILE
        self._file = self.path.open("a+b")
        try:
            if fcntl is not None:
                self._lock()
            self._records = self._read()
        except BaseException:
            self._file.close()
            raise

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"{self.path}: another sweep is writing there; give this one its own --output") from None
        except OSError:  # a network file system without locks
            pass

    def _read(self) -> dict[Key, Record]:
        self._file.seek(0)
        content = self._file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            self._file.truncate(whole)
        records: dict[Key, Record] = {}
        for number, line in enumerate(content[:whole].splitlines(), 1):
            try:
                record = json.loads(line)
            except ValueError:
                record = None
            if not isinstance(record, dict) or not record.keys() >= _KEYS:
                raise DataError(f"{self.path}:{number}: this is no line of a sweep; move the file away to begin anew")
            records[record["digest"], record["seed"]] = record
        return records

    def finished(self, key: Key) -> Record | None:
        """Return a run that need not be made again; one that failed may not fail the next time."""
        record = self._records.get(key)
        return None if record is None or record["state"] == FAILED else record

    def add(self, record: Record) -> None:
        """Keep a run; when this returns, its line has reached the disk."""
        self._file.write(json.dumps(record, allow_nan=False).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
