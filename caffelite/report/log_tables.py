"""Logs of training runs as tables: for people, as CSV, as JSON."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from caffelite.errors import Error
from caffelite.files import atomic_write
from caffelite.report.logs import Row, TrainingLog, labels
from caffelite.words import columns, printable

#: The columns that Caffe's ``parse_log.py`` begins with.
_CAFFE_COLUMNS = ("NumIters", "Seconds", "LearningRate")


class Table:
    """The rows of one net.

    Parameters
    ----------
    name : str
        ``train``, ``test 0``.
    rows : sequence of Row
    runs : bool
        Whether there is a column that tells the run.
    """

    def __init__(self, name: str, rows: Sequence[Row], runs: bool) -> None:
        self.name, self.rows = name, rows
        told = labels(rows)
        # A test has a loss of its own only where test_compute_loss asks for it.
        loss = name == "train" or any(not math.isnan(row.loss) for row in rows)
        first = ["Run"] if runs else []
        self.head = [*first, *_CAFFE_COLUMNS, *told.values(), *([_loss_name(name)] if loss else [])]
        self.lines: list[list[float | None]] = [
            [
                *([row.run] if runs else []),
                row.iteration,
                row.seconds,
                row.rate,
                *(row.values.get(key) for key in told),
                *([row.loss] if loss else []),
            ]
            for row in rows
        ]

    def text(self, most: int) -> str:
        """Return the table as people read it, of many rows ``most``, evenly chosen, with the last."""
        lines = self.lines
        if len(lines) > most:
            lines = [lines[round(i * (len(lines) - 1) / max(most - 1, 1))] for i in range(most - 1)] + [lines[-1]]
        shown = f"{len(lines)} of {len(self.lines):,} rows" if len(lines) < len(self.lines) else f"{len(lines)} rows"
        cells = [["" if value is None else f"{value:.10g}" for value in line] for line in lines]
        return f"{self.name}, {shown}:\n{columns([list(map(printable, self.head)), *cells])}"

    def data(self) -> dict[str, Any]:
        """Return the table as JSON can have it: what is not a number is a text, ``nan``, ``inf``."""
        rows = [[_plain(value) for value in line] for line in self.lines]
        return {"columns": self.head, "rows": rows}

    def write(self, path: Path, delimiter: str) -> None:
        """Write the table as CSV.

        Raises
        ------
        Error
            The file cannot be written.
        """
        try:
            with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
                writer = csv.writer(stream, delimiter=delimiter)
                writer.writerow(self.head)
                writer.writerows(self.lines)
        except OSError as error:
            raise Error(f"{path}: the table cannot be written: {error.strerror}") from None


def _loss_name(name: str) -> str:
    return "SmoothedLoss" if name == "train" else "TestLoss"


def _plain(value: float | None) -> float | str | None:
    return value if value is None or math.isfinite(value) else str(value)


def tables(log: TrainingLog, every_run: bool = False) -> list[Table]:
    """Return the tables of a log: of the net that is trained, and of each that is tested; those without rows not.

    Parameters
    ----------
    log : TrainingLog
    every_run : bool, optional
        With the rows that a later run made again, and a column that tells the run.
    """
    named = [("train", log.train), *((f"test {test}", rows) for test, rows in log.tests.items())]
    return [Table(name, rows if every_run else log.made(rows), every_run) for name, rows in named if rows]


def csv_name(log: TrainingLog, table: Table) -> str:
    """Return the name of a table's file, as ``parse_log.py`` has them: ``train.log.train``, ``train.log.test``.

    Tests of the second net go to ``train.log.test1``, of the third to ``train.log.test2``.
    """
    ending = "test" if table.name == "test 0" else table.name.replace(" ", "")
    return f"{log.path.name}.{ending}"


def heading(log: TrainingLog) -> str:
    """Return what a log is, in a sentence or two."""
    iterations = [row.iteration for row in log.rows]
    parts = [f"{log.path}: a training{f' of {log.net}' if log.net else ''}"]
    parts.append(f"iterations {min(iterations):,} to {max(iterations):,}")
    parts.append("finished" if log.finished else "not finished")
    sentences = [", ".join(parts)]
    if len(log.starts) > 1:
        begun = ", ".join(f"{start:,}" for start in log.starts[1:9]) + (", …" if len(log.starts) > 9 else "")
        runs = f"{len(log.starts)} runs, begun again at {begun}"
        sentences.append(f"{runs}: what was made again counts once, as it was last")
    if len(log.ranks) > 1:
        sentences.append(f"{len(log.ranks)} processes wrote it; these are the numbers of process {log.ranks[0]}")
    bad = sum(not math.isfinite(value) for row in log.rows for value in row.values.values())
    if bad:
        sentences.append(f"{bad:,} value{'s' if bad > 1 else ''} of outputs not a number or infinite")
    if log.damaged:
        have = (
            "lines have a value that cannot be read, and are"
            if log.damaged > 1
            else "line has a value that cannot be read, and is"
        )
        sentences.append(f"{log.damaged:,} {have} left out")
    return printable("; ".join(sentences))
