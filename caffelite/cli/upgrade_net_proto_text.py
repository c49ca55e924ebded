"""Bring a net's prototxt of an earlier form (V0, V1, inputs outside any layer) to the present one, as Caffe's program
of this name does. Fields that nobody knows are kept, comments are not."""

import argparse
from pathlib import Path

from caffelite.cli.terminal import say
from caffelite.schema import messages
from caffelite.schema.documents import Document
from caffelite.schema.parser import parse_text
from caffelite.schema.printer import write_text
from caffelite.schema.text import read_text
from caffelite.schema.upgrade import upgrade_net

EXAMPLES = """examples:
  caffelite upgrade_net_proto_text old.prototxt new.prototxt
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what the command takes."""
    add_files(parser)


def add_files(parser: argparse.ArgumentParser) -> None:
    """Add the two files."""
    parser.add_argument("input", type=Path, metavar="INPUT", help="file of any form")
    parser.add_argument("output", type=Path, metavar="OUTPUT", help="file to write")


def run(arguments: argparse.Namespace) -> int:
    """Write the net in its present form."""
    document = parse_text(read_text(arguments.input), messages.NetParameter, str(arguments.input))
    write_text(upgraded_net(document), arguments.output)
    print(f"Wrote upgraded NetParameter text proto to {arguments.output}")
    return 0


def upgraded_net(document: Document[messages.NetParameter]) -> Document[messages.NetParameter]:
    """Return a net in its present form; tell where it was that already."""
    before = messages.NetParameter()
    before.CopyFrom(document.message)
    net = upgrade_net(document)
    if net.message == before:
        say(f"File already in latest proto format: {document.filename}")
    return net
