"""Write caffelite/schema/messages.pyi, the types of the message classes, from the compiled schema."""

import argparse
import keyword
import sys
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet

SCHEMA = Path(__file__).resolve().parent.parent / "caffelite" / "schema"
COMPILED = SCHEMA / "caffe.pb"
STUBS = SCHEMA / "messages.pyi"

HEAD = '''\
"""What type checkers read in place of messages.py; made by tools/message_stubs.py from caffe.pb."""

from collections.abc import Iterable, Iterator, MutableSequence, Sequence
from typing import Any, ClassVar, Final, Self, TypeVar, overload

_Value = TypeVar("_Value")
_Message = TypeVar("_Message", bound=Message)

def pool(fork: str = "") -> Any: ...
def all_messages(descriptors: Iterable[Any]) -> Iterator[Any]: ...
def message_class(name: str, fork: str = "") -> type[Message]: ...

class Message:
    DESCRIPTOR: ClassVar[Any]
    def __init__(self, **fields: Any) -> None: ...
    def ByteSize(self) -> int: ...
    def Clear(self) -> None: ...
    def ClearField(self, field_name: str) -> None: ...
    def CopyFrom(self, other: Self) -> None: ...
    @classmethod
    def FromString(cls, serialized: bytes) -> Self: ...
    def HasField(self, field_name: str) -> bool: ...
    def ListFields(self) -> list[tuple[Any, Any]]: ...
    def MergeFrom(self, other: Self) -> None: ...
    def MergeFromString(self, serialized: bytes) -> int: ...
    def ParseFromString(self, serialized: bytes) -> int: ...
    def SerializeToString(self, *, deterministic: bool = ...) -> bytes: ...
    def SetInParent(self) -> None: ...

class _Values(MutableSequence[_Value]):
    @overload
    def __getitem__(self, index: int) -> _Value: ...
    @overload
    def __getitem__(self, index: slice) -> list[_Value]: ...
    @overload
    def __setitem__(self, index: int, value: _Value) -> None: ...
    @overload
    def __setitem__(self, index: slice, value: Iterable[_Value]) -> None: ...
    def __delitem__(self, index: int | slice) -> None: ...
    def __len__(self) -> int: ...
    def insert(self, index: int, value: _Value) -> None: ...

class _Messages(Sequence[_Message]):
    @overload
    def __getitem__(self, index: int) -> _Message: ...
    @overload
    def __getitem__(self, index: slice) -> list[_Message]: ...
    def __delitem__(self, index: int | slice) -> None: ...
    def __len__(self) -> int: ...
    def add(self, **fields: Any) -> _Message: ...
    def append(self, value: _Message) -> None: ...
    def extend(self, values: Iterable[_Message]) -> None: ...
'''

_INTEGERS = "INT64 UINT64 INT32 FIXED64 FIXED32 UINT32 ENUM SFIXED32 SFIXED64 SINT32 SINT64".split()
_TYPES = {
    **{FieldDescriptorProto.Type.Value(f"TYPE_{name}"): "int" for name in _INTEGERS},
    FieldDescriptorProto.TYPE_DOUBLE: "float",
    FieldDescriptorProto.TYPE_FLOAT: "float",
    FieldDescriptorProto.TYPE_BOOL: "bool",
    FieldDescriptorProto.TYPE_STRING: "str",
    FieldDescriptorProto.TYPE_BYTES: "bytes",
}


def stubs(compiled: bytes) -> str:
    """Return the text of messages.pyi for a serialized FileDescriptorSet."""
    (file,) = FileDescriptorSet.FromString(compiled).file
    lines = [line for message in file.message_type for line in ("", *_class(message, file.package))]
    return HEAD + "".join(f"{line}\n" for line in lines)


def _class(message: DescriptorProto, package: str) -> Iterator[str]:
    body = [line for nested in message.nested_type for line in (*_class(nested, package), "")]
    body += [line for enum in message.enum_type for line in _values(enum)]
    # A field whose name is a word of Python's is read with getattr.
    body += [_field(field, package) for field in message.field if not keyword.iskeyword(field.name)]
    if not body:
        yield f"class {message.name}(Message): ..."
        return
    yield f"class {message.name}(Message):"
    yield from (f"    {line}" if line else "" for line in body)


def _values(enum: EnumDescriptorProto) -> Iterator[str]:
    yield from (f"{value.name}: Final = {value.number}" for value in enum.value)


def _field(field: FieldDescriptorProto, package: str) -> str:
    repeated = field.label == FieldDescriptorProto.LABEL_REPEATED
    if field.type == FieldDescriptorProto.TYPE_MESSAGE:
        name = field.type_name.removeprefix(f".{package}.")
        # Such a field is filled, not assigned.
        return f"{field.name}: Final[{f'_Messages[{name}]' if repeated else name}]"
    kind = _TYPES[field.type]
    return f"{field.name}: Final[_Values[{kind}]]" if repeated else f"{field.name}: {kind}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; say whether the file is up to date")
    text = stubs(COMPILED.read_bytes())
    if not parser.parse_args().check:
        STUBS.write_text(text)
        return 0
    if STUBS.read_text() == text:
        return 0
    print(f"{STUBS.name} is not what tools/message_stubs.py makes of {COMPILED.name}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
