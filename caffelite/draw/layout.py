"""Where the boxes and arrows of a diagram stand on a page: Graphviz's layout of boxes whose sizes are ours.

Sizes do not depend on the fonts of the machine that writes the page, but on how wide letters are in any.
"""

import json
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caffelite.draw.boxes import Box, BoxRow, Diagram, Edge
from caffelite.draw.dot import edge_words, facts_of
from caffelite.draw.graphviz import render
from caffelite.words import shortened

#: Heights of lines of text and around them, widths of letters as parts of the size of a font, all in pixels.
LINE, SMALL_LINE, PADDING = 15, 12, 4
_FONT, _SMALL_FONT, _LETTER, _WIDE = 11, 9, 0.62, 1.05
#: Letters of a line in a box; the panel has all of them.
_MOST_LETTERS = 44
_FRAME_LABEL = 16


@dataclass(frozen=True, slots=True)
class TextRow:
    """A layer as its box shows it.

    Attributes
    ----------
    name, type : str
    phases : str
    lines : list of str
        What is told of it.
    height : int
        In pixels.
    """

    name: str
    type: str
    phases: str
    lines: list[str]
    height: int


def text_row(row: BoxRow) -> TextRow:
    """Return what stands in a box of a layer."""
    lines = [shortened(text, _MOST_LETTERS) for text in (*row.settings, *facts_of(row))]
    height = 2 * PADDING + LINE + SMALL_LINE * len(lines)
    return TextRow(shortened(row.name, _MOST_LETTERS), shortened(row.type, _MOST_LETTERS), row.phases, lines, height)


def size_of(box: Box) -> tuple[int, int]:
    """Return width and height of a box in pixels."""
    rows = [text_row(row) for row in box.rows]
    widths = [_width(f"{row.name}  {row.type}  {row.phases}", _FONT) for row in rows]
    widths += [_width(line, _SMALL_FONT) for row in rows for line in row.lines]
    return round(max(widths)) + 4 * PADDING, sum(row.height for row in rows)


def _width(text: str, font: int) -> float:
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return font * (_LETTER * (len(text) - wide) + _WIDE * wide)


def edge_text(diagram: Diagram, edge: Edge) -> str:
    """Return what stands beside an arrow."""
    return "  ".join(shortened(word, _MOST_LETTERS) for word in edge_words(diagram, edge))


def layout(diagram: Diagram, rankdir: str, what: str | Path) -> dict[str, Any]:
    """Return where boxes and arrows stand, in pixels from the upper left corner.

    Parameters
    ----------
    diagram : Diagram
    rankdir : str
    what : path
        What the page is called in errors: see :func:`caffelite.draw.diagram.draw`.

    Returns
    -------
    dict
        ``width``, ``height``; ``boxes``: the middle of each; ``edges``: for each the path, as SVG has it, and where its
        text stands; ``frames``: left, top, right, bottom of each.
    """
    placed = json.loads(render(_language(diagram, rankdir).encode(), "json0", what))
    _, _, width, height = _numbers(placed["bb"])
    objects = {one["name"]: one for one in placed.get("objects", ())}

    def flipped(numbers: list[float]) -> list[int]:
        return [round(height - n if i % 2 else n) for i, n in enumerate(numbers)]

    edges = sorted(placed.get("edges", ()), key=lambda one: int(one["id"]))
    corners = [flipped(_numbers(objects[f"cluster_{frame.group}"]["bb"])) for frame in diagram.frames]
    return {
        "width": round(width),
        "height": round(height),
        "boxes": [flipped(_numbers(objects[f"b{i}"]["pos"])) for i in range(len(diagram.boxes))],
        "edges": [_path(one["pos"], flipped) + flipped(_numbers(one.get("lp", ""))) for one in edges],
        "frames": [[left, top, right, bottom] for left, bottom, right, top in corners],
    }


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.replace(",", " ").split()]


def _path(position: str, flipped: Any) -> list[Any]:
    """Return an arrow's path: the points of its curves, and where its head ends."""
    ends = [part[2:] for part in position.split() if part.startswith("e,")]
    points = flipped(_numbers(" ".join(part for part in position.split() if part[1] != ",")))
    pairs = [f"{x},{y}" for x, y in zip(points[::2], points[1::2], strict=True)]
    end = "".join(f"L{x},{y}" for x, y in [flipped(_numbers(one)) for one in ends])
    return [f"M{pairs[0]}C{' '.join(pairs[1:])}{end}"]


def _language(diagram: Diagram, rankdir: str) -> str:
    """Return boxes and texts of these sizes, and nothing in them, in Graphviz's language."""
    lines = [
        f"digraph {{ graph [rankdir={rankdir}, nodesep=0.25, ranksep=0.3, dpi=72];",
        'node [shape=box, fixedsize=true, label=""]; edge [arrowsize=0.7];',
    ]
    for i, box in enumerate(diagram.boxes):
        width, height = size_of(box)
        lines.append(f"b{i} [width={width / 72:.4f}, height={height / 72:.4f}];")
    for frame in diagram.frames:
        label = _room(_width(f"▸ {frame.label}", _FONT), _FRAME_LABEL)
        boxes = "; ".join(f"b{i}" for i in frame.boxes)
        lines.append(f"subgraph cluster_{frame.group} {{ graph [margin=10, label={label}]; {boxes}; }}")
    for i, edge in enumerate(diagram.edges):
        text = edge_text(diagram, edge)
        label = f", label={_room(_width(text, _SMALL_FONT), SMALL_LINE)}" if text else ""
        lines.append(f'b{edge.source} -> b{edge.target} [id="{i}"{label}];')
    return "\n".join([*lines, "}"])


def _room(width: float, height: int) -> str:
    size = f'width="{round(width) + 4}" height="{height}"'
    return f'<<table border="0" cellborder="0" fixedsize="true" {size}><tr><td></td></tr></table>>'
