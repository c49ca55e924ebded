"""A net as a page shows it: its diagram in each phase, with where everything stands, and what is told of each layer."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from caffelite.draw.amounts import totals_text
from caffelite.draw.boxes import PHASES, Box, Diagram, in_phase
from caffelite.draw.folding import Folded, folded, groups_of
from caffelite.draw.layout import LINE, PADDING, SMALL_LINE, edge_text, layout, size_of, text_row
from caffelite.layers.contract.registry import registry
from caffelite.net.survey import LayerSurvey, Survey
from caffelite.schema.documents import Document, NetDocument
from caffelite.schema.messages import LayerParameter
from caffelite.schema.printer import to_text
from caffelite.words import Shape, count, text_of

#: What the page's script has to know of the boxes: see :mod:`caffelite.draw.layout`.
SIZES = {"head": LINE, "line": SMALL_LINE, "padding": PADDING}
#: Graphviz runs in processes of its own.
_PROCESSES = 4


def view(diagram: Diagram, document: NetDocument, rankdir: str, what: str | Path, fold: bool = True) -> dict[str, Any]:
    """Return a diagram with its layouts: all groups of equal blocks folded, each of them unfolded, all unfolded.

    Without ``fold`` there are no groups.
    """
    groups = groups_of(diagram, document) if fold else []
    every = set(range(len(groups)))
    closed: dict[str, set[int]] = {"": every}
    if len(groups) > 1:
        closed |= {str(i): every - {i} for i in every}
    if groups:
        closed["all"] = set()
    states = {name: folded(diagram, groups, numbers) for name, numbers in closed.items()}
    with ThreadPoolExecutor(_PROCESSES) as pool:
        placed = pool.map(lambda state: layout(state.diagram, rankdir, what), states.values())
        layouts = [_layout(name, states[name], one) for name, one in zip(states, placed, strict=True)]
    return {
        "totals": totals_text(diagram),
        "boxes": [_box(box) for box in diagram.boxes],
        "groups": len(groups),
        "groupBoxes": [[group.boxes.start, group.boxes.stop] for group in groups],
        "layouts": layouts,
    }


def _box(box: Box) -> dict[str, Any]:
    width, height = size_of(box)
    rows = []
    for row in box.rows:
        text = text_row(row)
        rows.append(
            {
                "layers": row.layers,
                "name": text.name,
                "type": text.type,
                "phases": text.phases,
                "lines": text.lines,
                "h": text.height,
            }
        )
    return {"w": width, "h": height, "rows": rows}


def _layout(name: str, state: Folded, placed: dict[str, Any]) -> dict[str, Any]:
    edges = []
    for edge, (path, *place) in zip(state.diagram.edges, placed["edges"], strict=True):
        x, y = place or (0, 0)
        edges.append([path, x, y, edge_text(state.diagram, edge), edge.phases])
    frames = [
        [frame.group, frame.folded, frame.label, frame.told, *corners]
        for frame, corners in zip(state.diagram.frames, placed["frames"], strict=True)
    ]
    return {
        "open": name,
        "width": placed["width"],
        "height": placed["height"],
        "boxes": state.boxes,
        "places": placed["boxes"],
        "edges": edges,
        "frames": frames,
    }


def what_is_missing(measured: Mapping[str, Survey]) -> str:
    """Return why not all is known of a net, and what tells it instead; empty where all is known."""
    net = next((one for one in measured.values() if one.problem), None)
    if net is None:
        return ""
    hint = f"; --input {net.missing}=N,C,H,W tells its shape instead" if net.missing else ""
    return f"Not all is known: {net.problem}{hint}"


def layer_texts(document: NetDocument) -> list[dict[str, Any]]:
    """Return name, type, kind, place in its file, and prototxt of each layer of a net."""
    filename = Path(document.filename).name
    told = []
    for i, layer in enumerate(document.message.layer):
        known = registry().get(layer.type)
        told.append(
            {
                "name": layer.name,
                "type": layer.type,
                "kind": "other" if known is None else known.facts.kind,
                "place": f"{filename}{document.place(i).removeprefix(document.filename)}",
                "text": _prototxt(document, i),
            }
        )
    return told


def _prototxt(document: NetDocument, index: int) -> str:
    """Return a layer as text, with the fields that no schema has, without weights."""
    layer = LayerParameter()
    layer.CopyFrom(document.message.layer[index])
    layer.ClearField("blobs")
    origin = document.origins[index] if index < len(document.origins) else ("layer", index)
    unknown = {path[len(origin) :]: texts for path, texts in document.unknown.items() if path[: len(origin)] == origin}
    return to_text(Document(layer, document.filename, unknown=unknown))


def layer_facts(
    document: NetDocument, measured: Mapping[str, Survey], stages: Sequence[str] | None
) -> dict[str, dict[int, dict[str, Any]]]:
    """Return what is known of layers, by phase and by their number in the net."""
    facts: dict[str, dict[int, dict[str, Any]]] = {}
    for phase, net in measured.items():
        known = {layer.name: layer for layer in net.layers}
        shapes: dict[str, Shape | None] = {}
        facts[phase] = {}
        for i, layer in enumerate(document.message.layer):
            if not in_phase(layer, PHASES[phase], partial(document.place, i), stages):
                continue
            one = known.get(layer.name, LayerSurvey(layer.name, layer.type, [(top, None) for top in layer.top]))
            bottoms = [(blob, shapes.get(blob)) for blob in layer.bottom]
            shapes |= dict(one.tops)
            facts[phase][i] = _facts(one, bottoms)
    return facts


def _facts(layer: LayerSurvey, bottoms: Sequence[tuple[str, Shape | None]]) -> dict[str, Any]:
    field = layer.receptive_field
    # A blob without places mixes all of what it is made from.
    places = "" if field is None or not (field or bottoms) else text_of(field) if field else "all"
    return {
        "in": _blobs(bottoms),
        "out": _blobs(layer.tops),
        "parameters": [text_of(shape) for shape in layer.parameters or ()],
        "size": sum(map(count, layer.parameters or ())),
        "macs": layer.multiply_adds,
        "bytes": layer.bytes,
        "field": places,
    }


def _blobs(blobs: Iterable[tuple[str, Shape | None]]) -> list[tuple[str, str]]:
    return [(name, "" if shape is None else text_of(shape)) for name, shape in blobs]
