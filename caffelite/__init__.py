"""caffelite: Caffe's files train, test, convert and draw.

The names here are pycaffe's, so that ``import caffelite as caffe`` is what a script needs, PyTorch's for the number of
threads, and ``write_lmdb``; each is loaded when it is first used. Those of Caffe's that are rooms of this package,
``layers`` and ``draw``, are in the package ``caffe`` only.
"""

from importlib import import_module
from typing import Any

from caffelite.errors import Error
from caffelite.words import SOLVER_TYPES

__version__ = "0.1.0"

_CONTENTS = {
    "net": ["Net"],
    "blob": ["Blob"],
    "layer": ["Layer"],
    "solver": ["get_solver", *(f"{rule}Solver" for rule in SOLVER_TYPES)],
    "package": ["as_caffe"],
    "caffe": ["io", "proto", "Classifier", "Detector", "NetSpec", "params", "to_proto"],
    "timer": ["Timer"],
    "log": ["init_log", "log"],
    "processes": [
        "NCCL",
        "has_nccl",
        "solver_count",
        "set_solver_count",
        "solver_rank",
        "set_solver_rank",
        "set_multiprocess",
    ],
    "proto": ["fork_pb2", "convert_message"],
    "mode": [
        "TRAIN",
        "TEST",
        "set_mode_cpu",
        "set_mode_gpu",
        "set_device",
        "set_random_seed",
        "set_num_threads",
        "get_num_threads",
        "layer_type_list",
    ],
}
_MODULES = {name: f"caffelite.pycaffe.{module}" for module, names in _CONTENTS.items() for name in names}
_MODULES["write_lmdb"] = "caffelite.imagesets.pairs"

__all__ = ["Error", "__version__", *_MODULES]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
