"""Train small nets and see what batch normalization does to them."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from tqdm import tqdm

from caffelite.cli.arguments import UsageError, add_data, add_jobs, add_threads, the_team, whole
from caffelite.cli.progress import compiling
from caffelite.cli.report import duration
from caffelite.cli.terminal import on_terminal, progress, say, status
from caffelite.datasets.prepare import DATA_FOLDER, Prepared, prepare
from caffelite.errors import MissingExtraError
from caffelite.experiments import EXPERIMENTS
from caffelite.experiments.bench import Bench, Images, load_images
from caffelite.experiments.drawing import draw
from caffelite.experiments.result import Result
from caffelite.files import atomic_write
from caffelite.parallel.jobs import Team, WorkerError
from caffelite.parallel.ranks import the_part
from caffelite.words import did_you_mean

_LIST = "\n".join(f"  {name:20s}{text}" for name, text in EXPERIMENTS.items())
EXAMPLES = f"""experiments:
{_LIST}

examples:
  caffelite experiment speedup
  caffelite experiment phases --seeds 1 --share 0.1
  caffelite experiment all --out experiments
  caffelite experiment all --jobs 2
  caffelite experiment batch-size --jobs 4

Each writes NAME.svg, NAME.png and NAME.json, prints its table and says whether what is claimed elsewhere held. They
take some minutes each; --share 0.1 is for a first look.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what the command takes."""
    add = parser.add_argument
    add("names", nargs="+", metavar="NAME", help='experiments, or "all"')
    add("--seeds", type=whole, default=3, metavar="N", help="train each net with this many seeds (3)")
    add("--share", type=_share, default=1.0, metavar="X", help="make this share of the iterations (1)")
    add(
        "--out",
        type=Path,
        default=Path("experiments"),
        metavar="DIR",
        help="folder for what is written (experiments)",
    )
    add_jobs(
        parser, "run so many experiments, or trainings of one, side by side, in processes that share the threads (1)"
    )
    add("--json", action="store_true", help="print the results as lines of JSON")
    add_data(parser)
    add_threads(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the experiments, one after the other or side by side, and tell what came out in the order in which they are
    named."""
    with the_part() as part:
        if not part.leads:
            return 0
        names = _known(arguments.names)
        if part.team is None and not arguments.jobs:
            return _experiments(names, arguments, None)
        # Of one experiment the trainings go side by side, where they do not depend on each other.
        tasks = len(names) if len(names) > 1 else arguments.jobs
        return _experiments(names, arguments, the_team(part.team, arguments.jobs, tasks))


def _experiments(names: Sequence[str], arguments: argparse.Namespace, team: Team | None) -> int:
    arguments.out.mkdir(parents=True, exist_ok=True)
    prepared = prepare("mnist", DATA_FOLDER, arguments.data, say)
    tasks = [
        _Task(name, prepared, list(range(1, arguments.seeds + 1)), arguments.share, arguments.data) for name in names
    ]
    texts: dict[int, str] = {}
    printed = 0
    for index, result, seconds in _side_by_side(tasks, team) if team and len(tasks) > 1 else _one_by_one(tasks, team):
        plots = _write(result, arguments.out)
        texts[index] = result.to_json() if arguments.json else _text(result, seconds, plots)
        while printed in texts:
            print(("\n" if printed and not arguments.json else "") + texts[printed], flush=True)
            printed += 1
    if prepared.notice:
        say(prepared.notice)
    return 0


class _Task(NamedTuple):
    """An experiment that is to be run, and what a :class:`Bench` is made of."""

    name: str
    prepared: Prepared
    seeds: list[int]
    share: float
    originals: Path | None


_Finished = Iterator[tuple[int, Result, float]]


def _one_by_one(tasks: Sequence[_Task], team: Team | None) -> _Finished:
    """Yield number, result and seconds of each experiment, run here or, as far as it can be divided, by a team."""
    with compiling():
        with status("reading the images"):
            images = load_images(tasks[0].prepared)
        for index, task in enumerate(tasks):
            begin = perf_counter()
            with tqdm(desc=task.name, disable=not on_terminal(), leave=False, bar_format=_BAR) as bar:
                try:
                    result = _run(task, images, team, on_progress=partial(_show, bar))
                except WorkerError as error:
                    raise WorkerError(f"{task.name}: {error}") from None
            yield index, result, perf_counter() - begin


def _side_by_side(tasks: Sequence[_Task], team: Team) -> _Finished:
    """Yield the same of each experiment when it is finished, run by a team."""
    threads = f"{team.threads} thread{'s' if team.threads > 1 else ''} each"
    say(f"{len(tasks)} experiments, {min(team.jobs, len(tasks))} at a time, {threads}")
    with progress(len(tasks), "experiments") as done, closing(team.finish(_alone, tasks)) as outcomes:
        for outcome in outcomes:
            if isinstance(outcome.error, WorkerError):
                raise WorkerError(f"{tasks[outcome.number].name}: {outcome.error}")
            if outcome.error is not None:
                raise outcome.error
            done()
            yield outcome.number, *outcome.result


def _alone(task: _Task) -> tuple[Result, float]:
    """Run an experiment in a process that has none of its images yet; return its result, and the seconds it took."""
    begin = perf_counter()
    return _run(task, load_images(task.prepared)), perf_counter() - begin


def _run(task: _Task, images: Images, team: Team | None = None, **shown: Callable[[int, int, str], None]) -> Result:
    module = import_module(f"caffelite.experiments.{task.name.replace('-', '_')}")
    result: Result = module.run(Bench(images, task.seeds, task.share, task.originals, say, team=team, **shown))
    return result


def _show(bar: Any, done: int, total: int, text: str) -> None:
    bar.total = total
    bar.set_postfix_str(text, refresh=False)
    bar.update(done - bar.n)


def _write(result: Result, folder: Path) -> list[Path]:
    """Write the figures and the plots of an experiment; return the files of the plots."""
    with atomic_write(folder / f"{result.name}.json") as temporary:
        temporary.write_text(result.to_json(), encoding="utf-8")
    plots = [folder / f"{result.name}{suffix}" for suffix in (".svg", ".png")]
    try:
        draw(result, plots)
    except MissingExtraError as error:
        say(f"nothing is drawn: {error}")
        return []
    return plots


def _known(given: list[str]) -> list[str]:
    names = list(EXPERIMENTS) if given == ["all"] else given
    for name in names:
        if name not in EXPERIMENTS:
            hint = did_you_mean(name, EXPERIMENTS, f"there are {', '.join(EXPERIMENTS)}")
            raise UsageError(f'there is no experiment "{name}"{hint}')
    return names


_BAR = "{desc}: iteration {n_fmt}/{total_fmt} |{bar:20}| {rate_fmt}, {remaining} left{postfix}"


def _text(result: Result, seconds: float, plots: list[Path]) -> str:
    return "\n".join(
        [
            f"{result.title}",
            f"{result.setting}.",
            f"On {result.data}; seeds: {len(result.seeds)}, mean and range; {duration(seconds)}.",
            *([f"Only {100 * result.share:g}% of the iterations were made."] if result.share < 1 else []),
            "",
            result.table(),
            "",
            f"Claim: {result.claim}",
            f"It {result.verdict}. {result.sentence}",
            *([f"Plots: {' and '.join(map(str, plots))}"] if plots else []),
        ]
    )


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{value:g} is not above 0 and at most 1")
    return value
