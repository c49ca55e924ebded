"""The message classes of ``proto/caffe.proto``.

They are made from the compiled description that the package ships, in a pool of their own: no generated module that
asks for one protobuf version, and no clash with a ``caffe_pb2`` that is already loaded.
"""

from functools import cache
from importlib.resources import files
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory


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


BlobProto = message_class("BlobProto")
BlobShape = message_class("BlobShape")
Datum = message_class("Datum")
FillerParameter = message_class("FillerParameter")
LayerParameter = message_class("LayerParameter")
NetParameter = message_class("NetParameter")
NetState = message_class("NetState")
ParamSpec = message_class("ParamSpec")
SolverParameter = message_class("SolverParameter")
SolverState = message_class("SolverState")
TransformationParameter = message_class("TransformationParameter")
V1LayerParameter = message_class("V1LayerParameter")
