"""The few functions that start kernels: on one thread, on all, several in a row.

Every kernel has the same machine-level signature, so these serve all of them. They go through numba's own compiler,
``parallel=True`` included, which takes seconds, and through its cache. Left to itself that cache lies beside the
sources or in numba's folder in the user's home, and a function whose code can be kept in neither is an error; here it
lies in the folder of compiled kernels, and where nothing can be written a function is compiled in each process.
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


def _driver(signature: str, parallel: bool = False) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that compiles a function for one signature, without Python's lock, or finds it compiled.

    Parameters
    ----------
    signature : str
        Types of the arguments, as ``numba.njit`` takes them.
    parallel : bool, optional
        Whether loops over ``numba.prange`` are spread over the threads.
    """

    def compiled(function: Callable[..., None]) -> Callable[..., None]:
        dispatcher: Any = numba.njit(nogil=True, parallel=parallel)(function)
        private.set_cache(dispatcher, _Cache(function))
        dispatcher.compile(signature)
        dispatcher.disable_compile()
        return dispatcher

    return compiled


@intrinsic
def _invoke(typing_context, address, begin, end, worker, context):
    """Call the machine code at ``address``."""

    def generate(code_context, builder, signature, arguments):
        word = ir.IntType(64)
        pointer = cgutils.voidptr_t
        kind = ir.FunctionType(ir.VoidType(), [word, word, word, pointer])
        function = builder.inttoptr(arguments[0], kind.as_pointer())
        builder.call(function, [*arguments[1:4], builder.inttoptr(arguments[4], pointer)])
        return code_context.get_dummy_value()

    return types.void(*[types.intp] * 5), generate


@_driver("void(intp, intp, intp)")
def run_serial(address, context, tasks):
    """Run a kernel on the thread that calls.

    Parameters
    ----------
    address : int
        Of its machine code.
    context : int
        Address of the table of its arguments: :func:`caffelite.kernels.engine.entry.pack`.
    tasks : int
    """
    _invoke(address, 0, tasks, 0, context)


@_driver("void(intp, intp, intp, intp)", parallel=True)
def run_parallel(address, context, tasks, workers):
    """Run a kernel on several threads, which have contiguous runs of its tasks."""
    for worker in numba.prange(workers):
        begin = tasks * worker // workers
        end = tasks * (worker + 1) // workers
        if begin < end:
            _invoke(address, begin, end, worker, context)


@_driver("void(intp[:, ::1])", parallel=True)
def run_row(calls):
    """Run kernels one after the other; ``calls[i]`` is address, context, tasks and workers of one."""
    for i in range(len(calls)):
        address, context, tasks, workers = calls[i, 0], calls[i, 1], calls[i, 2], calls[i, 3]
        if workers == 1:
            _invoke(address, 0, tasks, 0, context)
        else:
            for worker in numba.prange(workers):
                begin = tasks * worker // workers
                end = tasks * (worker + 1) // workers
                if begin < end:
                    _invoke(address, begin, end, worker, context)
