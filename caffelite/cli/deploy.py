"""Write the deploy net of one that is trained: without its data, labels, losses and measures, with Input in place of
the data. The other layers stay as they are, BatchNorm too, and the trained weights fit it."""

import argparse
import json
from pathlib import Path

from caffelite.cli.arguments import add_input, add_python, add_state, the_file
from caffelite.cli.outputs import check_outputs
from caffelite.cli.preparing import nets_of
from caffelite.net.deploy import deploy
from caffelite.schema.printer import write_text
from caffelite.words import TEST, printable, text_of

EXAMPLES = """examples:
  caffelite deploy models/lenet.prototxt lenet_deploy.prototxt --input data=1,1,28,28
  caffelite deploy models/cifar10_bn_solver.prototxt cifar10_deploy.prototxt

Data that is not there needs --input. "caffelite bn fold" writes a deploy net with BatchNorm in the weights.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what the command takes."""
    add = parser.add_argument
    add("file", metavar="NET_OR_SOLVER", help="prototxt of a net or of a solver")
    add("output", metavar="OUTPUT", help="prototxt to write")
    add_input(parser, "--shape")
    add("--json", action="store_true", help="print the result as JSON")
    add_state(parser)
    add_python(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the net; tell what it reads and what is gone."""
    file, output = the_file([arguments.file], "the prototxt of a net or of a solver"), Path(arguments.output)
    source = nets_of(file, TEST, arguments.level, arguments.stage)[0]
    for read in (file, Path(source.document.filename)):
        check_outputs({output: read}, "is what is read; give another name")
    document, dropped = deploy(
        source.document, source.level, source.stages, dict(arguments.input), arguments.allow_python
    )
    write_text(document, output)
    layers = document.message.layer
    inputs = {layer.top[0]: list(layer.input_param.shape[0].dim) for layer in layers if layer.type == "Input"}
    before = {layer.name: layer.type for layer in source.document.message.layer}
    replaced = {layer.name: layer.type for layer in layers if before.get(layer.name, layer.type) != layer.type}
    if arguments.json:
        told = {"net": str(output), "layers": len(layers), "inputs": inputs, "replaced": replaced, "dropped": dropped}
        print(json.dumps(told))
        return 0
    shapes = ", ".join(f"{name} {text_of(tuple(shape))}" for name, shape in inputs.items())
    print(printable(f"{output}: {len(layers)} layers; it reads {shapes}"))
    now = ", ".join(f"{name} ({before[name]}) is {kind}" for name, kind in replaced.items())
    print(printable(f"replaced: {now or 'none'}"))
    print(printable(f"gone: {', '.join(dropped) or 'none'}"))
    return 0
