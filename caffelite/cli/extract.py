"""Write the net that a .caffemodel holds beside its weights: a prototxt."""

import argparse
import json
from pathlib import Path
from typing import Any

from caffelite.cli.outputs import check_outputs
from caffelite.export.stored_net import plain_net
from caffelite.schema.conversion import convert_message
from caffelite.schema.fork_schemas import fork_named
from caffelite.schema.generated import generated
from caffelite.schema.messages import NetParameter
from caffelite.schema.printer import write_text
from caffelite.schema.stored_net import read_stored_net, unknown_layers
from caffelite.words import quoted

EXAMPLES = """examples:
  caffelite extract bvlc_reference_caffenet.caffemodel caffenet.prototxt
  caffelite extract VGG_VOC0712_SSD_300x300.caffemodel ssd.prototxt --fork ssd

A net that was saved while it was trained begins with its data layer and ends with its loss: "caffelite convert" takes
it as it is, with --input data=1,3,H,W where the data is not there.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what the command takes."""
    add = parser.add_argument
    add("file", metavar="WEIGHTS", help="a .caffemodel")
    add("output", metavar="OUTPUT", help="prototxt to write")
    add(
        "--fork", metavar="NAME", help="fork of Caffe that wrote it: ssd, nvcaffe, intel … (BVLC's Caffe, or caffelite)"
    )
    add("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Read the net, make it plain, and write it."""
    file, output = Path(arguments.file), Path(arguments.output)
    check_outputs({output: file}, "is what is read; give another name")
    schema: Any = NetParameter
    if arguments.fork is not None:
        schema = generated(fork_named(arguments.fork))["NetParameter"]
    stored = read_stored_net(file, schema)
    unknown = unknown_layers(stored)
    document, missing = plain_net(convert_message(stored, NetParameter), file)
    if unknown:
        layers = f"{len(unknown)} layer{'s' * (len(unknown) > 1)}, of {quoted(unknown[0])} for one"
        missing.insert(0, f"settings of {layers}, which a fork wrote; name it with --fork")
    write_text(document, output)
    if arguments.json:
        told = {"net": str(output), "layers": len(document.message.layer), "missing": missing}
        print(json.dumps(told))
        return 0
    print(f"{output}: {document.message.name or 'a net'}, {len(document.message.layer)} layers")
    for sentence in missing:
        print(f"not in it: {sentence}")
    return 0
