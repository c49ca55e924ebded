"""Where each part of a message stands in its file: looked up in the text when something is to be said of it."""

import re
from array import array
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TypeAlias

from caffelite.schema.lexer import Token, tokens

#: A place in a message: field names, each with its index: ``("layer", 3, "bottom", 0)``.
FieldPath: TypeAlias = tuple[str | int, ...]
#: Messages whose fields are remembered. The outermost one is among them while its parts are looked for.
_REMEMBERED = 8


@dataclass(slots=True)
class _Values:
    """The values of one field of a message: where its name stands, and where the content of a message begins."""

    starts: "array[int]" = field(default_factory=lambda: array("I"))
    bodies: "array[int]" = field(default_factory=lambda: array("I"))


_Index: TypeAlias = dict[str, _Values]


@dataclass(slots=True)
class Places:
    """The places of the values of a message.

    Attributes
    ----------
    text : str
        What was read; it has been found to be in order.
    body : int
        Where in it the content of the message begins.
    """

    text: str = ""
    body: int = 0
    _indices: dict[int, _Index] = field(default_factory=dict, compare=False, repr=False)
    _lines: "array[int]" = field(default_factory=lambda: array("I"), compare=False, repr=False)

    def nearest(self, path: FieldPath) -> tuple[int, int] | None:
        """Return line and column of a value or else of the nearest message around it; None where neither stands."""
        start = self._walk(path)[0]
        return None if start is None else self._line_and_column(start)

    def within(self, path: FieldPath, name: str, index: int) -> tuple[int, int] | None:
        """Return line and column of a field of a message, or else of the messages in it, the outer ones first."""
        _, body, length = self._walk(path)
        level = [body] if body and length == len(path) else []
        while level:
            for one in level:
                values = self._index(one).get(name)
                if values is not None and index < len(values.starts):
                    return self._line_and_column(values.starts[index])
            level = [inner for one in level for values in self._index(one).values() for inner in values.bodies if inner]
        return None

    def below(self, path: FieldPath) -> "Places":
        """Return the places of a message inside this one, with the paths that it has for itself."""
        _, body, length = self._walk(path)
        return Places(self.text, body) if length == len(path) else Places()

    def _line_and_column(self, position: int) -> tuple[int, int]:
        """As :func:`.lexer.line_and_column`, for more than a few places of one text."""
        if not self._lines:
            self._lines.append(0)
            self._lines.extend(match.end() for match in re.finditer("\n", self.text))
        line = bisect_right(self._lines, position)
        return line, position - self._lines[line - 1] + 1

    def _walk(self, path: FieldPath) -> tuple[int | None, int, int]:
        """Follow a path; return where the last part found of it stands, where its content begins, and its length."""
        start, body = None, self.body
        for i in range(0, len(path), 2):
            values = self._index(body).get(str(path[i])) if body or not i else None
            index = int(path[i + 1])
            if values is None or index >= len(values.starts):
                return start, body, i
            start, body = values.starts[index], values.bodies[index]
        return start, body, len(path)

    def _index(self, body: int) -> _Index:
        """Return where the values of the message are whose content begins here."""
        index = self._indices.pop(body, None)
        if index is None:
            index = _index(self.text, body)
            if len(self._indices) == _REMEMBERED:
                del self._indices[next(iter(self._indices))]
        self._indices[body] = index  # The last one used is the last one to go.
        return index


def _index(text: str, body: int) -> _Index:
    index: _Index = {}
    name: Token | None = None  # of the field whose value comes
    before = ""  # the kind of the token before
    depth, in_list = 0, False
    for token in tokens(text, "", body):
        opens = token.kind == "mark" and token.text in "{<["
        closes = token.kind == "mark" and token.text in "}>]"
        if closes and not depth:
            break
        if not depth and before == "string" != token.kind:
            name = None  # Strings that follow each other are one value.
        if name is None:
            name = token if token.kind == "name" else None
        elif depth == in_list:
            is_scalar = token.kind in ("name", "number", "string") and not token.kind == before == "string"
            if is_scalar or (opens and token.text != "["):
                values = index.setdefault(name.text, _Values())
                values.starts.append(name.start)
                values.bodies.append(token.end if opens else 0)
        in_list = in_list or (opens and token.text == "[" and not depth)
        depth += opens - closes
        before = token.kind
        if not depth and (closes or token.kind in ("name", "number")) and token is not name:
            name, in_list = None, False
    return index
