"""Batch normalization on a GPU, with an optional scale and shift and an optional activation behind it.

Functions of arrays of anyone who has ``__cuda_array_interface__`` (numba, CuPy, PyTorch): nothing is copied, all work
goes to the caller's stream and is not waited for. Two runs give the same bits.

What all functions take:

x, y, dy, dx
    [images][channels] or [images][channels][anything …], contiguous, of float32, float16 or bfloat16 (all of one
    type; calculation is in float32). ``y`` may be ``x`` (but :func:`backward` needs ``x``), ``dx`` may be ``dy``
    or ``x``.
saved
    [3][channels] of float32, for the gradient: the mean, what float32 loses of it, and ``1 / sqrt(variance + eps)``.
stored
    Caffe's three blobs, of float32: mean sum [channels], variance sum [channels] (of the unbiased variance,
    m / (m - 1)), and the factor [1] both are to be divided by; 0 says that nothing was stored.
factor, offset
    [channels] of float32, optional.
activation
    None, ``"ReLU"`` (with ``negative_slope``) or ``"Sigmoid"``.
stream
    A stream of PyTorch, CuPy or numba, or its handle; by default that of ``x``'s interface, else the default one.
run
    False: only prepare.

All return a callable that does the same again, on the same arrays, without any check. All raise
:class:`caffelite.errors.GpuError` where an array is not on a GPU, or on another one, is not contiguous, or has another
type or shape than it must have.
"""

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numba import cuda

from caffelite.errors import GpuError
from caffelite.kernels.cuda import backward as backward_kernels
from caffelite.kernels.cuda import forward as forward_kernels
from caffelite.kernels.cuda.access import KINDS
from caffelite.kernels.cuda.activations import ACTIVATIONS
from caffelite.kernels.cuda.arrays import GpuArray, array_on_gpu, device_of, handle_of
from caffelite.kernels.cuda.device import find
from caffelite.kernels.cuda.geometry import divide, width_of
from caffelite.kernels.cuda.launch import Launch, step, workspace

Stored: TypeAlias = tuple[Any, Any, Any]
#: A thread counts vectors in 32 bits.
_MOST = 1 << 31


def forward(
    x: Any,
    y: Any,
    saved: Any = None,
    *,
    eps: float = 1e-5,
    stored: Stored | None = None,
    fraction: float = 0.999,
    factor: Any = None,
    offset: Any = None,
    activation: str | None = None,
    negative_slope: float = 0.0,
    stream: Any = None,
    run: bool = True,
) -> Launch:
    """Normalise by the statistics of the batch.

    ``y = activation((x - mean) / sqrt(variance + eps) * factor + offset)``.

    Parameters
    ----------
    x, y, saved, factor, offset, activation, negative_slope, stream, run
        See the module; ``y`` and, if it is given, ``saved`` are written.
    eps : float
        Added to the variance.
    stored : three arrays, optional
        Are multiplied by ``fraction``; then the batch's mean, its unbiased variance, and 1 are added.
    fraction : float
        Caffe's ``moving_average_fraction``.

    Returns
    -------
    Launch

    Raises
    ------
    GpuError
    """
    call = _Call(activation, negative_slope, stream, x=x, y=y)
    m = call.number
    numbers = eps, fraction, m / (m - 1) if m > 1 else 1.0, 1 / m
    source = "partial" if call.division.splits > 1 else "data"
    return _normalised(call, source, numbers, saved, stored, factor, offset, run)


def forward_global(
    x: Any,
    y: Any,
    stored: Stored,
    saved: Any = None,
    *,
    eps: float = 1e-5,
    factor: Any = None,
    offset: Any = None,
    activation: str | None = None,
    negative_slope: float = 0.0,
    stream: Any = None,
    run: bool = True,
) -> Launch:
    """Normalise by the stored statistics.

    Parameters
    ----------
    x, y, stored, saved, factor, offset, activation, negative_slope, stream, run
        See the module; ``y`` and, if it is given, ``saved`` are written.
    eps : float
        Added to the variance.

    Returns
    -------
    Launch

    Raises
    ------
    GpuError
    """
    call = _Call(activation, negative_slope, stream, x=x, y=y)
    return _normalised(call, "stored", (eps, 0.0, 0.0, 0.0), saved, stored, factor, offset, run)


