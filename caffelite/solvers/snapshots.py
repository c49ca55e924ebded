"""Snapshots: the state of a solver, in files that Caffe reads too.

What Caffe's file lacks for a run to go on bit for bit (positions in the data, states of random numbers, the
window that the loss is averaged over) lies in a field that Caffe ignores.
"""

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError

from caffelite.errors import SolverError, WeightsError
from caffelite.files import atomic_write
from caffelite.net import Net
from caffelite.schema import messages
from caffelite.schema.blobs import array_to_blob, blob_to_array
from caffelite.schema.documents import SolverDocument
from caffelite.schema.hdf5 import is_hdf5, read_hdf5_state, write_hdf5_state
from caffelite.schema.wire import BYTES, Wire
from caffelite.solvers.rules import RULES
from caffelite.words import quoted, text_of

#: Kinds of arrays that a state may hold.
_DTYPES = ("float32", "float64", "int64", "int32", "uint8", "uint32", "uint64", "bool")
#: What the run itself has in ``extra``, beside the nets.
_TYPE, _LOSSES = "solver/type", "solver/losses"


@dataclass(slots=True)
class State:
    """Where a run stands.

    Attributes
    ----------
    iteration, current_step : int
    learned_net : str
        The weights file that belongs to it.
    history : list of ndarray of float32
        What the update rule keeps: a blob a parameter, or two.
    extra : dict of str to ndarray
        What Caffe's file lacks; Caffe does not see it. Empty in a file that Caffe wrote.
    """

    iteration: int
    current_step: int
    learned_net: str
    history: list[np.ndarray]
    extra: dict[str, np.ndarray] = field(default_factory=dict)


def extra_of(nets: Mapping[str, Net], rule: str, losses: Iterable[float]) -> dict[str, np.ndarray]:
    """Return what Caffe's file lacks.

    Parameters
    ----------
    nets : mapping of str to Net
        ``train``, ``test0``, ``test1`` …
    rule : str
        The solver's type.
    losses : iterable of float
        Those that the loss that is shown is the mean of, the oldest first.
    """
    extra = {f"{kind}/{key}": array for kind, net in nets.items() for key, array in net.state().items()}
    extra[_TYPE] = np.frombuffer(rule.encode(), np.uint8)
    extra[_LOSSES] = np.array(list(losses), np.float64)
    return extra


def load_extra(extra: Mapping[str, np.ndarray], nets: Mapping[str, Net]) -> list[float]:
    """Bring nets to where they were; return the losses of the last iterations. See :func:`extra_of`."""
    for kind, net in nets.items():
        start = f"{kind}/"
        net.load_state({key.removeprefix(start): array for key, array in extra.items() if key.startswith(start)})
    losses: list[float] = extra.get(_LOSSES, np.zeros(0)).reshape(-1).tolist()
    return losses


def check_folder(document: SolverDocument) -> None:
    """Find out before training, not after it, that a snapshot cannot be written; raise SolverError then."""
    solver = document.message
    if not (solver.snapshot or solver.snapshot_after_train):
        return
    if not solver.snapshot_prefix:
        raise SolverError(
            f"{document.filename}: no snapshot_prefix says where the snapshot after training goes; give one, or "
            "snapshot_after_train: false"
        )
    folder = Path(solver.snapshot_prefix).absolute().parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise SolverError(
            f"{document.setting('snapshot_prefix')}: snapshot_prefix {quoted(solver.snapshot_prefix)}: {folder} cannot "
            "be written to"
        )


def write_state(path: str | Path, state: State) -> None:
    """Write a ``.solverstate`` (or, where the name ends in ``.h5``, HDF5), whole or not at all."""
    if str(path).endswith(".h5"):
        facts = {
            "iter": state.iteration,
            "current_step": state.current_step,
            "learned_net": state.learned_net,
        }
        write_hdf5_state(path, facts, state.history, state.extra)
        return
    message = messages.SolverState(iter=state.iteration, current_step=state.current_step, learned_net=state.learned_net)
    for array in state.history:
        array_to_blob(array, message.history.add())
    for name, array in state.extra.items():
        message.caffelite_state.entry.add(name=name, dtype=array.dtype.name, shape=array.shape, data=array.tobytes())
    with atomic_write(path) as temporary:
        temporary.write_bytes(message.SerializeToString())


