"""Arrays on a GPU, of whoever made them: what ``__cuda_array_interface__`` says, checked."""

import math
from dataclasses import dataclass
from typing import Any

from caffelite.errors import GpuError
from caffelite.kernels.cuda.access import KINDS
from caffelite.kernels.cuda.simulator import SIMULATED, Pointer

#: ``bfloat16`` has no code of its own; PyTorch and CuPy give that of two bytes of anything.
_TYPES = {"<f4": "float32", "<f2": "float16", "<V2": "bfloat16", "|V2": "bfloat16"}


@dataclass(frozen=True, slots=True)
class GpuArray:
    """An array on a GPU.

    Attributes
    ----------
    owner : object
        Whose memory it is; held so that it stays.
    name : str
        For errors.
    address : int
    shape : tuple of int
    kind : str
        One of ``KINDS``.
    stream : int
        The stream on which the values are made, as a handle; 0 where the interface does not say.
    """

    owner: Any
    name: str
    address: int
    shape: tuple[int, ...]
    kind: str
    stream: int

    @property
    def argument(self) -> Any:
        """What a kernel is given."""
        if SIMULATED:
            return Pointer(self.address, math.prod(self.shape), KINDS[self.kind])
        return self.address


def array_on_gpu(
    value: Any, name: str, kinds: tuple[str, ...], shape: tuple[int, ...] | None = None, written: bool = False
) -> GpuArray:
    """Return an array whose interface has been checked.

    Parameters
    ----------
    value : object with ``__cuda_array_interface__``
    name : str
        For errors.
    kinds : tuple of str
        What its elements may be.
    shape : tuple of int, optional
        What its shape must be.
    written : bool
        Whether kernels write to it.

    Raises
    ------
    GpuError
        It is no array on a GPU, or does not fit; names what was found and what was expected.
    """
    try:
        facts = getattr(value, "__cuda_array_interface__", None)
    except Exception as error:
        # PyTorch says so of tensors that ask for a gradient.
        raise GpuError(f"{name} cannot be taken: {' '.join(str(error).split())}") from None
    if facts is None:
        raise GpuError(
            f"{name} is of type {type(value).__name__}, expected an array on a GPU, which has __cuda_array_interface__"
        )
    kind = _TYPES.get(facts["typestr"])
    if kind not in kinds:
        expected = kinds[0] if len(kinds) == 1 else f"{', '.join(kinds[:-1])} or {kinds[-1]}"
        raise GpuError(f"{name} has elements of type {kind or facts['typestr']}, expected {expected}")
    size = tuple(facts["shape"])
    if shape is not None and size != shape:
        raise GpuError(f"{name} has shape {_text(size)}, expected {_text(shape)}")
    if not math.prod(size):
        raise GpuError(f"{name} has shape {_text(size)}, expected at least one element")
    strides = facts.get("strides")
    if strides is not None and not _contiguous(size, tuple(strides), KINDS[kind]):
        raise GpuError(f"{name} is not contiguous (its strides are {_text(strides, ', ')} bytes); make a copy that is")
    if facts.get("mask") is not None:
        raise GpuError(f"{name} has a mask, expected an array without one")
    address, read_only = facts["data"]
    if written and read_only:
        raise GpuError(f"{name} is read-only, expected an array that can be written to")
    return GpuArray(value, name, int(address), size, kind, int(facts.get("stream") or 0))


def device_of(arrays: list[GpuArray]) -> int:
    """Return the number of the GPU that all of these arrays are on.

    Raises
    ------
    GpuError
        They are on several, or one is not on a GPU.
    """
    if SIMULATED:
        return 0
    numbers = [_number(array) for array in arrays]
    for array, number in zip(arrays, numbers, strict=True):
        if number != numbers[0]:
            raise GpuError(f"{array.name} is on GPU {number}, expected GPU {numbers[0]}, where {arrays[0].name} is")
    return numbers[0]


def _number(array: GpuArray) -> int:
    from cuda.bindings import driver

    ordinal = driver.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
    error, number = driver.cuPointerGetAttribute(ordinal, driver.CUdeviceptr(array.address))
    if error != driver.CUresult.CUDA_SUCCESS:
        raise GpuError(f"{array.name} is not in the memory of a GPU")
    return int(number)


def handle_of(stream: Any) -> int:
    """Return the handle of a stream: a number, or what PyTorch, CuPy or numba have."""
    for attribute in ("cuda_stream", "ptr", "handle"):
        if hasattr(stream, attribute):
            return int(getattr(stream, attribute) or 0)
    if not isinstance(stream, int):
        raise GpuError(
            f"stream is of type {type(stream).__name__}, expected a stream of PyTorch, CuPy or numba, or its handle"
        )
    return stream


def _contiguous(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> bool:
    expected = itemsize
    for length, stride in zip(reversed(shape), reversed(strides), strict=True):
        if length > 1 and stride != expected:
            return False
        expected *= length
    return True


def _text(numbers: Any, between: str = "×") -> str:
    return between.join(map(str, numbers)) if len(numbers) else "()"
