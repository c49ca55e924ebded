"""Hold a net against what another program takes. Only the text is looked at: no layer is made, no data read."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from caffelite.export.compilers.targets import Limit, Target, target_named
from caffelite.layers.contract.registry import registry
from caffelite.net.graph import included
from caffelite.schema.messages import LayerParameter
from caffelite.solvers.sources import NetSource
from caffelite.words import TEST


@dataclass(frozen=True, slots=True)
class Finding:
    """What a program would refuse, or read otherwise than Caffe does.

    Attributes
    ----------
    target : str
    layer, type : str
        Empty where it is the file as a whole.
    why, source : str
    place : str
        ``file:line:column``.
    """

    target: str
    layer: str
    type: str
    why: str
    source: str
    place: str


def check(source: NetSource, name: str) -> list[Finding]:
    """Return what a program would refuse in a net, as far as its table knows.

    Parameters
    ----------
    source : NetSource
        Its layers of the phase TEST are looked at; all of them where the program reads all.
    name : str
        One of :func:`~caffelite.export.compilers.targets.targets`.

    Raises
    ------
    NetError
        There is no table of this name, or a layer has include and exclude rules.
    """
    target, document = target_named(name), source.document
    findings = [Finding(name, "", "", why, target.source, place) for why, place in _of_the_form(source, target)]
    for i, layer in enumerate(document.message.layer):
        if document.origins[i][0] == "input":
            continue  # the layer that stands for inputs outside any
        state = TEST, source.level, source.stages
        if target.every_phase or included(layer, *state, partial(document.place, i)):
            findings += [
                Finding(name, layer.name, layer.type, why, where or target.source, document.place(i, setting))
                for why, where, setting in _of_the_layer(layer, target)
            ]
    return findings


def is_left_out(type_name: str) -> bool:
    """Return whether a deploy net has something else in place of layers of a type, or nothing."""
    known = registry().get(type_name)
    if known is None:
        return False
    facts = known.facts
    return facts.source and not facts.net_input or facts.deploy != "kept" or facts.kind == "measure"


def _of_the_form(source: NetSource, target: Target) -> Iterator[tuple[str, str]]:
    """Yield what is said of the form of a file, and where it shows."""
    kinds = [origin[0] for origin in source.document.origins]
    upgrade = "upgrade first, with caffelite upgrade_net_proto_text"
    if "layers" in kinds:
        yield f"the net is of an older form; {upgrade}: {target.old_form}", source.document.setting("layers")
    if "input" in kinds and target.outside_inputs:
        yield (
            f"its input stands outside any layer; {upgrade}: {target.outside_inputs}",
            source.document.setting("input"),
        )


def _of_the_layer(layer: LayerParameter, target: Target) -> Iterator[tuple[str, str, str]]:
    """Yield what is said of a layer, where that is said unless with its types, and the setting it is about."""
    if layer.type not in target.types:
        yield target.refused.get(layer.type, "this type is not in its list"), "", "type"
        return
    if target.every_phase and (layer.include or layer.exclude):
        yield "rules of phases are not read: it is in the net in every phase", "", "include"
    for limit in target.limits:
        if layer.type in limit.types and (broken := _broken(layer, limit)):
            yield f"{limit.setting} {broken}: {limit.why}", limit.source, limit.setting.split(".")[-1]


def _broken(layer: LayerParameter, limit: Limit) -> str:
    """Return in what a layer's setting is not as a limit asks; empty where it is."""
    *path, name = limit.setting.split(".")
    message: Any = layer
    for part in path:
        message = getattr(message, part)
    field = message.DESCRIPTOR.fields_by_name[name]
    value = getattr(message, name)
    repeated = not isinstance(value, str) and hasattr(value, "__len__")
    given = len(value) > 0 if repeated else message.HasField(name)
    values = list(value) if repeated else [value] if given or field.has_default_value else []
    if limit.absent or limit.required:
        return {(True, True): "is given", (False, False): "is missing"}.get((given, limit.absent), "")
    if limit.most is not None:
        return f"has {len(values)} values" if len(values) > limit.most else ""
    if field.enum_type:
        values = [field.enum_type.values_by_number[number].name for number in values]
    if limit.only is not None:
        others = [v for v in values if v not in limit.only]
    elif limit.first is not None:
        others = [v for v in values[:1] if v != limit.first]
    else:
        others = [v for v in values if given and not _within(v, limit)]
    return f"is {_shown(others[0])}" if others else ""


def _within(value: float, limit: Limit) -> bool:
    return (limit.min is None or value >= limit.min) and (limit.max is None or value <= limit.max)


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
