"""``caffelite COMMAND …``: choosing a command, and what happens when it cannot go on."""

import argparse
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, NoReturn

from caffelite import __version__
from caffelite.cli.endings import ENDINGS, ending_signals
from caffelite.cli.streams import is_quiet, steady_streams
from caffelite.errors import Error
from caffelite.parallel.ends import joining, part, take_along, wait_turn
from caffelite.parallel.launcher import launched
from caffelite.words import did_you_mean

#: Each command is a module of this package with ``EXAMPLES``, ``add_arguments(parser)`` and ``run(arguments)``, or with
#: ``COMMANDS`` of its own, whose modules are named ``GROUP_COMMAND``; only the one that is asked for is imported.
GROUPS = {
    "train and measure": {
        "train": "train a net",
        "test": "measure a trained net on its test set",
        "time": "measure how long each layer takes",
        "sweep": "train a net under many settings, side by side",
        "log": "read logs of training runs: as a table, CSV, JSON or a plot",
        "device_query": "tell which GPUs there are and whether they are used, and how many threads",
    },
    "batch normalization": {
        "bn": "check, show, recalibrate or fold the batch normalization of a net",
        "experiment": "see what batch normalization does, on nets that are trained for it",
    },
    "nets, data and scripts": {
        "look": "look into a trained net: filters, maps of an image, its top classes, what they come from",
        "draw": "draw a net as SVG, PNG, PDF, Graphviz or Mermaid",
        "inspect": "say what a file is and what it holds",
        "summary": "show the layers of a net: shapes, parameters, multiply-adds",
        "convert": "write a trained net for other programs: ONNX, PyTorch, weights alone; and ONNX for Caffe",
        "extract": "write the net that a .caffemodel holds beside its weights",
        "compare": "find where two nets, ONNX models or saved blobs differ, how, and why",
        "deploy": "write the deploy net of one that is trained",
        "check": "say what of a net an NPU's converter, ncnn or MNN would refuse",
        "run": "run a script that imports caffe, in Python 2 too",
        "data": "get CIFAR-10 or MNIST ready for the example nets; import images of one's own",
        "convert_db": "copy a LevelDB into an LMDB",
    },
    "Caffe's programs": {
        "caffe": "train, test, time and device_query with Caffe's options, log and exit codes",
        "convert_imageset": "write the LMDB of images that a list names",
        "compute_image_mean": "write the mean image of a database",
        "extract_features": "write blobs of a trained net into databases",
        "convert_mnist_data": "make a database of MNIST's files",
        "convert_cifar_data": "make the databases of CIFAR-10's files",
        "convert_mnist_siamese_data": "make a database of pairs of MNIST's images",
        "upgrade_net_proto_text": "bring an old net to the present form",
        "upgrade_net_proto_binary": "bring old weights to the present form",
        "upgrade_solver_proto_text": "bring an old solver to the present form",
    },
}
COMMANDS = {name: text for commands in GROUPS.values() for name, text in commands.items()}
#: These are run as well by a program, or a link to one, that has such a name.
PROGRAMS = GROUPS["Caffe's programs"]

#: Processes that an MPI launcher has started work on these together.
_TOGETHER = ("train", "time", "sweep", "experiment")

#: What asks for help.
_HELP = ("-h", "--help", "-help", "help")

#: What gflags takes for a switch.
_ON, _OFF = ("true", "t", "yes", "y", "1"), ("false", "f", "no", "n", "0")

_OVERVIEW = """usage: caffelite COMMAND …

Caffe's files train, test, convert and draw.

{commands}

examples:
  caffelite train models/cifar10_bn.prototxt
  caffelite test models/cifar10_bn.prototxt --weights snapshots/cifar10_bn_iter_5000.caffemodel
  caffelite train -solver models/lenet_solver.prototxt

"caffelite COMMAND --help" or "caffelite help COMMAND" tells more of each; "caffelite --version" is the version.
Caffe's own spellings of options (-solver x, --solver=x, -noshuffle) work everywhere.
"""


class _NotUnderstood(Error):
    """The command line is none that can be understood."""


