"""The lines of a log that glog wrote, in all their forms: with and without the year, packed, of several processes."""

import gzip
import re
import zlib
from calendar import isleap
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from caffelite.errors import DataError

#: A line is read no further.
_LONGEST_LINE = 4096
#: So many bytes are read: a small packed file can become a very large one.
_MOST_BYTES = 1 << 30

#: How a line begins: ``I0105 10:20:30.123456  4711 solver.cpp:228] ``, with the year before the month since glog 0.5.
#: Before it may stand the number of a process, as Intel's Caffe and mpirun have it: ``[3] ``, ``[1,3]<stderr>:``.
LOG_LINE = re.compile(
    r"(?:\[(?:\d+,)?(?P<rank>\d{1,9})\](?:<\w+>)?:?\s*)?"
    r"[IWEF](?P<year>\d{4})?(?P<month>\d\d)(?P<day>\d\d) (?P<time>\d\d:\d\d:\d\d)\.(?P<fraction>\d{1,9})"
    r" +\d+ [^\]]{1,300}\] ?"
)
#: How a line begins where a program has a log of its own in place of glog: ``INFO - 18:34:50 - ``.
_TIME_ALONE = re.compile(r"\s*(?:INFO|WARNING|ERROR|FATAL) - (?P<time>\d\d:\d\d:\d\d) - ")


class LogLine(NamedTuple):
    """What a line says, when, and which of several processes.

    Attributes
    ----------
    text : str
        What stands behind its head; the whole line where it has none.
    when : datetime or None
    rank : int or None
        Where several processes wrote one log: the number of this one.
    """

    text: str
    when: datetime | None
    rank: int | None


def read_lines(path: Path) -> Iterator[LogLine]:
    """Yield the lines of a log; one on which two threads wrote is two.

    Raises
    ------
    DataError
        It is packed and damaged, or has more than a gigabyte.
    """
    clock = _Clock(datetime.fromtimestamp(path.stat().st_mtime).year)
    for line in _texts(path):
        heads = list(LOG_LINE.finditer(line))
        if not heads:
            alone = _TIME_ALONE.match(line)
            if alone:
                yield LogLine(line[alone.end() :], clock.of_day(alone["time"]), None)
            else:
                yield LogLine(line, None, None)
            continue
        ends = [head.start() for head in heads[1:]] + [len(line)]
        for head, end in zip(heads, ends, strict=True):
            rank = None if head["rank"] is None else int(head["rank"])
            yield LogLine(line[head.end() : end], clock.of(head), rank)


def _texts(path: Path) -> Iterator[str]:
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
                yield line.decode(errors="replace").rstrip()
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise DataError(f"{path}: the packed log is damaged or cut off") from None


class _Clock:
    """Makes dates of what lines say: many have no year, some no day.

    Parameters
    ----------
    year : int
        Of the first date without one.
    """

    def __init__(self, year: int) -> None:
        self._year, self._last = year, datetime.min
        self._leap = timedelta()

    def of(self, head: re.Match[str]) -> datetime | None:
        """Return the date of a line; None where there is no such day or hour."""
        last = self._last.year if self._last != datetime.min else self._year
        month, day, added = int(head["month"]), int(head["day"]), self._leap
        # Threads write a little out of order, also at the end of a year.
        years = (last, last - 1, last + 1) if (month, day) != (2, 29) else (last,)
        if head["year"]:
            years = (int(head["year"]),)
        elif (month, day) == (2, 29) and not isleap(last):
            # The year is another one than that of the file; its length is all that matters.
            day, added = 28, timedelta(days=1)
            self._leap = added
        elif month < 3:
            added = timedelta()
        seconds = f"{head['time']}.{head['fraction'][:6]:0<6}"
        try:
            time = datetime.strptime(seconds, "%H:%M:%S.%f").time()
            dates = [datetime.combine(date(year, month, day), time) + added for year in years]
        except (ValueError, OverflowError):
            return None
        self._last = dates[0] if self._last == datetime.min else min(dates, key=lambda one: abs(one - self._last))
        return self._last

    def of_day(self, time: str) -> datetime | None:
        """Return the date of a line that has a time of day alone: as soon as possible after the one before."""
        last = datetime(self._year, 1, 1) if self._last == datetime.min else self._last
        try:
            when = datetime.fromisoformat(f"{last.date()} {time}")
            self._last = when + timedelta(days=1) if when < last - timedelta(hours=1) else when
        except (ValueError, OverflowError):
            return None
        return self._last
