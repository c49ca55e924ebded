"""Put the results of ``caffelite experiment all`` into docs/batch-normalization.md.

    caffelite experiment all --out experiments
    python tools/experiments_page.py experiments

The plots and figures go to docs/experiments. The page has a place for each experiment, between
``<!-- experiment: NAME -->`` and ``<!-- end -->``; what stands there is replaced.
"""

import re
import shutil
import sys
from pathlib import Path

from caffelite.experiments import EXPERIMENTS
from caffelite.experiments.result import Result

PAGE = Path(__file__).parent.parent / "docs" / "batch-normalization.md"
SAVED = PAGE.parent / "experiments"
_PLACE = re.compile(r"(<!-- experiment: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def block(result: Result) -> str:
    """Return what the page says of a result."""
    seeds = f"{len(result.seeds)} seeds, mean and range" if len(result.seeds) > 1 else "one seed"
    share = f" Only {100 * result.share:g}% of the iterations were made." if result.share < 1 else ""
    return "\n".join(
        [
            f"`caffelite experiment {result.name}`",
            "",
            f"![{result.title}](experiments/{result.name}.svg)",
            "",
            f"{result.setting}. On {result.data}; {seeds}.{share}",
            "",
            result.table(),
            "",
            f"*{result.claim}* **It {result.verdict}.** {result.sentence}",
            "",
        ]
    )


def filled(page: str, results: dict[str, Result]) -> str:
    """Return the page with results in their places; every experiment has one."""
    places = [found[2] for found in _PLACE.finditer(page)]
    if sorted(places) != sorted(EXPERIMENTS):
        raise SystemExit(f"{PAGE.name} has places for {', '.join(places)}; there are {', '.join(EXPERIMENTS)}")
    return _PLACE.sub(lambda found: f"{found[1]}{block(results[found[2]])}{found[3]}", page)


def read(folder: Path) -> dict[str, Result]:
    """Return the results in a folder."""
    return {name: Result.from_json((folder / f"{name}.json").read_text("utf-8")) for name in EXPERIMENTS}


def main(folder: Path) -> None:
    """Copy the files and fill in the page."""
    results = read(folder)
    text = filled(PAGE.read_text("utf-8"), results)
    SAVED.mkdir(exist_ok=True)
    for name in EXPERIMENTS:
        for suffix in (".json", ".svg", ".png"):
            shutil.copyfile(folder / f"{name}{suffix}", SAVED / f"{name}{suffix}")
    PAGE.write_text(text, "utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]))
