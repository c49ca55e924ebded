"""Reading prototxt files: text to message, with the place of everything that was said."""

import difflib
import math
import warnings
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar

from google.protobuf.descriptor import FieldDescriptor as Field

from caffelite.errors import SchemaError
from caffelite.schema import messages
from caffelite.schema.lexer import Token, tokens, unquoted
from caffelite.schema.names import slip_of

#: A place in a message: field names, each with its index: ``("layer", 3, "bottom", 0)``.
Path_ = tuple[str | int, ...]

#: Far more than any net needs; a message and its places take some fifty times this.
_LARGEST_FILE = 16 << 20
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


_Message = TypeVar("_Message", bound=messages.Message)


class SchemaWarning(UserWarning):
    """Something in a file that caffelite does not know and leaves as it is."""


@dataclass(slots=True)
class Document(Generic[_Message]):
    """A message and where each part of it stands in its file.

    Attributes
    ----------
    message : protobuf message
    filename : str
        As given; for a message made in Python, what it is called in errors.
    places : dict
        Line and column of every value that was written.
    unknown : dict
        The text of fields that no schema has, by the message they stand in.
    """

    message: _Message
    filename: str
    places: dict[Path_, tuple[int, int]] = field(default_factory=dict)
    unknown: dict[Path_, list[str]] = field(default_factory=dict)

    def place_of(self, path: Path_) -> str:
        """Return ``file:line:column`` of a value, or of the nearest message around it."""
        while path and path not in self.places:
            path = path[:-2]
        if path not in self.places:
            return self.filename
        line, column = self.places[path]
        return f"{self.filename}:{line}:{column}"

    def setting(self, name: str, index: int | None = None) -> str:
        """Return the place of a field of the outermost message."""
        return self.place_of((name, index or 0))


@dataclass(slots=True)
class NetDocument(Document[messages.NetParameter]):
    """A net, upgraded to the present form.

    Attributes
    ----------
    origins : list
        For each layer of the message, where it came from in the file.
    """

    origins: list[Path_] = field(default_factory=list)

    def place(self, layer: int, setting: str | None = None, index: int | None = None) -> str:
        """Return ``file:line:column`` of a layer, or of the ``index``-th value of one of its settings.

        The setting is looked for in the layer itself, then in the messages in it.
        """
        origin = self.origins[layer] if layer < len(self.origins) else ("layer", layer)
        if setting is not None:
            tail = (setting, index or 0)
            if (*origin, *tail) in self.places:
                return self.place_of((*origin, *tail))
            inside = [p for p in self.places if p[: len(origin)] == origin and p[-2:] == tail]
            if inside:
                return self.place_of(min(inside, key=len))
        return self.place_of(origin)


class _Parser:
    def __init__(self, text: str, filename: str) -> None:
        self.text = text
        self.filename = filename
        self.tokens = tokens(text, filename)
        self.next = next(self.tokens)
        self.end = 0  # of the token that was taken last
        self.places: dict[Path_, tuple[int, int]] = {}
        self.unknown: dict[Path_, list[str]] = {}

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

    def message(self, message: messages.Message, path: Path_, close: str | None, depth: int = 0) -> None:
        if depth > _DEEPEST:
            self.fail(self.next, f"messages are nested more than {_DEEPEST} deep")
        while True:
            token = self.next
            if close is not None and self.accept(close):
                return
            if token.kind == "end" and close is None:
                return
            if token.kind != "name":
                wanted = f'a field name or "{close}"' if close else "a field name"
                self.fail(token, f"found {token}, expected {wanted}")
            self.field(message, path, depth)

    def field(self, message: messages.Message, path: Path_, depth: int) -> None:
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

    def value(self, message: messages.Message, descriptor: Any, name: Token, path: Path_, depth: int) -> None:
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
        wanted = _wanted(descriptor)
        if token.kind not in ("name", "number"):
            self.fail(first, f'"{descriptor.name}" is {token}, expected {wanted}')
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
                self.fail(first, f'"{descriptor.name}" is {token}, expected {wanted}')
            value = -value if minus else value
            if not low <= value <= high:
                self.fail(first, f'"{descriptor.name}" is {value}, expected {wanted} from {low} to {high}')
            return value
        if kind in (Field.CPPTYPE_FLOAT, Field.CPPTYPE_DOUBLE):
            number = _float(token)
            if number is not None:
                return -number if minus else number
        self.fail(first, f'"{descriptor.name}" is {"minus " if minus else ""}{token}, expected {wanted}')

    def enum(self, descriptor: Any, token: Token) -> int:
        values = descriptor.enum_type.values_by_name
        if token.text in values:
            return int(values[token.text].number)
        if token.kind == "number" and token.text.isdigit():
            if int(token.text) in descriptor.enum_type.values_by_number:
                return int(token.text)
        near = difflib.get_close_matches(token.text.upper(), values, n=1, cutoff=0.5)
        known = f'did you mean "{near[0]}"?' if near else f"it can be {', '.join(values)}"
        self.fail(token, f'"{descriptor.name}" has no value {token}; {known}')

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
            return joined.decode()
        except UnicodeDecodeError:
            self.fail(token, f'"{descriptor.name}" is not valid UTF-8')

    def unknown_field(self, token: Token, message: messages.Message, path: Path_) -> None:
        known = message.DESCRIPTOR.fields_by_name
        slip = slip_of(token.text, known)
        kind = message.DESCRIPTOR.name
        if slip is not None:
            self.fail(token, f'{kind} has no field "{token.text}"; did you mean "{slip}"?')
        self.leave(token, self.accept(":"), path, f'{kind} has no field "{token.text}"; it')

    def leave(self, name: Token, colon: bool, path: Path_, what: str) -> None:
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


