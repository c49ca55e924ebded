"""Writing messages as text, the way protobuf does, with the fields nobody knows where they were."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.descriptor import FieldDescriptor as Field

from caffelite.files import atomic_write
from caffelite.schema.documents import Document, NetDocument
from caffelite.schema.messages import Message
from caffelite.schema.parser import is_repeated
from caffelite.schema.places import FieldPath


def to_text(source: Message | Document[Any]) -> str:
    """Return a message, or a document with its unknown fields, in text format."""
    document = source if isinstance(source, Document) else Document(source, "message")
    return "".join(f"{line}\n" for line in _lines(document.message, document, (), 0))


def write_text(source: Message | Document[Any], path: str | Path) -> None:
    """Write a message or a document as a prototxt file, whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(to_text(source), encoding="utf-8")


def _lines(message: Message, document: Document[Any], path: FieldPath, depth: int) -> Iterator[str]:
    indent = "  " * depth
    for descriptor, value in message.ListFields():
        for index, item in enumerate(value if is_repeated(descriptor) else [value]):
            if descriptor.cpp_type == Field.CPPTYPE_MESSAGE:
                yield f"{indent}{descriptor.name} {{"
                yield from _lines(item, document, _origin(document, (*path, descriptor.name, index)), depth + 1)
                yield f"{indent}}}"
            else:
                yield f"{indent}{descriptor.name}: {_scalar(descriptor, item)}"
    for text in document.unknown.get(path, []):
        yield from (
            f"{indent}{line.strip()}" if i == 0 else f"{indent}{line.rstrip()}"
            for i, line in enumerate(text.split("\n"))
        )


def _origin(document: Document[Any], path: FieldPath) -> FieldPath:
    if isinstance(document, NetDocument) and len(path) == 2 and path[0] == "layer":
        index = int(path[1])
        return document.origins[index] if index < len(document.origins) else path
    return path


def _scalar(descriptor: Any, value: Any) -> str:
    kind = descriptor.cpp_type
    if kind == Field.CPPTYPE_STRING:
        return quoted_bytes(value if isinstance(value, bytes) else value.encode())
    if kind == Field.CPPTYPE_BOOL:
        return "true" if value else "false"
    if kind == Field.CPPTYPE_ENUM:
        return str(descriptor.enum_type.values_by_number[value].name)
    if kind == Field.CPPTYPE_FLOAT:
        # The shortest text that reads back as the same float32.
        return _short(str(np.float32(value)))
    return _short(repr(value)) if kind == Field.CPPTYPE_DOUBLE else str(value)


def _short(number: str) -> str:
    return re.sub(r"e([+-])0*(\d)", r"e\1\2", number.removesuffix(".0").replace(".0e", "e"))


def quoted_bytes(value: bytes) -> str:
    """Return bytes as a quoted string of the text format."""
    plain = {9: "\\t", 10: "\\n", 13: "\\r", 34: '\\"', 92: "\\\\"}
    try:
        text = value.decode()
        return '"' + "".join(plain.get(ord(c)) or (c if ord(c) >= 32 else f"\\{ord(c):03o}") for c in text) + '"'
    except UnicodeDecodeError:
        return '"' + "".join(plain.get(b) or (chr(b) if 32 <= b < 127 else f"\\{b:03o}") for b in value) + '"'
