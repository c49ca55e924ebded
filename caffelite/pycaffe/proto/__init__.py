"""``caffe.proto``: its ``caffe_pb2`` has caffelite's own messages, or a fork's where ``as_caffe`` was asked for it."""

from functools import cache
from types import ModuleType
from typing import Any

from caffelite.pycaffe.proto import caffe_pb2 as _own
from caffelite.schema.conversion import convert_message as convert_message
from caffelite.schema.fork_schemas import fork_named
from caffelite.schema.generated import generated

caffe_pb2: Any = _own


def fork_pb2(name: str) -> ModuleType:
    """Return the messages of a fork as its own ``caffe_pb2`` has them: its fields under its numbers, and no others.

    Parameters
    ----------
    name : str
        ``"ssd"``, ``"nvcaffe"``, ``"intel"`` …; ``"bvlc"`` for BVLC's. ``docs/schema.md`` lists them.

    Raises
    ------
    SchemaError
        There is none of this name; names the nearest one.
    """
    return _fork_pb2(fork_named(name))


@cache
def _fork_pb2(fork: str) -> ModuleType:
    module = ModuleType(f"{__name__}.caffe_pb2", f"The messages of {fork}, under its own numbers.")
    vars(module).update(generated(fork))
    return module
