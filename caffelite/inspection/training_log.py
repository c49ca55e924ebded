"""Logs of training runs: Caffe's, and those that are written like it; also packed by gzip."""

import math
from pathlib import Path
from typing import Any

from caffelite.inspection.told import Inspection, plural
from caffelite.report.logs import TrainingLog, read_log


def log_inspection(path: Path) -> Inspection:
    """Return what is told of a log: iterations, losses, outputs of tests, the snapshots that were made.

    Raises
    ------
    DataError
        It is packed and damaged, or has more than a gigabyte.
    """
    log = read_log(path)
    iterations = [row.iteration for row in log.rows]
    first, last = (min(iterations), max(iterations)) if iterations else (None, None)
    tests = sum(map(len, log.tests.values()))
    ended = "finished" if log.finished else "not finished"
    run = "no iteration" if not iterations else f"iterations {first:,} to {last:,}"
    lines = [
        f"log of a training run{f' of {log.net}' if log.net else ''}, {run}, {ended}",
        f"{plural(tests, 'test')}, {plural(len(log.snapshots), 'snapshot')}"
        + (f", the last {log.snapshots[-1]}" if log.snapshots else ""),
    ]
    series = {name: values for name, values in _series(log).items() if values}
    rows = [["value", "logged", "first", "last", "least", "most"]]
    rows += [[name, str(len(values)), *(f"{value:g}" for value in _marks(values))] for name, values in series.items()]
    data = {
        "net": log.net,
        "first_iteration": first,
        "last_iteration": last,
        "finished": log.finished,
        "tests": tests,
        "snapshots": log.snapshots,
        "values": {name: _data(values) for name, values in series.items()},
    }
    return Inspection("log", lines, rows if len(rows) > 1 else [], data)


def _series(log: TrainingLog) -> dict[str, list[float]]:
    """Return the values of each thing, in the order in which they were logged."""
    series: dict[str, list[float]] = {"loss": [row.loss for row in log.train]}
    series["lr"] = [row.rate for row in log.train if not math.isnan(row.rate)]
    for name, rows in {"train": log.train, **{f"test {test}": rows for test, rows in log.tests.items()}}.items():
        for row in rows:
            for (number, output), value in row.values.items():
                # Several values of one blob follow each other; its name alone does not tell them apart.
                series.setdefault(f"{name} {output} #{number}", []).append(value)
    return series


def _marks(values: list[float]) -> tuple[float, float, float, float]:
    # What is not a number is neither the least nor the most.
    numbers = [value for value in values if not math.isnan(value)]
    return values[0], values[-1], min(numbers, default=math.inf), max(numbers, default=-math.inf)


def _data(values: list[float]) -> dict[str, Any]:
    marks = dict(zip(("first", "last", "min", "max"), _marks(values), strict=True))
    return {"count": len(values), **{key: value if math.isfinite(value) else None for key, value in marks.items()}}
