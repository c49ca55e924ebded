"""Which GPUs there are, which of them a net uses, and what is said about it."""

from caffelite.errors import GpuError
from caffelite.kernels.cuda.device import count, exists, find
from caffelite.kernels.cuda.host import Gpu

__all__ = ["Gpu", "cost", "count", "find", "gpu_or_reason"]


def gpu_or_reason(number: int) -> tuple[Gpu | None, str]:
    """Return a GPU, or None and the reason why it cannot be used.

    Parameters
    ----------
    number : int
        From 0 on.

    Raises
    ------
    GpuError
        There are GPUs, but none of this number.
    """
    try:
        return Gpu(find(number)), ""
    except GpuError as error:
        if not exists(number):
            raise
        return None, str(error)


def cost(gpu: Gpu, iterations: int, before: tuple[int, float] = (0, 0.0)) -> str:
    """Return a sentence: what runs on the GPU, and what the copies cost.

    Parameters
    ----------
    gpu : Gpu
    iterations : int
        How many there were since ``before``.
    before : int and float
        ``gpu.bytes`` and ``gpu.seconds`` then.
    """
    device = gpu.device
    name = f"GPU {device.number} ({device.name})"
    if not gpu.used:
        return f"{name} is not used: only BatchNorm layers run on it, and there is none"
    size = (gpu.bytes - before[0]) / iterations / 1e6
    milliseconds = 1000 * (gpu.seconds - before[1]) / iterations
    return (
        f"BatchNorm, with the scale and the activation behind it, runs on {name}, everything else on the CPU; each "
        f"iteration copies {size:.1f} MB there and back, which takes {milliseconds:.1f} ms"
    )