def _normalised(
    call: "_Call",
    source: str,
    numbers: tuple[float, ...],
    saved: Any,
    stored: Stored | None,
    factor: Any,
    offset: Any,
    run: bool,
) -> Launch:
    kernels, division = forward_kernels, call.division
    saved = call.small("saved", saved, (3, call.channels), written=True)
    factor = call.small("factor", factor)
    offset = call.small("offset", offset)
    names = "the stored mean sum", "the stored variance sum", "the stored factor"
    sizes = call.channels, call.channels, 1
    sums = [
        call.small(name, value, (size,), written=source != "stored")
        for name, value, size in zip(names, stored or (None,) * 3, sizes, strict=True)
    ]
    present = _bits(
        (factor, kernels.FACTOR), (offset, kernels.OFFSET), (saved, kernels.SAVED), (sums[0], kernels.STORED)
    )
    partial = None
    launches: list[tuple[Any, tuple[str, ...], list[Any]]] = []
    if source == "partial":
        partial = call.workspace((3 * division.splits + 1) * call.channels)
        launches.append((kernels.statistics, (), [call.x, partial, division.walk]))
    launches.append(
        (
            kernels.normalise,
            (call.activation, source),
            [
                call.x,
                call.arrays["y"],
                partial,
                saved,
                *sums,
                factor,
                offset,
                division.walk,
                division.lanes,
                *map(np.float32, numbers),
                call.slope,
                present,
            ],
        )
    )
    return call.launch(launches, run)


def backward(
    x: Any,
    dy: Any,
    dx: Any,
    saved: Any,
    *,
    factor: Any = None,
    offset: Any = None,
    d_factor: Any = None,
    d_offset: Any = None,
    add: bool = False,
    global_statistics: bool = False,
    activation: str | None = None,
    negative_slope: float = 0.0,
    stream: Any = None,
    run: bool = True,
) -> Launch:
    """Compute the gradients to x, to the factor and to the offset.

    Half of its lines are what it takes: these are the names of a public function, as :func:`forward` has them.

    Parameters
    ----------
    x, dy, dx, saved, factor, offset, activation, negative_slope, stream, run
        See the module; ``x``, ``saved`` and all from ``factor`` on as in the forward pass. ``dx`` is written, or None.
    d_factor, d_offset : [channels] of float32, optional
        Are written.
    add : bool
        Whether they are added to, as Caffe does.
    global_statistics : bool
        Whether mean and variance did not depend on x (:func:`forward_global`).

    Returns
    -------
    Launch

    Raises
    ------
    GpuError
    """
    kernels = backward_kernels
    call = _Call(activation, negative_slope, stream, x=x, dy=dy, dx=dx)
    division, output = call.division, call.arrays["dx"]
    if saved is None:
        raise GpuError("saved is None, expected what the forward pass has saved")
    saved = call.small("saved", saved, (3, call.channels))
    factor = call.small("factor", factor)
    offset = call.small("offset", offset)
    d_factor = call.small("d_factor", d_factor, written=True)
    d_offset = call.small("d_offset", d_offset, written=True)
    present = _bits((factor, forward_kernels.FACTOR), (offset, forward_kernels.OFFSET))
    asked = _bits((d_factor, kernels.D_FACTOR), (d_offset, kernels.D_OFFSET))
    source = "partial" if division.splits > 1 else "data"
    if global_statistics and not asked:
        source = "nothing"
    asked |= _bits((output, kernels.DX)) | (kernels.ADD if add else 0)
    partial = None
    launches: list[tuple[Any, tuple[str, ...], list[Any]]] = []
    if source == "partial":
        partial = call.workspace(2 * division.splits * call.channels)
        launches.append(
            (
                kernels.sums,
                (call.activation,),
                [call.x, call.arrays["dy"], partial, saved, factor, offset, division.walk, call.slope, present],
            )
        )
    share = np.float32(0 if global_statistics else 1 / call.number)
    launches.append(
        (
            kernels.gradient,
            (call.activation, source),
            [
                call.x,
                call.arrays["dy"],
                output,
                partial,
                saved,
                factor,
                offset,
                d_factor,
                d_offset,
                division.walk,
                division.lanes,
                share,
                call.slope,
                present,
                asked,
            ],
        )
    )
    return call.launch(launches, run)


