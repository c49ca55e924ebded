"""A diagram in Graphviz's language, as a picture has it."""

import html

from caffelite.draw.amounts import short_number, totals_lines
from caffelite.draw.boxes import Box, BoxRow, Diagram, Edge
from caffelite.draw.colours import Colouring
from caffelite.words import printable

_TEXT, _SOFT, _LINE = "#1c2430", "#4a5563", "#5b6572"


def dot(diagram: Diagram, rankdir: str = "TB", colouring: Colouring | None = None) -> str:
    """Return the diagram in Graphviz's language."""
    colours = (colouring or Colouring()).over(diagram)
    totals = "<br/>".join(map(html.escape, totals_lines(diagram)))
    lines = [
        "digraph net {",
        f'  graph [rankdir={rankdir}, bgcolor="white", fontname="Helvetica", fontsize=15, fontcolor="{_TEXT}", '
        f"nodesep=0.3, ranksep=0.35, labelloc=t, label=<<b>{_html_text(diagram.title or 'net')}</b>"
        f'<br/><font point-size="11" color="{_SOFT}">{totals}</font>>];',
        f'  node [shape=plain, fontname="Helvetica", fontsize=11, fontcolor="{_TEXT}"];',
        f'  edge [fontname="Helvetica", fontsize=9, fontcolor="{_SOFT}", color="{_LINE}", arrowsize=0.7];',
    ]
    for i, box in enumerate(diagram.boxes):
        lines.append(f"  b{i} [label=<{_table(box, colours)}>];")
    for frame in diagram.frames:
        lines.append(
            f'  subgraph cluster_{frame.group} {{ graph [label="{quoted_label(frame.label)}", style="rounded,dashed", '
            f'color="{_LINE}", fontsize=11, margin=12]; {"; ".join(f"b{i}" for i in frame.boxes)}; }}'
        )
    for edge in diagram.edges:
        words = "  ".join(quoted_label(word) for word in edge_words(diagram, edge))
        style = ", style=dashed" if edge.phases else ""
        lines.append(f'  b{edge.source} -> b{edge.target} [label="{words}"{style}];')
    lines.append("}")
    return "\n".join(lines) + "\n"


def edge_words(diagram: Diagram, edge: Edge) -> list[str]:
    """Return what is told of a blob: its name where that is not the layer's, its shape, its phase if that is one."""
    words = [edge.blob] if edge.blob != diagram.boxes[edge.source].rows[0].name else []
    words += [edge.shape] if edge.shape else []
    return words + ([f"({edge.phases})"] if edge.phases else [])


def facts_of(row: BoxRow) -> list[str]:
    """Return what is told of a layer's parameters."""
    facts = [f"{short_number(row.parameters)} parameters"] if row.parameters else []
    return facts + ([f"shares {', '.join(row.shared)}"] if row.shared else [])


def quoted_label(text: str) -> str:
    """Return a text as it stands between quotes, one line."""
    # Graphviz reads HTML's entities in any text.
    return printable(text).replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"')


def _html_text(text: str) -> str:
    return html.escape(printable(text))


def _table(box: Box, colours: Colouring) -> str:
    border = colours.of(box.rows[0])[1]
    rows = "".join(_html_row(row, i > 0, colours) for i, row in enumerate(box.rows))
    return f'<table border="1" cellborder="0" cellspacing="0" cellpadding="4" color="{border}">{rows}</table>'


def _html_row(row: BoxRow, in_place: bool, colours: Colouring) -> str:
    name = _html_text(row.name) if in_place else f"<b>{_html_text(row.name)}</b>"
    head = f'{name}  <font color="{_SOFT}">{_html_text(row.type)}</font>'
    lines = [head + (f"  <i>{row.phases}</i>" if row.phases else "")]
    small = '<font point-size="9" color="{}">{}</font>'
    lines += [small.format(_TEXT, _html_text(text)) for text in row.settings]
    lines += [small.format(_SOFT, _html_text(text)) for text in (*facts_of(row), *colours.told(row))]
    return f'<tr><td bgcolor="{colours.of(row)[0]}" align="center">{"<br/>".join(lines)}</td></tr>'
