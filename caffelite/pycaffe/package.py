"""The package ``caffe`` in this process: Caffe's names under the names that scripts import."""

import os
import sys
from importlib import import_module
from types import ModuleType

from caffelite.pycaffe import proto
from caffelite.pycaffe.proto import caffe_pb2

#: What scripts import, and the module that it is.
MODULES = {
    "caffe": "caffelite.pycaffe.caffe",
    "caffe._caffe": "caffelite.pycaffe._caffe",
    "caffe.pycaffe": "caffelite.pycaffe._caffe",
    "caffe.classifier": "caffelite.pycaffe.classifier",
    "caffe.detector": "caffelite.pycaffe.detector",
    "caffe.draw": "caffelite.pycaffe.draw",
    "caffe.io": "caffelite.pycaffe.io",
    "caffe.coord_map": "caffelite.pycaffe.coord_map",
    "caffe.net_spec": "caffelite.pycaffe.net_spec",
    "caffe.proto": "caffelite.pycaffe.proto",
    # Or the messages of a fork.
    "caffe.proto.caffe_pb2": "caffelite.pycaffe.proto.caffe_pb2",
}


def as_caffe(fork: str | None = None) -> ModuleType:
    """Let ``import caffe`` give caffelite in this process, whatever it gave before; return the package.

    What is imported so is what ``pip install ./caffe-package`` installs; without that, scripts get it from
    ``caffelite run`` and from this function.

    Parameters
    ----------
    fork : str, optional
        The fork of Caffe whose messages ``caffe.proto.caffe_pb2`` has, as :func:`fork_pb2` names them. By default that
        of an earlier call, else that of ``CAFFE_FORK`` in the environment, else none: caffelite's own.

    Raises
    ------
    SchemaError
        No fork of this name is known; names the nearest one.
    """
    if fork is None and proto.caffe_pb2 is caffe_pb2:
        fork = os.environ.get("CAFFE_FORK")
    if fork:
        proto.caffe_pb2 = proto.fork_pb2(fork)
    modules = {name: import_module(ours) for name, ours in MODULES.items()}
    modules["caffe.proto.caffe_pb2"] = proto.caffe_pb2
    sys.modules.update(modules)
    for name, module in modules.items():
        package, _, last = name.rpartition(".")
        if package:
            setattr(modules[package], last, module)
    return modules["caffe"]
