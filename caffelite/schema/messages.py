"""The message classes of ``proto/caffe.proto``.

They are made from the compiled description that the package ships, in a pool of their own: no generated module that
asks for one protobuf version, and no clash with a ``caffe_pb2`` that is already loaded. Each is an attribute of this
module; type checkers know them, and their fields, by ``messages.pyi``.
"""

from functools import cache
from importlib.resources import files
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message as Message


@cache
def pool() -> Any:
    """Return the descriptor pool that holds Caffe's messages."""
    compiled = descriptor_pb2.FileDescriptorSet()
    compiled.ParseFromString(files(__package__).joinpath("caffe.pb").read_bytes())
    made = descriptor_pool.DescriptorPool()
    for file in compiled.file:
        made.AddSerializedFile(file.SerializeToString())
    return made


def message_class(name: str) -> Any:
    """Return the class of the message ``name``, without the package: ``message_class("LayerParameter")``."""
    return message_factory.GetMessageClass(pool().FindMessageTypeByName(f"caffe.{name}"))


def __getattr__(name: str) -> Any:
    try:
        made = message_class(name)
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no message {name!r}") from None
    globals()[name] = made
    return made
