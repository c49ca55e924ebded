"""Logs of training runs: Caffe's, and those that are written like it; also packed by gzip."""

import gzip
import math
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from caffelite.errors import DataError
from caffelite.inspection.kinds import LOG_LINE
from caffelite.inspection.told import Inspection, plural

#: A line is read no further, and a log has no more values with names of their own.
_LONGEST_LINE, _MOST_SERIES = 4096, 1000
#: So many bytes are read: a small packed file can become a very large one.
_MOST_BYTES = 1 << 30

_LOSS = re.compile(r"Iteration (\d+)(?: \([^)]*\))?, loss = (\S+)")
_RATE = re.compile(r"Iteration (\d+), lr = (\S+)")
_TEST = re.compile(r"Iteration (\d+), Testing net \(#(\d+)\)")
_OUTPUT = re.compile(r"\s*(Train|Test) net output #(\d+): (\S+) = (\S+)")
_NET = re.compile(r"Solving (.*)")
_SNAPSHOT = re.compile(r"Snapshotting to (?:binary proto|HDF5) file (.*)")


@dataclass(slots=True)
class _Series:
    """The values of one thing, in the order in which they were logged."""

    count: int = 0
    first: float = math.nan
    last: float = math.nan
    least: float = math.inf
    most: float = -math.inf

    def add(self, text: str) -> None:
        try:
            value = float(text)
        except ValueError:
            return
        if not self.count:
            self.first = value
        self.count, self.last = self.count + 1, value
        # What is not a number is neither.
        self.least, self.most = min(self.least, value), max(self.most, value)

    def data(self) -> dict[str, Any]:
        values = {"first": self.first, "last": self.last, "min": self.least, "max": self.most}
        return {"count": self.count, **{key: value if math.isfinite(value) else None for key, value in values.items()}}

    def row(self) -> list[str]:
        return [str(self.count), *(f"{value:g}" for value in (self.first, self.last, self.least, self.most))]


@dataclass(slots=True)
class _Log:
    """What was read."""

    net: str = ""
    first: int | None = None
    last: int | None = None
    tests: int = 0
    snapshots: list[str] = field(default_factory=list)
    done: bool = False
    series: dict[str, _Series] = field(default_factory=dict)
    testing: str = "0"

    def add(self, text: str) -> None:
        """Read what a line says behind its head."""
        if match := _LOSS.match(text):
            self._iteration(int(match[1][:18]))
            self._value("loss", match[2])
        elif match := _RATE.match(text):
            self._value("lr", match[2])
        elif match := _TEST.match(text):
            self._iteration(int(match[1][:18]))
            self.tests += 1
            self.testing = match[2]
        elif match := _OUTPUT.match(text):
            # Several values of one blob follow each other; its name alone does not tell them apart.
            of = f"test {self.testing}" if match[1] == "Test" else "train"
            self._value(f"{of} {match[3]} #{match[2]}", match[4])
        elif match := _NET.match(text):
            self.net = self.net or match[1].strip()
        elif (match := _SNAPSHOT.match(text)) and len(self.snapshots) < _MOST_SERIES:
            self.snapshots.append(match[1].strip())
        elif text.startswith("Optimization Done"):
            self.done = True

    def _iteration(self, number: int) -> None:
        self.first = number if self.first is None else min(self.first, number)
        self.last = number if self.last is None else max(self.last, number)

    def _value(self, name: str, text: str) -> None:
        if name in self.series or len(self.series) < _MOST_SERIES:
            self.series.setdefault(name, _Series()).add(text)


def log_inspection(path: Path) -> Inspection:
    """Return what is told of a log: iterations, losses, outputs of tests, the snapshots that were made.

    Raises
    ------
    DataError
        It is packed and damaged, or has more than a gigabyte.
    """
    log = _Log()
    for line in _lines(path):
        head = LOG_LINE.match(line)
        if head:
            log.add(line[head.end() :])
    ended = "finished" if log.done else "not finished"
    run = "no iteration" if log.first is None else f"iterations {log.first:,} to {log.last:,}"
    lines = [
        f"log of a training run{f' of {log.net}' if log.net else ''}, {run}, {ended}",
        f"{plural(log.tests, 'test')}, {plural(len(log.snapshots), 'snapshot')}"
        + (f", the last {log.snapshots[-1]}" if log.snapshots else ""),
    ]
    rows = [["value", "logged", "first", "last", "least", "most"]]
    rows += [[name, *series.row()] for name, series in log.series.items() if series.count]
    data = {
        "net": log.net,
        "first_iteration": log.first,
        "last_iteration": log.last,
        "finished": log.done,
        "tests": log.tests,
        "snapshots": log.snapshots,
        "values": {name: series.data() for name, series in log.series.items()},
    }
    return Inspection("log", lines, rows if len(rows) > 1 else [], data)


def _lines(path: Path) -> Iterator[str]:
    with path.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    read = 0
    try:
        with gzip.open(path) if packed else path.open("rb") as stream:
            # The rest of a longer line begins with nothing that is looked for.
            while line := stream.readline(_LONGEST_LINE):
                read += len(line)
                if read > _MOST_BYTES:
                    raise DataError(f"{path}: more than {_MOST_BYTES >> 30} GB, which no log of a training run has")
                yield line.decode(errors="replace")
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise DataError(f"{path}: the packed log is damaged or cut off") from None
