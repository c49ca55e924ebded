"""Two nets beside each other: which layers are in one alone, which have other settings."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from caffelite.draw.boxes import assemble, surveys
from caffelite.draw.views import SIZES, layer_facts, layer_texts, view, what_is_missing
from caffelite.pages.markup import Markup, element, table
from caffelite.pages.page import asset, page
from caffelite.schema.documents import NetDocument
from caffelite.schema.messages import LayerParameter
from caffelite.schema.parser import is_repeated
from caffelite.words import Shape

#: Settings that a net in use does not read.
_TRAINING = ("param", "include", "exclude", "phase", "loss_weight", "propagate_down", "blobs")
_WORDS = {
    "same": "It is the same in both nets.",
    "training": "It differs in what training alone reads.",
    "changed": "Its settings differ.",
    "only": "It is in this net alone.",
}


def difference_page(
    nets: tuple[NetDocument, NetDocument],
    phase: str,
    rankdir: str,
    allow_python: bool,
    inputs: Mapping[str, Shape],
    what: str | Path,
) -> tuple[str, str]:
    """Return a page of two nets, and what differs, in words.

    Layers are matched by name, as weights are; of several of one name, the first with the first.

    Parameters
    ----------
    nets : (NetDocument, NetDocument)
    phase, rankdir, allow_python, inputs
        As for :func:`caffelite.draw.diagram.draw`. A shape is given to each net that has a blob of the name.
    what : path
        What the page is called in errors.
    """
    sides = [_side(net, phase, rankdir, allow_python, inputs, what) for net in nets]
    _match(nets, sides[0]["layers"], sides[1]["layers"])
    names = [_name(net) for net in nets]
    rows = _rows(sides, names)
    told = _told(sides, names)
    panes = [
        element(
            "div",
            element("p", element("b", name), f" {side['view']['totals']}"),
            *([element("p", side["missing"], class_="soft")] if side["missing"] else []),
            element("svg", id=f"diagram{i}", class_="diagram", tabindex=0, role="application", aria_label=name),
            class_="pane",
        )
        for i, (name, side) in enumerate(zip(names, sides, strict=True))
    ]
    body: list[str] = [
        element("h1", f"{names[0]} and {names[1]}"),
        element("p", told, id="totals"),
        _controls(),
        element("div", *panes, element("aside", id="panel", hidden=True, aria_label="layer"), class_="stage"),
        element("h2", "What differs"),
        table(["layer", "type", "what", "lines"], rows, frozenset(), id="layers") if rows else element("p", "Nothing."),
    ]
    scripts = tuple(asset(name, __package__) for name in ("viewer.js", "panel.js", "difference.js"))
    data = {"sides": sides, "names": names, "words": _WORDS, "sizes": SIZES}
    styles = (asset("diagram.css", __package__),)
    return page(f"{names[0]} and {names[1]}", body, styles=styles, scripts=scripts, data=data), told


def _name(net: NetDocument) -> str:
    return Path(net.filename).name


def _side(
    net: NetDocument, phase: str, rankdir: str, allow_python: bool, inputs: Mapping[str, Shape], what: str | Path
) -> dict[str, Any]:
    blobs = {blob for layer in net.message.layer for blob in layer.top}
    own = {blob: shape for blob, shape in inputs.items() if blob in blobs}
    measured = surveys(net, phase, allow_python, own)
    diagram = assemble(net, measured)
    # Nothing is folded: what differs may be in any of some equal blocks.
    shown = view(diagram, net, rankdir, what, fold=False)
    return {
        "layers": layer_texts(net),
        "facts": layer_facts(net, measured, None),
        "view": shown,
        "missing": what_is_missing(measured),
    }


def _match(nets: tuple[NetDocument, NetDocument], first: list[dict[str, Any]], second: list[dict[str, Any]]) -> None:
    """Say of each layer which is its partner, how it differs, and in which lines."""
    waiting: dict[str, list[int]] = {}
    for j, layer in enumerate(second):
        layer |= {"mark": "only", "partner": None}
        waiting.setdefault(layer["name"], []).append(j)
    for i, layer in enumerate(first):
        partners = waiting.get(layer["name"])
        if not partners:
            layer |= {"mark": "only", "partner": None}
            continue
        j = partners.pop(0)
        status = _status(nets[0].message.layer[i], nets[1].message.layer[j], layer["text"] == second[j]["text"])
        lines = [] if status == "same" else _lines(layer["text"], second[j]["text"])
        layer |= {"mark": status, "partner": j, "lines": lines}
        second[j] |= {"mark": status, "partner": i, "lines": lines}


def _status(a: LayerParameter, b: LayerParameter, same_text: bool) -> str:
    if same_text:
        return "same"
    return "training" if _in_use(a) == _in_use(b) else "changed"


def _in_use(layer: LayerParameter) -> LayerParameter:
    """Return the settings of a layer without those that training alone reads."""
    bare = LayerParameter()
    bare.CopyFrom(layer)
    for name in _TRAINING:
        bare.ClearField(name)
    for descriptor, message in bare.ListFields():
        if descriptor.message_type is not None and not is_repeated(descriptor):
            for inner, _ in message.ListFields():
                if inner.name.endswith("_filler"):
                    message.ClearField(inner.name)
    return bare


def _lines(a: str, b: str) -> list[list[str]]:
    """Return the lines of two texts, each with " ", "-" (of the first alone) or "+" (of the second alone)."""
    compared = difflib.Differ().compare(a.splitlines(), b.splitlines())
    return [[line[0], line[2:]] for line in compared if line[0] != "?"]


def _rows(sides: list[dict[str, Any]], names: list[str]) -> list[list[str]]:
    rows: list[list[str]] = []
    for number, side in enumerate(sides):
        for i, layer in enumerate(side["layers"]):
            if layer["mark"] == "same" or (number and layer["partner"] is not None):
                continue
            told = f"only in {names[number]}" if layer["mark"] == "only" else layer["mark"]
            told = "in training alone" if told == "training" else told
            differing = [f"{mark} {text.strip()}" for mark, text in layer.get("lines", []) if mark != " "]
            button = element("button", layer["name"] or "(no name)", type="button", data_layer=i, data_side=number)
            rows.append([button, layer["type"], told, "\n".join(differing)])
    return rows


def _told(sides: list[dict[str, Any]], names: list[str]) -> str:
    marks = [[layer["mark"] for layer in side["layers"]] for side in sides]
    parts = [f"{len(one)} layers in {name}" for one, name in zip(marks, names, strict=True)]
    parts += [f"{one.count('only')} only in {name}" for one, name in zip(marks, names, strict=True)]
    changed, training = (marks[0].count(mark) for mark in ("changed", "training"))
    return ", ".join([*parts, f"{changed} with other settings, {training} with others in training alone"])


def _controls() -> Markup:
    search = element("input", type="search", id="search", placeholder="search a layer or a type", aria_label="search")
    count = element("span", id="count", class_="soft", role="status")
    buttons = [
        element("button", text, type="button", id=name, title=label, aria_label=label)
        for name, text, label in (
            ("next", "next difference", "go to the next layer that differs"),
            ("in", "+", "zoom in"),
            ("out", "−", "zoom out"),
            ("whole", "whole", "show the whole nets"),
            ("width", "width", "show them as wide as there is room"),
        )
    ]
    return element("div", search, count, *buttons, class_="controls")
