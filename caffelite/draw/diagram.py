"""Drawing a net: SVG, PNG and PDF by Graphviz, Graphviz's own language, and Mermaid."""

import html
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path

from caffelite.draw import graphviz_process
from caffelite.draw.boxes import Box, BoxRow, Diagram, build, short_number
from caffelite.errors import Error, MissingExtraError
from caffelite.files import atomic_write
from caffelite.schema.text import read_net
from caffelite.words import Shape, printable

#: Background, border; dark text on them reads well, and boxes stand out on a light and on a dark page.
_COLOURS = {
    "data": ("#cfe3f7", "#3b73ad"),
    "weights": ("#ffe0b8", "#b86e14"),
    "pooling": ("#d9cff0", "#6a4fa3"),
    "normalization": ("#cdebd5", "#2f7d46"),
    "activation": ("#fff3b8", "#8f7a10"),
    "loss": ("#f9cdcd", "#a83838"),
    "measure": ("#e3e6ea", "#5b6572"),
    "other": ("#ffffff", "#5b6572"),
}
_TEXT, _SOFT, _LINE = "#1c2430", "#4a5563", "#5b6572"
_RENDERED = (".svg", ".png", ".pdf")
#: Two words that are equally wide only where each letter is a box with its number in it.
_WIDTHS = 'digraph { node [shape=plain, fontname="Helvetica"]; "iiii"; "WWWW"; }'
#: What Mermaid reads as its own between quotes: entities, the text's end, an edge's end, code, directives, formulas.
_MERMAID = str.maketrans({"#": "#35;", '"': "#quot;", "|": "#124;", "`": "#96;", "%": "#37;", "$": "#36;"})


def draw(
    source: str | Path,
    output: str | Path,
    phase: str = "ALL",
    rankdir: str = "TB",
    allow_python: bool = False,
    inputs: Mapping[str, Shape] | None = None,
) -> str:
    """Draw a net to a file; the ending of its name says how.

    Parameters
    ----------
    source : path
        A prototxt.
    output : path
        ``.svg``, ``.png``, ``.pdf`` (by Graphviz), ``.dot``, ``.md`` (Mermaid).
    phase : str
        TRAIN, TEST or ALL.
    rankdir : str
        TB (down), BT, LR or RL.
    allow_python : bool, optional
        Whether Python layers may run the code that the net names, which tells the shapes behind them.
    inputs : mapping of str to tuple of int, optional
        Shapes of blobs, where the data is not there to tell them.

    Returns
    -------
    str
        What was drawn, in words.

    Raises
    ------
    MissingExtraError
        Graphviz is needed, and neither PyGraphviz nor ``dot`` is installed.
    Error
        An ending that is not known; Graphviz failed; what ``inputs`` name is not there or does not fit.

    Warns
    -----
    UserWarning
        A PNG or PDF in which text is boxes, because the machine has no fonts.
    """
    target = Path(output)
    kind = target.suffix.lower()
    if kind not in (*_RENDERED, ".dot", ".md"):
        raise Error(f"{output}: the name of a diagram ends in .svg, .png, .pdf, .dot or .md")
    diagram = build(read_net(source), phase, allow_python, inputs)
    content = picture(diagram, kind[1:], rankdir, output)
    with atomic_write(target) as temporary:
        temporary.write_bytes(content)
    return _title(diagram)


def picture(diagram: Diagram, kind: str, rankdir: str, what: str | Path) -> bytes:
    """Return a diagram as the content of a file.

    Parameters
    ----------
    diagram : Diagram
    kind : str
        ``"md"``, ``"dot"``, or a format that Graphviz draws.
    rankdir : str
    what : path
        What the file is called in errors and warnings: see :func:`draw`.
    """
    if kind == "md":
        return mermaid(diagram, rankdir).encode()
    language = dot(diagram, rankdir).encode()
    if kind == "dot":
        return language
    content = _render(language, kind, what)
    if kind in ("png", "pdf") and not _fonts():
        warnings.warn(
            f"{what}: its text is boxes, because this machine has no fonts (Debian, Ubuntu: apt install "
            "fonts-dejavu-core); an .svg needs none",
            stacklevel=3,
        )
    return content


def _render(source: bytes, kind: str, output: str | Path) -> bytes:
    """Return what Graphviz makes of its language: PyGraphviz, which has it within, or the ``dot`` on the path."""
    settings = ["-Gdpi=110"] if kind == "png" else []
    # "-P": no module of the folder that the file lies in is taken for another.
    done = _run([sys.executable, "-P", graphviz_process.__file__, kind, *settings], source)
    if done.returncode == graphviz_process.NOT_INSTALLED:
        program = shutil.which("dot")
        if program is None:
            raise MissingExtraError(
                f"{output}: {kind.upper()} is drawn by Graphviz, which is not installed (pip install pygraphviz; "
                "Debian, Ubuntu: apt install graphviz; macOS: brew install graphviz); .md and .dot need nothing"
            )
        done = _run([program, f"-T{kind}", *settings], source)
    if done.returncode:
        raise Error(f"Graphviz failed: {done.stderr.decode(errors='replace').strip()[-200:]}")
    return done.stdout


def _run(command: list[str], source: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, input=source, capture_output=True, check=False)


