"""Nets and solvers: the table of a net that people know from other frameworks, and what a solver says."""

import math
from collections.abc import Mapping
from typing import Any

from google.protobuf import text_format

from caffelite.inspection.told import Inspection, plural, size_text, total
from caffelite.net.survey import LayerSurvey, survey
from caffelite.schema.documents import NetDocument, SolverDocument
from caffelite.solvers.sources import NetSource, net_named_by
from caffelite.words import TEST, TRAIN, Shape, text_of

_PHASES = {TRAIN: "TRAIN", TEST: "TEST"}


def net_inspection(source: NetSource, inputs: Mapping[str, Shape], allow_python: bool = False) -> Inspection:
    """Return the table of a net, without building it or reading its data where that is not there.

    Parameters
    ----------
    source : NetSource
        The net, and in which state.
    inputs : mapping of str to tuple of int
    allow_python : bool, optional
        As for :func:`caffelite.net.survey.survey`, which tells what is raised.
    """
    net = survey(source.document, source.phase, source.level, source.stages, inputs, allow_python)
    name, phase = source.document.message.name, _PHASES[source.phase]
    products = sum(layer.multiply_adds or 0 for layer in net.layers)
    memory = sum(layer.bytes or 0 for layer in net.layers)
    complete = all(layer.bytes is not None and layer.parameters is not None for layer in net.layers)
    numbers = f"{net.parameters:,} parameters" + (f" ({net.kept:,} of them statistics)" if net.kept else "")
    lines = [
        f'net "{name}" in {phase}, {plural(len(net.layers), "layer")}',
        f"{'Total' if complete else 'Total of what is known'}: {numbers}, {size_text(4 * net.parameters)}; "
        f"{products:,} multiply-adds forward; blobs {size_text(memory)}",
    ]
    if net.problem:
        hint = f"; --input {net.missing}=N,C,H,W tells its shape instead" if net.missing else ""
        lines.append(f"Not all is known: {net.problem}{hint}")
    rows = [["layer", "type", "output", "parameters", "multiply-adds", "memory"], *map(_row, net.layers)]
    data = {
        "net": name,
        "phase": phase,
        "layers": [_layer(layer) for layer in net.layers],
        "parameters": net.parameters,
        "statistics": net.kept,
        "multiply_adds": products,
        "blob_bytes": memory,
        "complete": complete,
        "problem": net.problem,
    }
    return Inspection("net", lines, rows, data)


def _row(layer: LayerSurvey) -> list[str]:
    shapes = [shape for _, shape in layer.tops]
    output = ", ".join("?" if shape is None else text_of(shape) for shape in shapes)
    return [
        *(layer.name, layer.type, output),
        "?" if layer.parameters is None else _number(total(layer.parameters)),
        "?" if layer.multiply_adds is None else _number(layer.multiply_adds),
        "?" if layer.bytes is None else size_text(layer.bytes) if layer.bytes else "",
    ]


def _number(value: int) -> str:
    return f"{value:,}" if value else ""


def _layer(layer: LayerSurvey) -> dict[str, Any]:
    return {
        "layer": layer.name,
        "type": layer.type,
        "tops": [{"blob": name, "shape": None if shape is None else list(shape)} for name, shape in layer.tops],
        "parameters": None if layer.parameters is None else total(layer.parameters),
        "parameter_shapes": None if layer.parameters is None else [list(shape) for shape in layer.parameters],
        "multiply_adds": layer.multiply_adds,
        "blob_bytes": layer.bytes,
    }


def solver_inspection(document: SolverDocument) -> Inspection:
    """Return what a solver says: what is set, in the order of the schema."""
    settings: dict[str, Any] = {}
    for field, value in document.message.ListFields():
        values = list(value) if field.is_repeated else [value]
        told = [_setting(field, one) for one in values]
        settings[field.name] = told if field.is_repeated else told[0]
    net = net_named_by(document)
    rows = [["setting", "value"], *([name, _written(value)] for name, value in settings.items())]
    lines = [f"solver{f' of the net {net}' if net else ''}", '"caffelite summary" has the table of its net']
    return Inspection("solver", lines, rows, {"settings": settings})


def _setting(field: Any, value: Any) -> Any:
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return known.name if known else value
    if field.message_type is not None:
        return text_format.MessageToString(value, as_one_line=True)
    if isinstance(value, float):
        # As it was written: the message has the float32 that is nearest. JSON has no infinity.
        return float(f"{value:.7g}") if math.isfinite(value) else str(value)
    return value


def _written(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_written, value))
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def prototxt_inspection(document: NetDocument | SolverDocument, phase: int, inputs: Mapping[str, Shape]) -> Inspection:
    """Return what is told of a prototxt, a net or a solver."""
    if isinstance(document, NetDocument):
        return net_inspection(NetSource(document, 0, (), phase, ""), inputs)
    return solver_inspection(document)
