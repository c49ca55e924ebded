"""Compiled functions that Python calls, and that call kernels: the few that start them, in :mod:`.team`.

Every kernel has the same machine-level signature, so these serve all of them. Their machine code is made and kept as
that of kernels is.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from caffelite.kernels.engine import keeping, loading
from caffelite.kernels.engine.compiling import Compiled, source_digest


class Driver(Compiled[None]):
    """A compiled function of whole numbers (``intp``), for Python. It runs without Python's lock.

    It is compiled, or found compiled, when it is first called, or asked for its address.
    """

    def __init__(self, function: Callable[..., None]) -> None:
        super().__init__(f"{function.__name__}:{source_digest(function)}")
        self._function = function
        self._call: Callable[..., None] | None = None

    def __call__(self, *numbers: int) -> None:
        if self._call is None:
            self._call = loading.callable_at(self.address(None), self._function.__code__.co_argcount)
        self._call(*numbers)

    def _file(self, key: str) -> Path:
        return keeping.driver_folder() / f"{key}.driver"

    def _compiled(self, version: None, symbol: str) -> bytes:
        from caffelite.kernels.engine import entry, private

        kinds = (types.intp,) * self._function.__code__.co_argcount
        add = partial(entry.add_driver, symbol=symbol)
        return private.compiled(self._function, kinds, {"error_model": "numpy"}, add)


def driver(function: Callable[..., None]) -> Driver:
    """Turn a function of whole numbers into a :class:`Driver`."""
    return Driver(function)


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
