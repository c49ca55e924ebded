"""Machine code in the file format of compiled code, brought into the process: what is kept, and what is made now."""

from collections.abc import Callable
from ctypes import CFUNCTYPE, c_ssize_t
from functools import cache
from typing import Any

import llvmlite.binding as llvm


@cache
def _engine() -> Any:
    """Return LLVM's loader, which holds all that it has loaded."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(jit=True)
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)


def load(code: bytes, symbol: str) -> int:
    """Return the address of a function of an object file, which stays for as long as the process lives.

    A function is loaded once: of two files with the same symbol the first one counts.
    """
    engine = _engine()
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return int(engine.get_function_address(symbol))


def callable_at(address: int, arguments: int) -> Callable[..., None]:
    """Return a function of so many whole numbers (``intp``) for Python. It runs without Python's lock."""
    return CFUNCTYPE(None, *[c_ssize_t] * arguments)(address)
