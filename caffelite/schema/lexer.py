"""Protobuf's text format, cut into tokens.

Time and memory are linear in the length of the text, whatever it holds: no pattern has two ways to match the same
characters, and where one repeats a group it is possessive (``*+``), so that ``re`` does not remember every round.
"""

import re
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from caffelite.errors import SchemaError

#: A string in quotes, on one line.
STRING = r"""(?:"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"|'[^'\\\n]*+(?:\\.[^'\\\n]*+)*+')"""
_TOKEN = re.compile(
    r"(?P<space>[ \t\r\n\f\v]+|\#[^\n]*)"
    r"|(?P<number>(?:0[xX][0-9a-fA-F]+|(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?[fF]?)(?![A-Za-z0-9_.]))"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    rf"|(?P<string>{STRING})"
    r"|(?P<mark>[{}<>\[\]:;,\-./])"
    r"|(?P<other>.)",
    re.ASCII,
)
_WORD = re.compile(r"[\w.+]+")
_ESCAPE = re.compile(
    r"\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|U(00[01][0-9a-fA-F]{5})|(.))", re.DOTALL
)
_PLAIN = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"} | {c: c for c in "\\'\"?"}
#: What of a token an error shows.
_SHOWN = 60


class Token(NamedTuple):
    """A piece of text, and where it begins: ``kind`` is name, number, string, mark or end."""

    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        """Where the text goes on behind it."""
        return self.start + len(self.text)

    def __str__(self) -> str:
        if self.kind == "end":
            return "the end of the file"
        text = self.text if len(self.text) <= _SHOWN else f"{self.text[:_SHOWN]}…"
        return text if self.kind == "string" else f'"{text}"'


#: Makes a token in a third of the time that calling the class takes.
_token = partial(tuple.__new__, Token)


def line_and_column(text: str, position: int) -> tuple[int, int]:
    """Return the line and the column of a place in a text, from 1 on."""
    return text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position)


def tokens(text: str, filename: str, start: int = 0) -> Iterator[Token]:
    """Cut ``text`` from ``start`` on into tokens, the last of kind ``end``.

    Raises
    ------
    SchemaError
        A character does not belong where it stands.
    """
    for match in _TOKEN.finditer(text, start):
        kind = match.lastgroup
        if kind == "other":
            line, column = line_and_column(text, match.start())
            raise SchemaError(f"{filename}:{line}:{column}: found {_what(text, match.start())}")
        if kind != "space":
            yield _token((kind, match.group(), match.start()))
    yield Token("end", "", len(text))


def _what(text: str, position: int) -> str:
    """Say what stands where no token is."""
    if text[position] in "\"'":
        return "a string that is not closed on its line"
    word = _WORD.match(text, position)
    return f'"{word.group()[:40]}", which is neither a name nor a number' if word else repr(text[position])


def unquoted(text: str) -> bytes:
    """Return the bytes that a quoted string stands for; raise ValueError, in words, for an escape that is none."""

    def replaced(match: re.Match[str]) -> str:
        octal, hexadecimal, short, long, plain = match.groups()
        if octal or hexadecimal:
            return chr(int(octal, 8) & 0xFF if octal else int(hexadecimal, 16))
        if short or long:
            code = int(short or long, 16)
            if 0xD800 <= code < 0xE000 or code > 0x10FFFF:
                raise ValueError(f"the escape {match.group()}, which stands for no character")
            return chr(code).encode().decode("latin-1")
        if plain not in _PLAIN:
            # A path of Windows, most often; reading it without the backslash would name another file.
            raise ValueError(f"the unknown escape \\{plain}; a backslash is written \\\\, and a path can have /")
        return _PLAIN[plain]

    if "\\" not in text:
        return text[1:-1].encode()
    # Every byte is one character meanwhile, so that an escape can stand for a byte of a longer character.
    return _ESCAPE.sub(replaced, text[1:-1].encode().decode("latin-1")).encode("latin-1")
