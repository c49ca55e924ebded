"""The numbers of a run as JSON lines: what a line holds, the file that grows while the run goes on, reading it again.

A line is an object; ``event`` says which. What is not finite is null. ``docs/reports.md`` lists the fields.
"""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from caffelite.errors import DataError, Error
from caffelite.files import atomic_write

#: A line of a file: what happened (``event``), when (``time``, ``iteration``), and the numbers.
Line = dict[str, Any]
EVENTS = ("start", "train", "test", "note", "end")

#: So many lines of a run keep what they have by layer, at most; and the last ones all do.
_DETAILED, _LAST = 600, 5


def number(value: float, digits: int = 6) -> float | None:
    """Return a number with so many digits; None for one that is not finite."""
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None


def numbers(values: Iterable[float], digits: int = 6) -> list[float | None]:
    """Return several."""
    return [number(float(value), digits) for value in values]


@dataclass(slots=True)
class Run:
    """A run, as its lines tell it.

    Attributes
    ----------
    name : str
        What it is called where several are compared.
    starts : list of Line
        One for the beginning, and one for each time that it went on.
    train, tests, notes : list of Line
        In the order of the iterations. Of a long run some lines of the event "train" have no ``norms`` and no
        ``batchnorm`` any more: a page has no room for so many, and memory need not hold them.
    end : Line or None
        None as long as it goes on, or where the process was killed.
    stride : int
        One line of so many keeps what it has by layer.
    """

    name: str
    starts: list[Line] = field(default_factory=list)
    train: list[Line] = field(default_factory=list)
    tests: list[Line] = field(default_factory=list)
    notes: list[Line] = field(default_factory=list)
    end: Line | None = None
    stride: int = 1

    def add(self, line: Line) -> None:
        """Take in the next line."""
        event = line["event"]
        if event == "end":
            self.end = line
            return
        if event == "start":
            self.end = None
        {"start": self.starts, "train": self.train, "test": self.tests, "note": self.notes}[event].append(line)
        if event == "train":
            self._thin()

    def _thin(self) -> None:
        """Take what is by layer from a line that is none of the last ones any more, unless it is one that keeps it."""
        old = len(self.train) - 1 - _LAST
        lines = range(old, old + 1)
        if old >= _DETAILED * self.stride:
            self.stride *= 2
            lines = range(old + 1)
        for i in lines:
            if i % self.stride:
                self.train[i] = {**self.train[i], "norms": {}, "batchnorm": {}}

    def copy(self) -> "Run":
        """Return it as it is now, for another thread; lines do not change."""
        return Run(self.name, self.starts[:], self.train[:], self.tests[:], self.notes[:], self.end, self.stride)


def read_lines(path: str | Path) -> list[Line]:
    """Return the lines of a file; a last line that a kill cut off is left out.

    Raises
    ------
    DataError
        It cannot be read, or is no file of metrics.
    """
    try:
        texts = Path(path).read_text("utf-8").split("\n")
    except UnicodeDecodeError:
        raise DataError(f"{path}: this is no text; expected the lines that --metrics writes") from None
    except OSError as error:
        raise DataError(f"{path}: it cannot be read: {error.strerror}") from None
    lines = []
    for i, text in enumerate(texts[:-1]):
        problem = _problem(text)
        if problem:
            raise DataError(f"{path}:{i + 1}: {problem}; expected the lines that --metrics writes")
        lines.append(json.loads(text))
    if not lines:
        raise DataError(f"{path}: there is no whole line in it; expected the lines that --metrics writes")
    return lines


def _problem(text: str) -> str:
    """Say why a text is no line of metrics; empty where it is one."""
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return "this is no JSON"
    if not isinstance(line, dict) or line.get("event") not in EVENTS:
        return f"this has no event, one of {', '.join(EVENTS)}"
    if not _is_count(line.get("iteration")) or not _FIELDS[line["event"]](line):
        return f'a line of the event "{line["event"]}" is not as it is written'
    return ""


# What a page relies on: a file may be anybody's.


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and 0 <= value < 1 << 53


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and abs(value) < 1e300)


def _are_numbers(values: Any) -> bool:
    return isinstance(values, list) and all(map(_is_number, values))


def _are_outputs(values: Any) -> bool:
    return isinstance(values, dict) and all(value and _are_numbers(value) for value in values.values())


def _by_layer(layers: Any, is_right: Callable[[Any], bool]) -> bool:
    return isinstance(layers, dict) and all(isinstance(one, dict) and is_right(one) for one in layers.values())


def _is_start(line: Line) -> bool:
    def right(layer: Line) -> bool:
        counts = _is_count(layer.get("of")) and _is_count(layer.get("images")) and layer["images"] > 0
        return counts and _are_numbers(layer.get("channels")) and _is_number(layer.get("fraction"))

    shares = line.get("shares")
    return (
        isinstance(line.get("net"), str)
        and _is_count(line.get("max_iter"))
        and _is_count(line.get("test_nets"))
        and isinstance(shares, list)
        and all(isinstance(name, str) for name in shares)
        and _by_layer(line.get("batchnorm"), right)
    )


def _is_train(line: Line) -> bool:
    def behind(layer: Line) -> bool:
        return _are_numbers(layer.get("mean")) and _are_numbers(layer.get("deviation"))

    return (
        _are_numbers(line.get("losses"))
        and all(_is_number(line.get(key, "")) for key in ("rate", "images_per_second", "seconds_left", "waiting"))
        and _are_outputs(line.get("outputs"))
        and _by_layer(line.get("norms"), lambda norms: all(map(_is_number, norms.values())))
        and _by_layer(line.get("batchnorm"), behind)
    )


_FIELDS: dict[str, Callable[[Line], bool]] = {
    "start": _is_start,
    "train": _is_train,
    "test": lambda line: _is_count(line.get("net")) and _are_outputs(line.get("outputs")),
    "note": lambda line: isinstance(line.get("text"), str),
    "end": lambda line: isinstance(line.get("reason"), str),
}


def read_run(path: str | Path) -> Run:
    """Return the run in a file, by the file's name.

    Raises
    ------
    DataError
        See :func:`read_lines`.
    """
    run = Run(Path(path).stem)
    for line in read_lines(path):
        run.add(line)
    if not run.starts:
        raise DataError(f"{path}: it has no line of the beginning; expected the lines that --metrics writes")
    return run


def before(lines: Sequence[Line], iteration: int) -> list[Line]:
    """Return what is left of a run's lines where it goes on from an iteration: what comes after is done again."""
    return [line for line in lines if line["iteration"] <= iteration and line["event"] != "end"]


class MetricsFile:
    """Lines that are written to a file, each whole and at once.

    Parameters
    ----------
    path : Path
    kept : list of Line
        What it begins with, in place of what was in it.

    Raises
    ------
    Error
        It cannot be written.
    """

    def __init__(self, path: Path, kept: Sequence[Line]) -> None:
        try:
            with atomic_write(path) as temporary:
                temporary.write_text("".join(map(_text, kept)), "utf-8")
            self._file: TextIO = open(path, "a", encoding="utf-8")  # noqa: SIM115 - open as long as the run
        except OSError as error:
            raise Error(f"{path}: the metrics cannot be written: {error.strerror}") from None

    def write(self, line: Line) -> None:
        """Add a line.

        Raises
        ------
        OSError
            It cannot be written.
        """
        self._file.write(_text(line))
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):  # a full disk has been told of
            self._file.close()


def _text(line: Line) -> str:
    return json.dumps(line, separators=(",", ":"), allow_nan=False) + "\n"
