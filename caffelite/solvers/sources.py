"""The nets that a solver names: one to train, any number to test, each in a state (phase, level, stages)."""

import difflib
import re
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from caffelite.errors import SchemaError, SolverError
from caffelite.net import Net
from caffelite.schema import messages
from caffelite.schema.text import Document, NetDocument, Path_, read_net, read_solver
from caffelite.schema.upgrade import upgrade_net
from caffelite.words import TEST, TRAIN, quoted

_TRAIN_FIELDS = ("net", "net_param", "train_net", "train_net_param")


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


def source_to_train(document: Document) -> NetSource:
    """Return the net to train.

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
    net, described = _read(document, given[0], 0)
    return _source(net, described, TRAIN, solver.train_state)


def sources_to_test(document: Document) -> list[NetSource]:
    """Return the nets to test, in Caffe's order: ``test_net_param``, ``test_net``, then ``net`` or
    ``net_param``.

    Each takes one ``test_iter``; the ones left over are for the net that is both trained and tested.

    Raises
    ------
    SolverError
        The numbers of ``test_iter``, ``test_state`` and nets do not agree, or ``test_interval`` is missing.
    SchemaError
        A net cannot be read.
    """
    solver = document.message
    wanted = [("test_net_param", j) for j in range(len(solver.test_net_param))]
    wanted += [("test_net", j) for j in range(len(solver.test_net))]
    both = next((name for name in ("net_param", "net") if solver.HasField(name)), None)
    counts = len(solver.test_iter)
    if counts < len(wanted) or (both is None and counts != len(wanted)):
        _fail(
            document,
            "test_iter" if counts else wanted[0][0],
            f"test_iter is given {counts} times for {len(wanted)} test nets; each takes one",
        )
    if both is not None:
        wanted += [(both, 0)] * (counts - len(wanted))
    states = list(solver.test_state)
    if states and len(states) != len(wanted):
        _fail(
            document,
            "test_state",
            f"test_state is given {len(states)} times for {len(wanted)} test nets; leave it out or give one for each",
        )
    if wanted and solver.test_interval <= 0:
        _fail(document, "test_iter", "test_iter is given without test_interval, which says how often to test")
    sources = []
    for i, (field, j) in enumerate(wanted):
        net, described = _read(document, field, j)
        sources.append(_source(net, described, TEST, states[i] if states else None))
    return sources


def net_named_by(solver: Document) -> Path | None:
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


def _source(net: NetDocument, described: str, phase: int, solver_state: Any) -> NetSource:
    # What the solver says of the state goes before what the net says, and that before the phase.
    state = messages.NetState(phase=phase)
    state.MergeFrom(net.message.state)
    if solver_state is not None:
        state.MergeFrom(solver_state)
    return NetSource(net, state.level, tuple(state.stage), state.phase, described)


def _read(document: Document, field: str, index: int) -> tuple[NetDocument, str]:
    value = getattr(document.message, field)
    if field.startswith("test_"):
        value = value[index]
    if field.endswith("_param"):
        return upgrade_net(_inner(document, value, (field, index))), field
    return read_net(_find(document, value, field, index)), f"{field} file: {value}"


def _inner(document: Document, message: Any, path: Path_) -> Document:
    """Return a net written inside a solver as a document that knows its places."""
    copy = messages.NetParameter()
    copy.CopyFrom(message)
    size = len(path)
    places = {p[size:]: place for p, place in document.places.items() if p[:size] == path}
    unknown = {p[size:]: texts for p, texts in document.unknown.items() if p[:size] == path}
    return Document(copy, document.filename, places, unknown)


def _find(document: Document, name: str, field: str, index: int) -> Path:
    """Return the file of a net: from the current folder, as in Caffe, else from the solver's."""
    folder = Path(document.filename).parent
    for path in (Path(name), folder / name):
        if path.is_file():
            return path
    where = "" if folder == Path() else f" or in {folder}"
    files = [path for start in dict.fromkeys((Path(name).parent, (folder / name).parent)) for path in _files(start)]
    near = difflib.get_close_matches(Path(name).name, [path.name for path in files], n=1)
    hint = next((f"; did you mean {quoted(str(path))}?" for path in files if near and path.name == near[0]), "")
    raise SolverError(
        f"{document.setting(field, index)}: {field} {quoted(name)}: there is no such file in the current "
        f"folder{where}{hint}"
    )


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return []


def _fail(document: Document, field: str, text: str) -> NoReturn:
    raise SolverError(f"{document.setting(field)}: {text}")
