"""Vector instructions for maps: rows of elements that are summed, or combined with numbers of their channel.

What is left of a row behind its last whole block is read and written with masks, so that any length costs about as
many instructions as it has vectors.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, register_jitable

from caffelite.kernels.engine import settings
from caffelite.kernels.tiles.vectors import (
    I64,
    WIDTH,
    at,
    below,
    load,
    load_some,
    loop,
    multiply_add,
    splat,
    store,
    store_past_cache,
    store_some,
    total,
    vector_of,
)

#: Vectors of a block: enough sums of their own that none waits for the one before.
_VECTORS = 4
_BLOCK = _VECTORS * WIDTH


def _over_blocks(builder: Any, length: Any, start: list[Any], body: Callable[..., list[Any]]) -> list[Any]:
    """Loop over the blocks of a row; ``body(i, values, masks)`` returns the values after one.

    ``masks`` is None, or, for what is left, a mask for each vector.
    """
    rest = builder.urem(length, I64(_BLOCK))
    whole = builder.sub(length, rest)
    masks = [below(builder, rest, number) for number in range(_VECTORS)]

    def block(i, *values):
        return [builder.add(i, I64(_BLOCK)), *body(i, values, None)]

    values = loop(builder, [I64(0), *start], lambda i: builder.icmp_signed("<", i, whole), block)

    def last(i, *values):
        return [builder.add(i, I64(_BLOCK)), *body(i, values, masks)]

    return loop(builder, values, lambda i: builder.icmp_signed("<", i, length), last)[1:]


def _read(builder: Any, pointer: Any, number: int, masks: list[Any] | None, rest: Any) -> Any:
    if masks is None:
        return load(builder, pointer, rest.type, number)
    return load_some(builder, pointer, number, masks[number], rest)


def _bent(builder: Any, value: Any, sign: Any, negative: Any) -> Any:
    """Return ``value``, times ``negative`` where ``sign`` is not above 0."""
    below_zero = builder.fcmp_ordered("<=", sign, ir.Constant(sign.type, [0.0] * WIDTH))
    return builder.select(below_zero, builder.fmul(value, negative), value)


def _splats(builder: Any, numbers: Any, vector: Any) -> list[Any]:
    """Return the numbers of a tuple as vectors."""
    return [splat(builder, builder.extract_value(numbers, i), vector) for i in range(numbers.type.count)]


@intrinsic
def _vector_sums(typing_context, first, second, start, length, pitch, rows, shift, kink):
    two, bends = not isinstance(second, types.NoneType), not isinstance(kink, types.NoneType)

    def generate(context, builder, sig, args):
        vector = vector_of(context, sig.args[0])
        begin, length, pitch, rows = args[2:6]
        shift = splat(builder, args[6], vector)
        factor, constant, negative = _splats(builder, args[7], vector) if bends else (None, None, None)
        zeros = ir.Constant(vector, [0.0] * WIDTH)
        reads = [at(context, builder, sig.args[k], args[k], begin) for k in ((0, 1) if two else (0,))]

        def row(number, *sums):
            place = builder.mul(number, pitch)
            here = [builder.gep(read, [place]) for read in reads]

            def add(i, sums, masks):
                after = []
                for k in range(_VECTORS):
                    # Where the mask is not set, what is summed is 0.
                    b = builder.fsub(_read(builder, builder.gep(here[-1], [i]), k, masks, shift), shift)
                    a = _read(builder, builder.gep(here[0], [i]), k, masks, zeros) if two else b
                    if bends:
                        a = _bent(builder, a, multiply_add(builder, b, factor, constant), negative)
                    after += [builder.fadd(sums[2 * k], a), multiply_add(builder, a, b, sums[2 * k + 1])]
                return after

            return [builder.add(number, I64(1)), *_over_blocks(builder, length, list(sums), add)]

        start = [I64(0), *[zeros] * (2 * _VECTORS)]
        _, *sums = loop(builder, start, lambda number: builder.icmp_signed("<", number, rows), row)
        totals = [total(builder, sums[0::2]), total(builder, sums[1::2])]
        return context.make_tuple(builder, sig.return_type, totals)

    whole = types.intp
    kind = types.UniTuple(first.dtype, 2)
    return kind(first, second, whole, whole, whole, whole, first.dtype, kink), generate


@register_jitable
def _bend(value, sign, negative):
    return value * negative if sign <= 0 else value


@register_jitable
def _plain_sums(first, second, start, length, pitch, rows, shift, kink):
    s, q = first.dtype.type(0), first.dtype.type(0)
    for row in range(rows):
        for i in range(start + row * pitch, start + row * pitch + length):
            d = (first[i] if second is None else second[i]) - shift
            a = d if second is None else first[i]
            if kink is not None:
                a = _bend(a, d * kink[0] + kink[1], kink[2])
            s += a
            q += a * d
    return s, q


@intrinsic(prefer_literal=True)
def _vector_combine(
    typing_context, first, second, out, start, length, shift, offset, slope, factor, constant, kink, past_cache
):
    two, bends = not isinstance(second, types.NoneType), not isinstance(kink, types.NoneType)
    write_whole = store_past_cache if past_cache.literal_value else store

    def generate(context, builder, sig, args):
        vector = vector_of(context, sig.args[0])
        shift, offset, slope, factor, constant = (splat(builder, value, vector) for value in args[5:10])
        kink_factor, kink_constant, negative = _splats(builder, args[10], vector) if bends else (None, None, None)
        zeros = ir.Constant(vector, [0.0] * WIDTH)
        pointers = [at(context, builder, sig.args[k], args[k], args[3]) for k in ((0, 2, 1) if two else (0, 2))]

        def block(i, values, masks):
            read, write, *more = [builder.gep(pointer, [i]) for pointer in pointers]
            results = []
            for k in range(_VECTORS):
                a = _read(builder, read, k, masks, zeros)
                if two:
                    b = builder.fsub(_read(builder, more[0], k, masks, zeros), shift)
                    if bends:
                        a = _bent(builder, a, multiply_add(builder, b, kink_factor, kink_constant), negative)
                    a = builder.fsub(a, builder.fmul(b, slope))
                else:
                    a = builder.fsub(a, shift)
                result = multiply_add(builder, builder.fsub(a, offset), factor, constant)
                results.append(_bent(builder, result, result, negative) if bends and not two else result)
            for k, value in enumerate(results):
                if masks is None:
                    write_whole(builder, value, write, k)
                else:
                    store_some(builder, value, write, k, masks[k])
            return []

        _over_blocks(builder, args[4], [], block)
        return context.get_dummy_value()

    whole, number = types.intp, first.dtype
    numbers = [number] * 5
    return types.void(first, second, out, whole, whole, *numbers, kink, past_cache), generate


@register_jitable
def _plain_combine(first, second, out, start, length, shift, offset, slope, factor, constant, kink, past_cache):
    for i in range(start, start + length):
        if second is None:
            value = (first[i] - shift - offset) * factor + constant
            out[i] = value if kink is None else _bend(value, value, kink[2])
        else:
            d, value = second[i] - shift, first[i]
            if kink is not None:
                value = _bend(value, d * kink[0] + kink[1], kink[2])
            out[i] = (value - d * slope - offset) * factor + constant


@intrinsic
def _vector_fence(typing_context):
    def generate(context, builder, sig, args):
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate


_vectors = bool(settings.vector_width())

#: ``sums(first, second, start, length, pitch, rows, shift, kink)`` returns, over ``rows`` rows of ``length`` elements
#: that begin at ``start`` and are ``pitch`` apart, the sum of ``first`` and that of ``first * (second - shift)``; where
#: ``second`` is None, of ``first - shift`` and of its square. Sums are kept in the arrays' type. With a ``kink``, three
#: numbers, ``first`` counts ``kink[2]`` times where ``(second - shift) * kink[0] + kink[1]`` is not above 0.
sums = _vector_sums if _vectors else _plain_sums

#: ``combine(first, second, out, start, length, shift, offset, slope, factor, constant, kink, past_cache)``: for
#: ``length`` elements from ``start`` on, ``out = (first - (second - shift) * slope - offset) * factor + constant``;
#: where ``second`` is None, ``(first - shift - offset) * factor + constant``, and the result is what a ``kink`` bends.
#: ``out`` may be one of the two. ``past_cache``, a constant: vectors of ``out`` are aligned, and are written to memory
#: past the cache; a ``fence()`` has to follow.
combine = _vector_combine if _vectors else _plain_combine

#: ``fence()``: what was written past the cache is there for all threads.
fence = _vector_fence if _vectors else register_jitable(lambda: None)
