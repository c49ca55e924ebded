"""Which GPU there is, and whether kernels can run on it.

numba.cuda is imported when that is asked for the first time: it takes a third of a second.
"""

import importlib.util
import math
import threading
import warnings
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np

from caffelite.errors import GpuError
from caffelite.kernels.cuda.simulator import MULTIPROCESSORS, SIMULATED, SimulatedArray

_INSTALL = 'pip install "caffelite[cuda]"'
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU that kernels run on.

    Attributes
    ----------
    number : int
        As ``--gpu`` has it.
    name : str
    compute_capability : str
    memory : int
        Bytes.
    multiprocessors : int
    driver : str
        The version of CUDA that the driver is made for.
    """

    number: int
    name: str
    compute_capability: str
    memory: int
    multiprocessors: int
    driver: str

    def facts(self) -> dict[str, Any]:
        """Return what is known of it, for a report."""
        return asdict(self)


@cache
def count() -> int:
    """Return how many GPUs there are; at least 1.

    Raises
    ------
    GpuError
        There is none, or what is needed to use one is not installed; says what.
    """
    # The simulator of numba itself, which is older, does not run kernels that call functions.
    if importlib.util.find_spec("numba_cuda") is None:
        raise GpuError(f"numba-cuda, which kernels for GPUs are compiled with, is not installed: {_INSTALL}")
    if SIMULATED:
        return 1
    try:
        from numba import cuda
        from numba.cuda.cudadrv import nvvm
    except ImportError as error:
        raise GpuError(f"numba-cuda cannot be imported ({_one_line(error)}): {_INSTALL}") from None
    try:
        number = len(cuda.gpus)
    except Exception as error:
        if "cannot be found" in str(error):
            raise GpuError("this machine has no NVIDIA driver, or it is not where libraries are looked for") from None
        raise GpuError(f"the NVIDIA driver does not start: {_one_line(error)}") from None
    if not number:
        raise GpuError("the driver finds no GPU")
    if not nvvm.is_available():
        raise GpuError(f"libNVVM, the compiler for GPUs, is not installed: {_INSTALL}")
    return number


@cache
def find(number: int) -> Device:
    """Return a GPU, after a small kernel has run on it.

    Parameters
    ----------
    number : int
        From 0 on.

    Raises
    ------
    GpuError
        There is no such GPU, or it cannot be used; says why.
    """
    gpus = count()
    if not 0 <= number < gpus:
        known = "GPU 0 only" if gpus == 1 else f"GPUs 0 to {gpus - 1}"
        raise GpuError(f"there is no GPU {number}: this machine has {known}")
    if SIMULATED:
        return Device(number, "numba's simulator of a GPU", "0.0", 0, MULTIPROCESSORS, "none")
    from numba import cuda
    from numba.cuda.cudadrv.driver import get_version

    gpu = cuda.gpus[number]
    name = gpu.name.decode() if isinstance(gpu.name, bytes) else gpu.name
    major, minor = gpu.compute_capability
    try:
        with gpu:
            _try()
            memory = int(cuda.current_context().get_memory_info().total)
    except Exception as error:
        raise GpuError(
            f"GPU {number} ({name}, compute capability {major}.{minor}) does not run a small kernel: {_one_line(error)}"
        ) from None
    version = ".".join(map(str, get_version()))
    return Device(number, name, f"{major}.{minor}", memory, int(gpu.MULTIPROCESSOR_COUNT), version)


def exists(number: int) -> bool:
    """Whether there is a GPU of this number, usable or not; True where there is none at all."""
    try:
        return 0 <= number < count()
    except GpuError:
        return True


def _try() -> None:
    """Run a small kernel: it shows whether driver, compiler and card go together."""
    from numba import cuda

    @cuda.jit("void(float32[::1])")
    def count_up(x):
        i = cuda.threadIdx.x
        x[i] += np.float32(i)

    x = cuda.to_device(np.ones(32, np.float32))
    configured(count_up, (1, 1), (32, 1), 0, 0)(x)
    if (x.copy_to_host() != np.arange(1, 33)).any():
        raise RuntimeError("its results are wrong")


def configured(kernel: Any, grid: tuple[int, int], block: tuple[int, int], stream: Any, shared: int) -> Any:
    """Return a kernel with its grid, a stream, and bytes of shared memory."""
    # numba warns of small grids; they are what small tensors need.
    with _lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return kernel[grid, block, stream, shared]


def empty(shape: tuple[int, ...]) -> Any:
    """Return an array of float32 on the current GPU, whose values are whatever was there.

    Raises
    ------
    GpuError
        There is not enough memory.
    """
    if SIMULATED:
        return SimulatedArray(np.full(shape, np.nan, np.float32))
    from numba import cuda
    from numba.cuda.cudadrv.driver import CudaAPIError

    try:
        return cuda.device_array(shape, np.float32)
    except CudaAPIError as error:
        size = 4 * math.prod(shape)
        raise GpuError(
            f"the GPU gives no {size} bytes of memory ({_one_line(error)}); a smaller batch needs less"
        ) from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".: ") or type(error).__name__
