"""Starting kernels: the right one for a tensor, its grid, its stream, and memory for what it leaves between two."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from numba import cuda

from caffelite.kernels.cuda.arrays import GpuArray, array_on_gpu
from caffelite.kernels.cuda.device import configured, empty
from caffelite.kernels.cuda.geometry import Division
from caffelite.kernels.cuda.simulator import SIMULATED

#: Bytes of shared memory a thread needs: three numbers in a tree of sums.
_SHARED = 12
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Launch:
    """Kernels with their arguments, in order; a call starts them and does not wait for them."""

    device: int
    steps: tuple[tuple[Any, tuple[Any, ...]], ...]
    #: What must stay as long as the kernels may run.
    held: tuple[Any, ...]

    def __call__(self) -> None:
        with cuda.gpus[self.device]:
            for start, arguments in self.steps:
                start(*arguments)


@cache
def _compiled(make: Callable[..., Any], options: tuple[Any, ...], device: int) -> Any:
    function, signature = make(*options)
    with _lock:
        return cuda.jit(signature)(function)


def step(
    make: Callable[..., Any],
    options: tuple[Any, ...],
    device: int,
    division: Division,
    stream: int,
    arguments: Sequence[Any],
) -> tuple[Any, tuple[Any, ...]]:
    """Return a kernel that is ready to start, and its arguments.

    Parameters
    ----------
    make : callable
        ``make(*options)`` returns the kernel's function and its signature.
    device : int
        Its number; must be the current one.
    division : Division
    stream : int
        A handle.
    arguments : sequence
        Numbers and :class:`GpuArray`; None for an array that is not there.
    """
    kernel = _compiled(make, options, device)
    grid, block = (division.tiles, division.splits), (division.across, division.down)
    given = [a.argument if isinstance(a, GpuArray) else a for a in arguments]
    shared = _SHARED * division.across * division.down
    if SIMULATED:
        # The simulator keeps the grid in the kernel, of which the next user would find another one.
        return (lambda *values: configured(kernel, grid, block, 0, shared)(*values)), tuple(given)
    on = cuda.external_stream(stream) if stream else 0
    return configured(kernel, grid, block, on, shared), tuple(0 if a is None else a for a in given)


_workspaces: dict[tuple[int, int], list[GpuArray]] = {}


def workspace(device: int, stream: int, size: int) -> GpuArray:
    """Return memory for ``size`` float32 that lives from one kernel to the next one on the same stream.

    What was given before is kept, because a captured graph may still use it; it is small.
    """
    with _lock:
        made = _workspaces.setdefault((device, stream), [])
        if not made or made[-1].shape[0] < size:
            size = 1 << (size - 1).bit_length()
            made.append(array_on_gpu(empty((size,)), "the workspace", ("float32",)))
        return made[-1]
