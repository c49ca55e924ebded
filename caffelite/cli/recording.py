"""What ``train`` keeps of a run besides its log: a page, JSON lines, TensorBoard's events."""

import argparse
import os
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from caffelite.cli.arguments import UsageError, names, refuse_options, whole
from caffelite.report.live_page import LivePage
from caffelite.report.measuring import EVERY, Sink, measured
from caffelite.report.metrics import Line, MetricsFile, Run, before, read_lines, read_run
from caffelite.report.tensorboard import Events
from caffelite.solvers.solver import Solver


def add_recording(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add = parser.add_argument
    add("--report", type=Path, metavar="PAGE", help="page of the run, written while it goes on: run.html")
    add("--open", action="store_true", help="open the page of --report in the browser")
    add("--compare", type=names, default=[], metavar="A,B", help="metrics of other runs, drawn in the page as well")
    add(
        "--metrics",
        type=Path,
        metavar="FILE",
        help="the same numbers as JSON lines (with --report: beside the page, run.jsonl)",
    )
    add("--tensorboard", type=Path, metavar="DIR", help="the same numbers as events of TensorBoard")
    add("--every", type=whole, metavar="N", help=f"iterations between two measurements ({EVERY}, or 10 seconds)")


def check_recording(arguments: argparse.Namespace) -> None:
    """Check the options, before anything is built.

    Raises
    ------
    UsageError, DataError
        They do not go together; a file cannot be read or written.
    """
    if arguments.report is None:
        refuse_options(arguments, ["--open", "--compare"], "is for the page of a run: give --report too")
    if arguments.report is None and arguments.metrics is None and arguments.tensorboard is None:
        refuse_options(arguments, ["--every"], "is for what is measured: give --report, --metrics or --tensorboard too")
    for path in filter(None, [arguments.report, arguments.metrics]):
        _check_file(path)
    if arguments.report is not None and arguments.metrics is None:
        arguments.metrics = arguments.report.with_suffix(".jsonl")
        _check_file(arguments.metrics)
    if arguments.metrics is not None and arguments.metrics == arguments.report:
        raise UsageError(f"{arguments.report} cannot be both the page of --report and the file of --metrics")
    if arguments.tensorboard is not None and arguments.tensorboard.exists() and not arguments.tensorboard.is_dir():
        raise UsageError(f"{arguments.tensorboard} is a file; give --tensorboard a folder")
    for path in arguments.compare:
        read_run(path)


def _check_file(path: Path) -> None:
    folder = path.absolute().parent
    if path.is_dir():
        raise UsageError(f"{path} is a folder; give the name of a file to write")
    if not folder.is_dir():
        raise UsageError(f"{path}: there is no folder {folder}")
    if not os.access(folder, os.W_OK):
        raise UsageError(f"{path}: nothing can be written to the folder {folder}")


@contextmanager
def recording(
    arguments: argparse.Namespace, solver: Solver, resumed: bool, say: Callable[[str], None]
) -> Iterator[None]:
    """Keep what the options ask for while the block trains.

    Parameters
    ----------
    arguments : Namespace
        Checked by :func:`check_recording`.
    solver : Solver
    resumed : bool
        Whether the run goes on from a snapshot: what was kept of it up to there stays.
    say : callable
        Takes a sentence.

    Raises
    ------
    Error
        A file cannot be written, a package is missing.
    """
    if arguments.metrics is None and arguments.tensorboard is None:
        yield
        return
    kept = _kept(arguments.metrics, solver.iteration) if resumed and arguments.metrics else []
    # One of these may be what this run takes the place of.
    others = [read_run(path) for path in arguments.compare]
    with ExitStack() as stack:
        sinks: list[tuple[str, Sink]] = []
        if arguments.tensorboard is not None:
            events = Events(arguments.tensorboard, solver.iteration)
            stack.callback(events.close)
            sinks.append((str(arguments.tensorboard), events.write))
        if arguments.metrics is not None:
            file = MetricsFile(arguments.metrics, kept)
            stack.callback(file.close)
            sinks.append((str(arguments.metrics), file.write))
        if arguments.report is not None:
            page = LivePage(arguments.report, _run(arguments, kept), others, say)
            stack.callback(page.close)
            sinks.append((str(arguments.report), page.write))
            if arguments.open:
                webbrowser.open(arguments.report.resolve().as_uri())
        with measured(solver, _all_of(sinks, say), arguments.every):
            yield


def _kept(metrics: Path, iteration: int) -> list[Line]:
    """Return the lines that a run has left which goes on from an iteration."""
    return before(read_lines(metrics), iteration) if metrics.exists() else []


def _run(arguments: argparse.Namespace, kept: list[Line]) -> Run:
    run = Run(arguments.metrics.stem)
    for line in kept:
        run.add(line)
    return run


def _all_of(sinks: list[tuple[str, Sink]], say: Callable[[str], None]) -> Sink:
    """Return what hands a line on to several; one that cannot be written to any more is left out from then on."""

    def hand_on(line: Line) -> None:
        for one in list(sinks):
            path, sink = one
            try:
                sink(line)
            except OSError as error:
                sinks.remove(one)
                say(f"{path}: it cannot be written any more: {error.strerror}; training goes on without it")

    return hand_on
