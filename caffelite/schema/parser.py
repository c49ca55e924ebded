"""The text format: text to message, with the place of everything that was said."""

import math
import re
import warnings
from functools import cache, partial
from typing import Any, NamedTuple, NoReturn, TypeVar

from google.protobuf.descriptor import FieldDescriptor

from caffelite.errors import SchemaError
from caffelite.schema.documents import Document, SchemaWarning
from caffelite.schema.lexer import Token, line_and_column, tokens, unquoted
from caffelite.schema.messages import Message
from caffelite.schema.names import slips_of
from caffelite.schema.places import FieldPath, Places
from caffelite.words import close_names, did_you_mean

#: Limits that no net of people's comes near, and that a file made to exhaust a machine does not get beyond: messages
#: inside each other, messages in one field, fields that nothing knows, and how many of those are told one by one.
_DEEPEST, _MOST_MESSAGES, _MOST_UNKNOWN, _MOST_TOLD = 50, 1 << 15, 1 << 15, 200
_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: (-(1 << 31), (1 << 31) - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(1 << 63), (1 << 63) - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, (1 << 32) - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, (1 << 64) - 1),
}
_OCTAL = re.compile("0[0-7]+")
#: More digits than any whole number of a prototxt has, in whatever base.
_LONGEST_INTEGER = 64
#: What one fork takes several times: GPUs (yjxiong), sizes to draw from (eric612). One value counts here.
_SEVERAL_IN_A_FORK = {"caffe.SolverParameter.device_id", "caffe.TransformationParameter.resize_param"}
_TRUE, _FALSE = {"true", "True", "t", "1"}, {"false", "False", "f", "0"}


_Message = TypeVar("_Message", bound=Message)


class _Field(NamedTuple):
    """What is asked of a field again and again."""

    name: str
    kind: int
    repeated: bool
    is_message: bool
    limits: tuple[int, int] | None
    several_in_a_fork: bool
    descriptor: Any


@cache
def _fields(message: Any) -> dict[str, _Field]:
    """Return the fields of a message, given its descriptor."""
    return {
        name: _Field(
            name,
            field.cpp_type,
            is_repeated(field),
            field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE,
            _INTEGERS.get(field.cpp_type),
            field.full_name in _SEVERAL_IN_A_FORK,
            field,
        )
        for name, field in message.fields_by_name.items()
    }


