"""The page of a net: its diagram to look around in, a panel for each layer, a table of all."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from caffelite.draw.boxes import PHASES, Diagram, assemble, surveys
from caffelite.draw.colours import Colouring
from caffelite.draw.dot import dot
from caffelite.draw.views import SIZES, layer_facts, layer_texts, view, what_is_missing
from caffelite.draw.weight_charts import scale_behind, weight_charts
from caffelite.pages.markup import Markup, element, table
from caffelite.pages.page import asset, page
from caffelite.schema.documents import NetDocument
from caffelite.words import Shape

#: How the choice of all stages is called, and that of none.
_ANY, _NONE = "in any stage", "no stage"
_MOST_STAGES = 6
_COLOURS = {"kind": "kind", "phase": "phase", "macs": "multiply-adds", "size": "parameters", "bytes": "memory"}


def net_page(
    document: NetDocument,
    phase: str,
    rankdir: str,
    allow_python: bool,
    inputs: Mapping[str, Shape],
    *,
    stages: Sequence[str] | None,
    colouring: Colouring,
    weights: str | Path | None,
    what: str | Path,
) -> tuple[str, str]:
    """Return the page of a net, and what is shown on it first, in words.

    Parameters
    ----------
    document : NetDocument
    phase, rankdir, allow_python, inputs, stages
        As for :func:`caffelite.draw.diagram.draw`; ``phase`` and ``stages`` are what is shown first.
    colouring : Colouring
        What colours tell first, and the times there are.
    weights : path or None
        Weights to show.
    what : path
        What the page is called in errors.
    """
    charts = weight_charts(document, weights) if weights is not None else {}
    choices = _stages(document, stages)
    states: list[dict[str, Any]] = []
    drawn: dict[str, tuple[int, Diagram]] = {}
    facts = {}
    problems = {}
    for stage, given in choices.items():
        measured = surveys(document, "ALL", allow_python, inputs, given)
        facts[stage] = layer_facts(document, measured, given)
        problems[stage] = what_is_missing(measured)
        for name in ("ALL", *PHASES):
            diagram = assemble(document, measured if name == "ALL" else {name: measured[name]}, given)
            number, _ = drawn.setdefault(dot(diagram), (len(drawn), diagram))
            states.append({"phase": name, "stage": stage, "view": number})
    views = [view(diagram, document, rankdir, what) for _, diagram in drawn.values()]
    begun = _ANY if stages is None else ", ".join(stages) or _NONE
    first = next(i for i, one in enumerate(states) if (one["phase"], one["stage"]) == (phase, begun))
    layers = _layers(document, facts[begun], colouring, charts)
    known, numbers = _said_once(facts)
    data = {
        "layers": layers,
        "known": known,
        "facts": numbers,
        "states": states,
        "views": views,
        "first": first,
        "sizes": SIZES,
    }
    told = views[states[first]["view"]]["totals"]
    title = document.message.name or Path(document.filename).name
    body: list[str] = [
        element("h1", title),
        element("p", told, id="totals"),
        *([element("p", problems[begun], class_="soft", id="problem")] if problems[begun] else []),
        _controls(states, states[first], colouring),
        element("div", _pane(), element("aside", id="panel", hidden=True, aria_label="layer"), class_="stage"),
        element("p", _KEYS, class_="soft controls"),
        element("h2", "Layers"),
        _table(layers, facts[begun], bool(colouring.times)),
    ]
    scripts = tuple(asset(name, __package__) for name in ("viewer.js", "panel.js", "net.js"))
    return page(title, body, styles=(asset("diagram.css", __package__),), scripts=scripts, data=data), told


_KEYS = (
    "Drag to move, wheel to zoom, click a layer for what is known of it, a frame to fold or unfold equal blocks. Keys: "
    "/ search, Enter next match, n p next and previous layer, arrows + − move and zoom, 0 whole, 1 width, u f unfold "
    "and fold all, Esc close."
)


def _stages(document: NetDocument, given: Sequence[str] | None) -> dict[str, Sequence[str] | None]:
    """Return the choices of stages, by what they are called."""
    rules = [rule for layer in document.message.layer for rule in (*layer.include, *layer.exclude)]
    named = sorted({stage for rule in rules for stage in (*rule.stage, *rule.not_stage)})
    choices: dict[str, Sequence[str] | None] = {_ANY: None}
    if named:
        choices[_NONE] = ()
        choices |= {stage: (stage,) for stage in named[:_MOST_STAGES]}
    if given is not None:
        choices[", ".join(given) or _NONE] = tuple(given)
    return choices


def _said_once(
    facts: Mapping[str, Mapping[str, Mapping[int, dict[str, Any]]]],
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return what is known of layers, each value once, and where in it that of each stage, phase and layer stands."""
    places: dict[str, int] = {}
    known: list[dict[str, Any]] = []
    numbers: dict[str, Any] = {}
    for stage, phases in facts.items():
        numbers[stage] = {phase: {} for phase in phases}
        for phase, layers in phases.items():
            for i, one in layers.items():
                place = places.setdefault(json.dumps(one), len(known))
                if place == len(known):
                    known.append(one)
                numbers[stage][phase][i] = place
    return known, numbers


