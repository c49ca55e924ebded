"""What ``import caffe._caffe`` gives, and ``caffe.pycaffe``: the names of Caffe's compiled module."""

from caffelite.pycaffe.blob import Blob
from caffelite.pycaffe.layer import Layer
from caffelite.pycaffe.log import init_log, log
from caffelite.pycaffe.mode import layer_type_list, set_device, set_mode_cpu, set_mode_gpu, set_random_seed
from caffelite.pycaffe.net import Net
from caffelite.pycaffe.processes import (
    NCCL,
    has_nccl,
    set_multiprocess,
    set_solver_count,
    set_solver_rank,
    solver_count,
    solver_rank,
)
from caffelite.pycaffe.solver import (
    AdaDeltaSolver,
    AdaGradSolver,
    AdamSolver,
    NesterovSolver,
    RMSPropSolver,
    SGDSolver,
    Solver,
    get_solver,
)
from caffelite.pycaffe.timer import Timer
from caffelite.pycaffe.vectors import (
    BlobVec,
    BoolVec,
    DtypeVec,
    IntVec,
    LayerVec,
    NetVec,
    RawBlobVec,
    StringVec,
)
from caffelite.schema.messages import LayerParameter, SolverParameter

#: Of the Caffe that these names are from.
__version__ = "1.0.0"

__all__ = [
    "SGDSolver",
    "Solver",
    "set_solver_count",
    "BlobVec",
    "init_log",
    "StringVec",
    "NCCL",
    "get_solver",
    "Layer",
    "LayerVec",
    "has_nccl",
    "set_multiprocess",
    "layer_type_list",
    "BoolVec",
    "AdaGradSolver",
    "set_mode_cpu",
    "set_mode_gpu",
    "NesterovSolver",
    "RMSPropSolver",
    "set_solver_rank",
    "set_device",
    "set_random_seed",
    "IntVec",
    "DtypeVec",
    "LayerParameter",
    "Net",
    "solver_count",
    "AdaDeltaSolver",
    "Blob",
    "AdamSolver",
    "solver_rank",
    "log",
    "NetVec",
    "Timer",
    "SolverParameter",
    "RawBlobVec",
    "__version__",
]
