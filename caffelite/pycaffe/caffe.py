"""What ``import caffe`` gives: the names of Caffe's Python package."""

from caffelite.errors import Error
from caffelite.pycaffe.blob import Blob
from caffelite.pycaffe.layer import Layer
from caffelite.pycaffe.mode import (
    TEST,
    TRAIN,
    get_num_threads,
    layer_type_list,
    set_device,
    set_mode_cpu,
    set_mode_gpu,
    set_num_threads,
    set_random_seed,
)
from caffelite.pycaffe.net import Net
from caffelite.pycaffe.net_spec import NetSpec, layers, params, to_proto
from caffelite.pycaffe.solver import SGDSolver, get_solver

#: Modules can be in it: see :mod:`caffelite.pycaffe.package`.
__path__: list[str] = []
#: Of the Caffe that these names are from.
__version__ = "1.0.0"

__all__ = [
    "TEST",
    "TRAIN",
    "Blob",
    "Error",
    "Layer",
    "Net",
    "NetSpec",
    "SGDSolver",
    "get_num_threads",
    "get_solver",
    "layer_type_list",
    "layers",
    "params",
    "set_device",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_num_threads",
    "set_random_seed",
    "to_proto",
]
