"""The nets of a command line, and the example data sets made ready before such a net is built."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from caffelite.cli.terminal import say, status
from caffelite.datasets.prepare import Prepared, dataset_of, origin_of, prepare
from caffelite.errors import SolverError
from caffelite.net.graph import included
from caffelite.schema.documents import NetDocument, SolverDocument
from caffelite.solvers.settings import Settings, default_solver, load_solver
from caffelite.solvers.sources import NetSource, PrototxtFiles, net_named_by
from caffelite.words import TEST, TRAIN


def nets_of(
    path: Path, phase: int, level: int = 0, stages: Sequence[str] = (), files: PrototxtFiles | None = None
) -> list[NetSource]:
    """Return the net in a file; for a solver, those that it tests (TEST), else the one that it trains.

    Parameters
    ----------
    path : Path
        A prototxt.
    phase : int
    level : int, optional
    stages : sequence of str, optional
        These are for nets, and are added to what a solver says.
    files : PrototxtFiles, optional
        What has been read already, and is not read again.

    Raises
    ------
    SchemaError, SolverError
    """
    files = files or PrototxtFiles()
    document = files.read(path)
    if isinstance(document, NetDocument):
        return [_given(document, phase, level, stages)]
    settings = Settings(load_solver(document), files)
    tested = settings.test_nets() if phase == TEST else []
    return [_in_state(net, level, stages)._replace(phase=phase) for net in tested or [settings.train_net()]]


def nets_and_solver(
    file: Path, level: int = 0, stages: Sequence[str] = ()
) -> tuple[NetSource, list[NetSource], SolverDocument | None]:
    """Return the net that a file trains, those that it tests, and the solver: this file, or the one beside a net.

    Parameters
    ----------
    file : Path
        A prototxt.
    level : int, optional
    stages : sequence of str, optional
        As for :func:`nets_of`.

    Returns
    -------
    train : NetSource
    tests : list of NetSource
        Empty where there is no solver, or it tests nothing.
    solver : SolverDocument or None

    Raises
    ------
    SchemaError, SolverError
    """
    files = PrototxtFiles()
    document = files.read(file)
    if isinstance(document, NetDocument):
        solver = solver_beside(file)
        if solver is None:
            return _given(document, TRAIN, level, stages), [], None
    else:
        solver = load_solver(document)
    settings = Settings(solver, files)
    nets = [settings.train_net(), *settings.test_nets()]
    train, *tests = (_in_state(net, level, stages) for net in nets)
    return train, tests, solver


def _given(net: NetDocument, phase: int, level: int, stages: Sequence[str]) -> NetSource:
    """Return a net that was given by itself, in the state that was given with it."""
    return NetSource(net, level, tuple(stages), phase, f"net file: {net.filename}")


def _in_state(net: NetSource, level: int, stages: Sequence[str]) -> NetSource:
    """Return a net that a solver names, with what the command line adds to the solver's state."""
    return net._replace(level=max(net.level, level), stages=(*net.stages, *stages))


def solver_beside(file: Path) -> SolverDocument | None:
    """Return the solver beside a net: ``NET_solver.prototxt``, or by the names that Caffe's examples have.

    One that names another net is not this net's: Caffe's ``lenet_solver.prototxt`` beside ``lenet.prototxt``, which is
    deployed, trains ``lenet_train_test.prototxt``. Names are compared without their folders, because Caffe's files
    name theirs from the folder that Caffe is started in. Its ``net`` is then this file, wherever that is.
    """
    solver = _solver_that_names(file)
    if solver is not None and solver.message.HasField("net"):
        solver.message.net = str(file)
    return solver


def _solver_that_names(file: Path) -> SolverDocument | None:
    own = own_solver(file)
    if own.is_file():
        document = load_solver(own)
        other = net_named_by(document)
        return document if other is None or other.name == file.name else None
    # lenet_train_test.prototxt and lenet_solver.prototxt; train_val.prototxt and solver.prototxt.
    base = re.sub(r"_?(train_test|train_val|train)$", "", file.stem)
    other = file.with_name(f"{base}_solver.prototxt" if base else "solver.prototxt")
    if base != file.stem and other.is_file():
        document = load_solver(other)
        if Path(document.message.net).name == file.name:
            return document
    return None


def own_solver(file: Path) -> Path:
    """Return the file of a solver that is named after a net."""
    return file.with_name(f"{file.stem}_solver.prototxt")


def prepare_data(nets: Iterable[NetSource], originals: Path | None, say: Callable[[str], None]) -> list[Prepared]:
    """Make what is missing of the example data sets that nets name, and tell which data is used.

    Parameters
    ----------
    nets : iterable of NetSource
    originals : Path, optional
        A folder with the original files.
    say : callable
        Takes lines for the user.

    Returns
    -------
    list of Prepared
        The example data sets that these nets use; empty for nets with data of their own.

    Raises
    ------
    DataError
    """
    files: dict[tuple[str, Path], list[Path]] = {}
    for path in dict.fromkeys(path for net in nets for path in _paths(net)):
        name = dataset_of(path)
        if name is not None:
            files.setdefault((name, path.parent), []).append(path)
    prepared = []
    for (name, folder), paths in files.items():
        present = origin_of(folder, name)
        # A database of one's own may have such a name, without the rest of the set beside it.
        if present is None and originals is None and all(path.exists() for path in paths):
            continue
        from_these = present is not None and originals is not None and str(originals) in present.origin
        with status(f"getting {name} ready"):
            prepared.append(prepare(name, folder, None if from_these else originals, say))
    return prepared


def _paths(net: NetSource) -> Iterator[Path]:
    """Yield the databases that a net reads, and their mean files."""
    for i, param in enumerate(net.document.message.layer):
        place = partial(net.document.place, i)
        if param.data_param.source and included(param, net.phase, net.level, net.stages, place):
            yield Path(param.data_param.source)
            if param.transform_param.mean_file:
                yield Path(param.transform_param.mean_file)


def solver_for(file: Path, files: PrototxtFiles) -> SolverDocument:
    """Return the solver in a file; for a net, its sibling's, else the default, and tell which it is.

    Parameters
    ----------
    file : Path
    files : PrototxtFiles
        Has read the file afterwards.

    Raises
    ------
    SchemaError
        A file cannot be read.
    SolverError
        The solver that is named after the net trains another one.
    """
    given = files.read(file)
    if not isinstance(given, NetDocument):
        return given
    document = solver_beside(file)
    if document is not None:
        say(f"training {file} with {document.filename}")
        return document
    if own_solver(file).is_file():
        raise _other_net(file)
    document = default_solver(given)
    p = document.message
    rates = ", ".join(str(value) for value in p.stepvalue)
    say(
        f"training {file} with default settings, as there is no {file.stem}_solver.prototxt beside it: "
        f"{p.type}, momentum {p.momentum:g}, learning rate {p.base_lr:g} times {p.gamma:g} at {rates} and an "
        f"end at {p.max_iter}"
    )
    return document


def _other_net(file: Path) -> SolverError:
    """Return the error for a net whose own solver trains another one."""
    own = own_solver(file)
    solver = load_solver(own)
    field = "net" if solver.message.net else "train_net"
    train = net_named_by(solver)
    return SolverError(
        f"{solver.setting(field)}: this solver trains {train}, not {file}; train {train} or {own}, or "
        f"name {file.name} there"
    )


def notices_of(prepared: Iterable[Prepared]) -> list[str]:
    """Return what is to be said, at the end, of data sets that were made ready."""
    return [data.notice for data in prepared if data.notice]
