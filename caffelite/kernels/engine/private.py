"""What the engine takes from inside numba and llvmlite, which promise nothing of it, and why.

All of it is looked up when this module is imported: a version that lacks something is told with its number, before
anything is compiled. What is public there, or documented for extensions (``numba.njit``, ``numba.extending``,
``numba.core.types`` and ``cgutils``, ``numba.config``), is imported where it is used.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import llvmlite
import numba
from llvmlite.binding import Linkage

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
#: Adds the size to an index below zero: see :func:`_compiling`.
_find("numba.cpython.slicing", "fix_index")
_slicing: Any = import_module("numba.cpython.slicing")
#: Where LLVM's code of a function comes together with that of those it calls: see :class:`_Library`, :func:`link`.
_JITCodeLibrary: Any = _find("numba.core.codegen", "JITCodeLibrary")
for _method in ("_optimize_functions", "_optimize_final_module", "_get_module_for_linking", "add_linking_library"):
    _find("numba.core.codegen", f"CPUCodeLibrary.{_method}")
for _method in ("create_library", "_module_pass_manager"):
    _find("numba.core.codegen", f"CPUCodegen.{_method}")
#: What numba would make of a helper for Python: see :func:`_compiling`.
_find("numba.core.cpu", "CPUContext.get_executable")


def _check_attributes() -> None:
    """Look for what only instances have."""
    codegen = _cpu.target_context.codegen()
    library = codegen.create_library("caffelite")
    for owner, names in ((library, ("_final_module", "_linking_libraries")), (codegen, ("_tm", "_library_class"))):
        for name in names:
            if not hasattr(owner, name):
                raise _missing(f"numba.core.codegen.{'CPUCodeLibrary' if owner is library else 'CPUCodegen'}.{name}")


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


def _without_wrappers(self: Any, flags: Any) -> Any:
    flags.no_cpython_wrapper = True
    flags.no_cfunc_wrapper = True
    return flags


class _Compiler(_FunctionCompiler):
    """Numba's compiler up to LLVM's code: what calls the function is added before anything is optimised."""

    def _customize_flags(self, flags: Any) -> Any:
        flags.no_compile = True
        return _without_wrappers(self, flags)


class _Library(_JITCodeLibrary):
    """LLVM's code of a kernel, or of a helper that it calls.

    Numba would optimise each helper, and make machine code of it, before the next one is looked at, and would then
    optimise what has been inlined once more. Here nothing happens until all of a kernel's code is together.
    """

    def _optimize_functions(self, module: Any) -> None:
        module.data_layout = self._codegen._data_layout

    def add_linking_library(self, library: Any) -> None:
        self._linking_libraries.append(library)

    def _optimize_final_module(self) -> None:
        # Numba has a cheap round before this one, for its counts of references; kernels count none.
        made = self._codegen._module_pass_manager()
        manager, *builder = made if isinstance(made, tuple) else (made,)  # from numba 0.62 on there is a builder, too
        manager.run(self._final_module, *builder)


@contextmanager
def _compiling() -> Iterator[None]:
    """Have numba compile for kernels: only what they take, and array accesses without a test for negative indices.

    The test (``index + size if index < 0 else index``), which no kernel uses, keeps LLVM from seeing that a loop reads
    one element after the other, and so from using vector instructions.
    """
    context = _cpu.target_context
    codegen = context.codegen()
    changes = [
        (_slicing, "fix_index", lambda builder, index, size: index),
        (_FunctionCompiler, "_customize_flags", _without_wrappers),
        # A helper's machine code, which nobody calls. Numba knows the helper by what it gets here: it has to be a
        # built-in function, and another one each time. This one raises if Python calls it.
        (context, "get_executable", lambda library, description, environment: {}.__getitem__),
        (codegen, "_library_class", _Library),
    ]
    originals = [(owner, name, getattr(owner, name)) for owner, name, _ in changes]
    for owner, name, value in changes:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in originals:
            setattr(owner, name, value)


def compiled(
    function: Callable[..., None], types: tuple[Any, ...], options: dict[str, Any], finish: Callable[[Any], bytes]
) -> bytes:
    """Return the machine code of a function that was compiled for arguments of these types and returns nothing.

    No memory is taken in it (``np.empty`` is an error): without that, numba has no references to count.

    Parameters
    ----------
    function : callable
    types : tuple of numba.types.Type
    options : dict
        As ``numba.njit`` takes them.
    finish : callable
        Takes numba's result, whose library holds LLVM's code, and makes machine code of it: see :func:`link`.
    """
    with _compiler_lock, _compiling():
        options = {"nopython": True, "_nrt": False, **options}
        result = _Compiler(function, _cpu, options, {}, _Pipeline).compile(types, numba.void)
        return finish(result)


def link(library: Any, symbol: str) -> bytes:
    """Join the code of all functions in a library, keep the name of one of them, and return machine code.

    The entry, which was added last, is optimised together with all that it calls.
    """
    code = library._final_module
    for used in _used_by(library):
        code.link_in(_module_of(used), preserve=True)
    # Numba numbers functions from 1 in each process: kept by several, two may have one name.
    for named in (*code.functions, *code.global_variables):
        if not named.is_declaration and named.name != symbol:
            named.linkage = "internal"
    library._optimize_final_module()
    code = library._final_module
    code.verify()
    return bytes(library._codegen._tm.emit_object(code))


def _used_by(library: Any) -> list[Any]:
    """Return the libraries of all functions that those of a library call, each once."""
    used: dict[Any, None] = {}
    waiting = [library]
    while waiting:
        new = [one for one in waiting.pop()._linking_libraries if one not in used]
        used.update(dict.fromkeys(new))
        waiting += new
    return list(used)


def _module_of(library: Any) -> Any:
    """Return the code of a library alone, for several to link it in."""
    if not isinstance(library, _Library):
        return library._get_module_for_linking()
    module = library._final_module.clone()
    for function in module.functions:
        if not function.is_declaration and function.linkage == Linkage.external:
            function.linkage = "linkonce_odr"
    return module
