"""Draw a net: layers with their settings, the shapes between them, numbers of parameters, phases."""

import argparse
from typing import Any

from caffelite.cli.arguments import UsageError, add_input, add_python, names
from caffelite.cli.terminal import say, status
from caffelite.draw.colours import COLOURINGS
from caffelite.draw.diagram import draw, draw_difference

EXAMPLES = """examples:
  caffelite draw models/cifar10_bn.prototxt cifar10_bn.html --input data=100,3,32,32
  caffelite draw models/cifar10_bn.prototxt cifar10_bn.svg --fold --color macs
  caffelite draw models/cifar10_bn.prototxt cifar10_bn.png --phase TEST --rankdir LR
  caffelite draw models/cifar10_bn.prototxt cifar10_bn.md --input data=1,3,32,32
  caffelite draw models/cifar10_bn.prototxt deploy.prototxt differences.html

The name of the output says how: .html is a page to look around in, which needs nothing but a browser; .svg, .png and
.pdf are drawn by Graphviz, which is installed with caffelite, .dot is its own language, .md is Mermaid, which many
sites show. Two nets are drawn beside each other, on a page that tells what differs.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what the command takes."""
    add = parser.add_argument
    add("net", nargs="+", metavar="NET", help="prototxt of a net, or of two that are held against each other")
    add("output", metavar="OUTPUT", help="file to write: .html, .svg, .png, .pdf, .dot or .md")
    add(
        "--phase",
        type=str.upper,
        choices=("TRAIN", "TEST", "ALL"),
        default="ALL",
        help="phase to draw, or all layers with their phases marked (ALL); of a page, what is shown first",
    )
    add(
        "--stage",
        type=names,
        metavar="A,B",
        help="stages that include rules are held against (layers are drawn in whatever stages they are)",
    )
    add("--rankdir", type=str.upper, choices=("TB", "BT", "LR", "RL"), default="TB", help="direction (TB)")
    add("--fold", action="store_true", help="draw blocks that are equal but for their names once; a page can do both")
    add("--color", choices=COLOURINGS, help="what colours tell (kind)")
    add("--time", metavar="FILE", help='times of layers: what "caffelite time --json" wrote')
    add("--weights", metavar="FILE", help="weights to show on a page")
    add_input(parser)
    add_python(parser)


def run(arguments: argparse.Namespace) -> int:
    """Draw."""
    files, output = arguments.net, arguments.output
    common: dict[str, Any] = {
        "phase": arguments.phase,
        "rankdir": arguments.rankdir,
        "allow_python": arguments.allow_python,
        "inputs": dict(arguments.input),
    }
    own: dict[str, Any] = {
        "stages": arguments.stage,
        "fold": arguments.fold,
        "color": arguments.color,
        "times": arguments.time,
        "weights": arguments.weights,
    }
    given = {name: value for name, value in own.items() if value not in (None, False)}
    if len(files) > 2:
        raise UsageError(f"give one net or two, not {len(files)}")
    if len(files) == 2 and given:
        words = {"stages": "stage", "times": "time"}
        raise UsageError(f"--{words.get(next(iter(given)), next(iter(given)))} is for one net, not for two")
    with status(f"drawing {output}"):
        if len(files) == 2:
            drawn = draw_difference(files[0], files[1], output, **common)
        else:
            drawn = draw(files[0], output, **common, **given)
    say(f"{output}: {drawn}")
    return 0
