"""Read logs of training runs, caffelite's, Caffe's and its forks': as a table, CSV, JSON or a plot."""

import argparse
import json
import sys
from pathlib import Path

from caffelite.cli.arguments import UsageError, names, whole
from caffelite.cli.outputs import check_outputs
from caffelite.cli.terminal import say, status
from caffelite.errors import DataError
from caffelite.report.log_plots import X_AXES, draw_plot, panels, write_charts
from caffelite.report.log_tables import csv_name, heading, tables
from caffelite.report.logs import TrainingLog, read_log
from caffelite.words import printable, quoted

EXAMPLES = """examples:
  caffelite log train.log
  caffelite log train.log.gz --csv .
  caffelite log caffe.INFO --json
  caffelite log first.log second.log --plot runs.svg
  caffelite log train.log --plot train.html --x seconds --y loss,accuracy --log-scale

--csv writes what Caffe's parse_log.py writes, train.log.train and train.log.test, with rows that are not a number.
A log may be packed by gzip, and hold several runs: what a later run made again counts once, as it was last.
"""

#: The endings of plots.
_PICTURES = (".svg", ".png", ".pdf")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what the command takes."""
    add = parser.add_argument
    add("files", nargs="+", type=Path, metavar="FILE", help="log of a training run, also packed by gzip")
    add("--csv", type=Path, metavar="DIR", help="write FILE.train and FILE.test into this folder")
    add("--delimiter", default=",", metavar="C", help="what stands between the cells of a CSV (a comma)")
    add("--json", action="store_true", help="print the tables as JSON, a line for each file")
    add("--plot", type=Path, metavar="OUTPUT", help="draw all logs on top of each other: .svg, .png, .pdf or .html")
    add("--x", choices=X_AXES, default=X_AXES[0], help="what is drawn against (iterations)")
    add("--y", type=names, default=[], metavar="A,B", help="what is drawn: loss, lr, names of outputs (all of them)")
    add("--log-scale", action="store_true", help="draw with logarithmic scales")
    add("--all-runs", action="store_true", help="in tables, also what a later run made again, and a column Run")
    add("--rows", type=whole, default=12, metavar="N", help="so many rows of a table are printed (12)")


def run(arguments: argparse.Namespace) -> int:
    """Read the logs and write what is asked for."""
    if len(arguments.delimiter) != 1 or arguments.delimiter in '"\r\n':
        raise UsageError(f"--delimiter {quoted(arguments.delimiter)} is not one character that can stand between cells")
    if (arguments.y or arguments.log_scale or arguments.x != X_AXES[0]) and not arguments.plot:
        raise UsageError("--x, --y and --log-scale are for a plot: give its file with --plot")
    logs = _read(arguments.files)
    if arguments.plot:
        _plot(logs, arguments)
    if arguments.csv:
        _write_csv(logs, arguments)
    for log in logs:
        if arguments.json:
            print(json.dumps(_data(log, arguments.all_runs), allow_nan=False))
        elif not arguments.plot and not arguments.csv:
            told = [table.text(arguments.rows) for table in tables(log, arguments.all_runs)]
            print("\n\n".join([heading(log), *told]) + "\n" * (log is not logs[-1]))
    return int(len(logs) < len(arguments.files))


def _read(files: list[Path]) -> list[TrainingLog]:
    """Return the logs; one that cannot be read does not keep the others from it."""
    logs = []
    for file in files:
        try:
            logs.append(_read_one(file))
        except DataError as error:
            if len(files) == 1:
                raise
            print(f"caffelite: {printable(error.message)}", file=sys.stderr)
    if not logs:
        raise DataError("none of these files is a log of a training run")
    return logs


def _read_one(file: Path) -> TrainingLog:
    try:
        with status(f"reading {file}"):
            log = read_log(file)
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}") from None
    if not log.rows and log.dated:
        raise DataError(f"{file}: the log of a program that ended before the first iteration: there is none in it")
    if not log.rows:
        raise DataError(
            f'{file}: no log of a training run: it has no line such as "Iteration 100, loss = 0.5" or '
            '"Test net output #0: accuracy = 0.9"'
        )
    return log


def _plot(logs: list[TrainingLog], arguments: argparse.Namespace) -> None:
    path: Path = arguments.plot
    if path.suffix not in (*_PICTURES, ".html"):
        raise UsageError(f"{path}: the name of a plot ends with {', '.join(_PICTURES)} or .html")
    for log in logs:
        check_outputs({path: log.path}, "is the log that is read; give the plot another name")
    drawn = panels(logs, arguments.x, arguments.y)
    if path.suffix == ".html":
        write_charts(logs, drawn, arguments.x, path, arguments.log_scale)
    else:
        draw_plot(drawn, arguments.x, path, arguments.log_scale)
    say(f"{path}: {sum(len(panel.curves) for panel in drawn)} curves of {', '.join(log.path.name for log in logs)}")


def _write_csv(logs: list[TrainingLog], arguments: argparse.Namespace) -> None:
    files = {}
    for log in logs:
        for table in tables(log, arguments.all_runs):
            path = arguments.csv / csv_name(log, table)
            if path in files:
                raise UsageError(f"{path}: two logs have this name; write them into folders of their own")
            files[path] = log, table
    check_outputs({path: log.path for path, (log, _) in files.items()}, "is the log that is read")
    for path, (_, table) in files.items():
        table.write(path, arguments.delimiter)
        say(f"{path}: {len(table.lines):,} rows of {len(table.head)} columns")


def _data(log: TrainingLog, every_run: bool) -> dict[str, object]:
    return {
        "file": str(log.path),
        "net": log.net,
        "finished": log.finished,
        "run_starts": log.starts,
        "processes": log.ranks,
        "damaged_lines": log.damaged,
        "snapshots": log.snapshots,
        "tables": {table.name: table.data() for table in tables(log, every_run)},
    }
