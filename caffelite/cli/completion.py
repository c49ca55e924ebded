"""What the shell completes: commands, groups, options, names of files; by argcomplete, an extra."""

import argparse
import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import NoReturn

from caffelite.cli.program import COMMANDS


def complete() -> NoReturn:
    """Write what the word at the cursor can become, as the shell asked, and end the process.

    Raises
    ------
    SystemExit
        argcomplete is not installed.
    """
    try:
        import argcomplete
        from argcomplete.lexers import split_line
    except ImportError:
        raise SystemExit(1) from None
    # The words before the one that is being written.
    words = split_line(os.environ["COMP_LINE"], int(os.environ["COMP_POINT"]))[3]
    argcomplete.autocomplete(parser_for(words[int(os.environ["_ARGCOMPLETE"]) :]))
    raise SystemExit(1)


def parser_for(words: Sequence[str]) -> argparse.ArgumentParser:
    """Return a parser of all commands, in which only the one that is asked for has its arguments.

    Parameters
    ----------
    words : sequence of str
        Those of the command line that are written already: the module of no other command is imported.
    """
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--version", action="store_true", help="the version")
    chosen = _add_commands(parser, COMMANDS, words, "")
    _add_commands(chosen.add_parser("help", help="tell more of a command"), COMMANDS, words[1:], "")
    return parser


def _add_commands(
    parser: argparse.ArgumentParser, commands: Mapping[str, str], words: Sequence[str], group: str
) -> "argparse._SubParsersAction[argparse.ArgumentParser]":
    """Add commands, or those of a group, which are in modules whose names begin with ``group``."""
    chosen = parser.add_subparsers()
    for name, text in commands.items():
        inner = chosen.add_parser(name, help=text, allow_abbrev=False)
        if words and name == words[0]:
            command = import_module(f"caffelite.cli.{group}{name}")
            if hasattr(command, "COMMANDS"):
                _add_commands(inner, command.COMMANDS, words[1:], f"{name}_")
            else:
                command.add_arguments(inner)
    return chosen
