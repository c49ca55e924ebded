"""Settings by name: fields of a solver, of a layer, or of all layers that have such a field."""

import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from google.protobuf.descriptor import FieldDescriptor

from caffelite.errors import SchemaError, SolverError
from caffelite.layers.contract.registry import registry
from caffelite.net.graph import included
from caffelite.schema.assignment import near_field, no_field
from caffelite.schema.messages import LayerParameter, NetParameter, SolverParameter
from caffelite.schema.names import slips_of
from caffelite.schema.parser import is_repeated, parse_text
from caffelite.schema.printer import quoted_bytes
from caffelite.words import TEST, TRAIN, did_you_mean, quoted

#: In front of a name: only layers of this phase alone, as in ``TRAIN.batch_size``.
_PHASES = {"TRAIN": TRAIN, "TEST": TEST}
#: Fields that every run has for itself.
_OF_RUNS = {
    "random_seed": "--seeds says how many seeds each combination is run with",
    "snapshot_prefix": "each run has a folder of its own",
}


class Setting(NamedTuple):
    """A setting and the values that it takes in turn, as they were written."""

    name: str
    values: tuple[str, ...]


def is_of_solver(name: str) -> bool:
    """Whether a name is that of a field of the solver: those go before the fields of layers."""
    return name.partition(".")[0] in SolverParameter.DESCRIPTOR.fields_by_name


def set_in_solver(solver: SolverParameter, name: str, text: str) -> None:
    """Set a field of a solver: ``base_lr``, ``train_state.level``.

    Raises
    ------
    SolverError
        There is no such field, or it does not take the value.
    """
    if name in _OF_RUNS:
        raise SolverError(f"--set {name}: {_OF_RUNS[name]}")
    _set(solver, name.split("."), text, name)


def set_in_nets(nets: Sequence[NetParameter], name: str, text: str) -> None:
    """Set a field of layers.

    Parameters
    ----------
    nets : sequence of NetParameter
    name : str
        ``LAYER.FIELD``, where the field is the layer's or one of the messages that it reads; ``FIELD``, of all layers
        that read such a field; behind ``TRAIN.`` or ``TEST.``, only of layers of that phase alone.
    text : str
        The value as in a prototxt; of a repeated field, values with spaces between.

    Raises
    ------
    SolverError
        No layer has such a field, or it does not take the value.
    """
    spots = list(_spots(nets, name))
    if not spots:
        raise SolverError(_unknown(nets, name))
    for layer, path in spots:
        _set(layer, path, text, name)


def _spots(nets: Sequence[NetParameter], name: str) -> Iterator[tuple[LayerParameter, list[str]]]:
    """Yield the layers that a name means, each with the way to the field from there."""
    named = {layer.name for net in nets for layer in net.layer if name.startswith(f"{layer.name}.")}
    layer_name = max(named, key=len, default="")
    first, _, rest = name.partition(".")
    phase = None if layer_name or not rest else _PHASES.get(first)
    path = (name[len(layer_name) + 1 :] if layer_name else rest if phase is not None else name).split(".")
    for net in nets:
        for layer in net.layer:
            if (layer_name and layer.name != layer_name) or (phase is not None and _phases_of(layer) != {phase}):
                continue
            if path[0] in _messages_of(layer) or (layer_name and path[0] in layer.DESCRIPTOR.fields_by_name):
                yield layer, path
            elif message := _message_with(layer, path[0]):
                yield layer, [message, *path]


def _phases_of(layer: LayerParameter) -> set[int]:
    return {phase for phase in (TRAIN, TEST) if included(layer, phase, 0, (), partial(str, layer.name))}


def _messages_of(layer: LayerParameter) -> tuple[str, ...]:
    """Return the messages that a layer reads its settings from."""
    kind = registry().get(layer.type)
    return kind.facts.settings if kind else ()


def _message_with(layer: LayerParameter, field: str) -> str | None:
    """Return which of a layer's messages has a field; of several, one in which it, or anything, is written."""
    having = [name for name in _messages_of(layer) if field in getattr(layer, name).DESCRIPTOR.fields_by_name]
    written = [name for name in having if layer.HasField(name)]
    exact = [name for name in written if any(one.name == field for one, _ in getattr(layer, name).ListFields())]
    return next(iter([*exact, *written, *having]), None)


def _unknown(nets: Sequence[NetParameter], name: str) -> str:
    """Say that neither the solver nor a layer has a field, and which may have been meant."""
    layers = [layer for net in nets for layer in net.layer]
    owner = next((layer for layer in layers if name.startswith(f"{layer.name}.")), None)
    fields = {
        field
        for layer in ([owner] if owner else layers)
        for message in _messages_of(layer)
        for field in getattr(layer, message).DESCRIPTOR.fields_by_name
    }
    if owner is not None:
        rest = name[len(owner.name) + 1 :]
        hint = _near(rest, [*fields, *owner.DESCRIPTOR.fields_by_name])
        return f"--set {name}: {owner.type} layer {quoted(owner.name)} has no field {quoted(rest)}{hint}"
    known = [*SolverParameter.DESCRIPTOR.fields_by_name, *sorted(fields)]
    first, dot, rest = name.partition(".")
    if dot and first not in _PHASES:
        near = did_you_mean(first, dict.fromkeys(layer.name for layer in layers))
        return f"--set {name}: there is no layer {quoted(first)} in the net{near or _near(first, known)}"
    if dot:
        return f"--set {name}: no layer that is in phase {first} alone has such a field{_near(rest, sorted(fields))}"
    return f"--set {name}: neither the solver nor a layer of the net has such a field{_near(name, known)}"


def _near(name: str, known: Sequence[str]) -> str:
    return did_you_mean(name, known, find=slips_of) or did_you_mean(name, known)


def _set(message: Any, path: Sequence[str], text: str, name: str) -> None:
    """Set a field of a message, or of the messages in it; one in a repeated field means all that are written there."""
    descriptor = message.DESCRIPTOR
    field = descriptor.fields_by_name.get(path[0])
    if field is None:
        raise SolverError(f"--set {name}: {no_field(path[0], descriptor)}{near_field(path[0], descriptor)}")
    inner = field.message_type
    if (inner is None) != (len(path) == 1):
        what = "a value and has no fields" if inner is None else f"no value; name a field of it: {name}.FIELD"
        raise SolverError(f"--set {name}: {path[0]} is {what}")
    if inner is None:
        _assign(message, field, text, name)
        return
    written = getattr(message, field.name)
    for one in written if is_repeated(field) else [written]:
        _set(one, path[1:], text, name)
    if is_repeated(field) and not written:
        raise SolverError(f"--set {name}: no {path[0]} is written there that it could be set in")


def _assign(message: Any, field: FieldDescriptor, text: str, name: str) -> None:
    """Set a field to what a prototxt would have there."""
    words = text.split() if is_repeated(field) else [text]
    if field.type == FieldDescriptor.TYPE_STRING:
        words = [quoted_bytes(word.encode()) for word in words]
    elif not words or not all(re.fullmatch(r"[\w.+-]+", word) for word in words):
        raise SolverError(f"--set {name}={text}: {quoted(text)} is no value of {field.name}")
    try:
        parsed = parse_text(" ".join(f"{field.name}: {word}" for word in words), type(message), "value").message
    except SchemaError as error:
        reason = re.sub(r"^value:\d+:\d+: ", "", error.message)
        raise SolverError(f"--set {name}={text}: {reason}") from None
    message.ClearField(field.name)
    if is_repeated(field):
        getattr(message, field.name).extend(getattr(parsed, field.name))
    else:
        setattr(message, field.name, getattr(parsed, field.name))
