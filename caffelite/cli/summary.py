"""Show the layers of a net in a table, as other frameworks do: shapes, parameters, multiply-adds, memory. The net is
not built, and its data need not be there."""

import argparse
import json

from caffelite.cli.arguments import add_input, add_python, add_state, the_file
from caffelite.cli.preparing import nets_of
from caffelite.inspection.nets import net_inspection
from caffelite.words import TEST, TRAIN

EXAMPLES = """examples:
  caffelite summary models/lenet.prototxt --input data=64,1,28,28
  caffelite summary models/cifar10_bn_solver.prototxt --phase TEST --input data=1,3,32,32 --json

Memory is that of the blobs that a layer makes, in float32, what is written in place not counted; a net that is trained
has as much again for gradients. "caffelite time" measures how long each layer takes.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what the command takes."""
    add = parser.add_argument
    add("file", nargs="?", metavar="NET", help="prototxt of a net, or of a solver that names one")
    add("--model", metavar="NET", help="the same, as Caffe has it")
    add("--phase", type=str.upper, choices=("TRAIN", "TEST"), default="TRAIN", help="phase of the net (TRAIN)")
    add_input(parser)
    add("--json", action="store_true", help="print the result as JSON")
    add_state(parser)
    add_python(parser)


def run(arguments: argparse.Namespace) -> int:
    """Look at the net, and print a table."""
    file = the_file([arguments.file, arguments.model], "the prototxt of a net")
    phase = TEST if arguments.phase == "TEST" else TRAIN
    source = nets_of(file, phase, arguments.level, arguments.stage)[0]._replace(phase=phase)
    told = net_inspection(source, dict(arguments.input), arguments.allow_python)
    print(json.dumps({"file": str(file), **told.data}) if arguments.json else told.text(str(file)))
    return 0
