"""What a module has that protoc makes of ``caffe.proto``: Caffe's ``caffe_pb2``."""

from typing import Any

from google.protobuf import message_factory
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

from caffelite.schema.messages import all_messages, pool


def generated(fork: str = "") -> dict[str, Any]:
    """Return the names of such a module: messages, enums, their values, and descriptors.

    Descriptors have the names that protoc gave them up to 2022 (``_LAYERPARAMETER``, ``_POOLINGPARAMETER_POOLMETHOD``),
    which scripts use.

    Parameters
    ----------
    fork : str, optional
        The name of a schema in :mod:`caffelite.schema.fork_schemas`; by default caffelite's own, with the fields of all
        forks under numbers of its own.
    """
    file = pool(fork).FindFileByName("caffe.proto")
    names: dict[str, Any] = {"DESCRIPTOR": file}
    enums = list(file.enum_types_by_name.values())
    for enum in enums:
        names[enum.name] = EnumTypeWrapper(enum)
        names.update((value.name, value.number) for value in enum.values)
    for message in file.message_types_by_name.values():
        names[message.name] = message_factory.GetMessageClass(message)
    for message in all_messages(file.message_types_by_name.values()):
        names[_descriptor_name(message)] = message
        enums += message.enum_types
    names.update((_descriptor_name(enum), enum) for enum in enums)
    return names


def _descriptor_name(descriptor: Any) -> str:
    return "_" + descriptor.full_name.removeprefix("caffe.").replace(".", "_").upper()
