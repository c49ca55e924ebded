"""Drawing a net: a page, SVG, PNG and PDF by Graphviz, Graphviz's own language, and Mermaid."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from caffelite.draw.amounts import totals_text
from caffelite.draw.boxes import Diagram, build
from caffelite.draw.colours import COLOURINGS, Colouring
from caffelite.draw.difference import difference_page
from caffelite.draw.dot import dot
from caffelite.draw.folding import folded, groups_of
from caffelite.draw.graphviz import fonts, render
from caffelite.draw.mermaid import mermaid
from caffelite.draw.net_page import net_page
from caffelite.draw.times import read_times
from caffelite.errors import Error
from caffelite.files import atomic_write
from caffelite.pages.page import write_page
from caffelite.schema.text import read_net
from caffelite.words import Shape, did_you_mean, quoted

_RENDERED = (".svg", ".png", ".pdf")


def draw(
    source: str | Path,
    output: str | Path,
    phase: str = "ALL",
    rankdir: str = "TB",
    allow_python: bool = False,
    inputs: Mapping[str, Shape] | None = None,
    *,
    stages: Sequence[str] | None = None,
    fold: bool = False,
    color: str = "kind",
    times: str | Path | None = None,
    weights: str | Path | None = None,
) -> str:
    """Draw a net to a file; the ending of its name says how.

    Parameters
    ----------
    source : path
        A prototxt.
    output : path
        ``.html`` (a page to look around in), ``.svg``, ``.png``, ``.pdf`` (by Graphviz), ``.dot``, ``.md`` (Mermaid).
    phase : str
        TRAIN, TEST or ALL; of a page, the one that is shown first.
    rankdir : str
        TB (down), BT, LR or RL.
    allow_python : bool, optional
        Whether Python layers may run the code that the net names, which tells the shapes behind them.
    inputs : mapping of str to tuple of int, optional
        Shapes of blobs, where the data is not there to tell them.
    stages : sequence of str, optional
        Those that rules are held against; by default layers are drawn in whatever stages they are.
    fold : bool, optional
        Whether blocks that are equal but for their names are drawn once. A page folds and unfolds them.
    color : str, optional
        What colours tell: ``kind``, ``time``, ``macs`` (multiply-adds) or ``phase``.
    times : path, optional
        What ``caffelite time --json`` wrote.
    weights : path, optional
        Weights, for a page.

    Returns
    -------
    str
        What was drawn, in words.

    Raises
    ------
    MissingExtraError
        Graphviz is needed, and neither PyGraphviz nor ``dot`` is installed.
    Error
        An ending that is not known; Graphviz failed; what ``inputs`` name is not there or does not fit; ``time``
        without times; a file of weights or times that is none.

    Warns
    -----
    UserWarning
        A PNG or PDF in which text is boxes, because the machine has no fonts.
    """
    target = Path(output)
    kind = target.suffix.lower()
    _check(kind, output, color, times, weights)
    document = read_net(source)
    colouring = Colouring(color, read_times(times, document) if times else {})
    if kind == ".html":
        text, told = net_page(
            document,
            phase,
            rankdir,
            allow_python,
            inputs or {},
            stages=stages,
            colouring=colouring,
            weights=weights,
            what=output,
        )
        content = text.encode()
    else:
        diagram = build(document, phase, allow_python, inputs, stages)
        if fold:
            groups = groups_of(diagram, document)
            diagram = folded(diagram, groups, range(len(groups))).diagram
        content, told = picture(diagram, kind[1:], rankdir, output, colouring), totals_text(diagram)
    with atomic_write(target) as temporary:
        temporary.write_bytes(content)
    return told


def draw_difference(
    first: str | Path,
    second: str | Path,
    output: str | Path,
    phase: str = "ALL",
    rankdir: str = "TB",
    allow_python: bool = False,
    inputs: Mapping[str, Shape] | None = None,
) -> str:
    """Draw two nets beside each other, with what differs, as a page.

    Parameters
    ----------
    first, second : path
        Prototxts.
    output : path
        ``.html``.
    phase, rankdir, allow_python, inputs
        As for :func:`draw`. A shape is given to each of the nets that has a blob of the name.

    Returns
    -------
    str
        What differs, in words.

    Raises
    ------
    MissingExtraError, Error
        As for :func:`draw`; a name in ``inputs`` that neither net has.
    """
    if Path(output).suffix.lower() != ".html":
        raise Error(f"{output}: two nets are drawn on a page, whose name ends in .html")
    nets = (read_net(first), read_net(second))
    blobs = dict.fromkeys(blob for net in nets for layer in net.message.layer for blob in layer.top)
    for name in inputs or {}:
        if name not in blobs:
            raise Error(
                f"a shape is given for the blob {quoted(name)}, which neither net has{did_you_mean(name, blobs)}"
            )
    text, told = difference_page(nets, phase, rankdir, allow_python, inputs or {}, output)
    write_page(output, text)
    return told


def _check(kind: str, output: str | Path, color: str, times: str | Path | None, weights: str | Path | None) -> None:
    if kind not in (*_RENDERED, ".dot", ".md", ".html"):
        raise Error(f"{output}: the name of a diagram ends in .html, .svg, .png, .pdf, .dot or .md")
    if color not in COLOURINGS:
        hint = did_you_mean(color, COLOURINGS)
        raise Error(f"the colours of a diagram tell kind, time, macs or phase, not {color!r}{hint}")
    if color == "time" and times is None:
        raise Error('colours that tell the time need what "caffelite time --json" wrote: --time run.json')
    if weights is not None and kind != ".html":
        raise Error(f"{output}: weights are shown on a page, a diagram whose name ends in .html")


def picture(diagram: Diagram, kind: str, rankdir: str, what: str | Path, colouring: Colouring | None = None) -> bytes:
    """Return a diagram as the content of a file.

    Parameters
    ----------
    diagram : Diagram
    kind : str
        ``"md"``, ``"dot"``, or a format that Graphviz draws.
    rankdir : str
    what : path
        What the file is called in errors and warnings: see :func:`draw`.
    colouring : Colouring, optional
        By default colours tell what layers are.
    """
    if kind == "md":
        return mermaid(diagram, rankdir, colouring).encode()
    language = dot(diagram, rankdir, colouring).encode()
    if kind == "dot":
        return language
    content = render(language, kind, what)
    if kind in ("png", "pdf") and not fonts():
        warnings.warn(
            f"{what}: its text is boxes, because this machine has no fonts (Debian, Ubuntu: apt install "
            "fonts-dejavu-core); an .svg needs none",
            stacklevel=3,
        )
    return content