def _layers(
    document: NetDocument,
    facts: Mapping[str, Mapping[int, Mapping[str, Any]]],
    colouring: Colouring,
    charts: Mapping[str, list[dict[str, Any]]],
) -> list[dict[str, Any]]:
    """Return what the panel tells of each layer, and the amounts that colours show: those in TRAIN if it is there."""
    layers = layer_texts(document)
    for i, layer in enumerate(layers):
        known = next((one[i] for one in facts.values() if i in one), None)
        layer |= {name: known[name] for name in ("macs", "size", "bytes")} if known else {}
        if i in colouring.times:
            share = colouring.times[i]
            layer |= {"ms": share.milliseconds, "time": f"Time: {share.text()}"}
        layer |= {"charts": charts.get(layer["name"], []), "scale": scale_behind(document, i)}
    return layers


def _controls(states: list[dict[str, Any]], first: dict[str, Any], colouring: Colouring) -> Markup:
    parts = [
        element("input", type="search", id="search", placeholder="search a layer or a type", aria_label="search"),
        element("span", id="count", class_="soft", role="status"),
    ]
    by_stage: dict[str, list[int]] = {}
    for state in states:
        by_stage.setdefault(state["stage"], []).append(state["view"])
    if any(len(set(views)) > 1 for views in by_stage.values()):
        names = {"ALL": "both phases", **{name: name for name in PHASES}}
        radios = [
            element(
                "label",
                element("input", type="radio", name="phase", value=value, checked=value == first["phase"]),
                text,
            )
            for value, text in names.items()
        ]
        parts.append(element("fieldset", *radios, aria_label="phase"))
    if len(by_stage) > 1:
        parts.append(_select("stage", "stage", {stage: stage for stage in by_stage}, first["stage"]))
    colours = {**_COLOURS, **({"ms": "time"} if colouring.times else {})}
    parts.append(_select("colour", "colour by", colours, "ms" if colouring.by == "time" else colouring.by))
    for name, text, label in (
        ("fold", "fold", "fold all blocks"),
        ("unfold", "unfold", "unfold all blocks"),
        ("in", "+", "zoom in"),
        ("out", "−", "zoom out"),
        ("whole", "whole", "show the whole net"),
        ("width", "width", "show it as wide as the page"),
    ):
        parts.append(element("button", text, type="button", id=name, title=label, aria_label=label))
    return element("div", *parts, class_="controls")


def _select(name: str, label: str, options: Mapping[str, str], chosen: str) -> Markup:
    choices = [element("option", text, value=value, selected=value == chosen) for value, text in options.items()]
    return element("label", f"{label} ", element("select", *choices, id=name))


def _pane() -> Markup:
    drawing = element("svg", id="diagram", class_="diagram", tabindex=0, role="application", aria_label="diagram")
    return element("div", drawing, class_="pane")


def _table(layers: list[dict[str, Any]], facts: Mapping[str, Mapping[int, Mapping[str, Any]]], timed: bool) -> Markup:
    head = ["layer", "type", "phase", "output", "parameters", "multiply-adds", "memory", "receptive field"]
    rows: list[list[str]] = []
    for i, layer in enumerate(layers):
        phases = [phase for phase, known in facts.items() if i in known]
        known = facts[phases[0]][i] if phases else None
        row = [
            element("button", layer["name"] or "(no name)", type="button", data_layer=i),
            layer["type"],
            "" if len(phases) == len(facts) else ", ".join(phases),
        ]
        if known is None:
            row += [""] * 5
        else:
            row += [
                ", ".join(shape or "?" for _, shape in known["out"]),
                _grouped(known["size"]),
                _grouped(known["macs"]),
            ]
            row += [_kilobytes(known["bytes"]), known["field"]]
        rows.append(row + ([f"{layer['ms']:.3f} ms" if layer.get("ms") else ""] if timed else []))
    numbers = frozenset({4, 5, 6, 7, *([8] if timed else [])})
    return table([*head, *(["time"] if timed else [])], rows, numbers, id="layers")


def _kilobytes(size: int | None) -> str:
    # One unit in the whole column, which is sorted by its numbers.
    return f"{size / 1000:,.{1 if size >= 100 else 3}f} kB" if size else ""


def _grouped(number: int | None) -> str:
    return f"{number:,}" if number else ""
