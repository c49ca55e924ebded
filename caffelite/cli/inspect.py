"""Say what any file of Caffe's is and what it holds: prototxt, .caffemodel, .solverstate, .binaryproto, HDF5, LMDB,
LevelDB, log."""

import argparse
import json
import sys
from pathlib import Path

from caffelite.cli.arguments import add_input, whole
from caffelite.cli.terminal import status
from caffelite.errors import Error
from caffelite.inspection.files import inspect_file
from caffelite.words import TEST, TRAIN, printable

EXAMPLES = """examples:
  caffelite inspect snapshots/lenet_iter_5000.caffemodel
  caffelite inspect data/mnist_train_lmdb data/cifar10_mean.binaryproto train.log.gz
  caffelite inspect models/cifar10_bn.prototxt --input data=1,3,32,32 --json

Nothing in a file is run, and of a pickle nothing is read: that of another program is only named.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what the command takes."""
    add = parser.add_argument
    add("files", nargs="+", metavar="FILE", help="a file, or the folder of a database")
    add(
        "--phase",
        type=str.upper,
        choices=("TRAIN", "TEST"),
        default="TRAIN",
        help="phase of a net that is looked at (TRAIN)",
    )
    add_input(parser)
    add("--records", type=whole, default=1000, metavar="N", help="look at the first N records of a database (1000)")
    add("--json", action="store_true", help="print the result as JSON, a line for each file")


def run(arguments: argparse.Namespace) -> int:
    """Look at each file; one that is none of Caffe's does not keep the others from being looked at."""
    phase = TEST if arguments.phase == "TEST" else TRAIN
    failed = 0
    for i, file in enumerate(arguments.files):
        try:
            with status(f"reading {file}"):
                told = inspect_file(Path(file), phase, dict(arguments.input), arguments.records)
        except Error as error:
            if len(arguments.files) == 1:
                raise
            print(f"caffelite: {printable(error.message)}", file=sys.stderr)
            failed += 1
            continue
        if arguments.json:
            print(json.dumps({"file": file, **told.data}))
        else:
            print(f"{'' if i == 0 else chr(10)}{told.text(file)}")
    return int(failed > 0)
