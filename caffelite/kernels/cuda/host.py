"""Batch normalization of arrays of the host: copied to a GPU, computed there, copied back."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from caffelite.errors import GpuError
from caffelite.kernels.cuda.device import Device, empty

Step = Callable[[], None]


@dataclass(slots=True)
class Gpu:
    """A GPU that layers of nets use, and what that costs.

    Attributes
    ----------
    device : Device
    used : bool
        Whether a layer does use it.
    bytes : int
        How many have been copied to it and back.
    seconds : float
        How long that took.
    """

    device: Device
    used: bool = False
    bytes: int = 0
    seconds: float = 0.0

    @contextmanager
    def copying(self) -> Iterator[None]:
        """Count the time that a block takes, after the GPU has done what it was given before."""
        from numba import cuda

        cuda.synchronize()
        begun = perf_counter()
        yield
        cuda.synchronize()
        self.seconds += perf_counter() - begun

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make the GPU the current one; what goes wrong on it is told in a sentence."""
        from numba import cuda
        from numba.cuda.cudadrv.driver import CudaAPIError

        with cuda.gpus[self.device.number]:
            try:
                yield
            except CudaAPIError as error:
                text = " ".join(str(error).split())
                raise GpuError(f"GPU {self.device.number} ({self.device.name}) failed: {text}") from None


@dataclass(frozen=True, slots=True)
class _Part:
    """Some elements of an array of float32 on a GPU."""

    whole: Any
    first: int
    size: int

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        facts = self.whole.__cuda_array_interface__
        return {**facts, "data": (facts["data"][0] + 4 * self.first, False), "shape": (self.size,), "strides": None}


@dataclass(frozen=True, slots=True)
class HostBatchNormSettings:
    """What a :class:`HostBatchNorm` does.

    Attributes
    ----------
    eps, fraction : float
    stored : three ndarrays of float32
        Caffe's blobs, as for ``kernels.batchnorm``; all of its arrays are read anew in each pass.
    use_stored : bool
        Whether statistics are the stored ones, and not those of the batch.
    factor, offset : ndarray of float32, [channels], optional
    activation : str, optional
    negative_slope : float
    """

    eps: float
    fraction: float
    stored: tuple[np.ndarray, np.ndarray, np.ndarray]
    use_stored: bool
    factor: np.ndarray | None = None
    offset: np.ndarray | None = None
    activation: str | None = None
    negative_slope: float = 0.0


class HostBatchNorm:
    """Batch normalization on a GPU, for arrays of the host that stay the same in all passes.

    What x was in the forward pass stays on the GPU, so that the gradient needs only dy.

    Parameters
    ----------
    gpu : Gpu
    x, y : ndarray of float32
        [images][channels][length], contiguous; ``y`` may be ``x``.
    settings : HostBatchNormSettings

    Raises
    ------
    GpuError
        The GPU has not enough memory.
    """

    def __init__(self, gpu: Gpu, x: np.ndarray, y: np.ndarray, settings: HostBatchNormSettings) -> None:
        from caffelite.kernels.cuda import batchnorm

        self._gpu, self._x, self._y, self._settings = gpu, x, y, settings
        self._channels = channels = x.shape[1]
        gpu.used = True
        # What is one for each channel goes in one copy: the stored statistics, factor and offset.
        self._small = np.zeros(4 * channels + 1, np.float32)
        with gpu.current():
            self._there, self._work, self._saved = empty(x.shape), empty(x.shape), empty((3, channels))
            self._small_there = empty(self._small.shape)
            self._how: dict[str, Any] = {
                "factor": None if settings.factor is None else self._part(2),
                "offset": None if settings.offset is None else self._part(3),
                "activation": settings.activation,
                "negative_slope": settings.negative_slope,
            }
            stored = self._part(0), self._part(1), _Part(self._small_there, 4 * channels, 1)
            how: dict[str, Any] = {**self._how, "saved": self._saved, "eps": settings.eps, "run": False}
            if settings.use_stored:
                self._launch = batchnorm.forward_global(self._there, self._work, stored, **how)
            else:
                self._launch = batchnorm.forward(
                    self._there, self._work, stored=stored, fraction=settings.fraction, **how
                )

    def _part(self, number: int) -> _Part:
        return _Part(self._small_there, number * self._channels, self._channels)

    def forward(self) -> None:
        """Compute y, and keep up the stored statistics."""
        gpu, settings, small = self._gpu, self._settings, self._small
        vectors = small[:-1].reshape(4, self._channels)
        given = [*settings.stored[:2], settings.factor, settings.offset]
        for row, values in zip(vectors, given, strict=True):
            row[...] = 0 if values is None else values
        small[-1:] = settings.stored[2]
        with gpu.current():
            with gpu.copying():
                self._there.copy_to_device(self._x)
                self._small_there.copy_to_device(small)
            self._launch()
            with gpu.copying():
                self._work.copy_to_host(self._y)
                if not settings.use_stored:
                    self._small_there.copy_to_host(small)
        gpu.bytes += self._x.nbytes + self._y.nbytes + small.nbytes * (1 if settings.use_stored else 2)
        if not settings.use_stored:
            settings.stored[0][...], settings.stored[1][...] = vectors[0], vectors[1]
            settings.stored[2][...] = small[-1:]

    def backward(
        self, dy: np.ndarray, dx: np.ndarray | None, d_factor: np.ndarray | None, d_offset: np.ndarray | None
    ) -> list[Step]:
        """Return the steps of the gradients: ``dx`` is written, the others are added to; None: it is left out."""
        from caffelite.kernels.cuda import batchnorm

        d_rows = [(d_factor, 0), (d_offset, 1)]
        if dx is None and d_factor is None and d_offset is None:
            return []
        gpu, channels = self._gpu, self._channels
        gradients = np.zeros((2, channels), np.float32)
        with gpu.current():
            there = empty(gradients.shape)
            d_there = [None if array is None else _Part(there, row * channels, channels) for array, row in d_rows]
            launch = batchnorm.backward(
                self._there,
                self._work,
                None if dx is None else self._work,
                self._saved,
                d_factor=d_there[0],
                d_offset=d_there[1],
                global_statistics=self._settings.use_stored,
                run=False,
                **self._how,
            )

        def step() -> None:
            with gpu.current():
                with gpu.copying():
                    self._work.copy_to_device(dy)
                launch()
                with gpu.copying():
                    if dx is not None:
                        self._work.copy_to_host(dx)
                    there.copy_to_host(gradients)
            gpu.bytes += dy.nbytes + gradients.nbytes + (0 if dx is None else dx.nbytes)
            for array, row in d_rows:
                if array is not None:
                    array += gradients[row]

        return [step]