class _ArgumentParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _NotUnderstood(f'{message}; "{self.prog} --help" lists what can be given')


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments after the program's name; by default those of this process.

    Returns
    -------
    int
        The exit code: 0; 1 for an error, which one line on standard error tells, and where that or standard output
        could not be written; 2 for a command line that cannot be understood; 130 where the user ended it, 143 where
        SIGTERM did. What a script that is run raises is not caught.
    """
    with steady_streams() as lost, _plain_warnings(), ending_signals() as came:
        try:
            code: int | Callable[[], int] = _run(list(sys.argv[1:] if argv is None else argv))
            part()
        except BaseException as error:
            wait_turn()
            code = _failed(error, came)
            if code:
                take_along(code, bool(came))
    return code() if callable(code) else code or int(bool(lost))


def _failed(error: BaseException, came: Sequence[int]) -> int:
    """Tell why a command did not come to its end; return the exit code.

    Parameters
    ----------
    error : BaseException
        One that is not expected is raised again.
    came : sequence of int
        Signals that were to end it.
    """
    if came or isinstance(error, KeyboardInterrupt):
        text, code = ENDINGS[came[0] if came else signal.SIGINT]
        _fail(text)
        return code
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 0
    if isinstance(error, Error):
        code = _fail(error.message, error.table)
        return 2 if isinstance(error, _NotUnderstood) else code
    if isinstance(error, OSError):
        return _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    if isinstance(error, MemoryError):
        return _fail("there is not enough memory; a smaller batch_size needs less")
    raise error


def _run(argv: list[str]) -> int | Callable[[], int]:
    """Run a command; return its exit code, or what is still to be run when the process is Python's own again."""
    argv = _help_last(argv)
    if not argv or argv[0] in _HELP:
        width = max(map(len, COMMANDS))
        groups = [f"{title}:\n{_listed(commands, width)}" for title, commands in GROUPS.items()]
        print(_OVERVIEW.format(commands="\n\n".join(groups)), end="")
        return 0 if argv else 2
    if argv[0] in ("-V", "--version", "-version"):
        print(f"caffelite {__version__}")
        return 0
    name = _chosen(argv, COMMANDS, 'command "')
    if name in _TOGETHER and launched():
        joining()  # the others wait for this one from here on, whatever becomes of it
    command = import_module(f"caffelite.cli.{name}")
    prog = f"caffelite {name}"
    first = next(iter(_help_last(argv)), "")
    # One with a "run" of its own takes what is none of its commands.
    if hasattr(command, "COMMANDS") and (first in command.COMMANDS or not hasattr(command, "run")):
        argv = _help_last(argv)
        if not argv or argv[0] in _HELP:
            told = [
                f"usage: {prog} COMMAND …",
                command.__doc__,
                _listed(command.COMMANDS, max(map(len, command.COMMANDS))),
                command.EXAMPLES.rstrip(),
            ]
            print("\n\n".join(told))
            return 0 if argv else 2
        inner = _chosen(argv, command.COMMANDS, f'command "{name} ')
        command = import_module(f"caffelite.cli.{name}_{inner}")
        prog = f"{prog} {inner}"
    parser = _ArgumentParser(
        prog=prog,
        description=command.__doc__,
        epilog=command.EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_arguments(parser)
    own = command.own_words(argv) if hasattr(command, "own_words") else len(argv)
    arguments = _parse(parser, gflags(argv[:own]))
    arguments.command_line = [*prog.split()[1:], *argv]
    if argv[own:]:
        arguments.arguments = argv[own:]
    code: int | Callable[[], int] = command.run(arguments)
    return code


def _help_last(argv: list[str]) -> list[str]:
    """Return ``train --help`` for ``help train``."""
    return [*argv[1:], "--help"] if argv and argv[0] in _HELP and argv[1:] else argv


def _chosen(argv: list[str], commands: Mapping[str, str], what: str) -> str:
    """Take the name of a command out of the arguments; end the program where it is none."""
    # gflags takes options before the command too.
    at = next((i for i, word in enumerate(argv) if word in commands), 0) if argv[0].startswith("-") else 0
    name = argv.pop(at)
    if name.replace("-", "_") not in commands:
        hint = did_you_mean(name, commands, f"there are {', '.join(commands)}")
        raise _NotUnderstood(f'there is no {what}{name}"{hint}')
    return name.replace("-", "_")


def _parse(parser: argparse.ArgumentParser, argv: list[str]) -> argparse.Namespace:
    arguments, rest = parser.parse_known_intermixed_args(_switched(parser, argv))
    if rest:
        options = re.findall(r"--[a-z0-9-]+", parser.format_usage())
        hint = did_you_mean(rest[0].split("=")[0], options, write=str)
        parser.error(f"{rest[0]} is not known to {parser.prog}{hint}")
    return arguments


def _switched(parser: argparse.ArgumentParser, argv: Sequence[str]) -> list[str]:
    """Return arguments with the switches that are on, from gflags' ``--noshuffle`` and ``--gray=true``."""
    switches = set(re.findall(r"\[--([a-z-]+)\]", parser.format_usage()))
    words: list[str] = []
    for word in argv:
        option, _, value = word.removeprefix("--").partition("=")
        name = option if option in switches else option.removeprefix("no")
        if not word.startswith("--") or name not in switches or (value and value.lower() not in _ON + _OFF):
            words.append(word)
            continue
        words = [before for before in words if before != f"--{name}"]
        if name == option and value.lower() not in _OFF:
            words.append(f"--{name}")
    return words


def gflags(argv: Sequence[str]) -> list[str]:
    """Return arguments with options as argparse has them, from those as Caffe has them: ``-solver x``.

    Parameters
    ----------
    argv : sequence of str

    Returns
    -------
    list of str
        Every option of more than one letter begins with two dashes and has dashes in it, not underscores.
    """
    words = []
    for word in argv:
        option = re.fullmatch(r"--?([A-Za-z][A-Za-z0-9_-]+)(=.*)?", word, re.DOTALL)
        words.append(f"--{option[1].replace('_', '-')}{option[2] or ''}" if option else word)
    return words


def _listed(commands: Mapping[str, str], width: int) -> str:
    return "\n".join(f"  {name:<{width}}  {text}" for name, text in commands.items())


def _fail(text: str, table: str = "") -> int:
    print(f"caffelite: {' '.join(text.split())}", file=sys.stderr)
    if table:
        print(table, file=sys.stderr)
    return 1


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Print warnings as one line each, without the place in the program that gave them."""

    def show(message: Any, *_: Any, **__: Any) -> None:
        if is_quiet():
            return
        print(f"caffelite: warning: {' '.join(str(message).split())}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
