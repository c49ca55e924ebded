"""Make the two databases of CIFAR-10, cifar10_train_lmdb and cifar10_test_lmdb, from a folder with its files,
compressed or not, or its archive; each record is what Caffe's program of this name writes."""

import argparse
from pathlib import Path

from caffelite.cli.databases import BACKENDS, add_json, new_database, report
from caffelite.cli.terminal import status
from caffelite.datasets.build import write_images
from caffelite.datasets.cifar10 import CIFAR10, KEY_DIGITS, find
from caffelite.errors import DataError
from caffelite.files import scratch_folder

EXAMPLES = """examples:
  caffelite convert_cifar_data data/cifar10 examples/cifar10 lmdb
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what the command takes."""
    parser.add_argument("input", type=Path, metavar="INPUT", help="folder with data_batch_1.bin … test_batch.bin")
    parser.add_argument("output", type=Path, metavar="OUTPUT", help="folder that the databases are made in")
    parser.add_argument("type", choices=BACKENDS, help="end of their names; LMDB is what is written")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Make the databases, and tell how many images they have."""
    train, test = (
        new_database(arguments.output / f"cifar10_{part}_{arguments.type}", arguments.type)
        for part in ("train", "test")
    )
    with scratch_folder(arguments.output, "cifar10") as scratch, status(f"writing {train} and {test}"):
        splits = find(arguments.input, scratch)
        if splits is None:
            raise DataError(f"{arguments.input} does not hold CIFAR-10: looked for {CIFAR10.original_names}")
        made = {
            path: write_images(path, chunks(), KEY_DIGITS)
            for path, chunks in ((train, splits.train), (test, splits.test))
        }
    return report(arguments, made, "images")
