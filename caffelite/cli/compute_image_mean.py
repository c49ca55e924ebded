"""Write the mean image of a database, and print the mean of each channel, as Caffe's program of this name does."""

import argparse
import json
from pathlib import Path

import numpy as np

from caffelite.cli.arguments import add_threads
from caffelite.cli.databases import BACKENDS, add_json
from caffelite.cli.making import counting
from caffelite.data.database import open_database
from caffelite.imagesets.mean import image_mean
from caffelite.schema.blobs import write_blob
from caffelite.words import text_of

EXAMPLES = """examples:
  caffelite compute_image_mean train_lmdb mean.binaryproto
  caffelite compute_image_mean -backend=lmdb train_lmdb
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what the command takes."""
    parser.add_argument("database", type=Path, metavar="INPUT_DB", help="the database of the images")
    parser.add_argument(
        "output", type=Path, nargs="?", metavar="OUTPUT_FILE", help="the mean file; without it none is written"
    )
    parser.add_argument(
        "--backend",
        default="lmdb",
        choices=BACKENDS,
        help="what the database is, which is seen without it too",
    )
    add_threads(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Find the mean."""
    database = open_database(arguments.database)
    try:
        with counting(len(database), "adding up") as done:
            mean, count = image_mean(arguments.database, done)
    finally:
        database.close()
    if arguments.output:
        write_blob(arguments.output, mean[None])
    values = mean.mean(axis=(1, 2), dtype=np.float64).tolist()
    if arguments.json:
        written = arguments.output and str(arguments.output)
        print(json.dumps({"images": count, "shape": mean.shape, "mean_values": values, "mean_file": written}))
        return 0
    print(f"{count} images of {text_of(mean.shape)}{f'; mean: {arguments.output}' if arguments.output else ''}")
    for channel, value in enumerate(values):
        print(f"mean_value channel [{channel}]: {value:.6g}")
    return 0
