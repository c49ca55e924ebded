"""Memory that several threads read and write, in compiled code: atomic operations, and how a thread waits.

Addresses are those of 64-bit words. What a thread wrote before a :func:`store` is seen by the one that loads what was
stored; the others are sequentially consistent: all threads see them happen in one order.
"""

import platform
import sys
import time
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

_WORD = ir.IntType(64)
_INT = ir.IntType(32)


def _pointer(builder: Any, address: Any) -> Any:
    return builder.inttoptr(address, _WORD.as_pointer())


def _call(builder: Any, name: str, result: ir.Type, arguments: list[Any], variable: bool = False) -> Any:
    """Call a function of LLVM or of the system's library."""
    kinds = [argument.type for argument in arguments]
    kind = ir.FunctionType(result, kinds[:1] if variable else kinds, var_arg=variable)
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


@intrinsic
def load(typing_context, address):
    """Return the word at an address."""

    def generate(context, builder, signature, arguments):
        return builder.load_atomic(_pointer(builder, arguments[0]), "seq_cst", 8)

    return types.intp(types.intp), generate


@intrinsic
def store(typing_context, address, value):
    """Set the word at an address."""

    def generate(context, builder, signature, arguments):
        builder.store_atomic(arguments[1], _pointer(builder, arguments[0]), "release", 8)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), generate


@intrinsic
def add(typing_context, address, value):
    """Add to the word at an address; return what it was before."""

    def generate(context, builder, signature, arguments):
        return builder.atomic_rmw("add", _pointer(builder, arguments[0]), arguments[1], "seq_cst")

    return types.intp(types.intp, types.intp), generate


@intrinsic
def exchange(typing_context, address, value):
    """Set the word at an address; return what it was before."""

    def generate(context, builder, signature, arguments):
        return builder.atomic_rmw("xchg", _pointer(builder, arguments[0]), arguments[1], "seq_cst")

    return types.intp(types.intp, types.intp), generate


@intrinsic
def replace(typing_context, address, old, new):
    """Set the word at an address if it is ``old``; return whether it was."""

    def generate(context, builder, signature, arguments):
        pointer = _pointer(builder, arguments[0])
        return builder.extract_value(builder.cmpxchg(pointer, arguments[1], arguments[2], "seq_cst", "seq_cst"), 1)

    return types.boolean(types.intp, types.intp, types.intp), generate


@intrinsic
def pause(typing_context):
    """Wait for some 20 to 150 cycles, in which the core's units are left to others."""

    def generate(context, builder, signature, arguments):
        machine = platform.machine().lower()
        if machine in ("x86_64", "amd64"):
            _call(builder, "llvm.x86.sse2.pause", ir.VoidType(), [])
        elif machine in ("aarch64", "arm64"):
            _call(builder, "llvm.aarch64.isb", ir.VoidType(), [ir.Constant(_INT, 15)])
        return context.get_dummy_value()

    return types.void(), generate


# What follows asks the system. Its functions are found by name when the code is loaded, kept code too.


@intrinsic
def give_way(typing_context):
    """Let another thread run on this core if one is ready to."""

    def generate(context, builder, signature, arguments):
        _call(builder, "SwitchToThread" if sys.platform == "win32" else "sched_yield", _INT, [])
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def nanoseconds(typing_context):
    """Return the time of a clock that never goes back."""

    def generate(context, builder, signature, arguments):
        moment = cgutils.alloca_once(builder, ir.ArrayType(_WORD, 2))
        place = builder.bitcast(moment, cgutils.voidptr_t)
        zero, one = ir.Constant(_INT, 0), ir.Constant(_INT, 1)
        first = builder.gep(moment, [zero, zero])
        if sys.platform == "win32":  # ticks of 100 ns, on all that run Windows 10 or later
            _call(builder, "QueryPerformanceCounter", _INT, [place])
            return builder.mul(builder.load(first), ir.Constant(_WORD, 100))
        _call(builder, "clock_gettime", _INT, [ir.Constant(_INT, time.CLOCK_MONOTONIC), place])
        seconds, rest = builder.load(first), builder.load(builder.gep(moment, [zero, one]))
        return builder.add(builder.mul(seconds, ir.Constant(_WORD, 1_000_000_000)), rest)

    return types.intp(), generate


#: Number of Linux's call ``futex`` by processor.
_FUTEX = {"x86_64": 202, "aarch64": 98, "riscv64": 98, "ppc64le": 221}

#: Whether a thread can sleep until another one wakes it; where it cannot, it looks again from time to time.
CAN_BE_WOKEN = sys.platform == "linux" and platform.machine() in _FUTEX

#: Futexes of this process alone: ``FUTEX_WAIT_PRIVATE``, ``FUTEX_WAKE_PRIVATE``.
_WAIT, _WAKE = 128, 129

#: How long a thread sleeps that cannot be woken, microseconds.
_NAP = 200


@intrinsic
def sleep(typing_context, address, value):
    """Sleep while the word at an address has a value, until :func:`wake`; may return earlier, without a reason."""

    def generate(context, builder, signature, arguments):
        if CAN_BE_WOKEN:
            # The kernel compares the lower half of the word, which comes first on these processors.
            number, none = ir.Constant(_WORD, _FUTEX[platform.machine()]), ir.Constant(_WORD, 0)
            held = builder.and_(arguments[1], ir.Constant(_WORD, 0xFFFFFFFF))
            what = [number, arguments[0], ir.Constant(_WORD, _WAIT), held, none, none, none]
            _call(builder, "syscall", _WORD, what, variable=True)
        elif sys.platform == "win32":
            _call(builder, "Sleep", ir.VoidType(), [ir.Constant(_INT, 1)])
        else:
            _call(builder, "usleep", _INT, [ir.Constant(_INT, _NAP)])
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), generate


@intrinsic
def wake(typing_context, address):
    """Wake all threads that sleep at an address."""

    def generate(context, builder, signature, arguments):
        if CAN_BE_WOKEN:
            number, none = ir.Constant(_WORD, _FUTEX[platform.machine()]), ir.Constant(_WORD, 0)
            everyone = ir.Constant(_WORD, 2**31 - 1)
            what = [number, arguments[0], ir.Constant(_WORD, _WAKE), everyone, none, none, none]
            _call(builder, "syscall", _WORD, what, variable=True)
        return context.get_dummy_value()

    return types.void(types.intp), generate
