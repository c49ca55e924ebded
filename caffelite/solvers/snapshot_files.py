"""The files of snapshots: how they are named and written, which is the newest whole one, which are no longer kept."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from caffelite.errors import SolverError, WeightsError
from caffelite.net import Net
from caffelite.schema.documents import SolverDocument
from caffelite.schema.weights import read_weights
from caffelite.solvers.resuming import find_model
from caffelite.solvers.snapshots import State, joined, read_state, write_state

_HDF5 = 0  # SolverParameter.SnapshotFormat


def snapshot_names(prefix: str, iteration: int, ending: str) -> tuple[str, str]:
    """Return the names of the weights and of the state of an iteration; ``ending`` is ``.h5`` or nothing."""
    base = f"{prefix}_iter_{iteration}"
    return f"{base}.caffemodel{ending}", f"{base}.solverstate{ending}"


def state_path(document: SolverDocument, iteration: int) -> str:
    """Return the file of the state of an iteration; raise SolverError where no ``snapshot_prefix`` says where."""
    p = document.message
    if not p.snapshot_prefix:
        raise SolverError(f"{document.filename}: no snapshot_prefix says where a snapshot goes")
    return snapshot_names(p.snapshot_prefix, iteration, ".h5" if p.snapshot_format == _HDF5 else "")[1]


def write_snapshot(
    document: SolverDocument,
    state: State,
    net: Net,
    tell: Callable[..., None],
    weights: dict[str, list[np.ndarray]] | None = None,
) -> str:
    """Write the weights of a net, and the state that belongs to them; then remove what ``snapshot_keep`` does not keep.

    Parameters
    ----------
    document : SolverDocument
    state : State
        It is told its weights and its net here.
    net : Net
    tell : callable
        Takes the name of an event of a Listener, and its facts.
    weights : dict of str to list of ndarray, optional
        Those of the state, by layer name; by default what the net has.

    Returns
    -------
    str
        The file of the state.

    Raises
    ------
    SolverError
        There is no ``snapshot_prefix``, or a file cannot be written.
    """
    p = document.message
    path = state_path(document, state.iteration)
    ending = Path(path).suffix if path.endswith(".h5") else ""
    kind = "HDF5" if ending else "binary proto"
    model, _ = snapshot_names(p.snapshot_prefix, state.iteration, ending)
    try:
        tell("on_snapshot", model, f"Snapshotting to {kind} file")
        net.save(model, weights)
        tell("on_snapshot", path, f"Snapshotting solver state to {kind} file")
        write_state(path, joined(state, net, model))
    except OSError as error:
        raise SolverError(f"{error.filename or model}: the snapshot cannot be written: {error.strerror}") from None
    if p.snapshot_keep:
        remove_older(Path(path), p.snapshot_prefix, state.iteration, p.snapshot_keep, partial(tell, "on_say"))
    return path


def states_of(prefix: str) -> list[tuple[int, Path]]:
    """Return iteration and file of each solver state that has its name by :func:`snapshot_names`, the newest first.

    Files of a longer prefix, links and folders are not among them.
    """
    folder, name = Path(prefix).parent, Path(prefix).name
    form = re.compile(rf"{re.escape(name)}_iter_(0|[1-9][0-9]*)\.solverstate(\.h5)?")
    if not folder.is_dir():
        return []
    states = [
        (int(match[1]), file)
        for file in folder.iterdir()
        if (match := form.fullmatch(file.name)) and file.is_file() and not file.is_symlink()
    ]
    return sorted(states, reverse=True)


def check_whole(path: Path) -> None:
    """Raise WeightsError where a state, or the weights that belong to it, are missing, cut off or damaged.

    Where the state has no digest of its weights, as those of Caffe, they have to be readable.
    """
    state = read_state(path)
    model, digest = find_model(state, path)
    if digest:
        raise WeightsError(f"{path}: {model} are not the weights that were written with it")
    if not state.weights_digest:
        read_weights(model)


def newest_whole(prefix: str, say: Callable[[str], None]) -> Path | None:
    """Return the state of the newest snapshot that is whole; None where there is none.

    Parameters
    ----------
    prefix : str
        The solver's ``snapshot_prefix``.
    say : callable
        Takes a line for each snapshot that is newer but broken.

    Raises
    ------
    MissingExtraError
        A snapshot is an HDF5 file, and h5py is not installed.
    """
    for _, path in states_of(prefix):
        try:
            check_whole(path)
        except WeightsError as error:
            say(f"{error.message}; it is skipped")
        else:
            return path
    return None


def remove_older(newest: Path, prefix: str, iteration: int, keep: int, say: Callable[[str], None]) -> None:
    """Remove snapshots of iterations before those of the last ``keep``; never where the newest is not whole.

    Weights without a state stay: somebody may have removed the state to keep them.

    Parameters
    ----------
    newest : Path
        The state that was just written.
    prefix : str
        The solver's ``snapshot_prefix``.
    iteration : int
        That of ``newest``; snapshots of later ones, of an earlier run, are left alone and do not count.
    keep : int
        1 or more.
    say : callable
        Takes a line for what could not be removed.
    """
    before = [(done, path) for done, path in states_of(prefix) if done < iteration]
    kept = sorted({done for done, _ in before}, reverse=True)[: keep - 1]
    older = [
        (Path(snapshot_names(prefix, done, ".h5" if path.suffix == ".h5" else "")[0]), path)
        for done, path in before
        if done not in kept
    ]
    if not older:
        return
    try:
        check_whole(newest)
    except WeightsError as error:
        say(f"{error.message}; so no older snapshot is removed")
        return
    for model, path in older:
        if model.is_symlink():
            continue
        try:
            # The state last: alone, it is still known as what is left of a snapshot, and removed the next time.
            model.unlink(missing_ok=True)
            path.unlink()
        except OSError as error:
            say(f"{error.filename}: this older snapshot cannot be removed: {error.strerror}")
