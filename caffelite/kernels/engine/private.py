"""What the engine takes from inside numba and llvmlite, which promise nothing of it, and why.

All of it is looked up when this module is imported: a version that lacks something is told with its number, before
anything is compiled. What is public there, or documented for extensions (``numba.njit``, ``numba.extending``,
``numba.core.types`` and ``cgutils``, ``numba.config``), is imported where it is used.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import llvmlite
import numba

from caffelite.errors import NumbaError

#: The oldest and the newest version of numba that the tests have run with.
OLDEST, NEWEST = "0.61", "0.68"


def _missing(what: str) -> NumbaError:
    major, minor = NEWEST.split(".")
    return NumbaError(
        f"numba {numba.__version__} with llvmlite {llvmlite.__version__} has no {what}, which compiling kernels takes; "
        f"caffelite works with numba {OLDEST} to {NEWEST}: "
        f'pip install "numba>={OLDEST},<{major}.{int(minor) + 1}"'
    )


def _find(module: str, names: str) -> Any:
    """Return what a dotted name stands for in a module."""
    try:
        value: Any = import_module(module)
        for name in names.split("."):
            value = getattr(value, name)
    except (ImportError, AttributeError):
        raise _missing(f"{module}.{names}") from None
    return value


#: Numba's compiler of a function for given types, without the dispatcher around it, which would add a wrapper for
#: Python and make machine code before the entry is added. The flags are set in ``_customize_flags``.
_FunctionCompiler: Any = _find("numba.core.dispatcher", "_FunctionCompiler")
_find("numba.core.dispatcher", "_FunctionCompiler._customize_flags")
#: The flag that stops at LLVM's code; the two others leave out wrappers that nobody calls.
for _flag in ("no_compile", "no_cpython_wrapper", "no_cfunc_wrapper"):
    _find("numba.core.compiler", f"Flags.{_flag}")
_Pipeline = _find("numba.core.compiler", "Compiler")
_cpu = _find("numba.core.registry", "cpu_target")
#: One thread compiles at a time.
_compiler_lock = _find("numba.core.compiler_lock", "global_compiler_lock")
#: LLVM's own lock: llvmlite takes it for every call of LLVM.
_llvm_lock = _find("llvmlite.binding.ffi", "lib._lock")
#: Adds the size to an index below zero: see :func:`_without_negative_indices`.
_find("numba.cpython.slicing", "fix_index")
_slicing: Any = import_module("numba.cpython.slicing")
#: The machine code of a function, as bytes and back: numba's cache keeps it so, but under a key by which it does not
#: find closures over compiled functions again.
_find("numba.core.codegen", "CPUCodeLibrary.serialize_using_object_code")
_find("numba.core.codegen", "CPUCodegen.unserialize_library")
#: Where LLVM's code of a function comes together with that of those it calls: see :func:`link`.
_find("numba.core.codegen", "CPUCodeLibrary._get_module_for_linking")
_find("numba.core.codegen", "CPUCodegen.create_library")
#: Numba's wrapper for Python as a function of Python's, and what the wrapper asks for: see :func:`python_function`.
_find("numba.core.cpu", "CPUContext.get_executable")
_FunctionDescriptor = _find("numba.core.funcdesc", "FunctionDescriptor")
_Environment = _find("numba._dynfunc", "Environment")


def _check_attributes() -> None:
    """Look for what only instances have."""
    library = _cpu.target_context.codegen().create_library("caffelite")
    for name in ("_final_module", "_linking_libraries"):
        if not hasattr(library, name):
            raise _missing(f"numba.core.codegen.CPUCodeLibrary.{name}")
    for name in ("env_name", "llvm_cpython_wrapper_name"):
        if not hasattr(_FunctionDescriptor, name):
            raise _missing(f"numba.core.funcdesc.FunctionDescriptor.{name}")


_check_attributes()


def _lock() -> None:
    _compiler_lock.acquire()
    _llvm_lock.__enter__()


def _unlock() -> None:
    _llvm_lock.__exit__(None, None, None)
    _compiler_lock.release()


if hasattr(os, "register_at_fork"):
    # A copy of the process must not begin with the lock of a thread that it does not have: whoever forks waits until
    # no other thread compiles.
    os.register_at_fork(before=_lock, after_in_parent=_unlock, after_in_child=_unlock)


class _Compiler(_FunctionCompiler):
    """Numba's compiler up to LLVM's code: what calls the function is added before anything is optimised."""

    def _customize_flags(self, flags: Any) -> Any:
        flags.no_cpython_wrapper = True
        flags.no_cfunc_wrapper = True
        flags.no_compile = True
        return flags


@contextmanager
def _without_negative_indices() -> Iterator[None]:
    """Compile array accesses without numba's test for negative indices, which no kernel uses.

    The test (``index + size if index < 0 else index``) keeps LLVM from seeing that a loop reads one element after the
    other, and so from using vector instructions.
    """
    original = _slicing.fix_index
    _slicing.fix_index = lambda builder, index, size: index
    try:
        yield
    finally:
        _slicing.fix_index = original


def compiled(
    function: Callable[..., None], types: tuple[Any, ...], options: dict[str, Any], finish: Callable[[Any], None]
) -> Any:
    """Return the library of a function that was compiled for arguments of these types and returns nothing.

    Parameters
    ----------
    function : callable
    types : tuple of numba.types.Type
    options : dict
        As ``numba.njit`` takes them.
    finish : callable
        Takes numba's result, whose library holds LLVM's code, and makes machine code of it: see :func:`link`.
    """
    with _compiler_lock, _without_negative_indices():
        result = _Compiler(function, _cpu, {"nopython": True, **options}, {}, _Pipeline).compile(types, numba.void)
        finish(result)
    return result.library


def link(library: Any, symbol: str) -> None:
    """Join the code of all functions in a library, keep the name of one of them, and make machine code.

    Numba would link after each function; here the entry, which was added last, is optimised together with what it
    calls.
    """
    code = library._final_module
    for used in dict.fromkeys(library._linking_libraries):
        code.link_in(used._get_module_for_linking(), preserve=True)
    library._linking_libraries.clear()
    # Numba numbers functions from 1 in each process: kept by several, two may have one name.
    for function in code.functions:
        if not function.is_declaration and function.name != symbol:
            function.linkage = "internal"
    library.finalize()


def serialized(library: Any) -> tuple[str, bytes, bytes]:
    """Return the name of a library, its machine code and LLVM's code."""
    name, _, (code, bitcode) = library.serialize_using_object_code()
    return name, code, bitcode


