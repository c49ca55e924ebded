"""Train small nets and see what batch normalization does to them."""

import argparse
from importlib import import_module
from pathlib import Path
from time import perf_counter

from tqdm import tqdm

from caffelite.cli.arguments import UsageError, add_data, add_threads, whole
from caffelite.cli.progress import compiling
from caffelite.cli.report import duration
from caffelite.cli.terminal import on_terminal, say, status
from caffelite.datasets.prepare import DATA_FOLDER, prepare
from caffelite.errors import MissingExtraError
from caffelite.experiments import EXPERIMENTS
from caffelite.experiments.bench import Bench, Images, load_images
from caffelite.experiments.drawing import draw
from caffelite.experiments.result import Result
from caffelite.files import atomic_write
from caffelite.words import did_you_mean

_LIST = "\n".join(f"  {name:18s}{text}" for name, text in EXPERIMENTS.items())
EXAMPLES = f"""experiments:
{_LIST}

examples:
  caffelite experiment speedup
  caffelite experiment phases --seeds 1 --share 0.1
  caffelite experiment all --out experiments

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
    add("--json", action="store_true", help="print the results as lines of JSON")
    add_data(parser)
    add_threads(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the experiments, one after the other."""
    names = _known(arguments.names)
    arguments.out.mkdir(parents=True, exist_ok=True)
    prepared = prepare("mnist", DATA_FOLDER, arguments.data, say)
    with compiling():
        with status("reading the images"):
            images = load_images(prepared)
        for i, name in enumerate(names):
            begin = perf_counter()
            result = _run(name, images, arguments)
            with atomic_write(arguments.out / f"{name}.json") as temporary:
                temporary.write_text(result.to_json(), encoding="utf-8")
            plots = [arguments.out / f"{name}{suffix}" for suffix in (".svg", ".png")]
            try:
                draw(result, plots)
            except MissingExtraError as error:
                say(f"nothing is drawn: {error}")
                plots = []
            if arguments.json:
                print(result.to_json(), flush=True)
            else:
                print(("\n" if i else "") + _text(result, perf_counter() - begin, plots), flush=True)
    if prepared.notice:
        say(prepared.notice)
    return 0


def _known(given: list[str]) -> list[str]:
    names = list(EXPERIMENTS) if given == ["all"] else given
    for name in names:
        if name not in EXPERIMENTS:
            hint = did_you_mean(name, EXPERIMENTS, f"there are {', '.join(EXPERIMENTS)}")
            raise UsageError(f'there is no experiment "{name}"{hint}')
    return names


def _run(name: str, images: Images, arguments: argparse.Namespace) -> Result:
    module = import_module(f"caffelite.experiments.{name.replace('-', '_')}")
    with tqdm(desc=name, disable=not on_terminal(), leave=False, bar_format=_BAR) as bar:

        def show(done: int, total: int, text: str) -> None:
            bar.total = total
            bar.set_postfix_str(text, refresh=False)
            bar.update(done - bar.n)

        seeds = list(range(1, arguments.seeds + 1))
        result: Result = module.run(Bench(images, seeds, arguments.share, arguments.data, say, show))
        return result


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
