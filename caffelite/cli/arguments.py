"""Arguments that several commands take."""

import argparse
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caffelite.cli.terminal import say
from caffelite.errors import Error
from caffelite.words import Shape

if TYPE_CHECKING:
    from caffelite.gpu.choice import Gpu
    from caffelite.parallel.jobs import Team


#: The options of :func:`add_state` and :func:`add_python`: which layers a net has, and how it is read.
OF_NETS = ("--level", "--stage", "--allow-python")


class UsageError(Error):
    """Arguments that do not go together."""


def add_state(parser: argparse.ArgumentParser) -> None:
    """Add what decides, with the phase, which layers are in the net."""
    parser.add_argument("--level", type=int, default=0, metavar="N", help="level that include rules are held against")
    parser.add_argument(
        "--stage", type=names, default=[], metavar="A,B", help="stages that include rules are held against"
    )


def refuse_options(arguments: argparse.Namespace, options: Sequence[str], reason: str) -> None:
    """Raise UsageError where one of these options is given, all of which are empty, 0 or false where they are not.

    Parameters
    ----------
    arguments : Namespace
    options : sequence of str
        As they are on the command line: ``--allow-python``.
    reason : str
        Why they do not apply; follows the option in the sentence.
    """
    for option in options:
        if getattr(arguments, option.removeprefix("--").replace("-", "_")):
            raise UsageError(f"{option} {reason}")


class _ChooseGpu(argparse.Action):
    """Takes one GPU of those that Caffe's option names, and says why not the others."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, *given: Any) -> None:
        text = given[0]
        try:
            numbers = gpu_numbers(text)
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentError(self, str(error)) from None
        first = numbers[0] if numbers else 0
        if len(numbers) != 1:
            warnings.warn(f"--gpu {text}: one process uses one GPU, so it runs on GPU {first} alone", stacklevel=2)
        setattr(namespace, self.dest, first)


def add_gpu(parser: argparse.ArgumentParser) -> None:
    """Add Caffe's option for GPUs."""
    parser.add_argument(
        "--gpu",
        action=_ChooseGpu,
        metavar="ID",
        help="number of a GPU, which BatchNorm layers run on (of several: the first; of all: 0)",
    )


class _ChooseThreads(argparse.Action):
    """Sets the number of threads where the command line is read, so that no command can forget to."""

    def __call__(self, *given: Any) -> None:
        # Commands that run no net need not wait for what nets are made of.
        from caffelite.net import machine

        text = given[2]
        try:
            machine.choose_threads(int(text) if text.isdecimal() else text, "--threads")
        except ValueError as error:
            raise argparse.ArgumentError(self, str(error)) from None


def add_input(parser: argparse.ArgumentParser, *other_names: str) -> None:
    """Add shapes of blobs, for a net that is looked at without its data."""
    parser.add_argument(
        "--input",
        *other_names,
        type=blob_shape,
        action="append",
        default=[],
        metavar="BLOB=N,C,H,W",
        help="shape of a blob, instead of that of the data, which is not looked at then; can be given again",
    )


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Add the number of threads."""
    parser.add_argument(
        "--threads",
        action=_ChooseThreads,
        metavar="N",
        help="number of threads (the cores that there are to use, or what NUMBA_NUM_THREADS or OMP_NUM_THREADS says)",
    )


def add_running(parser: argparse.ArgumentParser) -> None:
    """Add what says how the nets of a file are run: data, state, threads, code of theirs."""
    add_data(parser)
    add_state(parser)
    add_threads(parser)
    add_python(parser)


def add_jobs(parser: argparse.ArgumentParser, described: str) -> None:
    """Add how many tasks go on side by side, in processes of this machine."""
    parser.add_argument("--jobs", type=whole, metavar="N", help=described)


def add_python(parser: argparse.ArgumentParser) -> None:
    """Add the permission to run code that a net names."""
    parser.add_argument("--allow-python", action="store_true", help="let Python layers run the code that the net names")


def add_output_root(parser: argparse.ArgumentParser) -> None:
    """Add where files go whose names stand in a net."""
    parser.add_argument(
        "--output-root",
        type=Path,
        default=".",
        metavar="DIR",
        help="folder that HDF5Output layers write to, and to nothing outside it (the current one)",
    )


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add where the originals of the example data sets are."""
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="folder with the original files of CIFAR-10 or MNIST, to make missing data from",
    )


