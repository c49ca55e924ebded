"""Going on from a solver state: whether it belongs to these weights, this net and this type of solver."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from caffelite.errors import WeightsError
from caffelite.net import Net
from caffelite.schema.messages import LayerParameter, NetParameter
from caffelite.schema.weights import read_weights
from caffelite.solvers.rules import RULES, UpdateRule
from caffelite.solvers.snapshots import State, described, file_digest, load_extra, read_state
from caffelite.words import columns, quoted, text_of

#: Of a table of what differs so many lines are shown.
_MOST_ROWS = 40
#: A digest is told by so many of its hexadecimal digits.
_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Difference:
    """A thing that is not as it was when a state was written.

    Attributes
    ----------
    reason : str
        Continues "it was written".
    row : (str, str, str, str)
        A layer, what differs, as it was, as it is now.
    """

    reason: str
    row: tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Resumed:
    """Where a run goes on.

    Attributes
    ----------
    iteration, current_step : int
    losses : list of float
        The last ones, see :func:`.snapshots.extra_of`.
    differences : str
        Where it goes on although something differs: the table of that; else empty.
    untrained : list of str
        Layers that begin anew.
    history_lost : bool
        Whether the history of the update rule begins anew.
    """

    iteration: int
    current_step: int
    losses: list[float]
    differences: str
    untrained: list[str]
    history_lost: bool


def find_model(state: State, path: str | Path) -> tuple[Path, str]:
    """Return the weights file that belongs to a state: where the state says, else beside it.

    Where the state has their digest, a file with this digest goes before one without.

    Returns
    -------
    file : Path
    digest : str
        That of the file, where it is not the state's; else empty.

    Raises
    ------
    WeightsError
        It names none, or it is in neither place.
    """
    if not state.learned_net:
        raise WeightsError(f"{path}: it does not say which weights belong to it")
    named = Path(state.learned_net)
    beside = Path(path).parent / named.name
    there = [file for file in dict.fromkeys((named, beside)) if file.is_file()]
    if not there:
        raise WeightsError(
            f"{path}: its weights {quoted(state.learned_net)} are missing, and there is no {beside} either"
        )
    if not state.weights_digest:
        return there[0], ""
    digests = [file_digest(file) for file in there]
    if state.weights_digest in digests:
        return there[digests.index(state.weights_digest)], ""
    return there[0], digests[0].hex()


def resume(path: str | Path, nets: Mapping[str, Net], rule: UpdateRule, allow_changed: bool) -> Resumed:
    """Bring nets and an update rule to where a state has them.

    Parameters
    ----------
    path : path
        Of the state.
    nets : mapping of str to Net
        See :func:`.snapshots.extra_of`.
    rule : UpdateRule
        That of the net ``train``.
    allow_changed : bool
        Go on although weights, net or solver type are not those of the state. What does not fit stays as it is.

    Raises
    ------
    WeightsError
        The files cannot be read, or do not belong to this net and this type of solver; nothing is changed then.
    """
    net = nets["train"]
    state = read_state(path)
    model, digest = find_model(state, path)
    differences = _differences(state, net, rule, model, digest, path)
    table = _table(differences)
    if differences and not allow_changed:
        reasons = " and ".join(dict.fromkeys(difference.reason for difference in differences))
        raise WeightsError(
            f"{path}: it was written {reasons}; --allow-changed goes on all the same, and what does not fit begins "
            "untrained",
            table,
        )
    if not differences and not allow_changed:
        check_history(state, rule, path)
    history = _matching_history(state, rule, net, path)
    transferred = net.copy_from(model, skip_mismatch=allow_changed)
    left = set(transferred.untrained)
    for own, saved, learned in zip(rule.history, history, net.learnable * rule.kept, strict=True):
        if saved is None or learned.names[0].rpartition("/")[0] in left:
            own[...] = 0
        else:
            own[...] = saved.reshape(own.shape)
    losses = load_extra(state.extra, nets, allow_changed)
    lost = bool(history) and all(saved is None for saved in history)
    return Resumed(state.iteration, state.current_step, losses, table, transferred.untrained, lost)


def _table(differences: Sequence[Difference]) -> str:
    if not differences:
        return ""
    rows = [difference.row for difference in differences]
    more = f"\n… and {len(rows) - _MOST_ROWS} more" if len(rows) > _MOST_ROWS else ""
    return columns([("layer", "", "as it was", "as it is now"), *rows[:_MOST_ROWS]]) + more


def _differences(
    state: State, net: Net, rule: UpdateRule, model: Path, digest: str, path: str | Path
) -> list[Difference]:
    """Return what is not as it was when the state was written, as far as the state tells."""
    differences = []
    if digest:
        was = state.weights_digest.hex()
        row = ("", f"digest of {model}", was[:_DIGITS], digest[:_DIGITS])
        differences.append(Difference("with other weights", row))
    now = type(rule).__name__
    if state.rule and state.rule != now:
        reason = f"by solver type {quoted(state.rule)}"
        differences.append(Difference(reason, ("", "solver type", state.rule, now)))
    before = state.net(path)
    rows = _missing_layers(net, model) if before is None else _changed_layers(before, described(net))
    return differences + [Difference("for another net", row) for row in rows]


def _missing_layers(net: Net, model: Path) -> list[tuple[str, str, str, str]]:
    """Return the layers that the weights lack, for a state that does not tell what its net was."""
    in_file = [weights for weights in read_weights(model) if weights.blobs]
    names = {weights.name for weights in in_file}
    rows = [
        (name, "has no weights", "", _shapes_text([blob.shape for blob in blobs]))
        for name, blobs in net.params.items()
        if name not in names
    ]
    if rows:
        rows += [
            (weights.name, "is not in the net", _shapes_text([blob.shape for blob in weights.blobs]), "")
            for weights in in_file
            if weights.name not in net.params
        ]
    return rows


def _changed_layers(before: NetParameter, now: NetParameter) -> list[tuple[str, str, str, str]]:
    old = {layer.name: layer for layer in before.layer}
    new = {layer.name: layer for layer in now.layer}
    rows = []
    for name, layer in old.items():
        if name not in new:
            rows.append((name, "is no longer there", _text(layer), ""))
        elif layer.type != new[name].type:
            rows.append((name, "type differs", _text(layer), _text(new[name])))
        elif _blob_shapes(layer) != _blob_shapes(new[name]):
            rows.append((name, "shape differs", _text(layer), _text(new[name])))
        elif [spec.name for spec in layer.param] != [spec.name for spec in new[name].param]:
            rows.append((name, "is shared otherwise", _shared_names(layer), _shared_names(new[name])))
    rows += [(name, "is new", "", _text(layer)) for name, layer in new.items() if name not in old]
    if not rows and list(old) != list(new):
        first = next(a for a, b in zip(old, new, strict=True) if a != b)
        rows.append((first, "place differs", str(1 + list(old).index(first)), str(1 + list(new).index(first))))
    return rows


def _blob_shapes(layer: LayerParameter) -> list[tuple[int, ...]]:
    return [tuple(blob.shape.dim) for blob in layer.blobs]


def _shared_names(layer: LayerParameter) -> str:
    return ", ".join(spec.name or "-" for spec in layer.param)


def _text(layer: LayerParameter) -> str:
    return f"{layer.type} {_shapes_text(_blob_shapes(layer))}".rstrip()


def _shapes_text(shapes: Sequence[tuple[int, ...]]) -> str:
    return ", ".join(map(text_of, shapes))


def _owners(net: NetParameter) -> list[str]:
    """Return ``layer/index`` of each blob that is not another one's under a shared name, in the order of a history."""
    owners, shared = [], set()
    for layer in net.layer:
        for j, spec in enumerate(layer.param):
            if spec.name not in shared:
                owners.append(f"{layer.name}/{j}")
            if spec.name:
                shared.add(spec.name)
    return owners


