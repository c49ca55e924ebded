"""The one machine-level signature of all kernels: ``symbol(begin, end, worker, table)``.

The table has the arguments, laid out in words of 8 bytes by :func:`pack`; the entry that :func:`add` writes in LLVM's
language reads them, and calls the function, which is inlined into it.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types

from caffelite.kernels.engine import private

_WORD = ir.IntType(64)

#: An array, a number, or a record: a NamedTuple of numbers, whose fields a kernel reads by name.
Argument = np.ndarray | int | float | tuple[int | float, ...]


class KernelVersion(NamedTuple):
    """What of the arguments the machine code depends on.

    Attributes
    ----------
    types : tuple of numba.types.Type
        One an argument.
    same : tuple of int
        For each argument, the position of the first one that is the same array. A kernel that works in place is
        compiled for it: otherwise LLVM's vectorised loops begin with the question whether the arrays overlap, and
        where they do, a loop over single elements runs instead.
    """

    types: tuple[types.Type, ...]
    same: tuple[int, ...]


def version_of(arguments: tuple[Argument, ...]) -> KernelVersion:
    """Return the version that is compiled for arguments like these.

    Raises
    ------
    TypeError
        An array is not C-contiguous.
    """
    return KernelVersion(tuple(_type_of(argument) for argument in arguments), _same(arguments))


@cache
def _array(dtype: np.dtype, axes: int) -> types.Type:
    # Each call of a net asks twice, and numba makes a type anew each time.
    return types.Array(numba.from_dtype(dtype), axes, "C")


def _type_of(argument: Argument) -> types.Type:
    if isinstance(argument, np.ndarray):
        if not argument.flags.c_contiguous:
            raise TypeError("a kernel takes C-contiguous arrays")
        return _array(argument.dtype, argument.ndim)
    if isinstance(argument, tuple):
        kinds = [_type_of(number) for number in argument]
        if len(set(kinds)) == 1:
            return types.NamedUniTuple(kinds[0], len(kinds), type(argument))
        return types.NamedTuple(kinds, type(argument))
    return types.float64 if isinstance(argument, float) else types.intp


def _same(arguments: tuple[Argument, ...]) -> tuple[int, ...]:
    seen: dict[Any, int] = {}
    return tuple(
        seen.setdefault((a.ctypes.data, a.shape, a.dtype.str) if isinstance(a, np.ndarray) and a.size else i, i)
        for i, a in enumerate(arguments)
    )


def pack(arguments: tuple[Argument, ...]) -> np.ndarray:
    """Return the table of the arguments; it holds addresses of arrays, and keeps none alive."""
    words: list[int] = []
    for argument in arguments:
        if isinstance(argument, np.ndarray):
            words += [0, 0, argument.size, argument.itemsize, argument.ctypes.data, *argument.shape, *argument.strides]
        else:
            numbers = argument if isinstance(argument, tuple) else (argument,)
            words += [int(np.float64(n).view(np.int64)) if isinstance(n, float) else int(n) for n in numbers]
    return np.array(words, dtype=np.int64)


def _words(kind: types.Type) -> int:
    # An array is numba's struct {meminfo, parent, items, itemsize, data, shape[n], strides[n]}.
    if isinstance(kind, types.Array):
        return 5 + 2 * kind.ndim
    return len(kind) if isinstance(kind, types.BaseAnonymousTuple | types.BaseNamedTuple) else 1


def add(compiled: Any, version: KernelVersion, symbol: str) -> bytes:
    """Add the entry to a compiled function, and return the machine code of both.

    Arguments that are the same array are read once: LLVM then sees one pointer.

    Parameters
    ----------
    compiled : numba's result of compiling, up to LLVM's code
    version : KernelVersion
    symbol : str
        What the entry is called.
    """

    def read(builder: Any, begin: Any, end: Any, worker: Any, table: Any) -> list[Any]:
        table = builder.bitcast(table, _WORD.as_pointer())
        values: list[Any] = []
        position = 0
        for kind, first in zip(version.types, version.same, strict=True):
            if first == len(values):
                address = builder.gep(table, [ir.Constant(ir.IntType(32), position)])
                pointer = compiled.target_context.get_value_type(kind).as_pointer()
                values.append(builder.load(builder.bitcast(address, pointer)))
            else:
                values.append(values[first])
            position += _words(kind)
        return [begin, end, worker, *values]

    return _with_entry(compiled, [_WORD, _WORD, _WORD, cgutils.voidptr_t], read, symbol)


def add_driver(compiled: Any, symbol: str) -> bytes:
    """Add an entry with the same arguments to a compiled function of whole numbers, and return the machine code."""
    kinds = [_WORD] * len(compiled.signature.args)
    return _with_entry(compiled, kinds, lambda builder, *numbers: list(numbers), symbol)


def _with_entry(compiled: Any, kinds: list[Any], read: Callable[..., list[Any]], symbol: str) -> bytes:
    context, library = compiled.target_context, compiled.library
    module = library.create_ir_module(symbol)
    function = context.declare_function(module, compiled.fndesc)
    entry = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), symbol)
    builder = ir.IRBuilder(entry.append_basic_block())
    arguments = read(builder, *entry.args)
    context.call_conv.call_function(builder, function, types.void, compiled.signature.args, arguments)
    builder.ret_void()
    library.add_ir_module(module)
    return private.link(library, symbol)