def add_transfer(parser: argparse.ArgumentParser) -> None:
    """Add how weights go to layers that are not those of the file."""
    parser.add_argument(
        "--map",
        type=old_and_new,
        action="append",
        default=[],
        metavar="OLD:NEW",
        help="the weights of layer OLD of the file go to layer NEW of the net; can be given again",
    )
    parser.add_argument(
        "--skip-mismatch", action="store_true", help="leave layers as they are whose shapes the file has otherwise"
    )


def transfer_options(arguments: argparse.Namespace, files: Sequence[str]) -> dict[str, Any]:
    """Return the keywords of ``Net.copy_from`` that :func:`add_transfer` asks for.

    Parameters
    ----------
    arguments : Namespace
    files : sequence of str
        The weights.

    Raises
    ------
    UsageError
        There is not one file whose layers ``--map`` can mean, or none that ``--skip-mismatch`` can, or a layer of it
        goes to two.
    """
    if arguments.map and len(files) != 1:
        raise UsageError(f"--map is for the layers of one weights file, --weights has {len(files) or 'none'}")
    if arguments.skip_mismatch and not files:
        raise UsageError("--skip-mismatch is for weights, give them with --weights")
    layer_map = dict(arguments.map)
    for old, new in arguments.map:
        if layer_map[old] != new:
            raise UsageError(f'--map sends the layer "{old}" to two layers, "{new}" and "{layer_map[old]}"')
    return {"layer_map": layer_map, "skip_mismatch": arguments.skip_mismatch}


def old_and_new(text: str) -> tuple[str, str]:
    """Return the two names of ``OLD:NEW``."""
    old, colon, new = text.partition(":")
    if not (old and new) or ":" in new:
        raise argparse.ArgumentTypeError(f'"{text}" is not OLD:NEW, two names of layers with a colon between')
    return old, new


def blob_shape(text: str) -> tuple[str, Shape]:
    """Return the name and the shape of ``data=1,3,32,32``, or ``data:1,3,32,32``."""
    name, equals, dims = text.partition("=" if "=" in text else ":")
    sizes = dims.split(",")
    if not (name and equals) or not all(size.strip().isdecimal() and int(size) > 0 for size in sizes):
        raise argparse.ArgumentTypeError(f'"{text}" is not BLOB=N,C,H,W, the name of a blob and its sizes, 1 or more')
    return name, tuple(map(int, sizes))


def names(text: str) -> list[str]:
    """Return the names in a list with commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def gpu_numbers(text: str) -> list[int]:
    """Return the numbers of the GPUs that Caffe's option names; none for ``all``."""
    if text.strip() == "all":
        return []
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f'"{text}" is no number of a GPU; they begin with 0')
    return [int(part) for part in parts]


def whole(text: str) -> int:
    """Return a positive whole number."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not 1 or more")
    return value


def the_file(given: Sequence[str | None], described: str) -> Path:
    """Return the one file that was given, as an argument or by one of Caffe's options.

    Parameters
    ----------
    given : sequence of str or None
        What each way of giving it has.
    described : str
        What it is, for the error.

    Raises
    ------
    UsageError
        None was given, or two.
    """
    files = [file for file in given if file]
    if len(files) != 1:
        raise UsageError(f"give {described}" if not files else f"give one file, {described}, not {' and '.join(files)}")
    return Path(files[0])


def the_team(ranks: "Team | None", jobs: int | None, tasks: int) -> "Team":
    """Return who works on tasks: the ranks that a launcher has started, else processes of this machine.

    Raises
    ------
    UsageError
        There are ranks, and ``--jobs`` is given beside them.
    """
    from caffelite.parallel.jobs import Processes

    if ranks is not None and jobs:
        raise UsageError("--jobs is for processes of this machine; under mpiexec, its -n says how many there are")
    return ranks or Processes(tasks, jobs)


def the_gpu(arguments: argparse.Namespace) -> "Gpu | None":
    """Return the GPU that was asked for; where it cannot be used, tell why.

    Raises
    ------
    GpuError
        There are GPUs, but none of this number.
    """
    if arguments.gpu is None:
        return None
    from caffelite.gpu.choice import gpu_or_reason

    gpu, reason = gpu_or_reason(arguments.gpu)
    if gpu is None:
        say(f"--gpu {arguments.gpu}: {reason}; it runs on the CPU")
    return gpu
