"""The runs of a sweep as a table: means and ranges over the seeds, and which combination is best."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from caffelite.experiments.result import spread
from caffelite.sweep.run import DIVERGED, DONE, FAILED, Record
from caffelite.words import columns


class Measure(NamedTuple):
    """A figure that runs are compared by.

    Attributes
    ----------
    name : str
    of : callable
        Returns the figure of a record, None where it has none.
    better : callable
        ``max`` or ``min``.
    share : bool
        Whether it is a share of right answers, which is written as a percentage.
    """

    name: str
    of: Callable[[Record], float | None]
    better: Callable[[Iterable[float]], float]
    share: bool = False

    @property
    def label(self) -> str:
        """The name with the unit of :meth:`text`."""
        return f"{self.name}, %" if self.share else self.name

    def values(self, records: Sequence[Record]) -> list[float]:
        """Return the figures of those runs that have one."""
        return [value for value in map(self.of, records) if value is not None]

    def text(self, records: Sequence[Record]) -> str:
        """Write mean and range."""
        values = self.values(records)
        if not values:
            return "-"
        return spread([100 * value for value in values], "{:.2f}") if self.share else spread(values, "{:.4g}")


class Row(NamedTuple):
    """A combination of settings.

    Attributes
    ----------
    settings : dict of str to str
    records : list of Record
        Of all its seeds.
    """

    settings: dict[str, str]
    records: list[Record]

    @property
    def done(self) -> list[Record]:
        """The runs that came to their end."""
        return [record for record in self.records if record["state"] == DONE]

    def mean(self, measure: Measure) -> float | None:
        """Return the mean of a figure over the seeds, None where no run has it."""
        values = measure.values(self.done)
        return sum(values) / len(values) if values else None


def rows_of(records: Sequence[Record]) -> list[Row]:
    """Return the combinations of settings, in the order of the records."""
    rows: dict[str, Row] = {}
    for record in records:
        rows.setdefault(record["digest"], Row(record["settings"], [])).records.append(record)
    return list(rows.values())


def measures_of(records: Sequence[Record]) -> list[Measure]:
    """Return the figures that the runs have: those of the test nets, then the loss in training.

    The first one is what runs are judged by: accuracy, else the loss of a test, else that of training.
    """
    record = next((record for record in records if record["state"] == DONE), None)
    loss = Measure("training loss", lambda record: record["loss"], min)
    if record is None:
        return [loss]
    tested = []
    for i, outputs in enumerate(record["tests"]):
        which = f"test {i} " if len(record["tests"]) > 1 else "test "
        for name, value in outputs.items():
            share = name in record["shares"]
            if isinstance(value, float) and (share or name in record["losses"]):
                tested.append(Measure(f"{which}{name}", _test_output(i, name), max if share else min, share))
    return [*sorted(tested, key=lambda measure: not measure.share), loss]


def _test_output(net: int, name: str) -> Callable[[Record], float | None]:
    def value(record: Record) -> float | None:
        found: float | None = record["tests"][net].get(name) if net < len(record["tests"]) else None
        return found

    return value


def best_of(rows: Sequence[Row], measure: Measure) -> Row | None:
    """Return the row with the best mean; one that lost runs only where all rows did."""
    having = [row for row in rows if row.mean(measure) is not None]
    having = [row for row in having if len(row.done) == len(row.records)] or having
    best = measure.better([row.mean(measure) or 0.0 for row in having]) if having else None
    return next((row for row in having if row.mean(measure) == best), None)


def varied(rows: Sequence[Row]) -> list[str]:
    """Return the settings that tell the rows apart."""
    return [name for name in rows[0].settings if len({row.settings[name] for row in rows}) > 1]


def table(rows: Sequence[Row], measures: Sequence[Measure]) -> str:
    """Return the table as text, the best row marked with a star."""
    best = best_of(rows, measures[0])
    names = varied(rows)
    lines = [["", *names, "runs", *(measure.label for measure in measures), "seconds"]]
    seconds = Measure("seconds", lambda record: record["seconds"], min)
    for row in rows:
        figures = [measure.text(row.done) for measure in measures]
        cells = [*(row.settings[name] for name in names), _runs(row), *figures, seconds.text(row.records)]
        lines.append(["*" if row is best else "", *cells])
    return columns(lines)


def _runs(row: Row) -> str:
    lost = [(sum(record["state"] == state for record in row.records), state) for state in (DIVERGED, FAILED)]
    told = [f"{number} {state}" for number, state in lost if number]
    return f"{len(row.done)} of {len(row.records)}, {', '.join(told)}" if told else str(len(row.records))
