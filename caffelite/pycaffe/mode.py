"""What is set for all nets at once: mode, device and seed, as in pycaffe, and the number of threads."""

import warnings
from dataclasses import dataclass

from caffelite.gpu.choice import Gpu, gpu_or_reason
from caffelite.layers.contract.registry import registry
from caffelite.net import machine
from caffelite.words import TEST, TRAIN


@dataclass(slots=True)
class _Mode:
    gpu: bool = False
    device: int = 0


_mode = _Mode()
#: What :func:`set_random_seed` was given last.
_seed: list[int] = []


def set_mode_cpu() -> None:
    """Run nets that are made from now on on the CPU."""
    _mode.gpu = False


def set_mode_gpu() -> None:
    """Run the BatchNorm layers of nets that are made from now on on a GPU.

    Where it cannot be used, a warning says why, and everything runs on the CPU.

    Raises
    ------
    GpuError
        There are GPUs, but not the one that :func:`set_device` has chosen.
    """
    _mode.gpu = True
    _check()


def set_device(device: int) -> None:
    """Choose a GPU by its number; without it, it is 0.

    Raises
    ------
    GpuError
        Nets are to run on a GPU, there are some, but none of this number.
    """
    _mode.device = int(device)
    if _mode.gpu:
        _check()


def _check() -> None:
    device, reason = gpu_or_reason(_mode.device)
    if device is None:
        warnings.warn(f"GPU {_mode.device}: {reason}; it runs on the CPU", stacklevel=3)


def gpu() -> Gpu | None:
    """Return the GPU for a new net; None for the CPU."""
    return gpu_or_reason(_mode.device)[0] if _mode.gpu else None


def gpu_number() -> int | None:
    """Return the number of the GPU for a new solver; None leaves it to its file."""
    return _mode.device if gpu() is not None else None


def set_random_seed(seed: int) -> None:
    """Set the seed of the nets that are made from now on.

    It decides how parameters start and what is drawn while the net runs. Without it the seed is 1: other than
    in Caffe, a run is always the same. A solver's ``random_seed`` goes before it.
    """
    _seed[:] = [seed]


def random_seed() -> int | None:
    """Return what :func:`set_random_seed` was given, None before."""
    return _seed[0] if _seed else None


def set_num_threads(number: int) -> None:
    """Set how many threads nets that are made from now on are spread over; those there are use no more than that.

    It goes before the number of cores and the environment, and may be larger than either.

    Raises
    ------
    ValueError
        It is no whole number from 1 to 1024.
    """
    machine.choose_threads(number, "set_num_threads")


def get_num_threads() -> int:
    """Return how many threads a net that is made now is spread over.

    Without :func:`set_num_threads` it is the least of the cores that this process may use, the CPU quota of its cgroup,
    rounded up, ``NUMBA_NUM_THREADS`` and ``OMP_NUM_THREADS``.
    """
    return machine.thread_count().number


def layer_type_list() -> list[str]:
    """Return the names of all layer types, sorted."""
    return sorted(registry())


__all__ = [
    "TEST",
    "TRAIN",
    "get_num_threads",
    "layer_type_list",
    "random_seed",
    "set_device",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_num_threads",
    "set_random_seed",
]
