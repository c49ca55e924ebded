"""A diagram as a Markdown page with a Mermaid chart."""

import html
import re

from caffelite.draw.amounts import totals_text
from caffelite.draw.boxes import BoxRow, Diagram
from caffelite.draw.colours import Colouring
from caffelite.draw.dot import facts_of
from caffelite.words import printable

_TEXT = "#1c2430"
#: What Mermaid reads as its own between quotes: entities, the text's end, an edge's end, code, directives, formulas.
_MERMAID = str.maketrans({"#": "#35;", '"': "#quot;", "|": "#124;", "`": "#96;", "%": "#37;", "$": "#36;"})


def mermaid(diagram: Diagram, rankdir: str = "TB", colouring: Colouring | None = None) -> str:
    """Return the diagram as a Markdown page with a Mermaid chart."""
    colours = (colouring or Colouring()).over(diagram)
    lines = [
        f"# {_markdown_text(diagram.title or 'net')}",
        "",
        totals_text(diagram),
        "",
        "```mermaid",
        f"flowchart {rankdir}",
    ]
    classes: dict[tuple[str, str], str] = {}
    boxes = []
    for i, box in enumerate(diagram.boxes):
        text = "<br/>".join(_mermaid_row(row, colours) for row in box.rows)
        # By kind, a class is called what it stands for.
        name = box.rows[0].kind if colours.by == "kind" else f"c{len(classes)}"
        boxes.append(f'  b{i}["{text}"]:::{classes.setdefault(colours.of(box.rows[0]), name)}')
    framed = {i: frame for frame in diagram.frames for i in frame.boxes}
    for i, line in enumerate(boxes):
        frame = framed.get(i)
        if frame is not None and i == frame.boxes.start:
            lines.append(f'  subgraph g{frame.group}["{_mermaid_text(frame.label)}"]')
        lines.append(line)
        if frame is not None and i + 1 == frame.boxes.stop:
            lines.append("  end")
    for edge in diagram.edges:
        words = " ".join(w for w in (edge.blob, edge.shape, edge.phases and f"({edge.phases})") if w)
        lines.append(f'  b{edge.source} {"-.->" if edge.phases else "-->"}|"{_mermaid_text(words)}"| b{edge.target}')
    for (fill, border), name in classes.items():
        lines.append(f"  classDef {name} fill:{fill},stroke:{border},color:{_TEXT}")
    return "\n".join([*lines, "```", ""])


def _mermaid_text(text: str) -> str:
    return html.escape(printable(text), quote=False).translate(_MERMAID)


def _markdown_text(text: str) -> str:
    """Return a text that means itself in a line of Markdown; ``_`` means something only at a word's edge."""
    line = html.escape(printable(text), quote=False)
    return re.sub(r"[\\`*\[\]#~|$]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", line)


def _mermaid_row(row: BoxRow, colours: Colouring) -> str:
    words = [
        f"<b>{_mermaid_text(row.name)}</b> {_mermaid_text(row.type)}" + (f" <i>{row.phases}</i>" if row.phases else "")
    ]
    told = (*row.settings, *facts_of(row), *colours.told(row))
    return "<br/>".join([*words, *[_mermaid_text(text) for text in told]])
