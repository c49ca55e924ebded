"""Write the LMDB of images that a list names, as Caffe's program of this name does.

A line of the list is the path of an image, a space and its label. Images that cannot be read are left out and told. All
cores decode; the records have the order of the list, or that of --shuffle, which the seed decides. The database is
there whole or not at all, and as large as it has to be.
"""

import argparse
from pathlib import Path

from caffelite.cli.databases import BACKENDS, new_database
from caffelite.cli.making import add_conversion, tell, write
from caffelite.imagesets.files import listed

EXAMPLES = """examples:
  caffelite convert_imageset --resize_height=256 --resize_width=256 --shuffle images/ train.txt train_lmdb
  caffelite convert_imageset -gray -encoded -encode_type png images/ train.txt train_lmdb
  caffelite convert_imageset --append images/ more.txt train_lmdb
  caffelite convert_imageset --labels 4 images/ boxes.txt boxes_lmdb

With --labels N each line ends in N numbers, whole or not; they are records of a second database, DB_NAME_labels, which
a second Data layer reads.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what the command takes."""
    parser.add_argument(
        "root", metavar="ROOTFOLDER/", help="is put before each path of the list, so it ends in a slash"
    )
    parser.add_argument("list", metavar="LISTFILE", help="the list of images and labels")
    parser.add_argument("database", type=Path, metavar="DB_NAME", help="folder of the database")
    parser.add_argument("--backend", default="lmdb", choices=BACKENDS, help="lmdb, which is written for leveldb too")
    add_conversion(parser)


def run(arguments: argparse.Namespace) -> int:
    """Convert the images."""
    if not arguments.append:
        new_database(arguments.database, arguments.backend)
    made = write(arguments, listed(arguments.root, arguments.list, arguments.labels), arguments.database)
    tell(arguments, arguments.database, made)
    return 0
