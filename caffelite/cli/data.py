"""Get CIFAR-10 or MNIST ready for the example nets: the databases and the mean file that they name, made from
the original files, which are downloaded if they are not at hand. Where they cannot be had, a built-in set of
drawn images takes their place. "caffelite data import" makes databases of images of one's own."""

import argparse
from pathlib import Path

from caffelite.cli.terminal import say, status
from caffelite.datasets.prepare import DATA_FOLDER, prepare

#: Each is a module ``data_COMMAND`` of this package; all other words are data sets, for the functions here.
COMMANDS = {"import": "write an LMDB from a folder, a list, a table or arrays"}

EXAMPLES = """examples:
  caffelite data cifar10
  caffelite data mnist --from ~/Downloads/mnist
  caffelite data cifar10 mnist --to /srv/data
  caffelite data import flowers/ flowers.lmdb

Originals are looked for in the folder given with --from, else in that of $CAFFELITE_DATA, else among earlier
downloads, and else downloaded. "train", "test" and "time" do this by themselves where data is missing.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what the command takes."""
    parser.add_argument("sets", nargs="+", metavar="SET", help="cifar10, mnist")
    parser.add_argument("--from", type=Path, dest="originals", metavar="DIR", help="folder with the original files")
    parser.add_argument(
        "--to",
        type=Path,
        default=DATA_FOLDER,
        metavar="DIR",
        help="folder to write to (data, where the example nets look)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Make the data sets."""
    for name in arguments.sets:
        with status(f"getting {name} ready"):
            made = prepare(name, arguments.to, arguments.originals, say)
        if made.notice:
            print(made.notice)
    return 0
