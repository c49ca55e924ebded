"""Compiled functions that Python calls, and that call kernels: the few that start them, in :mod:`.team`.

Every kernel has the same machine-level signature, so these serve all of them. Their machine code is made and kept as
that of kernels is.
"""

from collections.abc import Callable
from functools import partial

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from caffelite.kernels.engine import entry, keeping, loading, private


def driver(function: Callable[..., None]) -> Callable[..., None]:
    """Compile a function of whole numbers (``intp``), or find it compiled. It runs without Python's lock."""
    count = function.__code__.co_argcount
    symbol = f"caffelite_{function.__name__}"
    path = keeping.driver_folder() / f"{function.__name__}.driver"
    loaded = keeping.load(path)
    if loaded is None:
        add = partial(entry.add_driver, symbol=symbol)
        code = private.compiled(function, (types.intp,) * count, {"error_model": "numpy"}, add)
        keeping.keep(path, {"driver": function.__name__}, code)
    else:
        code = loaded[1]
    return loading.callable_at(loading.load(code, symbol), count)


@intrinsic
def invoke(typing_context, address, begin, end, worker, context):
    """Call the machine code of a kernel.

    Parameters
    ----------
    address : int
        Of its machine code.
    begin, end : int
        The tasks to do.
    worker : int
        Number of the thread among those that may run the kernel at the same time.
    context : int
        Address of the table of its arguments: :func:`caffelite.kernels.engine.entry.pack`.
    """

    def generate(code_context, builder, signature, arguments):
        word = ir.IntType(64)
        pointer = cgutils.voidptr_t
        kind = ir.FunctionType(ir.VoidType(), [word, word, word, pointer])
        function = builder.inttoptr(arguments[0], kind.as_pointer())
        builder.call(function, [*arguments[1:4], builder.inttoptr(arguments[4], pointer)])
        return code_context.get_dummy_value()

    return types.void(*[types.intp] * 5), generate
