"""The text format: text to message, with the place of everything that was said."""

import math
import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any, NoReturn, TypeVar

from google.protobuf.descriptor import FieldDescriptor as Field

from caffelite.errors import SchemaError
from caffelite.schema.documents import Document, FieldPath, SchemaWarning
from caffelite.schema.lexer import Token, tokens, unquoted
from caffelite.schema.messages import Message
from caffelite.schema.names import slips_of
from caffelite.words import close_names, did_you_mean

_DEEPEST = 50
_INTEGERS = {
    Field.CPPTYPE_INT32: (-(1 << 31), (1 << 31) - 1),
    Field.CPPTYPE_INT64: (-(1 << 63), (1 << 63) - 1),
    Field.CPPTYPE_UINT32: (0, (1 << 32) - 1),
    Field.CPPTYPE_UINT64: (0, (1 << 64) - 1),
}
#: What one fork takes several times: GPUs (yjxiong), sizes to draw from (eric612). One value counts here.
_SEVERAL_IN_A_FORK = {"caffe.SolverParameter.device_id", "caffe.TransformationParameter.resize_param"}
_TRUE, _FALSE = {"true", "True", "t", "1"}, {"false", "False", "f", "0"}


_Message = TypeVar("_Message", bound=Message)


class _Parser:
    def __init__(self, pieces: Iterator[Token], text: str, filename: str) -> None:
        self.tokens = pieces
        self.text = text
        self.filename = filename
        self.next = next(self.tokens)
        self.end = 0  # of the token that was taken last
        self.places: dict[FieldPath, tuple[int, int]] = {}
        self.unknown: dict[FieldPath, list[str]] = {}

    def take(self) -> Token:
        token = self.next
        if token.kind != "end":
            self.end = token.end
            self.next = next(self.tokens)
        return token

    def accept(self, *marks: str) -> bool:
        if self.next.kind == "mark" and self.next.text in marks:
            self.take()
            return True
        return False

    def fail(self, token: Token, text: str) -> NoReturn:
        raise SchemaError(f"{self.filename}:{token.line}:{token.column}: {text}")

    def message(self, message: Message, path: FieldPath, close: str | None, depth: int = 0) -> None:
        if depth > _DEEPEST:
            self.fail(self.next, f"messages are nested more than {_DEEPEST} deep")
        while True:
            token = self.next
            if close is not None and self.accept(close):
                return
            if token.kind == "end" and close is None:
                return
            if token.kind != "name":
                expected = f'a field name or "{close}"' if close else "a field name"
                self.fail(token, f"found {token}, expected {expected}")
            self.field(message, path, depth)

    def field(self, message: Message, path: FieldPath, depth: int) -> None:
        token = self.take()
        descriptor = message.DESCRIPTOR.fields_by_name.get(token.text)
        if descriptor is None:
            self.unknown_field(token, message, path)
            return
        colon = self.accept(":")
        if descriptor.full_name in _SEVERAL_IN_A_FORK and (
            self.next.text == "[" or (*path, token.text, 0) in self.places
        ):
            self.leave(token, colon, path, f'"{token.text}" takes one value; this')
            return
        is_message = descriptor.cpp_type == Field.CPPTYPE_MESSAGE
        if not colon and not (is_message and self.next.text in ("{", "<", "[")):
            self.fail(
                self.next, f'found {self.next}, expected ":" after "{token.text}"' + (' or "{"' if is_message else "")
            )
        if self.accept("["):
            if not is_repeated(descriptor):
                self.fail(token, f'"{token.text}" takes one value, not a list')
            while not self.accept("]"):
                self.value(message, descriptor, token, path, depth)
                if not self.accept(",") and self.next.text != "]":
                    self.fail(self.next, f'found {self.next}, expected "," or "]"')
        else:
            self.value(message, descriptor, token, path, depth)
        self.accept(",", ";")

    def value(self, message: Message, descriptor: Any, name: Token, path: FieldPath, depth: int) -> None:
        index = 0
        if is_repeated(descriptor):
            index = len(getattr(message, name.text))
        elif (*path, name.text, 0) in self.places:
            line, _ = self.places[(*path, name.text, 0)]
            self.fail(name, f'"{name.text}" is given a second time; the first is in line {line}')
        here = (*path, name.text, index)
        self.places[here] = (name.line, name.column)
        if descriptor.cpp_type == Field.CPPTYPE_MESSAGE:
            opening = self.take()
            if opening.text not in ("{", "<"):
                self.fail(opening, f'found {opening}, expected "{{" after "{name.text}"')
            if is_repeated(descriptor):
                child = getattr(message, name.text).add()
            else:
                child = getattr(message, name.text)
                child.SetInParent()
            self.message(child, here, "}" if opening.text == "{" else ">", depth + 1)
            if not child.IsInitialized():
                self.fail(name, f'"{name.text}" needs "{child.FindInitializationErrors()[0]}"')
            return
        value = self.scalar(descriptor)
        if is_repeated(descriptor):
            getattr(message, name.text).append(value)
        else:
            setattr(message, name.text, value)

    def scalar(self, descriptor: Any) -> Any:
        kind = descriptor.cpp_type
        if kind == Field.CPPTYPE_STRING:
            return self.string(descriptor)
        first = self.take()
        minus = first.text == "-"
        token = self.take() if minus else first
        expected = _expected(descriptor)
        if token.kind not in ("name", "number"):
            self.fail(first, f'"{descriptor.name}" is {token}, expected {expected}')
        if kind == Field.CPPTYPE_ENUM and not minus:
            return self.enum(descriptor, token)
        if kind == Field.CPPTYPE_BOOL and not minus and token.text in _TRUE | _FALSE:
            return token.text in _TRUE
        if kind in _INTEGERS and token.kind == "number":
            low, high = _INTEGERS[kind]
            try:
                digits = token.text
                value = int(digits, 8 if digits[0] == "0" and digits.isdigit() and len(digits) > 1 else 0)
            except ValueError:
                self.fail(first, f'"{descriptor.name}" is {token}, expected {expected}')
            value = -value if minus else value
            if not low <= value <= high:
                self.fail(first, f'"{descriptor.name}" is {value}, expected {expected} from {low} to {high}')
            return value
        if kind in (Field.CPPTYPE_FLOAT, Field.CPPTYPE_DOUBLE):
            number = _float(token)
            if number is not None:
                return -number if minus else number
        self.fail(first, f'"{descriptor.name}" is {"minus " if minus else ""}{token}, expected {expected}')

    def enum(self, descriptor: Any, token: Token) -> int:
        values = descriptor.enum_type.values_by_name
        if token.text in values:
            return int(values[token.text].number)
        if token.kind == "number" and token.text.isdigit():
            if int(token.text) in descriptor.enum_type.values_by_number:
                return int(token.text)
        # Most are short.
        find = partial(close_names, cutoff=0.5)
        hint = did_you_mean(token.text.upper(), values, f"it can be {', '.join(values)}", find=find)
        self.fail(token, f'"{descriptor.name}" has no value {token}{hint}')

    def string(self, descriptor: Any) -> str | bytes:
        token = self.next
        parts = []
        while self.next.kind == "string":
            try:
                parts.append(unquoted(self.next.text))
            except ValueError as error:
                self.fail(self.next, f'"{descriptor.name}" has {error}')
            self.take()
        if not parts:
            self.fail(token, f'"{descriptor.name}" is {token}, expected text in quotes')
        joined = b"".join(parts)
        if descriptor.type == Field.TYPE_BYTES:
            return joined
        try:
            text = joined.decode()
        except UnicodeDecodeError:
            self.fail(token, f'"{descriptor.name}" is not valid UTF-8')
        if "\0" in text:  # the system opens no file of such a name
            self.fail(token, f'"{descriptor.name}" has a character 0 in it, which no name has')
        return text

    def unknown_field(self, token: Token, message: Message, path: FieldPath) -> None:
        what = f'{message.DESCRIPTOR.name} has no field "{token.text}"'
        hint = did_you_mean(token.text, message.DESCRIPTOR.fields_by_name, find=slips_of)
        if hint:
            self.fail(token, f"{what}{hint}")
        self.leave(token, self.accept(":"), path, f"{what}; it")

    def leave(self, name: Token, colon: bool, path: FieldPath, what: str) -> None:
        """Pass over a value, keep its text and say so."""
        self.skip_value(name, colon)
        text = self.text[name.start : self.end]
        self.unknown.setdefault(path, []).append(text)
        self.accept(",", ";")
        warnings.warn(
            f"{self.filename}:{name.line}:{name.column}: {what} is left as it is", SchemaWarning, stacklevel=2
        )

    def skip_value(self, name: Token, colon: bool) -> None:
        if self.accept("{", "<", "["):
            open_marks = 1
            while open_marks:
                token = self.take()
                if token.kind == "end":
                    self.fail(name, f'"{name.text}" is not closed before the end of the file')
                if token.kind == "mark":
                    open_marks += (token.text in "{<[") - (token.text in "}>]")
            return
        if not colon:
            self.fail(self.next, f'found {self.next}, expected ":" or "{{" after "{name.text}"')
        self.accept("-")
        token = self.take()
        if token.kind not in ("name", "number", "string"):
            self.fail(token, f'found {token}, expected a value of "{name.text}"')
        while token.kind == "string" and self.next.kind == "string":
            self.take()


