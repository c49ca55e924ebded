"""Train a net under many settings: every combination of the values that are given, with several seeds, side by side."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from caffelite.cli.arguments import UsageError, add_data, add_jobs, add_python, add_threads, the_team, whole
from caffelite.cli.preparing import notices_of, prepare_data, solver_for
from caffelite.cli.report import duration
from caffelite.cli.terminal import on_terminal, say
from caffelite.errors import MissingExtraError
from caffelite.parallel.jobs import Team
from caffelite.parallel.ranks import the_part
from caffelite.solvers.sources import PrototxtFiles
from caffelite.sweep.grid import Key, Run, runs_of
from caffelite.sweep.plot import draw
from caffelite.sweep.records import Records
from caffelite.sweep.run import DIVERGED, DONE, FAILED, Record, blank, perform
from caffelite.sweep.settings import Setting
from caffelite.sweep.table import Row, best_of, measures_of, rows_of, table

EXAMPLES = """examples:
  caffelite sweep models/mnist_mlp_bn_solver.prototxt --set base_lr=0.1,0.01,0.001 --seeds 3
  caffelite sweep models/cifar10_bn.prototxt --set base_lr=0.01,0.001 --set moving_average_fraction=0.9,0.99 --jobs 4
  caffelite sweep solver.prototxt --set type=SGD,Nesterov --set conv1.num_output=16,32 --set TRAIN.batch_size=50,100
  caffelite sweep solver.prototxt --set "stepvalue=4000 5000,6000 8000" --set max_iter=9000 --output steps
  mpiexec -n 9 caffelite sweep solver.prototxt --set base_lr=0.1,0.01 --seeds 4

NAME is a field of the solver (base_lr), else of every layer that reads such a field (moving_average_fraction), or of
one layer (conv1.num_output, conv1.weight_filler.std); behind TRAIN. or TEST., of layers of that phase alone. Values
are written as in a prototxt, with commas between; several values of a repeated field, with spaces.

Each run is a line in OUTPUT/runs.jsonl when it is done, and has a folder there for its log and, where the solver has
snapshot: N, its snapshots. The same command makes what is missing. Exit code 1 tells that a run diverged or failed.
"""

_BAR = "{n_fmt}/{total_fmt} runs |{bar:20}| {rate_fmt}, {remaining} left{postfix}"
#: So many runs that came to nothing are named.
_MOST_NAMED = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what the command takes."""
    add = parser.add_argument
    add("file", type=Path, metavar="SOLVER_OR_NET", help="prototxt of a solver or of a net")
    add(
        "--set",
        type=setting,
        action="append",
        default=[],
        metavar="NAME=A,B",
        help="values that a setting takes in turn; can be given again",
    )
    add("--seeds", type=whole, default=1, metavar="N", help="run each combination with this many seeds (1)")
    add_jobs(parser, "runs side by side, each in a process with its share of the threads (one a thread)")
    add(
        "--output",
        type=Path,
        metavar="DIR",
        help="folder for what is written (that of the file, with -sweep behind its name)",
    )
    add("--json", action="store_true", help="print runs and best combination as JSON, not as a table")
    add_data(parser)
    add_threads(parser)
    add_python(parser)


def setting(text: str) -> Setting:
    """Return the setting and the values of ``NAME=A,B``."""
    name, equals, given = text.partition("=")
    values = tuple(value.strip() for value in given.split(","))
    if not (name.strip() and equals) or not all(values):
        raise argparse.ArgumentTypeError(f'"{text}" is not NAME=A,B, a setting and its values with commas between')
    return Setting(name.strip(), values)


def run(arguments: argparse.Namespace) -> int:
    """Make the runs that are not done, and tell what came out."""
    with the_part() as part:
        if not part.leads:
            return 0
        return _sweep(arguments, part.team)


