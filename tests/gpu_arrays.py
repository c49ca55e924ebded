"""Arrays for tests: put on the GPU, or where the simulator looks for them, and taken back."""

from typing import Any

import numpy as np

from caffelite.kernels.cuda.access import from_float32, to_float32
from caffelite.kernels.cuda.simulator import SIMULATED, SimulatedArray


class OnGpu:
    """An array on the GPU that says what it is as PyTorch's tensors do, bfloat16 included."""

    def __init__(self, values: np.ndarray, kind: str = "float32") -> None:
        self.kind = kind
        stored = np.ascontiguousarray(from_float32(values.astype(np.float32), kind))
        self.shape = values.shape
        self._at = _put(stored)
        self._stored = stored
        self.changes: dict[str, Any] = {}

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        code = {"float32": "<f4", "float16": "<f2", "bfloat16": "<V2"}[self.kind]
        return {**self._at.__cuda_array_interface__, "typestr": code, **self.changes}

    @property
    def values(self) -> np.ndarray:
        self._at.copy_to_host(self._stored)
        return np.array(to_float32(self._stored, self.kind))


def _put(array: np.ndarray) -> Any:
    if SIMULATED:
        return SimulatedArray(array.copy())
    from numba import cuda

    return cuda.to_device(array)


def rounded(values: np.ndarray, kind: str) -> np.ndarray:
    """Return float32 values as they are once they have been stored."""
    return np.array(to_float32(from_float32(values.astype(np.float32), kind), kind))
