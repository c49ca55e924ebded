"""Reading and writing vectors of elements, as float32 whatever they are stored as.

On a GPU a vector of 16 bytes is one instruction. numba has no loads of vectors, so they are written in LLVM's
language; numba's simulator, which runs kernels in Python, has a plain version of its own.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import types

from caffelite.kernels.cuda.simulator import SIMULATED

#: What data may be stored as, and bytes of an element.
KINDS = {"float32": 4, "float16": 2, "bfloat16": 2}


def pointer_to(kind: str) -> Any:
    """Return numba's type of a pointer to elements of a kind."""
    return types.CPointer(types.float32 if kind == "float32" else types.uint16)


@cache
def access(kind: str, width: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return functions for kernels that read and write vectors.

    Parameters
    ----------
    kind : str
        One of ``KINDS``.
    width : int
        Elements of a vector: 1, 2, 4, or 8 for elements of 2 bytes.

    Returns
    -------
    load : callable
        ``load(pointer, i)`` returns the i-th vector as a tuple of float32.
    store : callable
        ``store(pointer, i, values)``.
    """
    return _plain(kind, width) if SIMULATED else _compiled(kind, width)


def _compiled(kind: str, width: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the intrinsics that load and store ``width`` numbers at once; one function, all of one type."""
    from llvmlite import ir
    from numba.cuda.extending import intrinsic

    size = width * KINDS[kind]
    i16, i32, i64, real = ir.IntType(16), ir.IntType(32), ir.IntType(64), ir.FloatType()
    element = {"float32": real, "float16": ir.HalfType(), "bfloat16": i16}[kind]
    parts = ir.VectorType(element, width)
    vector = types.UniTuple(types.float32, width)
    words = max(size // 4, 1)
    word, letter, bits = (i16, "h", 16) if size == 2 else (i32, "r", 32)
    whole = word if words == 1 else ir.VectorType(word, words)
    suffix = f"b{bits}" if words == 1 else f"v{words}.b{bits}"

    def address(builder: Any, pointer: Any, index: Any) -> Any:
        return builder.add(builder.ptrtoint(pointer, i64), builder.mul(index, i64(size)))

    def listed(first: int) -> str:
        names = ", ".join(f"${first + k}" for k in range(words))
        return names if words == 1 else f"{{{names}}}"

    def widened(builder: Any, value: Any) -> Any:
        if kind == "float16":
            return builder.fpext(value, real)
        if kind == "bfloat16":
            return builder.bitcast(builder.shl(builder.zext(value, i32), i32(16)), real)
        return value

    def narrowed(builder: Any, value: Any) -> Any:
        if kind == "float16":
            return builder.fptrunc(value, element)
        if kind == "bfloat16":
            # To the nearest, ties to even; what is not a number stays so.
            bits = builder.bitcast(value, i32)
            odd = builder.and_(builder.lshr(bits, i32(16)), i32(1))
            near = builder.lshr(builder.add(bits, builder.add(odd, i32(0x7FFF))), i32(16))
            return builder.trunc(builder.select(builder.fcmp_unordered("uno", value, value), i32(0x7FC0), near), i16)
        return value

    @intrinsic
    def load(typing_context, pointer, index):
        def generate(context, builder, sig, args):
            # As assembly, which stays in order: the compiler would put what is done with the first vector between
            # the instructions that read the next ones, and so wait for one after the other.
            result = ir.LiteralStructType([word] * words) if words > 1 else word
            text = f"ld.global.{suffix} {listed(0)}, [${words}];"
            assembly = ir.InlineAsm(ir.FunctionType(result, [i64]), text, f"{f'={letter},' * words}l", True)
            loaded = builder.call(assembly, [address(builder, *args)])
            if words > 1:
                taken = [builder.extract_value(loaded, k) for k in range(words)]
                loaded = ir.Constant(whole, ir.Undefined)
                for k, value in enumerate(taken):
                    loaded = builder.insert_element(loaded, value, i32(k))
            loaded = builder.bitcast(loaded, parts)
            values = [widened(builder, builder.extract_element(loaded, i32(k))) for k in range(width)]
            return context.make_tuple(builder, sig.return_type, values)

        return vector(pointer, types.int64), generate

    @intrinsic
    def store(typing_context, pointer, index, values):
        def generate(context, builder, sig, args):
            made = ir.Constant(parts, ir.Undefined)
            for k in range(width):
                value = narrowed(builder, builder.extract_value(args[2], k))
                made = builder.insert_element(made, value, i32(k))
            made = builder.bitcast(made, whole)
            given = [builder.extract_element(made, i32(k)) for k in range(words)] if words > 1 else [made]
            kind_of = ir.FunctionType(ir.VoidType(), [i64, *[word] * words])
            assembly = ir.InlineAsm(kind_of, f"st.global.{suffix} [$0], {listed(1)};", f"l{f',{letter}' * words}", True)
            builder.call(assembly, [address(builder, *args[:2]), *given])
            return context.get_dummy_value()

        return types.void(pointer, types.int64, vector), generate

    return load, store


def _plain(kind: str, width: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    def load(pointer, index):
        return tuple(to_float32(pointer[index * width + k], kind) for k in range(width))

    def store(pointer, index, values):
        for k in range(width):
            pointer[index * width + k] = from_float32(values[k], kind)

    return load, store


def to_float32(values: Any, kind: str) -> Any:
    """Return numbers as float32 that are stored as ``kind``, those of 2 bytes as uint16."""
    if kind == "float32":
        return values
    if kind == "float16":
        return values.view(np.float16).astype(np.float32)
    return (values.astype(np.uint32) << np.uint32(16)).view(np.float32)


def from_float32(values: Any, kind: str) -> Any:
    """Return float32 numbers as they are stored as ``kind``, those of 2 bytes as uint16; to the nearest."""
    if kind == "float32":
        return values
    if kind == "float16":
        return values.astype(np.float16).view(np.uint16)
    bits = values.view(np.uint32)
    near = (bits + (np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)))) >> np.uint32(16)
    return np.where(values != values, np.uint32(0x7FC0), near).astype(np.uint16)
