"""How the few functions that start kernels are compiled, and where their machine code is kept.

They go through numba's own compiler, ``parallel=True`` included, which takes seconds, and through its cache. Left to
itself that cache lies beside the sources or in numba's folder in the user's home, and a function whose code can be
kept in neither is an error; here it lies in the folder of compiled kernels, and where nothing can be written a
function is compiled in each process.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numba
from numba.core import caching, config

from caffelite.kernels.engine import settings

_config: Any = config


class _Locator(caching._CacheLocator):
    """Tells numba's cache its folder: the one in ``NUMBA_CACHE_DIR``, else that of the kernels."""

    def get_cache_path(self) -> str:
        folder = settings.code_folder()
        return str(Path(_config.CACHE_DIR) / f"caffelite_{folder.name}" if _config.CACHE_DIR else folder)

    def get_source_stamp(self) -> str:
        return settings.code_folder().name

    def get_disambiguator(self) -> str:
        return "driver"

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> "_Locator":
        return cls()


class _CacheImpl(caching.CompileResultCacheImpl):
    _locator_classes: list[Any] = [_Locator]


class _Cache(caching.FunctionCache):
    """Numba's cache of a function, for which a folder that cannot be read or written is no error."""

    _impl_class = _CacheImpl

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        with suppress(OSError):
            return super().load_overload(sig, target_context)
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        if settings.can_keep(Path(self.cache_path)):
            with suppress(OSError):  # the disk is full, say
                super().save_overload(sig, data)


def driver(signature: str, parallel: bool = False) -> Callable[[Callable[..., None]], Callable[..., None]]:
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
        dispatcher._cache = _Cache(function)  # what cache=True does with a cache of numba's choice
        dispatcher.compile(signature)
        dispatcher.disable_compile()
        return dispatcher

    return compiled
