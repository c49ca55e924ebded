"""Curves of training logs: plots by matplotlib, and a page whose charts are alive."""

import math
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

from caffelite.draw import plots
from caffelite.errors import Error
from caffelite.pages.charts import Charts, Series, side_by_side
from caffelite.pages.markup import Markup, element
from caffelite.pages.page import write_page
from caffelite.report.log_tables import heading
from caffelite.report.logs import Row, TrainingLog, labels
from caffelite.words import did_you_mean, printable

#: What the horizontal axis has.
X_AXES = ("iterations", "seconds")
#: What can be drawn in any log, beside its outputs.
LOSS, RATE = "loss", "lr"
#: Letters of the name of a curve in a legend, and of a log's before it.
_LONGEST_NAME, _LONGEST_LABEL = 60, 32


class Curve(NamedTuple):
    """A line: its name, and its points; a value that is no number is a gap.

    Attributes
    ----------
    name : str
    x, y : list of float
    test : bool
        It is of a net that is tested.
    """

    name: str
    x: list[float]
    y: list[float]
    test: bool


class Panel(NamedTuple):
    """Curves over one axis."""

    title: str
    curves: list[Curve]


def panels(logs: Sequence[TrainingLog], x: str = "iterations", names: Sequence[str] = ()) -> list[Panel]:
    """Return what is drawn of logs, the curves of all of them on top of each other.

    Parameters
    ----------
    logs : sequence of TrainingLog
    x : str, optional
        One of :data:`X_AXES`.
    names : sequence of str, optional
        A panel for each: ``loss`` is the displayed loss and outputs of that name, ``lr`` the learning rate, any other
        an output of the trained or of a tested net. By default: losses, other outputs, and the learning rate.

    Raises
    ------
    Error
        No log has such an output, or no line of one has a time.
    """
    curves = [curve for log in logs for curve in _curves(log, x, _label(log, logs))]
    if not names:
        grouped = {
            "loss": [curve for name, loss, curve in curves if loss],
            "outputs": [curve for name, loss, curve in curves if not loss and name != RATE],
            "learning rate": [curve for name, _, curve in curves if name == RATE],
        }
        return [Panel(title, inside) for title, inside in grouped.items() if inside]
    known = list(dict.fromkeys(name for name, _, _ in curves))
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known, f"there are {', '.join(known[:20])}")
            raise Error(f'no log has an output "{name}"{hint}')
    return [Panel(name, [curve for other, _, curve in curves if other == name]) for name in names]


def _label(log: TrainingLog, logs: Sequence[TrainingLog]) -> str:
    """Return what begins the names of a log's curves: nothing where there is one log."""
    if len(logs) == 1:
        return ""
    same = [other for other in logs if other.path.name == log.path.name]
    name = str(log.path) if len(same) > 1 else log.path.name
    # Names of logs differ at their ends, which tell the time.
    return f"{name if len(name) <= _LONGEST_LABEL else f'…{name[1 - _LONGEST_LABEL :]}'}: "


def _curves(log: TrainingLog, x: str, label: str) -> list[tuple[str, bool, Curve]]:
    """Return the curves of a log: the name of what it is, whether that is a loss, the curve."""
    drawn = _curves_of_net(log, log.train, x, f"{label}train", train=True)
    for test, rows in log.tests.items():
        drawn += _curves_of_net(log, rows, x, f"{label}test{f' {test}' if len(log.tests) > 1 else ''}", train=False)
    return drawn


