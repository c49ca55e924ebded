"""The nets that a solver names: one to train, any number to test, each in a state (phase, level, stages)."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from caffelite.errors import SchemaError, SolverError
from caffelite.net import Net
from caffelite.schema import messages
from caffelite.schema.documents import Document, NetDocument, SolverDocument
from caffelite.schema.places import FieldPath
from caffelite.schema.text import read_net, read_prototxt, read_solver
from caffelite.schema.upgrade import upgrade_net
from caffelite.words import TEST, TRAIN, did_you_mean, quoted

_TRAIN_FIELDS = ("net", "net_param", "train_net", "train_net_param")


class PrototxtFiles:
    """The files that a command reads, each of them once, however many nets are built of it."""

    def __init__(self) -> None:
        self._documents: dict[Path, NetDocument | SolverDocument] = {}

    def read(self, path: Path) -> NetDocument | SolverDocument:
        """Return the net or the solver in a file, see :func:`caffelite.schema.text.read_prototxt`."""
        place = path.resolve()
        if place not in self._documents:
            self._documents[place] = read_prototxt(path)
        return self._documents[place]

    def net(self, path: Path) -> NetDocument:
        """Return the net in a file that is named as one; raise SchemaError where it holds none."""
        place = path.resolve()
        document = self._documents.get(place)
        if not isinstance(document, NetDocument):
            document = self._documents[place] = read_net(path)
        # Errors name the file as it is written where it is asked for.
        return document if document.filename == str(path) else replace(document, filename=str(path))


class NetSource(NamedTuple):
    """A net that a solver names, and the state it is built in.

    Attributes
    ----------
    document : NetDocument
    level : int
    stages : tuple of str
    phase : int
    described : str
        The way it is named, as Caffe logs it: ``net file: a.prototxt``.
    """

    document: NetDocument
    level: int
    stages: tuple[str, ...]
    phase: int
    described: str

    def net(self, **options: Any) -> Net:
        """Return the net, built in its state, with what else :class:`~caffelite.net.Net` takes."""
        return Net(self.document, self.phase, level=self.level, stages=self.stages, **options)


def source_to_train(document: SolverDocument, files: PrototxtFiles | None = None) -> NetSource:
    """Return the net to train.

    Parameters
    ----------
    document : SolverDocument
        Of a SolverParameter.
    files : PrototxtFiles, optional
        What has been read already, and is not read again.

    Raises
    ------
    SolverError
        Not exactly one of ``net``, ``net_param``, ``train_net``, ``train_net_param`` is given.
    SchemaError
        The net cannot be read.
    """
    solver = document.message
    given = [name for name in _TRAIN_FIELDS if solver.HasField(name)]
    if not given:
        raise SolverError(f"{document.filename}: no net to train is named; give one of {', '.join(_TRAIN_FIELDS)}")
    if len(given) > 1:
        raise SolverError(
            f"{document.setting(given[1])}: {given[0]} and {given[1]} both name a net to train; give one of them"
        )
    net, described = _read(document, given[0], 0, files or PrototxtFiles())
    return _source(net, described, TRAIN, solver.train_state)


def sources_to_test(document: SolverDocument, files: PrototxtFiles | None = None) -> list[NetSource]:
    """Return the nets to test, in Caffe's order: ``test_net_param``, ``test_net``, then ``net`` or
    ``net_param``.

    Each takes one ``test_iter``; the ones left over are for the net that is both trained and tested.

    Parameters
    ----------
    document : SolverDocument
    files : PrototxtFiles, optional
        As for :func:`source_to_train`.

    Raises
    ------
    SolverError
        The numbers of ``test_iter``, ``test_state`` and nets do not agree, or ``test_interval`` is missing.
    SchemaError
        A net cannot be read.
    """
    solver = document.message
    named = [("test_net_param", j) for j in range(len(solver.test_net_param))]
    named += [("test_net", j) for j in range(len(solver.test_net))]
    both = next((name for name in ("net_param", "net") if solver.HasField(name)), None)
    counts = len(solver.test_iter)
    if counts < len(named) or (both is None and counts != len(named)):
        _fail(
            document,
            "test_iter" if counts else named[0][0],
            f"test_iter is given {counts} times for {len(named)} test nets; each takes one",
        )
    if both is not None:
        named += [(both, 0)] * (counts - len(named))
    states = list(solver.test_state)
    if states and len(states) != len(named):
        _fail(
            document,
            "test_state",
            f"test_state is given {len(states)} times for {len(named)} test nets; leave it out or give one for each",
        )
    if named and solver.test_interval <= 0:
        _fail(document, "test_iter", "test_iter is given without test_interval, which says how often to test")
    files = files or PrototxtFiles()
    sources = []
    for i, (field, j) in enumerate(named):
        net, described = _read(document, field, j, files)
        sources.append(_source(net, described, TEST, states[i] if states else None))
    return sources


def net_named_by(solver: SolverDocument) -> Path | None:
    """Return the file of the net that a solver trains, where it lies; None where the solver names no file.

    Caffe's files name theirs from the folder that Caffe is started in; started elsewhere, it may be beside the solver.
    """
    name = Path(solver.message.net or solver.message.train_net)
    folder = Path(solver.filename).parent
    places = (name, folder / name, folder / name.name)
    return next((path for path in places if path.is_file()), name) if name.name else None


def check_loss(net: Net) -> None:
    """Raise SolverError where no layer of a net is a loss; name the file beside it that is the one to train."""
    if any(version.loss_weight for node in net.graph.nodes for version in node.tops):
        return
    beside = _trained_beside(Path(net.document.filename))
    hint = "" if beside is None else f"; did you mean {beside}?"
    phase = "TEST" if net.phase == TEST else "TRAIN"
    raise SolverError(
        f"{net.document.filename}: no layer of the {phase} phase is a loss, so there is nothing to learn from{hint}"
    )


def _trained_beside(file: Path) -> Path | None:
    """Return what is trained in place of a net that is deployed, by the names that Caffe's examples have.

    For ``lenet.prototxt`` or ``lenet_deploy.prototxt`` that is what ``lenet_solver.prototxt`` names, or
    ``lenet_train_test.prototxt``; for ``deploy.prototxt``, what ``solver.prototxt`` names, or ``train_val.prototxt``.
    """
    if not file.is_file():
        return None  # a net made in Python
    base = re.sub(r"_?(deploy|test)$", "", file.stem)
    start = f"{base}_" if base else ""
    candidates = []
    for solver in dict.fromkeys((f"{start}solver", "solver")):
        try:
            candidates.append(net_named_by(read_solver(file.with_name(f"{solver}.prototxt"))))
        except (OSError, SchemaError):
            continue  # It is no solver, and the error is about the net.
    for prefix in dict.fromkeys((start, "")):
        candidates += [file.with_name(f"{prefix}{kind}.prototxt") for kind in ("train_test", "train_val", "train")]
    return next((path for path in candidates if path and path.is_file() and path.resolve() != file.resolve()), None)


def _source(net: NetDocument, described: str, phase: int, solver_state: messages.NetState | None) -> NetSource:
    # What the solver says of the state goes before what the net says, and that before the phase.
    state = messages.NetState(phase=phase)
    state.MergeFrom(net.message.state)
    if solver_state is not None:
        state.MergeFrom(solver_state)
    return NetSource(net, state.level, tuple(state.stage), state.phase, described)


def _read(document: SolverDocument, field: str, index: int, files: PrototxtFiles) -> tuple[NetDocument, str]:
    value = getattr(document.message, field)
    if field.startswith("test_"):
        value = value[index]
    if field.endswith("_param"):
        return upgrade_net(_inner(document, value, (field, index))), field
    return files.net(_find(document, value, field, index)), f"{field} file: {value}"


def _inner(
    document: SolverDocument, message: messages.NetParameter, path: FieldPath
) -> Document[messages.NetParameter]:
    """Return a net written inside a solver as a document that knows its places."""
    copy = messages.NetParameter()
    copy.CopyFrom(message)
    size = len(path)
    unknown = {p[size:]: texts for p, texts in document.unknown.items() if p[:size] == path}
    return Document(copy, document.filename, document.places.below(path), unknown)


def _find(document: SolverDocument, name: str, field: str, index: int) -> Path:
    """Return the file of a net: from the current folder, as in Caffe, else from the solver's."""
    folder = Path(document.filename).parent
    for path in (Path(name), folder / name):
        if path.is_file():
            return path
    where = "" if folder == Path() else f" or in {folder}"
    files = [path for start in dict.fromkeys((Path(name).parent, (folder / name).parent)) for path in _files(start)]
    # Of two files of one name, the one in the current folder.
    paths = {path.name: str(path) for path in reversed(files)}
    hint = did_you_mean(Path(name).name, paths, write=lambda near: quoted(paths[near]))
    raise SolverError(
        f"{document.setting(field, index)}: {field} {quoted(name)}: there is no such file in the current "
        f"folder{where}{hint}"
    )


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return []


def _fail(document: SolverDocument, field: str, text: str) -> NoReturn:
    raise SolverError(f"{document.setting(field)}: {text}")