def _bits(*flags: tuple[GpuArray | None, int]) -> int:
    return sum(bit for array, bit in flags if array is not None)


class _Call:
    """What a call works on: arrays that have been checked, and how they are divided among threads.

    Parameters
    ----------
    activation, negative_slope, stream
        As they were given.
    arrays : object
        By name: x, and others of its type and shape.
    """

    def __init__(self, activation: str | None, negative_slope: float, stream: Any, **arrays: Any) -> None:
        if activation is not None and activation not in ACTIVATIONS:
            raise GpuError(f'there is no activation "{activation}", expected None, "ReLU" or "Sigmoid"')
        # No activation is a ReLU that lets everything through.
        self.activation = activation or "ReLU"
        self.slope = np.float32(1 if activation is None else negative_slope)
        self.x = x = array_on_gpu(arrays["x"], "x", tuple(KINDS))
        if len(x.shape) < 2:
            raise GpuError(f"x has shape {x.shape[0] if x.shape else 'scalar'}, expected images × channels × …")
        self.arrays: dict[str, GpuArray | None] = {"x": x}
        for name in [name for name in arrays if name != "x"]:
            if name == "dx" and arrays[name] is None:
                self.arrays[name] = None
            else:
                self.arrays[name] = array_on_gpu(arrays[name], name, (x.kind,), x.shape, written=name in ("y", "dx"))
        self.device = device_of(self._there())
        images, self.channels, *rest = x.shape
        length = math.prod(rest)
        self.number = images * length
        self.width = width_of(length, KINDS[x.kind], tuple(array.address for array in self._there()))
        if self.number // self.width >= _MOST:
            raise GpuError(f"x has {self.number} values in a channel, expected fewer than {_MOST * self.width}")
        self.division = divide(images, self.channels, length, self.width, find(self.device).multiprocessors)
        self.stream = x.stream if stream is None else handle_of(stream)

    def _there(self) -> list[GpuArray]:
        return [array for array in self.arrays.values() if array is not None]

    def small(
        self, name: str, value: Any, shape: tuple[int, ...] | None = None, written: bool = False
    ) -> GpuArray | None:
        """Return an array of float32, by default of a number for each channel; None for None."""
        if value is None:
            return None
        array = array_on_gpu(value, name, ("float32",), shape or (self.channels,), written)
        device_of([self.x, array])
        self.arrays[name] = array
        return array

    def workspace(self, size: int) -> GpuArray:
        """Return memory for ``size`` float32."""
        with cuda.gpus[self.device]:
            return workspace(self.device, self.stream, size)

    def launch(self, kernels: Sequence[tuple[Any, tuple[str, ...], list[Any]]], run: bool) -> Launch:
        """Return kernels, by what makes them and with what more than type and width, ready to run or run once."""
        options = self.x.kind, self.width
        with cuda.gpus[self.device]:
            steps = [
                step(make, options + more, self.device, self.division, self.stream, arguments)
                for make, more, arguments in kernels
            ]
        launch = Launch(self.device, tuple(steps), tuple(array.owner for array in self._there()))
        if run:
            launch()
        return launch