def _matching_history(state: State, rule: UpdateRule, net: Net, path: str | Path) -> list[np.ndarray | None]:
    """Return for each blob of a rule's history that of the state, by layer and index; None where it has none."""
    before = state.net(path)
    own = [learned.names[0] for learned in net.learnable]
    saved = own if before is None else _owners(before)
    if state.rule not in ("", type(rule).__name__) or len(state.history) != rule.kept * len(saved):
        return [None] * len(rule.history)
    numbers = {name: i for i, name in enumerate(saved)}
    # Names are asked for only where they differ: several layers may have one.
    places = list(range(len(saved))) if saved == own else [numbers.get(name) for name in own]
    matching: list[np.ndarray | None] = []
    for k in range(rule.kept):
        for place, shape in zip(places, rule.shapes, strict=True):
            array = None if place is None else state.history[k * len(saved) + place]
            matching.append(array if array is not None and _fits(array, shape) else None)
    return matching


def check_history(state: State, rule: UpdateRule, path: str | Path) -> None:
    """Raise WeightsError where the history of a state does not fit a rule and its net; ``path`` is for messages."""
    now = type(rule).__name__
    held, blobs = len(state.history), len(rule.shapes)
    if held != rule.kept * blobs:
        reason = f"the net has {blobs} parameter blobs, for which solver type {quoted(now)} keeps {rule.kept * blobs}"
        others = [name for name, other in RULES.items() if other.kept * blobs == held]
        if others:
            reason += f"; it was written by {', '.join(others[:-1])} or {others[-1]}"
        raise WeightsError(f"{path}: it has {held} history blobs, but {reason}")
    for j, array in enumerate(state.history):
        shape = rule.shapes[j % blobs]
        if not _fits(array, shape):
            raise WeightsError(
                f"{path}: history blob {j} has shape {text_of(array.shape)}, but the parameter blob it "
                f"belongs to {text_of(shape)}; it was written for another net"
            )


def _fits(array: np.ndarray, shape: tuple[int, ...]) -> bool:
    # Old files give every blob four axes.
    return array.size == math.prod(shape) and _bare(array.shape) == _bare(shape)


def _bare(shape: tuple[int, ...]) -> list[int]:
    return [n for n in shape if n != 1]
