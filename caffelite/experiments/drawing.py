"""The plot of an experiment: mean and range over the seeds."""

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

import numpy as np

from caffelite.draw import plots
from caffelite.experiments.result import Result


def draw(result: Result, paths: Sequence[Path]) -> None:
    """Draw all panels of a result, two beside each other.

    Parameters
    ----------
    result : Result
    paths : sequence of Path
        Files to write; the ends of their names say the formats.

    Raises
    ------
    MissingExtraError, Error
        matplotlib is not installed; a file cannot be written.
    """
    columns = min(2, len(result.panels))
    rows = -(-len(result.panels) // columns)
    with plots.axes_grid(rows, columns, 5.2 * columns, 3.6 * rows) as (figure, grid):
        for axes in grid.flat[len(result.panels) :]:
            axes.axis("off")
        for axes, panel in zip(grid.flat, result.panels, strict=False):
            for curve, colour, dashes in zip(panel.curves, cycle(plots.COLOURS), cycle(plots.DASHES), strict=False):
                lines = np.ma.masked_invalid(np.asarray(curve.ys, np.float64))
                style = {"color": colour, "linestyle": dashes, "linewidth": 1.6}
                finite = np.flatnonzero(lines.count(axis=0))
                if finite.size == len(curve.x):
                    axes.plot(curve.x, lines.mean(axis=0), label=curve.label, **style)
                else:
                    # Where a loss is lost, its last value is marked.
                    last = finite[-1:]
                    axes.plot(
                        curve.x,
                        lines.mean(axis=0),
                        marker="x",
                        markevery=last.tolist(),
                        label=f"{curve.label}: {'then ' if last.size else ''}no number",
                        **style,
                    )
                axes.fill_between(curve.x, lines.min(axis=0), lines.max(axis=0), color=colour, alpha=0.2, linewidth=0)
            axes.set_title(panel.title, fontsize=10)
            axes.set_xlabel(panel.x_label)
            axes.set_ylabel(panel.y_label)
            axes.set_xscale(panel.x_scale)
            axes.set_yscale(panel.y_scale)
            axes.grid(color="#808080", alpha=0.25, linewidth=0.5)
            axes.legend(frameon=False, fontsize=8)
        for path in paths:
            plots.save(figure, path)