class _Parser:
    def __init__(self, text: str, filename: str) -> None:
        self.tokens = tokens(text, filename)
        self.text = text
        self.filename = filename
        self.next = next(self.tokens)
        self.end = 0  # of the token that was taken last
        self.unknown: dict[FieldPath, list[str]] = {}
        self.left = 0  # fields that were passed over
        #: For the names of fields that nothing knows: what is said of them.
        self.slips: dict[tuple[str, str], str] = {}

    def take(self) -> Token:
        token = self.next
        if token.kind != "end":
            self.end = token.end
            self.next = next(self.tokens)
        return token

    def accept(self, marks: str) -> bool:
        if self.next.kind == "mark" and self.next.text in marks:
            self.take()
            return True
        return False

    def place(self, token: Token) -> str:
        line, column = line_and_column(self.text, token.start)
        return f"{self.filename}:{line}:{column}"

    def fail(self, token: Token, text: str) -> NoReturn:
        raise SchemaError(f"{self.place(token)}: {text}")

    def message(self, message: Message, path: FieldPath, close: str | None) -> None:
        if len(path) > 2 * _DEEPEST:
            self.fail(self.next, f"messages are nested more than {_DEEPEST} deep")
        fields = _fields(message.DESCRIPTOR)
        while True:
            token = self.next
            if token.kind != "name":
                if close is not None and self.accept(close):
                    return
                if token.kind == "end" and close is None:
                    return
                expected = f'a field name or "{close}"' if close else "a field name"
                self.fail(token, f"found {token}, expected {expected}")
            field = fields.get(token.text)
            if field is None:
                self.unknown_field(message, path)
            else:
                self.field(message, field, path)

    def field(self, message: Message, field: _Field, path: FieldPath) -> None:
        token = self.take()
        colon = self.accept(":")
        if field.several_in_a_fork and (self.next.text == "[" or message.HasField(field.name)):
            self.leave(token, colon, path, f'"{field.name}" takes one value; this')
            return
        if not colon and not (field.is_message and self.next.text in ("{", "<", "[")):
            self.fail(
                self.next,
                f'found {self.next}, expected ":" after "{field.name}"' + (' or "{"' if field.is_message else ""),
            )
        if field.repeated:
            self.values(getattr(message, field.name), field, token, path)
        elif self.next.text == "[":
            self.fail(token, f'"{field.name}" takes one value, not a list')
        elif message.HasField(field.name):
            # What comes behind has not been read.
            first = Places(self.text[: token.start]).nearest((*path, field.name, 0))
            self.fail(token, f'"{field.name}" is given a second time; the first is in line {first[0] if first else 1}')
        elif field.is_message:
            child = getattr(message, field.name)
            child.SetInParent()
            self.child(child, token, (*path, field.name, 0))
        else:
            setattr(message, field.name, self.scalar(field))
        self.accept(",;")

    def values(self, container: Any, field: _Field, name: Token, path: FieldPath) -> None:
        """Read one value of a repeated field, or a list of them."""
        in_list = self.accept("[")
        while not (in_list and self.next.text == "]"):
            if field.is_message:
                index = len(container)
                if index == _MOST_MESSAGES:
                    self.fail(name, f'"{name.text}" is given more than {_MOST_MESSAGES} times')
                self.child(container.add(), name, (*path, field.name, index))
            else:
                container.append(self.scalar(field))
            if not in_list:
                return
            if not self.accept(",") and self.next.text != "]":
                self.fail(self.next, f'found {self.next}, expected "," or "]"')
        self.take()

    def child(self, child: Any, name: Token, path: FieldPath) -> None:
        opening = self.take()
        if opening.text not in ("{", "<"):
            self.fail(opening, f'found {opening}, expected "{{" after "{name.text}"')
        self.message(child, path, "}" if opening.text == "{" else ">")
        if not child.IsInitialized():
            self.fail(name, f'"{name.text}" needs "{child.FindInitializationErrors()[0]}"')

    def scalar(self, field: _Field) -> Any:
        if field.kind == FieldDescriptor.CPPTYPE_STRING:
            return self.string(field.descriptor)
        first = self.take()
        minus = first.text == "-"
        token = self.take() if minus else first
        number: float | None = None
        if token.kind not in ("name", "number"):
            self.fail(first, f'"{field.name}" is {token}, expected {_expected(field)}')
        if field.limits is not None:
            number = _integer(token)
        elif field.kind == FieldDescriptor.CPPTYPE_ENUM and not minus:
            return self.enum(field.descriptor, token)
        elif field.kind == FieldDescriptor.CPPTYPE_BOOL and not minus and token.text in _TRUE | _FALSE:
            return token.text in _TRUE
        elif field.kind in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
            number = _float(token)
        if number is None:
            self.fail(first, f'"{field.name}" is {"minus " if minus else ""}{token}, expected {_expected(field)}')
        number = -number if minus else number
        if field.limits is not None and not field.limits[0] <= number <= field.limits[1]:
            low, high = field.limits
            self.fail(first, f'"{field.name}" is {number}, expected {_expected(field)} from {low} to {high}')
        return number

    def enum(self, descriptor: Any, token: Token) -> int:
        values = descriptor.enum_type.values_by_name
        if token.text in values:
            return int(values[token.text].number)
        number = _integer(token) if token.text.isdigit() else None
        if number is not None and number in descriptor.enum_type.values_by_number:
            return number
        # Most are short.
        find = partial(close_names, cutoff=0.5)
        hint = did_you_mean(token.text.upper(), values, f"it can be {', '.join(values)}", find=find)
        self.fail(token, f'"{descriptor.name}" has no value {token}{hint}')

    def string(self, descriptor: Any) -> str | bytes:
        token = self.next
        if token.kind != "string":
            self.fail(token, f'"{descriptor.name}" is {token}, expected text in quotes')
        joined = bytearray()
        while self.next.kind == "string":
            try:
                joined += unquoted(self.next.text)
            except ValueError as error:
                self.fail(self.next, f'"{descriptor.name}" has {error}')
            self.take()
        if descriptor.type == FieldDescriptor.TYPE_BYTES:
            return bytes(joined)
        try:
            text = joined.decode()
        except UnicodeDecodeError:
            self.fail(token, f'"{descriptor.name}" is not valid UTF-8')
        if "\0" in text:  # the system opens no file of such a name
            self.fail(token, f'"{descriptor.name}" has a character 0 in it, which no name has')
        return text

    def unknown_field(self, message: Message, path: FieldPath) -> None:
        token = self.take()
        what = f"{message.DESCRIPTOR.name} has no field {token}"
        key = (message.DESCRIPTOR.full_name, token.text)
        if key not in self.slips:
            self.slips[key] = did_you_mean(token.text, _fields(message.DESCRIPTOR), find=slips_of)
        if self.slips[key]:
            self.fail(token, f"{what}{self.slips[key]}")
        self.leave(token, self.accept(":"), path, f"{what}; it")

    def leave(self, name: Token, colon: bool, path: FieldPath, what: str) -> None:
        """Pass over a value, keep its text and say so."""
        self.skip_value(name, colon)
        self.left += 1
        if self.left > _MOST_UNKNOWN:
            self.fail(name, f"more than {_MOST_UNKNOWN} fields are none of Caffe's; this is no file of Caffe")
        text = self.text[name.start : self.end]
        self.unknown.setdefault(path, []).append(text)
        self.accept(",;")
        if self.left <= _MOST_TOLD:
            warnings.warn(f"{self.place(name)}: {what} is left as it is", SchemaWarning, stacklevel=2)

    def skip_value(self, name: Token, colon: bool) -> None:
        if self.accept("{<["):
            open_marks = 1
            while open_marks:
                token = self.take()
                if token.kind == "end":
                    self.fail(name, f"{name} is not closed before the end of the file")
                if token.kind == "mark":
                    open_marks += (token.text in "{<[") - (token.text in "}>]")
            return
        if not colon:
            self.fail(self.next, f'found {self.next}, expected ":" or "{{" after {name}')
        self.accept("-")
        token = self.take()
        if token.kind not in ("name", "number", "string"):
            self.fail(token, f"found {token}, expected a value of {name}")
        while token.kind == "string" and self.next.kind == "string":
            self.take()


