"""Show the stored statistics of each BatchNorm, and how far they are from those of the data."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from caffelite.batchnorm.check import measure
from caffelite.batchnorm.difference import Difference, difference
from caffelite.batchnorm.statistics import normalizing
from caffelite.batchnorm.subject import subject_of, take_weights
from caffelite.cli.arguments import UsageError, add_running, names, the_file, whole
from caffelite.cli.preparing import nets_and_solver, prepare_data
from caffelite.cli.progress import compiling
from caffelite.cli.report import plain
from caffelite.cli.terminal import counted, say, status
from caffelite.draw import plots
from caffelite.errors import NetError
from caffelite.layers.shared.normalizing import Statistics
from caffelite.words import printable

EXAMPLES = """examples:
  caffelite bn show models/mnist_mlp_bn.prototxt --weights snapshots/mnist_mlp_bn_iter_5000.caffemodel
  caffelite bn show models/cifar10_bn.prototxt --weights w.caffemodel --plot statistics.svg
  caffelite bn show deploy.prototxt --weights w.caffemodel --json

The data is some batches of the net's own training data (--iterations); without it the stored values alone are shown.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what the command takes."""
    add = parser.add_argument
    add("file", metavar="NET_OR_SOLVER", help="prototxt of a net or of a solver")
    add("--weights", type=names, required=True, metavar="A,B", help="weights, later files over earlier ones")
    add("--iterations", type=whole, default=1, metavar="N", help="number of training batches to compare with (1)")
    add("--plot", type=Path, metavar="FILE", help="draw mean and deviation of every channel (.svg, .png or .pdf)")
    add("--json", action="store_true", help="print all values as JSON")
    add_running(parser)


def run(arguments: argparse.Namespace) -> int:
    """Read, measure, and show."""
    file = the_file([arguments.file], "the prototxt of a net or of a solver")
    if arguments.plot and arguments.plot.suffix not in (".svg", ".png", ".pdf"):
        raise UsageError(f"{arguments.plot}: a plot is .svg, .png or .pdf")
    train, tests, solver = nets_and_solver(file, arguments.level, arguments.stage)
    subject = subject_of(train, tests, solver, arguments.allow_python)
    take_weights(subject, arguments.weights)
    eps = {node.name: layer.eps for graph in subject.graphs for node, layer in normalizing(graph)}
    stored = {name: values for name in eps if (values := subject.stored(name)) is not None}
    if not stored:
        raise NetError(f"{file}: no layer of batch normalization has statistics in {', '.join(arguments.weights)}")
    prepare_data([train], arguments.data, say)
    with compiling(), status("building the net"):
        measured, why = measure(
            train,
            arguments.weights,
            arguments.iterations,
            allow_python=arguments.allow_python,
            counted=lambda batches: counted(batches, "measuring"),
        )
    if why:
        say(f"the stored values alone are shown: {why}")
    if arguments.plot:
        draw(stored, measured, arguments.plot)
    distances = {name: difference(stored[name], measured[name], eps[name]) for name in stored if name in measured}
    if arguments.json:
        print(
            json.dumps([_row(name, values, measured.get(name), distances.get(name)) for name, values in stored.items()])
        )
    else:
        print(_table(stored, distances))
    return 0


def _row(name: str, stored: Statistics, measured: Statistics | None, far: Difference | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "layer": name,
        "layout": stored.layout,
        "factor": plain(stored.factor),
        "mean": _values(stored.mean),
        "variance": _values(stored.variance),
    }
    if measured is not None and far is not None:
        row |= {
            "measured_mean": _values(measured.mean),
            "measured_variance": _values(measured.variance),
            "mean_difference": plain(far.mean),
            "variance_ratio": plain(far.variance_ratio),
            "worst_channel": far.worst_channel,
        }
    return row


def _values(values: np.ndarray) -> list[float | None]:
    """Return an array as JSON can have it: always a list, with null for what is not a number."""
    return [plain(value) for value in values.tolist()]


def _table(stored: Mapping[str, Statistics], distances: Mapping[str, Difference]) -> str:
    head = f"{'layer':20s} {'channels':>8s} {'factor':>9s} {'means':>21s} {'variances':>21s}"
    lines = [head + (f" {'means off by':>14s} {'variances times':>16s} {'worst channel':>14s}" if distances else "")]
    for name, values in stored.items():
        factor = "" if values.factor is None else f"{values.factor:.4g}"
        ranges = [f"{part.min():.3g} to {part.max():.3g}" for part in (values.mean, values.variance)]
        line = f"{name:20s} {values.mean.size:8d} {factor:>9s} {ranges[0]:>21s} {ranges[1]:>21s}"
        if name in distances:
            far = distances[name]
            line += f" {far.mean:6.2f} std.dev {far.variance_ratio:16.3f} {far.worst_channel:14d}"
        lines.append(line)
    return "\n".join(lines)


def draw(stored: Mapping[str, Statistics], measured: Mapping[str, Statistics], path: Path) -> None:
    """Draw mean and standard deviation of every channel, stored and of the data.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    Error
        The file cannot be written.
    """
    with plots.axes_grid(len(stored), 1, 8, 2.4 * len(stored) + 0.4) as (figure, rows):
        for axes, (name, values) in zip(rows[:, 0], stored.items(), strict=True):
            for kind, statistics, colour, shift in (
                ("stored", values, plots.COLOURS[0], -0.15),
                ("of the data", measured.get(name), plots.COLOURS[1], 0.15),
            ):
                if statistics is not None:
                    deviation = np.sqrt(np.maximum(statistics.variance, 0))
                    places = np.arange(deviation.size) + shift
                    axes.errorbar(
                        places,
                        statistics.mean,
                        deviation,
                        fmt="o",
                        markersize=2.5,
                        linewidth=0.8,
                        color=colour,
                        label=kind,
                    )
            axes.set_title(printable(name), fontsize=10, parse_math=False)
            axes.set_xlabel("channel")
            axes.set_ylabel("mean ± std. deviation")
            axes.legend(frameon=False, fontsize=8)
        plots.save(figure, path)
