"""Routines: small pieces of machine code that kernels call by their address, which is one of their arguments.

A register tile is a loop around vector instructions, in as many shapes as nets have layers. A kernel around it that
takes the tile as an argument is compiled once, whatever the shape, and the tile takes a twentieth of the time: it is
written in LLVM's language, so that numba has no part in it.

All arguments of a routine are whole numbers; those of arrays are addresses: :func:`address_of`.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from caffelite.kernels.engine import settings
from caffelite.kernels.engine.compiling import Compiled, source_digest, tell

_WORD = ir.IntType(64)


class Routine(Compiled[None]):
    """Machine code of one shape, for elements of one type.

    Parameters
    ----------
    write : callable
        ``write(builder, element, shape, …)`` writes it, for elements of LLVM's type ``element``; what follows are the
        routine's arguments.
    shape : tuple of int
    dtype : dtype
    """

    def __init__(self, write: Callable[..., None], shape: tuple[int, ...], dtype: np.dtype) -> None:
        name = f"{write.__module__}.{write.__qualname__}:{source_digest(write)}{shape}{dtype}"
        super().__init__(name)
        self._write, self._shape, self._dtype = write, shape, dtype

    def __int__(self) -> int:
        """Return the address."""
        return self.address(None)

    def _compiled(self, version: None, symbol: str) -> bytes:
        from caffelite.kernels.engine import private

        tell(self.name)
        count = self._write.__code__.co_argcount - 3
        module = ir.Module(symbol)
        function = ir.Function(module, ir.FunctionType(ir.VoidType(), [_WORD] * count), symbol)
        builder = ir.IRBuilder(function.append_basic_block())
        element = ir.DoubleType() if self._dtype == np.float64 else ir.FloatType()
        self._write(builder, element, self._shape, *function.args)
        builder.ret_void()
        return private.machine_code(module, symbol, settings.FASTMATH)


def routines_of(arguments: Iterable[Any]) -> set[Routine]:
    """Return the routines among the arguments of a kernel, and in records of them."""
    single = {one for one in arguments if isinstance(one, Routine)}
    return single.union(*(routines_of(record) for record in arguments if isinstance(record, tuple)))


#: Routines that were asked for, so that each is loaded once.
_routines: dict[tuple[Any, ...], Routine] = {}


def routine(write: Callable[..., None], shape: tuple[int, ...], dtype: np.dtype) -> Routine:
    """Return the :class:`Routine` of these parameters."""
    key = write, shape, dtype
    if key not in _routines:
        _routines[key] = Routine(*key)
    return _routines[key]


def pointer(builder: Any, address: Any, element: Any, *places: Any) -> Any:
    """Return an address, a whole number, as a pointer to an element that many places further on."""
    result = builder.inttoptr(address, element.as_pointer())
    for place in places:
        result = builder.gep(result, [place])
    return result


@intrinsic
def address_of(typing_context, array, place):
    """Return the address of an element of an array with one axis."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.ptrtoint(builder.gep(data, [arguments[1]]), _WORD)

    return types.intp(array, types.intp), generate


@intrinsic
def run_routine(typing_context, address, arguments):
    """Run the routine at an address with a tuple of whole numbers."""

    def generate(context, builder, signature, values):
        numbers = cgutils.unpack_tuple(builder, values[1])
        kind = ir.FunctionType(ir.VoidType(), [_WORD] * len(numbers))
        builder.call(builder.inttoptr(values[0], kind.as_pointer()), numbers)
        return context.get_dummy_value()

    return types.void(types.intp, types.UniTuple(types.intp, len(arguments))), generate