def _wanted(descriptor: Any) -> str:
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
    parser = _Parser(text.removeprefix("\ufeff"), filename)
    message = message_class()
    parser.message(message, (), None)
    return Document(message, filename, parser.places, parser.unknown)


def read_text(path: str | Path) -> str:
    """Return the text of a prototxt file; raise SchemaError where it cannot be one."""
    file = Path(path)
    try:
        with file.open("rb") as stream:
            content = stream.read(_LARGEST_FILE + 1)
        if len(content) > _LARGEST_FILE:
            raise SchemaError(f"{path}: more than {_LARGEST_FILE >> 20} MB, which no prototxt has")
        return content.decode()
    except UnicodeDecodeError as error:
        raise SchemaError(
            f"{path}: not a text file (byte {error.start} is not UTF-8); weights are given with --weights"
        ) from None
    except OSError as error:
        near = difflib.get_close_matches(file.name, _siblings(file), n=1)
        hint = f'; did you mean "{file.parent / near[0]}"?' if near and not file.exists() else ""
        raise SchemaError(f"{path}: {error.strerror}{hint}") from None


def _siblings(file: Path) -> list[str]:
    try:
        return [entry.name for entry in file.parent.iterdir() if not entry.name.startswith(".")]
    except OSError:
        return []


def net_from_text(text: str, filename: str = "<string>") -> NetDocument:
    """Read a net from text and upgrade it."""
    from caffelite.schema.upgrade import upgrade_net

    return upgrade_net(parse_text(text, messages.NetParameter, filename))


def read_net(path: str | Path) -> NetDocument:
    """Read a net from a file and upgrade it to the present form."""
    return net_from_text(read_text(path), str(path))


def net_from_message(message: messages.NetParameter, filename: str = "net") -> NetDocument:
    """Take a net made in Python; a copy is upgraded."""
    from caffelite.schema.upgrade import upgrade_net

    copy = messages.NetParameter()
    copy.CopyFrom(message)
    return upgrade_net(Document(copy, filename))


def read_solver(path: str | Path) -> Document[messages.SolverParameter]:
    """Read a solver from a file and upgrade it."""
    from caffelite.schema.upgrade import upgrade_solver

    return upgrade_solver(parse_text(read_text(path), messages.SolverParameter, str(path)))


def is_net(path: str | Path) -> bool:
    """Whether a file holds a net rather than a solver: what its first fields are."""
    names = {"layer", "layers", "input", "input_dim", "input_shape", "name", "force_backward", "state"}
    depth = 0
    found: set[str] = set()
    for token, after in pairwise(tokens(read_text(path).removeprefix("\ufeff"), str(path))):
        if token.kind == "mark":
            depth += (token.text in "{<") - (token.text in "}>")
        elif depth == 0 and token.kind == "name" and after.text in (":", "{", "<"):
            found.add(token.text)
    return bool(found & {"layer", "layers"}) or (bool(found) and found <= names)
