"""``caffelite draw``."""

import argparse

from caffelite.cli.common import say

HELP = "Draw a net as a diagram."
EXAMPLES = """examples:
  caffelite draw models/cifar10_bn.prototxt cifar10_bn.svg   SVG, PNG or PDF, through Graphviz
  caffelite draw models/cifar10_bn.prototxt cifar10_bn.md    Mermaid, which needs nothing and which many sites show
  caffelite draw net.prototxt net.dot --phase TEST           Graphviz's own language"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("file", help="a net")
    parser.add_argument("output", help="the file to write: .svg, .png, .pdf, .dot or .md")
    parser.add_argument("--phase", choices=("TRAIN", "TEST", "ALL"), default="ALL",
                        help="draw this phase, or all layers with their phase marked (ALL)")  # fmt: skip
    parser.add_argument("--rankdir", choices=("TB", "BT", "LR", "RL"), default="TB", help="direction (TB: down)")


def run(options: argparse.Namespace) -> None:
    """Draw."""
    from caffelite.convert.diagram import draw

    drawn = draw(options.file, options.output, options.phase, options.rankdir)
    say(f"{options.output}: {drawn}")