def unserialized(name: str, code: bytes, bitcode: bytes) -> Any:
    """Return the library that :func:`serialized` took apart."""
    context = _cpu.target_context
    context.refresh()
    return context.codegen().unserialize_library((name, "object", (code, bitcode)))


def compiled_for_python(function: Callable[..., None], types: tuple[Any, ...]) -> tuple[list[str], Any]:
    """Return the names and the library for :func:`python_function` of a function that returns nothing."""
    with _compiler_lock:
        options = {"nopython": True, "nogil": True}
        result = _FunctionCompiler(function, _cpu, options, {}, _Pipeline).compile(types, numba.void)
    return [result.fndesc.llvm_cpython_wrapper_name, result.fndesc.env_name], result.library


class _Described:
    """What numba asks of a compiled function to make one of Python's."""

    def __init__(self, function: Callable[..., None], names: list[str]) -> None:
        self.qualname = function.__qualname__
        self.llvm_cpython_wrapper_name, self.env_name = names
        self._module = sys.modules[function.__module__]

    def lookup_module(self) -> Any:
        return self._module


def python_function(function: Callable[..., None], names: list[str], library: Any) -> Callable[..., None]:
    """Return machine code with numba's wrapper as a function that Python calls.

    Parameters
    ----------
    function : callable
        What it was compiled from.
    names : list of str
    library
        See :func:`compiled_for_python`.
    """
    return _cpu.target_context.get_executable(library, _Described(function, names), _Environment({}))
