"""What the log of a training run holds: caffelite's, Caffe's of any age, and those of its forks."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from caffelite.errors import DataError
from caffelite.report.log_lines import LogLine, read_lines

#: A log has no more rows, snapshots and outputs: what is read must fit into memory.
_MOST_ROWS, _MOST_SNAPSHOTS, _MOST_OUTPUTS = 3_000_000, 1000, 1000

_ITERATION = re.compile(r"\s*Iteration (\d{1,15})\b(?: \([^)]*\))?,?\s*(.*)")
_TESTING = re.compile(r"Testing net(?: \(#(\d{1,6})\))?")
# NVIDIA's Caffe tells the epoch before the loss, and momentum behind the rate.
_LOSS = re.compile(r"(?:[^=]*, )?loss = (.*)")
_RATE = re.compile(r"lr = (.*)")
_OUTPUT = re.compile(r"\s*(Train|Test) net output #(\d{1,9}): (\S+) = (.*)")
#: Caffe of 2013 has no names of outputs.
_SCORE = re.compile(r"\s*Test score #(\d{1,9}): (.*)")
_TEST_LOSS = re.compile(r"\s*Test loss: (.*)")
_NET = re.compile(r"\s*Solving(?: (.*))?$")
_SNAPSHOT = re.compile(r"\s*Snapshotting to (?:binary proto file |HDF5 file )?(.*)")
#: A number as C++ writes it, on Windows too, and how what may stand behind it begins: its share in the loss, another
#: setting.
_NUMBER = re.compile(
    r"([-+]?)(?:(\d+\.?\d*(?:e[-+]?\d+)?|\.\d+(?:e[-+]?\d+)?)|(nan(?:\(\w*\))?|1\.#(?:ind|qnan|snan)\d*)"
    r"|(?:inf(?:inity)?|1\.#inf\d*))\s*(?:$|[(,])",
    re.IGNORECASE,
)

#: An output: its number among the values of all outputs, and its name.
Key = tuple[int, str]


@dataclass(slots=True)
class Row:
    """What was logged at an iteration.

    Attributes
    ----------
    iteration : int
    seconds : float
        Since the run began; NaN where lines have no time.
    rate : float
        The learning rate; NaN where it is not known.
    loss : float
        Train: as it is displayed, smoothed where ``average_loss`` says so. Test: where ``test_compute_loss`` asks for
        it. NaN where it is not in the log.
    values : dict
        The outputs.
    run : int
        0, and one more each time that iterations go back: the program was started again.
    """

    iteration: int
    seconds: float
    run: int
    rate: float = math.nan
    loss: float = math.nan
    values: dict[Key, float] = field(default_factory=dict)


@dataclass(slots=True)
class TrainingLog:
    """A log.

    Attributes
    ----------
    path : Path
    net : str
        Its name; empty where the log does not tell it.
    train : list of Row
        What was displayed, in the order of the log.
    tests : dict of int to list of Row
        The tests, by the number of the net that was tested.
    losses : set of str
        The names of outputs that count in the loss.
    starts : list of int
        The iteration with which each run begins.
    snapshots : list of str
    finished : bool
    ranks : list of int
        The processes that wrote the log, where lines have their numbers; what is here is the first one's.
    damaged : int
        Lines with a value that cannot be read.
    dated : int
        Lines with a time, as glog and others write it.
    """

    path: Path
    net: str = ""
    train: list[Row] = field(default_factory=list)
    tests: dict[int, list[Row]] = field(default_factory=dict)
    losses: set[str] = field(default_factory=set)
    starts: list[int] = field(default_factory=list)
    snapshots: list[str] = field(default_factory=list)
    finished: bool = False
    ranks: list[int] = field(default_factory=list)
    damaged: int = 0
    dated: int = 0

    @property
    def rows(self) -> list[Row]:
        """All rows, those of tests last."""
        return [row for rows in (self.train, *self.tests.values()) for row in rows]

    def made(self, rows: Sequence[Row]) -> list[Row]:
        """Return the rows that led to the last weights: those that a later run made again are left out."""
        limits = [math.inf]
        for start in reversed(self.starts[1:]):
            limits.append(min(limits[-1], start))
        limits.reverse()
        kept: list[Row] = []
        later: set[int] = set()
        of_run: set[int] = set()
        run = -1
        for row in reversed(rows):
            if row.run != run:
                later |= of_run
                run, of_run = row.run, set()
            limit = limits[run]
            if row.iteration < limit or (row.iteration == limit and row.iteration not in later):
                kept.append(row)
            of_run.add(row.iteration)
        kept.reverse()
        return kept


class _Reader:
    """Follows the lines of one process."""

    def __init__(self, path: Path) -> None:
        self.log = TrainingLog(path)
        self.count = 0
        self._rates: dict[tuple[int, int], float] = {}
        self._first: datetime | None = None
        self._begun: datetime | None = None
        self._when: datetime | None = None
        self._last = -1
        self._solving = False
        self._testing: Row | None = None
        self._outputs: set[Key] = set()

    def read(self, line: LogLine) -> None:
        """Take a line."""
        text = line.text
        self._when = line.when
        self.log.dated += line.when is not None
        if self._first is None:
            self._first = line.when
        if match := _ITERATION.match(text):
            self._iteration(int(match[1]), match[2])
        elif match := _OUTPUT.match(text):
            self._output(match[1] == "Test", (int(match[2]), match[3]), match[4])
        elif match := _SCORE.match(text):
            self._output(True, (int(match[1]), "score"), match[2])
        elif match := _TEST_LOSS.match(text):
            value = self._number(match[1])
            if value is not None and self._testing is not None:
                self._testing.loss = value
        elif match := _NET.match(text):
            self.log.net = self.log.net or (match[1] or "").strip()
            self._begun = self._begun or line.when
            self._solving, self.log.finished = True, False
        elif match := _SNAPSHOT.match(text):
            if len(self.log.snapshots) < _MOST_SNAPSHOTS:
                self.log.snapshots.append(match[1].strip())
        elif text.lstrip().startswith("Optimization Done"):
            self.log.finished = True

    def _iteration(self, iteration: int, rest: str) -> None:
        if match := _TESTING.match(rest):
            self._testing = self._row(iteration)
            self.log.tests.setdefault(int(match[1] or 0), []).append(self._testing)
        elif match := _LOSS.match(rest):
            value = self._number(match[1])
            if value is not None:
                row = self._row(iteration)
                row.loss = value
                self.log.train.append(row)
        elif match := _RATE.match(rest):
            value = self._number(match[1])
            if value is not None:
                self._enter(iteration)
                self._rates[len(self.log.starts) - 1, iteration] = value

    def _enter(self, iteration: int) -> None:
        """Notice that iterations go back: a run that begins."""
        if not self.log.starts or iteration < self._last or (self._solving and iteration == self._last):
            self.log.starts.append(iteration)
        self._last, self._solving = iteration, False

    def _row(self, iteration: int) -> Row:
        self._enter(iteration)
        self.count += 1
        if self.count > _MOST_ROWS:
            raise DataError(f"{self.log.path}: more than {_MOST_ROWS:,} rows, which no log of a training run has")
        return Row(iteration, self._seconds(), len(self.log.starts) - 1)

    def _seconds(self) -> float:
        begun = self._begun or self._first
        return math.nan if begun is None or self._when is None else (self._when - begun).total_seconds()

    def _output(self, test: bool, key: Key, text: str) -> None:
        row = self._testing if test else self.log.train[-1] if self.log.train else None
        value = self._number(text)
        if row is None or value is None:
            return
        if key not in self._outputs:
            if len(self._outputs) >= _MOST_OUTPUTS:
                return
            self._outputs.add(key)
        if not row.values:
            row.seconds = self._seconds()
        row.values[key] = value
        # Old logs do not tell what counts in the loss; "loss1/top-1" does not.
        if "(*" in text or "loss" in key[1].rpartition("/")[2].lower():
            self.log.losses.add(key[1])

    def _number(self, text: str) -> float | None:
        """Return a number; where it is none, count the line as damaged."""
        match = _NUMBER.match(text)
        if match is None:
            self.log.damaged += 1
            return None
        if match[2]:
            return float(match[1] + match[2])
        return math.nan if match[3] else float(f"{match[1]}inf")

    def finish(self) -> TrainingLog:
        """Return the log, with the rates in its rows."""
        log = self.log
        for test, rows in list(log.tests.items()):
            log.tests[test] = [row for row in rows if row.values or not math.isnan(row.loss)]
        log.tests = {test: rows for test, rows in sorted(log.tests.items()) if rows}
        for rows in (log.train, *log.tests.values()):
            rate = math.nan
            for row in rows:
                rate = row.rate = self._rates.get((row.run, row.iteration), rate)
            # The rate is logged after what comes first.
            if len(rows) > 1 and math.isnan(rows[0].rate):
                rows[0].rate = rows[1].rate
        return log


def read_log(path: Path) -> TrainingLog:
    """Read a log, packed by gzip or not.

    Raises
    ------
    DataError
        It is packed and damaged, or too large.
    """
    readers: dict[int | None, _Reader] = {}
    for line in read_lines(path):
        if line.rank not in readers:
            readers[line.rank] = _Reader(path)
        readers[line.rank].read(line)
    ranks = sorted(rank for rank in readers if rank is not None)
    # Of several processes each tells the same training; some lines are none of theirs.
    chosen = max(readers.values(), key=lambda reader: reader.count, default=_Reader(path))
    first = next((readers[rank] for rank in ranks if readers[rank].count), chosen)
    log = (first if None not in readers or readers[None].count < first.count else chosen).finish()
    log.ranks = ranks
    return log


def labels(rows: Iterable[Row]) -> dict[Key, str]:
    """Return what the outputs of rows are called, in their order; values of one blob are ``a[0]``, ``a[1]``."""
    keys = sorted({key for row in rows for key in row.values})
    times = Counter(name for _, name in keys)
    told: dict[Key, str] = {}
    seen: Counter[str] = Counter()
    for key in keys:
        name = key[1]
        told[key] = name if times[name] == 1 else f"{name}[{seen[name]}]"
        seen[name] += 1
    return told
