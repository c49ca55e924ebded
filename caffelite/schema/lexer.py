"""Protobuf's text format, cut into tokens with their places."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from caffelite.errors import SchemaError

_TOKEN = re.compile(
    r"(?P<space>[ \t\r\n\f\v]+|\#[^\n]*)"
    r"|(?P<number>(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?[fF]?)(?![A-Za-z0-9_.]))"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<string>\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*')"
    r"|(?P<mark>[{}<>\[\]:;,\-./])"
)
_ESCAPE = re.compile(
    r"\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|U(00[01][0-9a-fA-F]{5})|(.))", re.DOTALL
)
_PLAIN = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"} | {c: c for c in "\\'\"?"}
#: What of a token an error shows.
_SHOWN = 60


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
        text = self.text if len(self.text) <= _SHOWN else f"{self.text[:_SHOWN]}…"
        return text if self.kind == "string" else f'"{text}"'


def tokens(text: str, filename: str) -> Iterator[Token]:
    """Cut ``text`` into tokens, the last of kind ``end``; raise SchemaError where a character does not belong."""
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
            yield Token(kind, match.group(), line, column, position, match.end())
        position = match.end()
    yield Token("end", "", line, position - line_start + 1, position, position)


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

    # Every byte is one character meanwhile, so that an escape can stand for a byte of a longer character.
    return _ESCAPE.sub(replaced, text[1:-1].encode().decode("latin-1")).encode("latin-1")