def is_repeated(descriptor: Any) -> bool:
    """Whether a field can be given several times (the name of this fact changed between protobuf versions)."""
    return bool(descriptor.is_repeated if hasattr(descriptor, "is_repeated") else descriptor.label == 3)


def _integer(token: Token) -> int | None:
    if token.kind != "number" or len(token.text) > _LONGEST_INTEGER:
        return None
    try:
        return int(token.text, 0)
    except ValueError:
        # What begins with 0 is octal, which Python does not write so.
        return int(token.text, 8) if _OCTAL.fullmatch(token.text) else None


def _float(token: Token) -> float | None:
    if token.kind == "name":
        return {"inf": math.inf, "infinity": math.inf, "nan": math.nan}.get(token.text.lower())
    text = token.text.lower()
    return None if text.startswith("0x") else float(text.rstrip("f"))


def _expected(field: _Field) -> str:
    if field.limits is not None:
        return "a whole number"
    words = {FieldDescriptor.CPPTYPE_BOOL: "true or false", FieldDescriptor.CPPTYPE_ENUM: "a name"}
    return words.get(field.kind, "a number")


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
    parser = _Parser(text, filename)
    message = message_class()
    parser.message(message, (), None)
    if parser.left > _MOST_TOLD:
        more = parser.left - _MOST_TOLD
        warnings.warn(f"{filename}: {more} more fields that are none of Caffe's are left as they are", SchemaWarning, 2)
    return Document(message, filename, Places(text), parser.unknown)
