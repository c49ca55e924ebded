"""What several commands do: find the net and its data, say what takes a moment."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from caffelite.errors import Error, SolverError


def say(text: str) -> None:
    """Write a line for the user, apart from the output."""
    print(f"caffelite: {text}", file=sys.stderr, flush=True)


def add_file(parser: argparse.ArgumentParser, flags: tuple[str, ...], text: str) -> None:
    """Let a command take its file by position or by one of Caffe's flags."""
    parser.add_argument("file", nargs="?", help=text)
    for flag in flags:
        parser.add_argument(flag, dest=f"file_{flag.strip('-')}", metavar="FILE", help=argparse.SUPPRESS)
    parser.add_argument("--gpu", help=argparse.SUPPRESS)
    parser.add_argument("--level", type=int, default=0, help="level of the net state (0)")
    parser.add_argument("--stage", default="", help="stages of the net state, with commas between")


def file_of(options: argparse.Namespace) -> Path:
    """Return the file that was given, in whichever way."""
    given = [options.file, *[v for k, v in vars(options).items() if k.startswith("file_")]]
    found = [value for value in given if value]
    if len(found) != 1:
        raise Error("name one prototxt file" if found else "which file? Name a prototxt (see --help)")
    if options.gpu:
        say("there is no GPU mode; this runs on the CPU")
    return Path(found[0])


def stages_of(options: argparse.Namespace) -> list[str]:
    """Return the stages that were given."""
    return [stage for stage in options.stage.split(",") if stage]


def net_of(path: Path) -> Any:
    """Return the net that a net or a solver file names."""
    from caffelite.schema.text import is_net, read_net, read_solver
    from caffelite.solvers.settings import Settings

    if is_net(path):
        return read_net(path)
    settings = Settings(read_solver(path))
    return settings.train_net()[0]


def prepare_data(message: Any, originals: str | None = None) -> list[Any]:
    """Make the data sets that a net names and that are missing; return those that are used."""
    from caffelite.data.datasets import dataset_of, origin_of, prepare

    needed: dict[tuple[str, Path], list[Path]] = {}
    for layer in message.layer:
        paths = [layer.data_param.source] if layer.type == "Data" else []
        paths += [layer.transform_param.mean_file] if layer.transform_param.HasField("mean_file") else []
        for path in paths:
            name = dataset_of(path)
            if name is not None:
                needed.setdefault((name, Path(path).parent), []).append(Path(path))
    used = []
    for (name, folder), paths in needed.items():
        if originals is not None or not all(path.exists() for path in paths):
            used.append(prepare(name, folder, Path(originals) if originals else None, say))
        elif (present := origin_of(folder, name)) is not None:
            say(f"{name}: using {folder}/{name}_*{', ' + present.origin if present.origin else ''}")
            used.append(present)
    return used


def say_notices(used: list[Any]) -> None:
    """Say at the end what has to be known of the data that was used."""
    for prepared in used:
        if prepared.notice:
            say(prepared.notice)


@contextmanager
def compiling() -> Iterator[None]:
    """Say while kernels are compiled that they are, and how many there have been."""
    from tqdm import tqdm

    from caffelite.kernels import launch

    bar: Any = None

    def compiled(name: str) -> None:
        nonlocal bar
        if bar is None:
            if not sys.stderr.isatty():
                say("compiling kernels; they are kept for the next time")
            bar = tqdm(desc="compiling kernels, which are kept", unit="", leave=False, disable=not sys.stderr.isatty())
        bar.update()

    launch.on_compile = compiled
    try:
        yield
    finally:
        launch.on_compile = None
        if bar is not None:
            bar.close()


def folder_for(prefix: str) -> None:
    """Make the folder that snapshots go to."""
    try:
        Path(prefix).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SolverError(f"{Path(prefix).parent}: the folder for snapshots cannot be made: {error.strerror}") from None
