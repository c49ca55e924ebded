"""Which command was asked for, and what becomes of its errors."""

import argparse
import os
import re
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module

import caffelite
from caffelite.errors import Error

#: Commands, each a module of this package with ``HELP``, ``EXAMPLES``, ``arguments(parser)`` and ``run(options)``.
COMMANDS = ("train", "test", "time", "draw", "data")
#: Flags of Caffe's own program, which has them with one dash as well as with two.
_CAFFE_FLAGS = ("solver", "model", "weights", "snapshot", "iterations", "gpu", "phase", "level", "stage",
                "sigint_effect", "sighup_effect")  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code. Errors are one line."""
    arguments = [_caffe_spelling(word) for word in (sys.argv[1:] if argv is None else argv)]
    warnings.showwarning = _show_warning  # type: ignore[assignment]
    warnings.simplefilter("default", UserWarning)
    try:
        options = _parser(arguments).parse_args(arguments)
        return int(options.run(options) or 0)
    except Error as error:
        print(f"caffelite: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("caffelite: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # What reads our output has gone; nothing is left to say, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="caffelite", description="Train, test, time and draw nets written for Caffe.",
        epilog="caffelite COMMAND --help has examples of each.",
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"caffelite {caffelite.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name in COMMANDS:
        # Only the module of the command that runs is loaded in full.
        module = import_module(f"caffelite.cli.{name}")
        command = commands.add_parser(
            name, help=module.HELP, description=module.HELP, epilog=module.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        module.arguments(command)
        command.set_defaults(run=module.run)
    return parser


def _caffe_spelling(word: str) -> str:
    match = re.fullmatch(r"-([a-z_]+)(=.*)?", word)
    return f"-{word}" if match and match.group(1) in _CAFFE_FLAGS else word


def _show_warning(message: Warning | str, category: type[Warning], *_: object) -> None:
    print(f"caffelite: warning: {message}", file=sys.stderr)
