"""``caffelite data``."""

import argparse
from pathlib import Path

from caffelite.cli.common import say, say_notices

HELP = "Make the databases and the mean file that the example nets name."
EXAMPLES = """examples:
  caffelite data cifar10                        from $CAFFELITE_DATA, the cache, or downloaded
  caffelite data mnist --from ~/Downloads/mnist   from files that are at hand

Without originals and without a network a built-in set of drawn images is made in their place, and it is said."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("name", choices=("cifar10", "mnist"), help="the data set")
    parser.add_argument("--from", dest="originals", metavar="DIR", help="folder with the original files")
    parser.add_argument("--to", default="data", metavar="DIR", help="folder to write to (data)")
    parser.add_argument("--again", action="store_true", help="make it anew")


def run(options: argparse.Namespace) -> None:
    """Make a data set."""
    from caffelite.data.datasets import prepare

    originals = Path(options.originals) if options.originals else None
    say_notices([prepare(options.name, Path(options.to), originals, say, options.again)])