def _sweep(arguments: argparse.Namespace, team: Team | None) -> int:
    names = [one.name for one in arguments.set]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"--set {name} is given twice; give all its values at once, with commas between")
    files = PrototxtFiles()
    document = solver_for(arguments.file, files)
    output = arguments.output or arguments.file.with_name(f"{arguments.file.stem}-sweep")
    runs, nets = runs_of(document, files, arguments.set, arguments.seeds, output, arguments.allow_python)
    with Records(output) as records:
        prepared = prepare_data(nets, arguments.data, say)
        made = {one.key: record for one in runs if (record := records.finished(one.key))}
        missing = [one for one in runs if one.key not in made]
        if made:
            say(f"{len(made)} of {len(runs)} runs are done already: {records.path}")
        if missing:
            made |= _made(missing, the_team(team, arguments.jobs, len(missing)), records, len(runs))
    ended = [made[one.key] for one in runs]
    _tell(ended, arguments, output)
    for notice in notices_of(prepared):
        say(notice)
    return _lost(runs, ended, records.path)


def _made(runs: Sequence[Run], team: Team, records: Records, total: int) -> dict[Key, Record]:
    """Make runs, and keep each when it is done; return them by their keys."""
    counts = [
        f"{number} {what}{'' if number == 1 else 's'}"
        for number, what in ((len(runs), "run"), (team.threads, "thread"))
    ]
    say(f"{counts[0]}, {team.jobs} at a time, {counts[1]} each")
    made: dict[Key, Record] = {}
    with _bar(total, total - len(runs)) as bar, closing(team.finish(perform, runs)) as outcomes:
        try:
            for outcome in outcomes:
                one = runs[outcome.number]
                record = outcome.result
                if outcome.error is not None:
                    record = {**blank(one), "state": FAILED, "message": str(outcome.error) or repr(outcome.error)}
                records.add(record)
                made[one.key] = record
                bar.update()
                done = total - len(runs) + len(made)
                tqdm.write(f"{done}/{total} {one.name}: {_line(record)}", file=sys.stderr)
        except KeyboardInterrupt:
            bar.close()
            done = total - len(runs) + len(made)
            say(f"{done} of {total} runs are done and kept in {records.path}; the same command makes the others")
            raise
    return made


@contextmanager
def _bar(total: int, done: int) -> Iterator[Any]:
    """Show on a terminal how many runs are done, how fast they are, and how long the others will take."""
    hidden = not on_terminal()
    with tqdm(
        total=total,
        initial=done,
        bar_format=_BAR,
        unit="run",
        smoothing=0,
        disable=hidden,
        leave=False,
        file=sys.stderr,
    ) as bar:
        yield bar


def _line(record: Record) -> str:
    if record["state"] != DONE:
        return f"{record['state']}: {record['message']}"
    told = [f"{one.name} {one.text([record])}{'%' if one.share else ''}" for one in measures_of([record])]
    return f"{', '.join(told)}, {duration(record['seconds'])}"


def _tell(records: Sequence[Record], arguments: argparse.Namespace, output: Path) -> None:
    """Print the table, or JSON, and draw the plot."""
    rows, measures = rows_of(records), measures_of(records)
    plots = [output / f"sweep{suffix}" for suffix in (".svg", ".png")] if len(rows) > 1 else []
    try:
        if plots:
            draw(rows, measures[0], plots)
    except MissingExtraError as error:
        say(f"nothing is drawn: {error}")
        plots = []
    if arguments.json:
        print(json.dumps({"runs": records, "best": _best(rows, records), "plots": [str(path) for path in plots]}))
        return
    print(table(rows, measures))
    if plots:
        print(f"plots: {' and '.join(map(str, plots))}")


def _best(rows: Sequence[Row], records: Sequence[Record]) -> dict[str, Any] | None:
    measure = measures_of(records)[0]
    best = best_of(rows, measure)
    if best is None:
        return None
    values = measure.values(best.done)
    figures = {"mean": best.mean(measure), "min": min(values), "max": max(values)}
    return {"settings": best.settings, "by": measure.name, **figures}


def _lost(runs: Sequence[Run], records: Sequence[Record], kept: Path) -> int:
    """Name the runs that diverged or failed; return the exit code."""
    lost = 0
    for state in (DIVERGED, FAILED):
        named = [run.name for run, record in zip(runs, records, strict=True) if record["state"] == state]
        if named:
            lost += len(named)
            more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
            shown = ", ".join(named[:_MOST_NAMED])
            say(f"caffelite: {len(named)} of {len(runs)} runs {state} ({shown}{more}); {kept} tells why")
    return int(lost > 0)
