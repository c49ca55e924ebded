"""Make a database of MNIST's images and labels, from the two files of a set, compressed or not; each record is what
Caffe's program of this name writes."""

import argparse
from pathlib import Path

from caffelite.cli.databases import BACKENDS, add_json, new_database, report
from caffelite.cli.terminal import status
from caffelite.datasets.build import write_images
from caffelite.datasets.mnist import KEY_DIGITS, read

EXAMPLES = """examples:
  caffelite convert_mnist_data train-images-idx3-ubyte train-labels-idx1-ubyte mnist_train_lmdb
  caffelite convert_mnist_data t10k-images-idx3-ubyte.gz t10k-labels-idx1-ubyte.gz mnist_test_lmdb --backend=lmdb
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what the command takes."""
    add_files(parser)
    parser.add_argument("--backend", choices=BACKENDS, default="lmdb", help="an LMDB is what is written (lmdb)")
    add_json(parser)


def add_files(parser: argparse.ArgumentParser) -> None:
    """Add the two files and the database."""
    parser.add_argument("images", type=Path, metavar="IMAGES", help="file such as train-images-idx3-ubyte")
    parser.add_argument("labels", type=Path, metavar="LABELS", help="file such as train-labels-idx1-ubyte")
    parser.add_argument("database", type=Path, metavar="DATABASE", help="folder to make")


def run(arguments: argparse.Namespace) -> int:
    """Make the database, and tell how many images it has."""
    target = new_database(arguments.database, arguments.backend)
    with status(f"writing {target}"):
        count = write_images(target, read(arguments.images, arguments.labels), KEY_DIGITS)
    return report(arguments, {target: count}, "images")
