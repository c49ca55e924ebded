"""What takes the place of a GPU's memory in numba's simulator, which runs kernels in Python, without a GPU."""

import ctypes
from typing import Any

import numpy as np
from numba import config

#: Whether it is in use: NUMBA_ENABLE_CUDASIM=1 in the environment.
SIMULATED = bool(getattr(config, "ENABLE_CUDASIM", False))

#: As many as make small tensors take all of the kernels' ways.
MULTIPROCESSORS = 2


class SimulatedArray:
    """An array of the host that looks like one of a GPU."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Where the array is, and what is in it."""
        return {**self.array.__array_interface__, "version": 3, "stream": None}

    def copy_to_device(self, array: np.ndarray) -> None:
        """Copy from the host, as numba's arrays do."""
        self.array[...] = array

    def copy_to_host(self, array: np.ndarray) -> None:
        """Copy to the host, as numba's arrays do."""
        array[...] = self.array


class Pointer:
    """Memory of the host as kernels see that of a GPU: elements from an address on."""

    def __init__(self, address: int, size: int, itemsize: int) -> None:
        kind = ctypes.c_float if itemsize == 4 else ctypes.c_uint16
        self._elements = np.ctypeslib.as_array((kind * size).from_address(address))

    def __getitem__(self, i: int) -> Any:
        return self._elements[i]

    def __setitem__(self, i: int, value: Any) -> None:
        self._elements[i] = value