def _curves_of_net(
    log: TrainingLog, rows: Sequence[Row], x: str, label: str, train: bool
) -> list[tuple[str, bool, Curve]]:
    made = log.made(rows)
    places = _places(log, made, x)
    outputs = {name: [row.values.get(key) for row in made] for key, name in labels(made).items()}
    losses = [row.loss for row in made]
    series: list[tuple[str, str, Sequence[float | None]]] = []
    # A loss that is not smoothed is an output as well, except at the end.
    same = all(
        value is None or str(value) == str(loss) for value, loss in zip(outputs.get(LOSS, ()), losses, strict=False)
    )
    if not all(map(math.isnan, losses)):
        if same and LOSS in outputs:
            del outputs[LOSS]
            series.append((LOSS, LOSS, losses))
        else:
            series.append((LOSS, "loss, as displayed" if train else "loss of all", losses))
    series += [(name.partition("[")[0], name, values) for name, values in outputs.items()]
    rates = [row.rate for row in made]
    if train and not all(map(math.isnan, rates)):
        series.append((RATE, "learning rate", rates))
    drawn = []
    for base, name, values in series:
        points = [(place, value) for place, value in zip(places, values, strict=True) if value is not None]
        curve = Curve(f"{label} {name}", [place for place, _ in points], [value for _, value in points], not train)
        drawn.append((base, base == LOSS or base in log.losses, curve))
    return drawn


def _places(log: TrainingLog, rows: Sequence[Row], x: str) -> list[float]:
    places = [float(row.iteration) if x == "iterations" else row.seconds for row in rows]
    if any(math.isnan(place) for place in places):
        raise Error(f"{log.path}: its lines have no time to draw them by; draw by iterations")
    return places


def draw_plot(drawn: Sequence[Panel], x: str, path: Path, log_scale: bool = False) -> None:
    """Draw panels below each other, in the format that the file's name ends with; what is no number is marked.

    Raises
    ------
    MissingExtraError, Error
        matplotlib is not installed; the file cannot be written.
    """
    with plots.axes_grid(len(drawn), 1, 8, 3 * len(drawn)) as (figure, grid):
        for axes, panel in zip(grid.flat, drawn, strict=True):
            for curve, colour, dashes in zip(panel.curves, cycle(plots.COLOURS), _dashes(len(panel.curves))):
                marker = "o" if len(curve.x) < 3 else "." if curve.test and len(curve.x) <= 60 else ""
                name = _plain(curve.name)
                axes.plot(curve.x, _finite(curve.y), color=colour, linestyle=dashes, marker=marker, lw=1.2, label=name)
                gaps = [place for place, value in zip(curve.x, curve.y, strict=True) if not math.isfinite(value)]
                axes.plot(gaps, [0.03] * len(gaps), "x", color=colour, transform=axes.get_xaxis_transform())
            axes.set_ylabel(_plain(panel.title))
            axes.set_xlabel(x)
            # A rate of zero, or a negative loss, has no place on a logarithmic scale, and is a gap there.
            if log_scale and any(value > 0 for curve in panel.curves for value in _finite(curve.y)):
                axes.set_yscale("log")
            axes.grid(color="#808080", alpha=0.25, linewidth=0.5)
            axes.legend(frameon=False, fontsize=8)
        plots.save(figure, path)


def _dashes(number: int) -> Sequence[object]:
    # Other dashes begin where the colours have been used up.
    return [plots.DASHES[i // len(plots.COLOURS) % len(plots.DASHES)] for i in range(number)]


def _finite(values: Sequence[float]) -> list[float]:
    return [value if math.isfinite(value) else math.nan for value in values]


def _plain(name: str) -> str:
    """Return a name that matplotlib writes as it stands: dollars are formulas to it, what begins with _ is hidden."""
    short = printable(name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…")
    return f"{' ' if short.startswith('_') else ''}{short}".replace("$", r"\$")


def write_charts(logs: Sequence[TrainingLog], drawn: Sequence[Panel], x: str, path: Path, log_scale: bool) -> None:
    """Write the page with the charts.

    Raises
    ------
    Error
        The file cannot be written.
    """
    charts = Charts()
    parts: list[str] = [element("h1", "Training log" if len(logs) == 1 else "Training logs")]
    parts += [element("p", heading(log)) for log in logs]
    pictures: list[Markup] = []
    for panel in drawn:
        series = [Series(curve.name, curve.x, curve.y, curve.test) for curve in panel.curves]
        smooth = 0.0 if panel.title == "loss" else None
        pictures.append(
            charts.lines(panel.title, x.removesuffix("s"), panel.title, series, log=log_scale, smooth=smooth)
        )
    parts.append(side_by_side(*pictures))
    write_page(path, charts.page(" · ".join(log.path.name for log in logs), parts))
