"""The numbers of runs as charts: losses, shares, rates, and what a layer has one of."""

import math
from collections.abc import Callable, Sequence

from caffelite.pages.charts import Charts, Series, Value
from caffelite.pages.markup import Markup
from caffelite.report.metrics import Line, Run

#: More points of a line are thinned, more columns of a heat map too.
_POINTS, _COLUMNS = 4000, 120
#: More layers are the rows of a heat map, not lines.
_LINES = 12

_X = "iteration"


def _named(run: Run, runs: Sequence[Run], what: str) -> str:
    return f"{run.name}: {what}" if len(runs) > 1 else what


def _test(run: Run, net: int, name: str, part: str) -> str:
    which = f" net {net}" if run.starts[-1]["test_nets"] > 1 else ""
    return f"test{which}: {name}{part}"


def thinned(x: Sequence[float], y: Sequence[Value]) -> tuple[list[float], list[Value]]:
    """Return at most about 4,000 points of a line: the lowest and the highest of each group, and its gaps."""
    size = math.ceil(2 * len(x) / _POINTS)
    if size <= 2:
        return list(x), list(y)
    kept: list[int] = []
    for first in range(0, len(x), size):
        group = range(first, min(first + size, len(x)))
        values = [(y[i], i) for i in group if y[i] is not None]
        gaps = [i for i in group if y[i] is None][:1]
        ends = [min(values)[1], max(values)[1]] if values else []
        kept += sorted({*ends, *gaps})
    return [x[i] for i in kept], [y[i] for i in kept]


def _line(name: str, points: Sequence[tuple[float, Value]], dash: bool = False) -> Series:
    x, y = thinned([p[0] for p in points], [p[1] for p in points])
    return Series(name, x, y, dash)


def losses(run: Run) -> list[tuple[float, Value]]:
    """Return iteration and loss of every iteration."""
    points: list[tuple[float, Value]] = []
    for line in run.train:
        begin = line["iteration"] - len(line["losses"]) + 1
        points += [(begin + i, value) for i, value in enumerate(line["losses"])]
    return points


def _outputs(run: Run, runs: Sequence[Run], shares: bool) -> list[Series]:
    """Return lines for what tests put out, and for the shares of right answers that the train net does."""
    points: dict[str, list[tuple[float, Value]]] = {}
    known = {name for start in run.starts for name in start["shares"]}
    for line in run.tests:
        for name, values in line["outputs"].items():
            if (name in known) == shares:
                for i, value in enumerate(values):
                    part = f" {i}" if len(values) > 1 else ""
                    points.setdefault(_test(run, line["net"], name, part), []).append((line["iteration"], value))
    for line in run.train if shares else []:
        for name, values in line["outputs"].items():
            if name in known:
                points.setdefault(f"training: {name}", []).append((line["iteration"], values[0]))
    return [_line(_named(run, runs, name), _in_percent(several, shares), True) for name, several in points.items()]


def _in_percent(points: list[tuple[float, Value]], shares: bool) -> list[tuple[float, Value]]:
    return [(x, None if y is None else 100 * y) for x, y in points] if shares else points


def learning(charts: Charts, runs: Sequence[Run]) -> list[Markup]:
    """Return the charts of losses and of shares of right answers."""
    series = [
        one for run in runs for one in (_line(_named(run, runs, "training"), losses(run)), *_outputs(run, runs, False))
    ]
    drawn = [charts.lines("Loss", _X, "loss", series, smooth=0.9)]
    if shares := [one for run in runs for one in _outputs(run, runs, True)]:
        drawn.append(charts.lines("Right answers", _X, "%", shares))
    return drawn


def pace(charts: Charts, runs: Sequence[Run]) -> list[Markup]:
    """Return the charts of the learning rate, of images a second and of waiting for data."""

    def of(key: str, factor: float = 1) -> list[Series]:
        lines = []
        for run in runs:
            points = [(line["iteration"], line[key]) for line in run.train]
            lines.append(_line(_named(run, runs, key.replace("_", " ")), _times(points, factor)))
        return lines

    return [
        charts.lines("Learning rate", _X, "rate", of("rate")),
        charts.lines("Speed", _X, "images a second", of("images_per_second")),
        charts.lines("Waiting for data", _X, "% of the time", of("waiting", 100)),
    ]


def _times(points: list[tuple[float, Value]], factor: float) -> list[tuple[float, Value]]:
    return [(x, None if y is None else y * factor) for x, y in points]


def columns(lines: Sequence[Line]) -> list[Line]:
    """Return the lines that are the columns of a heat map, evenly spread, with the last."""
    step = math.ceil(len(lines) / _COLUMNS)
    return [line for i, line in enumerate(lines) if (len(lines) - 1 - i) % step == 0] if lines else []


def by_layer(
    charts: Charts, title: str, label: str, lines: Sequence[Line], value: Callable[[Line, str], Value], names: list[str]
) -> Markup:
    """Return a chart of what each layer has one of: lines, or for more than a dozen layers a heat map of logarithms.

    Parameters
    ----------
    charts : Charts
    title, label : str
        What it is, and its unit.
    lines : sequence of Line
        Of the event "train".
    value : callable
        Takes a line and the name of a layer.
    names : list of str
    """
    if len(names) <= _LINES:
        series = [_line(name, [(line["iteration"], value(line, name)) for line in lines]) for name in names]
        return charts.lines(title, _X, label, series, log=True)
    shown = columns(lines)
    rows = [[_log(value(line, name)) for line in shown] for name in names]
    x = [line["iteration"] for line in shown]
    return charts.heat(title, _X, "layer", x, names, rows, f"log10 of {label}")


def _log(value: Value) -> Value:
    return None if value is None else round(math.log10(max(value, 1e-12)), 2)


def norms(charts: Charts, run: Run) -> list[Markup]:
    """Return the charts of what each layer learns: sizes of weights, gradients, updates."""
    lines = [line for line in run.train if line["norms"]]
    names = list(lines[-1]["norms"]) if lines else []
    if not names:
        return []

    def of(kind: str) -> Callable[[Line, str], Value]:
        return lambda line, name: line["norms"].get(name, {}).get(kind)

    def share(line: Line, name: str) -> Value:
        one = line["norms"].get(name, {})
        update, weights = one.get("updates"), one.get("weights")
        return None if update is None or not weights else update / weights

    return [
        by_layer(charts, "Weights", "norm", lines, of("weights"), names),
        by_layer(charts, "Gradients", "norm", lines, of("gradients"), names),
        by_layer(charts, "Updates", "norm", lines, of("updates"), names),
        by_layer(charts, "Updates beside weights", "norm / norm", lines, share, names),
    ]
