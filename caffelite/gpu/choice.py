"""Which GPUs there are, which of them a net uses, and what is said about it."""

from collections.abc import Callable

from caffelite.errors import GpuError
from caffelite.kernels.cuda.device import count, exists, find
from caffelite.kernels.cuda.host import Gpu

__all__ = ["Bill", "Gpu", "cost", "count", "find", "gpu_or_reason"]


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


class Bill:
    """Tells once what a GPU costs a run: in the second iteration, as the first one does what is done once, too.

    Parameters
    ----------
    gpu : Gpu or None
        Without one nothing is told.
    say : callable
        Takes the sentence.
    """

    def __init__(self, gpu: Gpu | None, say: Callable[[str], None]) -> None:
        self._gpu, self._say = gpu, say
        self._iterations = 0
        self._before = (0, 0.0)

    def begin(self) -> None:
        """An iteration begins."""
        if self._gpu is not None:
            self._before = self._gpu.bytes, self._gpu.seconds

    def end(self, last: bool) -> None:
        """An iteration has run forward and backward."""
        if self._gpu is not None and self._iterations < 2:
            self._iterations += 1
            if self._iterations == 2 or not self._gpu.used or last:
                self._iterations = 2
                self._say(cost(self._gpu, 1, self._before))
