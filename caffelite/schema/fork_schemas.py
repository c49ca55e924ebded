"""The messages of Caffe's forks under the forks' own numbers, from the facts in fork_schemas.json.

``proto/caffe.proto`` has the fields of all forks under numbers of caffelite's own, because the forks' numbers clash;
what a fork itself reads from a binary file is a schema of its own. ``tools/fork_schemas.py`` extracts them from the
forks' ``caffe.proto``. A schema says in what it differs from another, its ``like``:

- a message maps the names of its fields to ``"number label type"``, with ``packed`` and ``= default`` behind it where
  it has these; the ``type`` is Protocol Buffers' word, or the name of a message or enum;
- an enum maps the names of its values to numbers;
- null in place of a message, an enum or a field: the fork has none of this name.
"""

import json
import re
from functools import cache
from importlib.resources import files
from typing import Any

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto

from caffelite.errors import SchemaError
from caffelite.words import did_you_mean, quoted

#: A message's fields or an enum's values, by name; nested ones are ``Outer.Inner``.
Declarations = dict[str, dict[str, Any]]


@cache
def table() -> dict[str, dict[str, Any]]:
    """Return what the file says: of each schema its ``source``, the one that it is ``like``, and what ``differs``."""
    return dict(json.loads(files(__package__).joinpath("fork_schemas.json").read_text()))


def fork_names() -> list[str]:
    """Return the names of the forks whose schemas there are, and ``bvlc``."""
    return list(table())


def fork_named(name: str) -> str:
    """Return a fork's name as the table has it; capitals, spaces, ``-`` and ``_`` do not count.

    Raises
    ------
    SchemaError
        There is none of this name; names the nearest one.
    """
    known = {_plain(fork): fork for fork in table()}
    if _plain(name) not in known:
        otherwise = f"it can be {', '.join(map(quoted, table()))}"
        raise SchemaError(
            f"no schema of a fork {quoted(name)} is known{did_you_mean(name.lower(), table(), otherwise)}"
        )
    return known[_plain(name)]


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name.lower())


def fork_file(fork: str) -> FileDescriptorProto:
    """Return the description of a fork's ``caffe.proto``, as protoc would make it; ``fork`` is as in the table."""
    file = FileDescriptorProto(name="caffe.proto", package="caffe")
    declarations = _declarations(fork)
    placed: dict[str, DescriptorProto] = {}
    for name in sorted(declarations, key=lambda name: name.count(".")):
        members = declarations[name]
        outer, _, own = name.rpartition(".")
        if is_enum(members):
            enum = (placed[outer] if outer else file).enum_type.add(name=own)
            for value, number in members.items():
                enum.value.add(name=value, number=number)
            continue
        message = placed[outer].nested_type.add() if outer else file.message_type.add()
        message.name = own
        placed[name] = message
        fields = (_field(field, text, declarations) for field, text in members.items())
        message.field.extend(sorted(fields, key=lambda field: field.number))
    return file


def _declarations(fork: str) -> Declarations:
    schema = table()[fork]
    declarations = _declarations(schema["like"]) if schema["like"] else {}
    for name, members in schema["differs"].items():
        if members is None:
            del declarations[name]
        elif is_enum(members):
            declarations[name] = members
        else:
            merged = declarations.get(name, {}) | members
            declarations[name] = {field: text for field, text in merged.items() if text is not None}
    return declarations


def is_enum(members: dict[str, Any]) -> bool:
    """Whether these are the values of an enum, not the fields of a message."""
    return any(isinstance(value, int) for value in members.values())


def _field(name: str, text: str, declarations: Declarations) -> FieldDescriptorProto:
    declared, has_default, default = text.partition(" = ")
    number, label, kind, *packed = declared.split()
    field = FieldDescriptorProto(
        name=name, number=int(number), label=FieldDescriptorProto.Label.Value(f"LABEL_{label.upper()}")
    )
    if kind in declarations:
        field.type_name = f".caffe.{kind}"
        enum, message = FieldDescriptorProto.TYPE_ENUM, FieldDescriptorProto.TYPE_MESSAGE
        field.type = enum if is_enum(declarations[kind]) else message
    else:
        field.type = FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")
    if has_default:
        field.default_value = default
    if packed:
        field.options.packed = True
    return field