def _fonts() -> bool:
    """Tell whether Graphviz has letters to draw with."""
    nodes = [line.split() for line in _render(_WIDTHS.encode(), "plain", "").decode().splitlines()]
    return len({words[4] for words in nodes if words[0] == "node"}) > 1


def _title(diagram: Diagram) -> str:
    parts = [f"{diagram.layers} layers"]
    if diagram.parameters is not None:
        parts.append(f"{short_number(diagram.parameters)} parameters")
    return ", ".join(parts)


def dot(diagram: Diagram, rankdir: str = "TB") -> str:
    """Return the diagram in Graphviz's language."""
    lines = [
        "digraph net {",
        f'  graph [rankdir={rankdir}, bgcolor="white", fontname="Helvetica", fontsize=15, fontcolor="{_TEXT}", '
        f"nodesep=0.3, ranksep=0.35, labelloc=t, label=<<b>{_html_text(diagram.title or 'net')}</b>"
        f'<br/><font point-size="11" color="{_SOFT}">{html.escape(_title(diagram))}</font>>];',
        f'  node [shape=plain, fontname="Helvetica", fontsize=11, fontcolor="{_TEXT}"];',
        f'  edge [fontname="Helvetica", fontsize=9, fontcolor="{_SOFT}", color="{_LINE}", arrowsize=0.7];',
    ]
    for i, box in enumerate(diagram.boxes):
        lines.append(f"  b{i} [label=<{_table(box)}>];")
    for edge in diagram.edges:
        first = diagram.boxes[edge.source].rows[0]
        words = [edge.blob] if edge.blob != first.name else []
        words += [edge.shape] if edge.shape else []
        words += [f"({edge.phases})"] if edge.phases else []
        style = ", style=dashed" if edge.phases else ""
        lines.append(f'  b{edge.source} -> b{edge.target} [label="{"  ".join(map(_quoted, words))}"{style}];')
    lines.append("}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    # Graphviz reads HTML's entities in any text.
    return printable(text).replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"')


def _html_text(text: str) -> str:
    return html.escape(printable(text))


def _table(box: Box) -> str:
    border = _COLOURS[box.rows[0].kind][1]
    rows = "".join(_html_row(row, i > 0) for i, row in enumerate(box.rows))
    return f'<table border="1" cellborder="0" cellspacing="0" cellpadding="4" color="{border}">{rows}</table>'


def _html_row(row: BoxRow, in_place: bool) -> str:
    fill = _COLOURS[row.kind][0]
    name = _html_text(row.name) if in_place else f"<b>{_html_text(row.name)}</b>"
    head = f'{name}  <font color="{_SOFT}">{_html_text(row.type)}</font>'
    lines = [head + (f"  <i>{row.phases}</i>" if row.phases else "")]
    small = '<font point-size="9" color="{}">{}</font>'
    lines += [small.format(_TEXT, _html_text(text)) for text in row.settings]
    lines += [small.format(_SOFT, _html_text(text)) for text in _facts(row)]
    return f'<tr><td bgcolor="{fill}" align="center">{"<br/>".join(lines)}</td></tr>'


def _facts(row: BoxRow) -> list[str]:
    facts = [f"{short_number(row.parameters)} parameters"] if row.parameters else []
    return facts + ([f"shares {', '.join(row.shared)}"] if row.shared else [])


def mermaid(diagram: Diagram, rankdir: str = "TB") -> str:
    """Return the diagram as a Markdown page with a Mermaid chart."""
    lines = [
        f"# {_markdown_text(diagram.title or 'net')}",
        "",
        _title(diagram),
        "",
        "```mermaid",
        f"flowchart {rankdir}",
    ]
    for i, box in enumerate(diagram.boxes):
        text = "<br/>".join(_mermaid_row(row) for row in box.rows)
        lines.append(f'  b{i}["{text}"]:::{box.rows[0].kind}')
    for edge in diagram.edges:
        words = " ".join(w for w in (edge.blob, edge.shape, edge.phases and f"({edge.phases})") if w)
        lines.append(f'  b{edge.source} {"-.->" if edge.phases else "-->"}|"{_mermaid_text(words)}"| b{edge.target}')
    used = {box.rows[0].kind for box in diagram.boxes}
    for kind, (fill, border) in _COLOURS.items():
        if kind in used:
            lines.append(f"  classDef {kind} fill:{fill},stroke:{border},color:{_TEXT}")
    return "\n".join([*lines, "```", ""])


def _mermaid_text(text: str) -> str:
    return html.escape(printable(text), quote=False).translate(_MERMAID)


def _markdown_text(text: str) -> str:
    """Return a text that means itself in a line of Markdown; ``_`` means something only at a word's edge."""
    line = html.escape(printable(text), quote=False)
    return re.sub(r"[\\`*\[\]#~|$]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", line)


def _mermaid_row(row: BoxRow) -> str:
    words = [
        f"<b>{_mermaid_text(row.name)}</b> {_mermaid_text(row.type)}" + (f" <i>{row.phases}</i>" if row.phases else "")
    ]
    return "<br/>".join([*words, *[_mermaid_text(text) for text in (*row.settings, *_facts(row))]])
