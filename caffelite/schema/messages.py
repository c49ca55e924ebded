"""The message classes of ``proto/caffe.proto``, and those of the forks' own schemas.

They are made from descriptions that the package ships, in pools of their own: no generated module that asks for one
protobuf version, and no clash with a ``caffe_pb2`` that is already loaded. Each of ``proto/caffe.proto`` is an
attribute of this module; type checkers know them, and their fields, by ``messages.pyi``.
"""

import copyreg
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from importlib.resources import files
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message as Message

from caffelite.schema.fork_schemas import fork_file


@cache
def pool(fork: str = "") -> Any:
    """Return the descriptor pool that holds Caffe's messages, or those of a fork's schema."""
    made = descriptor_pool.DescriptorPool()
    if fork:
        made.AddSerializedFile(fork_file(fork).SerializeToString())
    else:
        compiled = descriptor_pb2.FileDescriptorSet()
        compiled.ParseFromString(files(__package__).joinpath("caffe.pb").read_bytes())
        for file in compiled.file:
            made.AddSerializedFile(file.SerializeToString())
    for descriptor in all_messages(made.FindFileByName("caffe.proto").message_types_by_name.values()):
        message = message_factory.GetMessageClass(descriptor)
        # What pickle does by itself looks for the class in a module.
        copyreg.pickle(message, partial(_reduced, fork))
        for nested in descriptor.nested_types:
            # protobuf in pure Python does not do this; scripts with generated modules of old need that.
            setattr(message, nested.name, message_factory.GetMessageClass(nested))
    return made


def all_messages(descriptors: Iterable[Any]) -> Iterator[Any]:
    """Yield the descriptors of messages, and of those that are declared inside them."""
    for descriptor in descriptors:
        yield descriptor
        yield from all_messages(descriptor.nested_types)


def _reduced(fork: str, message: Message) -> tuple[Callable[..., Message], tuple[str, str, bytes]]:
    name = message.DESCRIPTOR.full_name.removeprefix("caffe.")
    return _unpickled, (fork, name, message.SerializePartialToString())


def _unpickled(fork: str, name: str, serialized: bytes) -> Message:
    message: Message = message_class(name, fork)()
    message.MergeFromString(serialized)
    return message


def message_class(name: str, fork: str = "") -> Any:
    """Return the class of the message ``name``, without the package: ``message_class("LayerParameter")``."""
    return message_factory.GetMessageClass(pool(fork).FindMessageTypeByName(f"caffe.{name}"))


def __getattr__(name: str) -> Any:
    try:
        made = message_class(name)
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no message {name!r}") from None
    globals()[name] = made
    return made
