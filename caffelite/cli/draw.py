"""Draw a net: layers with their settings, the shapes between them, numbers of parameters, phases."""

import argparse

from caffelite.cli.arguments import add_input, add_python, the_file
from caffelite.cli.terminal import say, status
from caffelite.draw.diagram import draw

EXAMPLES = """examples:
  caffelite draw models/cifar10_bn.prototxt cifar10_bn.svg
  caffelite draw models/cifar10_bn.prototxt cifar10_bn.png --phase TEST --rankdir LR
  caffelite draw models/cifar10_bn.prototxt cifar10_bn.md --input data=1,3,32,32

The name of the output says how: .svg, .png and .pdf are drawn by Graphviz, which is installed with caffelite, .dot is
its own language, .md is Mermaid, which many sites show.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what the command takes."""
    add = parser.add_argument
    add("net", metavar="NET", help="prototxt of a net")
    add("output", metavar="OUTPUT", help="file to write: .svg, .png, .pdf, .dot or .md")
    add(
        "--phase",
        type=str.upper,
        choices=("TRAIN", "TEST", "ALL"),
        default="ALL",
        help="phase to draw, or all layers with their phases marked (ALL)",
    )
    add("--rankdir", type=str.upper, choices=("TB", "BT", "LR", "RL"), default="TB", help="direction (TB)")
    add_input(parser)
    add_python(parser)


def run(arguments: argparse.Namespace) -> int:
    """Draw."""
    file = the_file([arguments.net], "the prototxt of a net")
    with status(f"drawing {arguments.output}"):
        drawn = draw(
            file,
            arguments.output,
            arguments.phase,
            arguments.rankdir,
            arguments.allow_python,
            dict(arguments.input),
        )
    say(f"{arguments.output}: {drawn}")
    return 0
