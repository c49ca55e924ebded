"""The records of a database as Caffe would read them: by the lmdb package and a schema of Datum that is not ours."""

from pathlib import Path
from typing import Any

import lmdb
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

#: The fields of Caffe's Datum: name, number, type (descriptor.proto's), label.
_FIELDS = [
    ("channels", 1, "TYPE_INT32", "LABEL_OPTIONAL"),
    ("height", 2, "TYPE_INT32", "LABEL_OPTIONAL"),
    ("width", 3, "TYPE_INT32", "LABEL_OPTIONAL"),
    ("data", 4, "TYPE_BYTES", "LABEL_OPTIONAL"),
    ("label", 5, "TYPE_INT32", "LABEL_OPTIONAL"),
    ("float_data", 6, "TYPE_FLOAT", "LABEL_REPEATED"),
    ("encoded", 7, "TYPE_BOOL", "LABEL_OPTIONAL"),
]


def _datum() -> Any:
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="datum.proto", package="independent", syntax="proto2")
    message = file.message_type.add(name="Datum")
    for name, number, kind, label in _FIELDS:
        message.field.add(name=name, number=number, type=getattr(field, kind), label=getattr(field, label))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("independent.Datum"))


Datum = _datum()


def raw_records(path: str | Path) -> list[tuple[bytes, bytes]]:
    """Return keys and values, in order."""
    with lmdb.open(str(path), readonly=True, lock=False) as environment, environment.begin() as transaction:
        return list(transaction.cursor())


def records(path: str | Path) -> list[tuple[str, Any]]:
    """Return keys and Datum messages, in order."""
    return [(key.decode(), Datum.FromString(value)) for key, value in raw_records(path)]
