"""From a serial Python function to machine code, or to the kept one.

A kernel is a function ``f(begin, end, worker, *arguments)`` that does the tasks ``begin`` to ``end - 1`` of a list of
independent ones; ``worker`` numbers the thread, for scratch memory. What is specialised to a shape stays small and
serial. Numba's compiler, :mod:`.private`, is imported when there is something to compile: a program that finds all of
its kernels kept does without, and starts a fifth of a second earlier.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from numba.core import types

from caffelite.kernels.engine import entry, keeping, loading, settings
from caffelite.kernels.engine.entry import KernelVersion

_listener: Callable[[str], None] | None = None


@contextmanager
def listening(listener: Callable[[str], None] | None) -> Iterator[None]:
    """Have every kernel told that has to be compiled while the block runs: a program can say why it takes a moment.

    Parameters
    ----------
    listener : callable or None
        Takes the kernel's name, in the thread that needs it. A block inside a block has its own listener, the outer
        one hears nothing meanwhile; None: nobody is told.
    """
    global _listener
    outer, _listener = _listener, listener
    try:
        yield
    finally:
        _listener = outer


def tell(name: str) -> None:
    """Tell who listens that a kernel has to be compiled."""
    if _listener is not None:
        _listener(name)


_Version = TypeVar("_Version")


class Compiled(ABC, Generic[_Version]):
    """What there is machine code of, in one version or several.

    Attributes
    ----------
    name : str
        What the machine code is kept under.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._addresses: dict[_Version, int] = {}

    def address(self, version: _Version) -> int:
        """Return the address of the machine code, compiling it if it is not kept."""
        if not self.kept(version):
            key = self._key(version)
            code = self._compiled(version, _symbol(key))
            keeping.keep(self._file(key), {"kernel": self.name}, code)
            self._addresses[version] = loading.load(code, _symbol(key))
        return self._addresses[version]

    def kept(self, version: _Version) -> bool:
        """Whether the machine code is in this process, which it is loaded into if it is kept."""
        if version not in self._addresses:
            key = self._key(version)
            if kept := keeping.load(self._file(key)):
                self._addresses[version] = loading.load(kept[1], _symbol(key))
        return version in self._addresses

    def _key(self, version: _Version) -> str:
        return hashlib.sha256(f"{self.name} {version}".encode()).hexdigest()[:32]

    def _file(self, key: str) -> Path:
        return keeping.code_file(key)

    @abstractmethod
    def _compiled(self, version: _Version, symbol: str) -> bytes:
        """Compile a version to machine code, in which its entry has this name."""


class Kernel(Compiled[KernelVersion]):
    """A compiled function of arrays, in as many versions as there are argument types and ways of working in place.

    Attributes
    ----------
    function : callable
        The Python function ``f(begin, end, worker, *arguments)``.
    name : str
        Module, function and static values.
    """

    def __init__(self, function: Callable[..., None], name: str) -> None:
        super().__init__(name)
        self.function = function
        self.__doc__ = function.__doc__

    def _compiled(self, version: KernelVersion, symbol: str) -> bytes:
        from caffelite.kernels.engine import private

        tell(self.name)
        return private.compiled(
            self.function,
            (types.intp, types.intp, types.intp, *version.types),
            {"fastmath": settings.FASTMATH, "error_model": "numpy", "boundscheck": False},
            partial(entry.add, version=version, symbol=symbol),
        )


def _symbol(key: str) -> str:
    return f"caffelite_{key}"


def source_digest(function: Callable[..., Any]) -> str:
    """Return a digest of the file a function is written in.

    The folder of kept code changes with the sources of this package only; without the digest a function that was
    changed in a file elsewhere (a layer's) would go on running as it was.
    """
    code: Any = function.__code__
    try:
        source = Path(code.co_filename).read_bytes()
    except OSError:  # typed in by hand, or read from an archive
        source = repr((code.co_code, code.co_consts, code.co_names)).encode()
    return hashlib.sha256(source).hexdigest()[:16]


def _name(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{function.__qualname__}:{source_digest(function)}"


def kernel(function: Callable[..., None]) -> Kernel:
    """Turn ``f(begin, end, worker, *arguments)`` into a :class:`Kernel`."""
    return Kernel(function, _name(function))


def specialised(factory: Callable[..., Callable[..., None]]) -> Callable[..., Kernel]:
    """Turn a function of static values that returns a kernel's function into one that returns the kernel.

    The static values (numbers, strings, tuples of them) become constants of the machine code.
    """
    made: dict[tuple[Any, ...], Kernel] = {}

    def get(*static: Any) -> Kernel:
        if static not in made:
            made[static] = Kernel(factory(*static), f"{_name(factory)}{static}")
        return made[static]

    get.__doc__ = factory.__doc__
    return get
