"""The plot of a sweep: what runs are judged by over the values of the first setting that has several."""

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

from caffelite.draw import plots
from caffelite.sweep.table import Measure, Row, varied


def draw(rows: Sequence[Row], measure: Measure, paths: Sequence[Path]) -> None:
    """Draw means and ranges over the seeds, a line for each combination of the other settings.

    Parameters
    ----------
    rows : sequence of Row
        Two at least.
    measure : Measure
    paths : sequence of Path
        Files to write; the ends of their names say the formats.

    Raises
    ------
    MissingExtraError, Error
        matplotlib is not installed; a file cannot be written.
    """
    along, *others = varied(rows)
    ticks = list(dict.fromkeys(row.settings[along] for row in rows))
    lines: dict[str, list[Row]] = {}
    for row in rows:
        lines.setdefault(" ".join(f"{name}={row.settings[name]}" for name in others), []).append(row)
    factor = 100 if measure.share else 1
    with plots.axes_grid(1, 1, 6.4, 4.2) as (figure, grid):
        axes = grid[0, 0]
        for (label, line), colour, dashes in zip(
            lines.items(), cycle(plots.COLOURS), cycle(plots.DASHES), strict=False
        ):
            points = [
                (ticks.index(row.settings[along]), [factor * value for value in measure.values(row.done)])
                for row in line
                if measure.values(row.done)
            ]
            means = [sum(values) / len(values) for _, values in points]
            ends = [
                [mean - min(values) for mean, (_, values) in zip(means, points, strict=True)],
                [max(values) - mean for mean, (_, values) in zip(means, points, strict=True)],
            ]
            axes.errorbar(
                [x for x, _ in points],
                means,
                yerr=ends,
                label=label,
                color=colour,
                linestyle=dashes,
                marker="o",
                markersize=4,
                capsize=3,
            )
        axes.set_xticks(range(len(ticks)), ticks)
        axes.set_xlabel(along)
        axes.set_ylabel(measure.label)
        axes.grid(color="#808080", alpha=0.25, linewidth=0.5)
        if len(lines) > 1:
            axes.legend(frameon=False, fontsize=8)
        for path in paths:
            plots.save(figure, path)
