"""Bring a .caffemodel of an earlier form (V0, V1, inputs outside any layer) to the present one, with its weights, as
Caffe's program of this name does."""

import argparse

from google.protobuf.message import DecodeError

from caffelite.cli.upgrade_net_proto_text import add_files, upgraded_net
from caffelite.errors import WeightsError
from caffelite.files import atomic_write
from caffelite.schema import messages
from caffelite.schema.documents import Document

EXAMPLES = """examples:
  caffelite upgrade_net_proto_binary old.caffemodel new.caffemodel
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what the command takes."""
    add_files(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the net in its present form."""
    net = messages.NetParameter()
    try:
        net.ParseFromString(arguments.input.read_bytes())
    except DecodeError:
        raise WeightsError(f"{arguments.input}: not a .caffemodel, or cut off") from None
    if not net.layer and not net.layers:
        raise WeightsError(f"{arguments.input}: not a .caffemodel: no layer is in it")
    document = upgraded_net(Document(net, str(arguments.input)))
    with atomic_write(arguments.output) as temporary:
        temporary.write_bytes(document.message.SerializeToString())
    print(f"Wrote upgraded NetParameter binary proto to {arguments.output}")
    return 0
