"""Caffe's files train, test, convert and draw, in pure Python with Numba-compiled kernels.

The names here are those of Caffe's Python interface: ``import caffelite as caffe`` runs scripts written for it. They
are loaded when they are first used, so that ``import caffelite`` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from caffelite.errors import Error

__version__ = "0.1.0"

if TYPE_CHECKING:
    from caffelite.pycaffe.modes import (
        TEST,
        TRAIN,
        layer_type_list,
        set_device,
        set_mode_cpu,
        set_mode_gpu,
        set_random_seed,
    )
    from caffelite.pycaffe.net import Net
    from caffelite.pycaffe.solver import (
        AdaDeltaSolver,
        AdaGradSolver,
        AdamSolver,
        NesterovSolver,
        RMSPropSolver,
        SGDSolver,
        get_solver,
    )

_HOMES = {
    "Net": "net",
    **dict.fromkeys(
        ("TRAIN", "TEST", "set_mode_cpu", "set_mode_gpu", "set_device", "set_random_seed", "layer_type_list"), "modes"
    ),
    **dict.fromkeys(
        ("get_solver", "SGDSolver", "NesterovSolver", "AdaGradSolver", "RMSPropSolver", "AdaDeltaSolver", "AdamSolver"),
        "solver",
    ),
}

__all__ = [
    "TEST", "TRAIN", "AdaDeltaSolver", "AdaGradSolver", "AdamSolver", "Error", "NesterovSolver", "Net", "RMSPropSolver",
    "SGDSolver", "__version__", "get_solver", "layer_type_list", "set_device", "set_mode_cpu", "set_mode_gpu",
    "set_random_seed",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"caffelite.pycaffe.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'caffelite' has no attribute {name!r}")
