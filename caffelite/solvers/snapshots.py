"""Snapshots: the state of a solver, in files that Caffe reads too.

What Caffe's file lacks for a run to go on bit for bit (positions in the data, states of random numbers, the
window that the loss is averaged over) lies in a field that Caffe ignores; and so does what tells whether it does:
digests (SHA-256) of the weights and of the state itself, and the layers of the net, with their types and shapes.
"""

import hashlib
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
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
from caffelite.words import quoted, text_of

#: Kinds of arrays that a state may hold.
_DTYPES = ("float32", "float64", "int64", "int32", "uint8", "uint32", "uint64", "bool")
#: What the run itself has in ``extra``, beside the nets.
_TYPE, _LOSSES, _WEIGHTS, _NET = "solver/type", "solver/losses", "solver/weights", "solver/net"
#: Under which the files have the digest of all else in them.
_DIGEST = "solver/digest"
#: Bytes that are read at once for a digest.
_PIECE = 1 << 20


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

    @property
    def rule(self) -> str:
        """The type of the solver; empty where the file does not say it."""
        return self._bytes(_TYPE).decode(errors="replace")

    @property
    def weights_digest(self) -> bytes:
        """That of the weights file, see :func:`file_digest`; empty where the file does not say it."""
        return self._bytes(_WEIGHTS)

    def net(self, path: str | Path) -> messages.NetParameter | None:
        """Return the net as :func:`described` has it, None where the file does not say it.

        Raises
        ------
        WeightsError
            What the file says of it is damaged.
        """
        if _NET not in self.extra:
            return None
        try:
            return messages.NetParameter.FromString(self._bytes(_NET))
        except DecodeError:
            raise WeightsError(f"{path}: what it says of its net is damaged") from None

    def digest(self) -> bytes:
        """Return the digest of all that is in the state, the same for both forms of file."""
        whole = hashlib.sha256(repr((self.iteration, self.current_step, self.learned_net)).encode())
        # HDF5 gives names back in another order.
        named = sorted(self.extra.items(), key=lambda item: item[0])
        for name, array in [*(("", array) for array in self.history), *named]:
            whole.update(repr((name, array.dtype.name, array.shape)).encode())
            whole.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        return whole.digest()

    def _bytes(self, key: str) -> bytes:
        return self.extra.get(key, np.zeros(0, np.uint8)).tobytes()


def file_digest(path: str | Path) -> bytes:
    """Return the SHA-256 of what is in a file; raise WeightsError where it cannot be read."""
    whole = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while piece := file.read(_PIECE):
                whole.update(piece)
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror}") from None
    return whole.digest()


def described(net: Net) -> messages.NetParameter:
    """Return name and type of each layer of a net, the shapes of its blobs, and the names they are shared under."""
    message = messages.NetParameter(name=net.name)
    shared = {name: own.share_name for own in net.learnable for name in own.names}
    for layer in net.layers:
        one = message.layer.add(name=layer.name, type=layer.param.type)
        for j, blob in enumerate(layer.blobs):
            one.blobs.add().shape.dim.extend(blob.shape)
            one.param.add(name=shared.get(f"{layer.name}/{j}", ""))
    return message


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


def load_extra(extra: Mapping[str, np.ndarray], nets: Mapping[str, Net], skip_mismatch: bool) -> list[float]:
    """Bring nets to where they were; return the losses of the last iterations. See :func:`extra_of`.

    Where ``skip_mismatch``, arrays of another shape than the net's are left as they are, instead of a WeightsError.
    """
    for kind, net in nets.items():
        start = f"{kind}/"
        saved = {key.removeprefix(start): array for key, array in extra.items() if key.startswith(start)}
        if skip_mismatch:
            own = net.state()
            saved = {key: array for key, array in saved.items() if key in own and own[key].shape == array.shape}
        net.load_state(saved)
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


def joined(state: State, net: Net, model: str) -> State:
    """Return a state that says to which net and to which weights file, as that is now, it belongs."""
    weights = np.frombuffer(file_digest(model), np.uint8)
    layers = np.frombuffer(described(net).SerializeToString(), np.uint8)
    return replace(state, learned_net=model, extra={**state.extra, _WEIGHTS: weights, _NET: layers})


def write_state(path: str | Path, state: State) -> None:
    """Write a ``.solverstate`` (or, where the name ends in ``.h5``, HDF5), whole or not at all."""
    extra = {**state.extra, _DIGEST: np.frombuffer(state.digest(), np.uint8)}
    if str(path).endswith(".h5"):
        facts = {
            "iter": state.iteration,
            "current_step": state.current_step,
            "learned_net": state.learned_net,
        }
        write_hdf5_state(path, facts, state.history, extra)
        return
    message = messages.SolverState(iter=state.iteration, current_step=state.current_step, learned_net=state.learned_net)
    for array in state.history:
        array_to_blob(array, message.history.add())
    for name, array in extra.items():
        message.caffelite_state.entry.add(name=name, dtype=array.dtype.name, shape=array.shape, data=array.tobytes())
    with atomic_write(path) as temporary:
        temporary.write_bytes(message.SerializeToString())


def read_state(path: str | Path) -> State:
    """Read a solver state, of caffelite or of Caffe.

    Raises
    ------
    WeightsError
        It is missing, cut off, damaged, or something else (weights, for instance).
    MissingExtraError
        An HDF5 file, and h5py is not installed.
    """
    file = Path(path)
    if ".caffemodel" in file.name:
        raise _weights_given(path)
    try:
        if is_hdf5(file):
            facts, history, extra = read_hdf5_state(file)
            return _undamaged(State(facts["iter"], facts["current_step"], facts["learned_net"], history, extra), path)
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
    own = {_text(entry.name): _array(entry, path) for entry in message.caffelite_state.entry}
    return _undamaged(State(message.iter, message.current_step, _text(message.learned_net), history, own), path)


def _text(value: str | bytes) -> str:
    """Return a text of a message: protobuf gives bytes where it is not UTF-8."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _undamaged(state: State, path: str | Path) -> State:
    """Return a state without the digest in its file; a file of Caffe, or of an older caffelite, has none."""
    digest = state.extra.pop(_DIGEST, None)
    if digest is not None and digest.tobytes() != state.digest():
        raise WeightsError(f"{path}: it is damaged: its digest is not that of what is in it")
    return state


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