def is_repeated(descriptor: Any) -> bool:
    """Whether a field can be given several times (the name of this fact changed between protobuf versions)."""
    return bool(descriptor.is_repeated if hasattr(descriptor, "is_repeated") else descriptor.label == 3)


def _float(token: Token) -> float | None:
    if token.kind == "name":
        return {"inf": math.inf, "infinity": math.inf, "nan": math.nan}.get(token.text.lower())
    text = token.text.lower()
    return None if text.startswith("0x") else float(text.rstrip("f"))


def _expected(descriptor: Any) -> str:
    if descriptor.cpp_type in _INTEGERS:
        return "a whole number"
    return {Field.CPPTYPE_BOOL: "true or false", Field.CPPTYPE_ENUM: "a name"}.get(descriptor.cpp_type, "a number")


def parse_text(text: str, message_class: type[_Message], filename: str = "<string>") -> Document[_Message]:
    """Read a message in text format.

    Parameters
    ----------
    text : str
    message_class : class
        Of ``caffelite.schema.messages``.
    filename : str
        For messages.

    Raises
    ------
    SchemaError
        With file, line and column. A field that nothing knows is a :class:`SchemaWarning` and is kept.
    """
    text = text.removeprefix("\ufeff")
    return parse_tokens(tokens(text, filename), text, message_class, filename)


def parse_tokens(
    pieces: Iterator[Token], text: str, message_class: type[_Message], filename: str
) -> Document[_Message]:
    """Read a message from the tokens of ``text``; see :func:`parse_text`."""
    parser = _Parser(pieces, text, filename)
    message = message_class()
    parser.message(message, (), None)
    return Document(message, filename, parser.places, parser.unknown)
