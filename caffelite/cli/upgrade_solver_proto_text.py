"""Bring a solver's prototxt of an earlier form (solver_type: ADAM) to the present one (type: "Adam"), as Caffe's
program of this name does. Fields that nobody knows are kept, comments are not."""

import argparse

from caffelite.cli.terminal import say
from caffelite.cli.upgrade_net_proto_text import add_files
from caffelite.schema import messages
from caffelite.schema.parser import parse_text
from caffelite.schema.printer import write_text
from caffelite.schema.text import read_text
from caffelite.schema.upgrade import upgrade_solver

EXAMPLES = """examples:
  caffelite upgrade_solver_proto_text old_solver.prototxt new_solver.prototxt
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what the command takes."""
    add_files(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the solver in its present form."""
    document = parse_text(read_text(arguments.input), messages.SolverParameter, str(arguments.input))
    if not document.message.HasField("solver_type"):
        say(f"File already in latest proto format: {arguments.input}")
    write_text(upgrade_solver(document), arguments.output)
    print(f"Wrote upgraded SolverParameter text proto to {arguments.output}")
    return 0
