"""Protobuf's text format, cut into tokens with their places."""

import re
from dataclasses import dataclass

from caffelite.errors import SchemaError

_TOKEN = re.compile(
    r"(?P<space>[ \t\r\n\f\v]+|\#[^\n]*)"
    r"|(?P<number>(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?[fF]?)(?![A-Za-z0-9_.]))"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<string>\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*')"
    r"|(?P<mark>[{}<>\[\]:;,\-./])"
)
_ESCAPE = re.compile(r"\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|(.))", re.DOTALL)
_PLAIN = {"n": b"\n", "t": b"\t", "r": b"\r", "a": b"\a", "b": b"\b", "f": b"\f", "v": b"\v"}


@dataclass(slots=True)
class Token:
    """A piece of text: ``kind`` is name, number, string, mark or end."""

    kind: str
    text: str
    line: int
    column: int
    start: int
    end: int

    def __str__(self) -> str:
        if self.kind == "end":
            return "the end of the file"
        return self.text if self.kind == "string" else f'"{self.text}"'


def tokens(text: str, filename: str) -> list[Token]:
    """Cut ``text`` into tokens, the last of kind ``end``; raise SchemaError where a character does not belong."""
    found = []
    position, line, line_start = 0, 1, 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        column = position - line_start + 1
        if match is None:
            what = "a string that is not closed on its line" if text[position] in "\"'" else repr(text[position])
            word = re.match(r"[\w.+]+", text[position:])
            if word and text[position] not in "\"'":
                what = f'"{word.group()[:40]}", which is neither a name nor a number'
            raise SchemaError(f"{filename}:{line}:{column}: found {what}")
        kind = str(match.lastgroup)
        if kind == "space":
            breaks = match.group().count("\n")
            if breaks:
                line += breaks
                line_start = position + match.group().rindex("\n") + 1
        else:
            found.append(Token(kind, match.group(), line, column, position, match.end()))
        position = match.end()
    found.append(Token("end", "", line, position - line_start + 1, position, position))
    return found


def unquoted(text: str) -> bytes:
    """Return the bytes that a quoted string stands for."""

    def replaced(match: re.Match[str]) -> str:
        octal, hexadecimal, plain = match.groups()
        if octal or hexadecimal:
            return chr(int(octal, 8) & 0xFF if octal else int(hexadecimal, 16))
        return _PLAIN.get(plain, plain.encode()).decode("latin-1")

    # Every byte is one character meanwhile, so that an escape can stand for a byte of a longer character.
    return _ESCAPE.sub(replaced, text[1:-1].encode().decode("latin-1")).encode("latin-1")
