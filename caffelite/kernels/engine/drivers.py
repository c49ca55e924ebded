"""Compiled functions that Python calls, and that call kernels: the few that start them, in :mod:`.team`.

Every kernel has the same machine-level signature, so these serve all of them. They go through numba's own compiler and
its cache. Left to itself that cache lies beside the sources or in numba's folder in the user's home, and a function
whose code can be kept in neither is an error; here it lies in the folder of compiled kernels, and where nothing can be
written a function is compiled in each process.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numba
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from caffelite.kernels.engine import keeping, private

_numba: Any = numba.config


class _Locator(private.CacheLocator):
    """Tells numba's cache its folder: the one in ``NUMBA_CACHE_DIR``, else that of the kernels."""

    def get_cache_path(self) -> str:
        folder, chosen = keeping.code_folder(), _numba.CACHE_DIR
        return str(Path(chosen) / f"caffelite_{folder.name}" if chosen else folder)

    def get_source_stamp(self) -> str:
        return keeping.code_folder().name

    def get_disambiguator(self) -> str:
        return "driver"

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> "_Locator":
        return cls()


class _CacheImpl(private.CacheImpl):
    _locator_classes: list[Any] = [_Locator]


class _Cache(private.FunctionCache):
    """Numba's cache of a function, for which a folder that cannot be read or written is no error."""

    _impl_class = _CacheImpl

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        with suppress(OSError):
            return super().load_overload(sig, target_context)
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        if keeping.can_keep(Path(self.cache_path)):
            with suppress(OSError):  # the disk is full, say
                super().save_overload(sig, data)


def driver(signature: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that compiles a function for one signature, or finds it compiled.

    It runs without Python's lock.

    Parameters
    ----------
    signature : str
        Types of the arguments, as ``numba.njit`` takes them.
    """

    def compiled(function: Callable[..., None]) -> Callable[..., None]:
        dispatcher: Any = numba.njit(nogil=True)(function)
        private.set_cache(dispatcher, _Cache(function))
        dispatcher.compile(signature)
        dispatcher.disable_compile()
        return dispatcher

    return compiled


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
