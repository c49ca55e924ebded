"""Make a database of pairs of MNIST's images: two drawn at random, as two channels, with the label 1 where they show
the same digit, else 0. There are as many pairs as images, and they are the same ones each time. Caffe's program of this
name writes a LevelDB of other pairs each time; this is an LMDB, which nets read whichever backend they name."""

import argparse

from caffelite.cli.convert_mnist_data import add_files
from caffelite.cli.databases import add_json, new_database, report
from caffelite.cli.terminal import status
from caffelite.datasets.build import write_images
from caffelite.datasets.mnist import KEY_DIGITS, PAIR_SEED, joined, pairs, read

EXAMPLES = """examples:
  caffelite convert_mnist_siamese_data train-images-idx3-ubyte train-labels-idx1-ubyte mnist_siamese_train_lmdb
  caffelite convert_mnist_siamese_data t10k-images-idx3-ubyte t10k-labels-idx1-ubyte mnist_siamese_test_lmdb --seed 2
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what the command takes."""
    add_files(parser)
    parser.add_argument(
        "--seed", type=int, default=PAIR_SEED, metavar="N", help=f"what pairs are drawn with ({PAIR_SEED})"
    )
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Make the database, and tell how many pairs it has."""
    target = new_database(arguments.database)
    with status(f"writing {target}"):
        drawn = pairs(*joined(read(arguments.images, arguments.labels)), arguments.seed)
        count = write_images(target, drawn, KEY_DIGITS)
    return report(arguments, {target: count}, "pairs")