def read_state(path: str | Path) -> State:
    """Read a solver state, of caffelite or of Caffe.

    Raises
    ------
    WeightsError
        It is missing, cut off, or something else (weights, for instance).
    MissingExtraError
        An HDF5 file, and h5py is not installed.
    """
    file = Path(path)
    if ".caffemodel" in file.name:
        raise _weights_given(path)
    try:
        if is_hdf5(file):
            facts, history, extra = read_hdf5_state(file)
            return State(facts["iter"], facts["current_step"], facts["learned_net"], history, extra)
        content = file.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror}") from None
    if _is_weights(content):
        raise _weights_given(path)
    message = messages.SolverState()
    try:
        message.ParseFromString(content)
    except DecodeError:
        raise WeightsError(f"{path}: not a solver state, or cut off") from None
    if not message.HasField("iter"):
        raise WeightsError(f"{path}: not a solver state: it has no iteration")
    history = [blob_to_array(blob, f"{path}: history {j}") for j, blob in enumerate(message.history)]
    own = {entry.name: _array(entry, path) for entry in message.caffelite_state.entry}
    return State(message.iter, message.current_step, message.learned_net, history, own)


def _weights_given(path: str | Path) -> WeightsError:
    return WeightsError(
        f"{path}: these are weights, not a solver state: start from them with --weights, "
        "or give the .solverstate beside them"
    )


def _is_weights(content: bytes) -> bool:
    """Whether bytes are a NetParameter.

    Its name is text where a state has a number, and its layers are field 100.
    """
    try:
        fields = Wire(memoryview(content), 0, len(content), "").fields()
        return any(kind == BYTES and number in (1, 100) for number, kind, _, _ in fields)
    except WeightsError:
        return False


def _array(entry: messages.CaffeliteState.Entry, path: str | Path) -> np.ndarray:
    what = f"{path}: state {quoted(entry.name)}"
    if entry.dtype not in _DTYPES:
        raise WeightsError(f"{what} is of a kind that is not known, {quoted(entry.dtype)}")
    dtype, shape = np.dtype(entry.dtype), tuple(entry.shape)
    if any(n < 0 for n in shape) or math.prod(shape) * dtype.itemsize != len(entry.data):
        raise WeightsError(f"{what}: its shape {text_of(shape)} does not hold the {len(entry.data)} bytes there are")
    return np.frombuffer(entry.data, dtype).reshape(shape).copy()


def find_model(state: State, path: str | Path) -> Path:
    """Return the weights file that belongs to a state: where the state says, else beside it.

    Raises
    ------
    WeightsError
        It names none, or it is in neither place.
    """
    if not state.learned_net:
        raise WeightsError(f"{path}: it does not say which weights belong to it")
    named = Path(state.learned_net)
    beside = Path(path).parent / named.name
    for file in (named, beside):
        if file.is_file():
            return file
    raise WeightsError(f"{path}: its weights {quoted(state.learned_net)} are missing, and there is no {beside} either")


def check_history(state: State, shapes: list[tuple[int, ...]], rule: str, path: str | Path) -> None:
    """Raise WeightsError where the history of a state does not fit a rule or a net.

    Parameters
    ----------
    state : State
    shapes : list of tuple of int
        Of the net's parameter blobs.
    rule : str
        The solver's type.
    path : path
        For messages.
    """
    written = bytes(state.extra.get(_TYPE, np.zeros(0, np.uint8))).decode(errors="replace")
    if written and written != rule:
        raise WeightsError(
            f"{path}: it was written by solver type {quoted(written)}, this solver is {quoted(rule)}; "
            "use that type, or start from the weights alone with --weights"
        )
    held, blobs, kept = len(state.history), len(shapes), RULES[rule].kept
    if held != kept * blobs:
        reason = f"the net has {blobs} parameter blobs, for which solver type {quoted(rule)} keeps {kept * blobs}"
        others = [name for name, other in RULES.items() if other.kept * blobs == held]
        if others:
            reason += f"; it was written by {', '.join(others[:-1])} or {others[-1]}"
        raise WeightsError(f"{path}: it has {held} history blobs, but {reason}")
    for j, array in enumerate(state.history):
        shape = shapes[j % blobs]
        if array.size != math.prod(shape) or _bare(array.shape) != _bare(shape):
            raise WeightsError(
                f"{path}: history blob {j} has shape {text_of(array.shape)}, but the parameter blob it "
                f"belongs to {text_of(shape)}; it was written for another net"
            )


def _bare(shape: tuple[int, ...]) -> list[int]:
    # Old files give every blob four axes.
    return [n for n in shape if n != 1]
