"""Elements of a page. All text is escaped: names come from files of anyone's."""

from html import escape

#: Elements that have no end.
_VOID = frozenset({"br", "hr", "img", "input", "meta"})
#: Characters that turn the direction of the text behind them, which is not the name's own.
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class Markup(str):
    """Text that is markup already; any other is escaped where it becomes part of an element."""

    __slots__ = ()


def element(kind: str, /, *children: str, **attributes: str | bool | float | None) -> Markup:
    """Return an element.

    Parameters
    ----------
    kind : str
        Its name, as "p".
    *children : str or Markup
    **attributes : str, bool, float or None
        ``class_`` stands for ``class`` and ``data_layer`` for ``data-layer``; True is an attribute without a value,
        False and None are none.
    """
    parts = [kind]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        parts.append(key if value is True else f'{key}="{escape(_plain(str(value)), quote=True)}"')
    start = f"<{' '.join(parts)}>"
    return Markup(start) if kind in _VOID else Markup(f"{start}{join(children)}</{kind}>")


def join(children: "tuple[str, ...] | list[str]") -> Markup:
    """Return several elements and texts, one after the other."""
    return Markup("".join(child if isinstance(child, Markup) else escape(_plain(child)) for child in children))


def _plain(text: str) -> str:
    """Return a text without what no page may hold: bytes of a name that were no UTF-8, characters that control."""
    readable = text.encode("utf-8", "replace").decode()
    return "".join("\ufffd" if c < " " and c not in "\n\t" or c in _TURNING else c for c in readable)


def table(head: list[str], rows: list[list[str]], numbers: frozenset[int] = frozenset(), **attributes: str) -> Markup:
    """Return a table that is sorted by a column when its head is clicked.

    Parameters
    ----------
    head : list of str
    rows : list of list of str or Markup
    numbers : frozenset of int
        The columns of numbers: they stand to the right, and are sorted by the number that a cell begins with.
    """
    kinds = ["number" if i in numbers else None for i in range(len(head))]
    titles = [
        element("th", element("button", text, type="button"), scope="col", class_=kind)
        for text, kind in zip(head, kinds, strict=True)
    ]
    lines = [
        element("tr", *[element("td", cell, class_=kind) for cell, kind in zip(row, kinds, strict=True)])
        for row in rows
    ]
    body = element("thead", element("tr", *titles)), element("tbody", *lines)
    return element("div", element("table", *body, class_="sortable", **attributes), class_="wide")
