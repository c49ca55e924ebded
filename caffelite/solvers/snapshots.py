"""Snapshots: the state of a solver, in files that Caffe reads too."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError

from caffelite.errors import WeightsError
from caffelite.schema.blobs import array_to_blob, blob_to_array
from caffelite.schema.files import atomic_write
from caffelite.schema.hdf5 import is_hdf5, read_hdf5_state, write_hdf5_state
from caffelite.schema.messages import SolverState

#: Kinds of arrays that a state may hold.
_DTYPES = ("float32", "float64", "int64", "int32", "uint8")


@dataclass(slots=True)
class State:
    """Where a run stands.

    Attributes
    ----------
    iteration, current_step : int
    learned_net : str
        The weights file that belongs to it.
    history : list of ndarray of float32
        What the update rule keeps, a blob a parameter; for AdaDelta and Adam twice as many.
    extra : dict of str to ndarray
        What Caffe's file lacks; Caffe does not see it. Empty in a file that Caffe wrote.
    """

    iteration: int
    current_step: int
    learned_net: str
    history: list[np.ndarray]
    extra: dict[str, np.ndarray] = field(default_factory=dict)


def write_state(path: str | Path, state: State) -> None:
    """Write a ``.solverstate`` (or, where the name ends in ``.h5``, HDF5), whole or not at all."""
    if str(path).endswith(".h5"):
        facts = {"iter": state.iteration, "current_step": state.current_step, "learned_net": state.learned_net}
        write_hdf5_state(path, facts, state.history, state.extra)
        return
    message = SolverState(iter=state.iteration, current_step=state.current_step, learned_net=state.learned_net)
    for array in state.history:
        array_to_blob(array, message.history.add())
    for name, array in state.extra.items():
        entry = message.caffelite_state.entry.add(name=name, dtype=array.dtype.name, data=array.tobytes())
        entry.shape.extend(array.shape)
    with atomic_write(path) as temporary:
        temporary.write_bytes(message.SerializeToString())


def read_state(path: str | Path) -> State:
    """Read a solver state, of caffelite or of Caffe.

    Raises
    ------
    WeightsError
        It is missing, cut off, or something else (weights, for instance).
    """
    try:
        if is_hdf5(Path(path)):
            facts, history, extra = read_hdf5_state(path)
            return State(facts["iter"], facts["current_step"], facts["learned_net"], history, extra)
        content = Path(path).read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror}") from None
    message = SolverState()
    try:
        message.ParseFromString(content)
    except DecodeError:
        raise WeightsError(_not_a_state(path)) from None
    if not message.HasField("iter"):
        raise WeightsError(_not_a_state(path))
    history = [blob_to_array(blob, f"{path}: history {j}") for j, blob in enumerate(message.history)]
    own = {}
    for entry in message.caffelite_state.entry:
        if entry.dtype not in _DTYPES:
            raise WeightsError(f'{path}: state "{entry.name}" is of a kind that is not known, "{entry.dtype}"')
        values = np.frombuffer(entry.data, entry.dtype)
        if values.size != int(np.prod(list(entry.shape), dtype=object)):
            raise WeightsError(f'{path}: state "{entry.name}" is cut off')
        own[entry.name] = values.reshape(tuple(entry.shape))
    return State(message.iter, message.current_step, message.learned_net, history, own)


def _not_a_state(path: str | Path) -> str:
    if ".caffemodel" in Path(path).name:
        return (f"{path}: these are weights, not a solver state: start from them with --weights, "
                "or give the .solverstate beside them")
    return f"{path}: not a solver state, or cut off"
