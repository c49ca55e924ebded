"""Vector instructions for the windows of a map: rows are dealt out and joined, runs of elements are combined.

A *run* is ``LANES`` elements, held in registers while a loop goes over *taps*: the distances, in a table, at which the
run's inputs lie. A tap costs one load and no store, and the machine code is the same for any number of them.

The loops in whose place the instructions stand are the plain functions beside them, which run where the machine has no
vectors; ``deal`` of ``tests/naive.py`` is one more, and ``pooling`` there what all of them are used for.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, register_jitable

from caffelite.kernels.engine import settings
from caffelite.kernels.tiles.vectors import I32, I64, WIDTH, at, load, loop, splat, store, vector_of

#: Vectors of a run: enough that the loop over the taps costs little, few enough for a value and a place of each.
_VECTORS = 4

#: Elements of a run.
LANES = _VECTORS * WIDTH
#: What the largest of a window is compared with first; Caffe's.
LOWEST = -3.4028234663852886e38


def pick(builder: Any, parts: list[Any], places: list[int]) -> Any:
    """Return the vector of the elements at ``places`` in the row of all ``parts``."""
    value = parts[0]
    for number, part in enumerate(parts[1:], 1):
        # Of the first part its own elements are taken on the way; later ones join what there is already.
        kept = [min(p, WIDTH - 1) if number == 1 else i for i, p in enumerate(places)]
        local = [p - number * WIDTH for p in places]
        mask = [p + WIDTH if 0 <= p < WIDTH else k for p, k in zip(local, kept, strict=True)]
        value = builder.shuffle_vector(value, part, ir.Constant(ir.VectorType(I32, WIDTH), mask))
    return value


def _move_row(
    builder: Any, count: Any, room: Any, step: int, move: Callable[..., None], move_one: Callable[..., None]
) -> None:
    """Move a row of ``count`` elements: with ``move(i, i // step)`` from i on ``step`` vectors, while there is room.

    With ``move_one(i)`` the rest.
    """
    last = builder.sub(room, I64(WIDTH * step - 1))

    def vectors(i, k):
        move(i, k)
        return [builder.add(i, I64(WIDTH * step)), builder.add(k, I64(WIDTH))]

    def single(i):
        # Keeps LLVM from vectorising a loop of few rounds, in which vectors would only cost code.
        builder.asm(ir.FunctionType(ir.VoidType(), []), "", "", (), side_effect=True)
        move_one(i)
        return [builder.add(i, I64(1))]

    end = builder.select(builder.icmp_signed("<", last, count), last, count)
    i, _ = loop(builder, [I64(0), I64(0)], lambda i: builder.icmp_signed("<", i, end), vectors)
    loop(builder, [i], lambda i: builder.icmp_signed("<", i, count), single)


def _place(builder: Any, i: Any, step: int, distance: Any) -> Any:
    """Return where element i of a row lies in rows ``distance`` apart that it is dealt out into."""
    return builder.add(builder.mul(builder.urem(i, I64(step)), distance), builder.udiv(i, I64(step)))


@intrinsic(prefer_literal=True)
def _vector_deal(typing_context, source, start, count, target, to, distance, pitch, outside, step):
    phases = int(step.literal_value)

    def generate(context, builder, sig, args):
        vector = vector_of(context, sig.args[0])
        read = at(context, builder, sig.args[0], args[0], args[1])
        write = at(context, builder, sig.args[3], args[3], args[4])
        count, distance = args[2], args[5]

        def move(i, k):
            here = builder.gep(read, [i])
            parts = [load(builder, here, vector, number) for number in range(phases)]
            for phase in range(phases):
                value = pick(builder, parts, [lane * phases + phase for lane in range(WIDTH)])
                store(builder, value, builder.gep(write, [builder.add(builder.mul(distance, I64(phase)), k)]))

        def move_one(i):
            value = builder.load(builder.gep(read, [i]))
            builder.store(value, builder.gep(write, [_place(builder, i, phases, distance)]))

        size = context.make_array(sig.args[0])(context, builder, args[0]).nitems
        _move_row(builder, count, builder.sub(size, args[1]), phases, move, move_one)
        filling = splat(builder, context.cast(builder, args[7], sig.args[7], sig.args[3].dtype), vector)
        for phase in range(phases):
            filled = builder.udiv(builder.add(count, I64(phases - 1 - phase)), I64(phases))
            row = builder.gep(write, [builder.mul(distance, I64(phase))])

            def fill(i, row=row):
                store(builder, filling, builder.gep(row, [i]))
                return [builder.add(i, I64(WIDTH))]

            loop(builder, [filled], lambda i: builder.icmp_signed("<", i, args[6]), fill)
        return context.get_dummy_value()

    place = types.intp
    return types.void(source, place, place, target, place, place, place, outside, step), generate


@register_jitable
def _plain_deal(source, start, count, target, to, distance, pitch, outside, step):
    """target[i % step][i // step] = source[start + i] for i below ``count``; the rest of each row is ``outside``.

    Parameters
    ----------
    source : ndarray of float32 (or float64), one axis
    target : ndarray, [step][pitch], from ``to``, rows ``distance`` apart
        Behind a row, up to a vector may be written.
    outside : number
    step : constant
    """
    for i in range(count):
        target[to + i % step * distance + i // step] = source[start + i]
    for phase in range(step):
        for i in range((count + step - 1 - phase) // step, pitch):
            target[to + phase * distance + i] = outside


@intrinsic(prefer_literal=True)
def _vector_join(typing_context, source, start, distance, target, to, count, limit, step):
    phases = int(step.literal_value)

    def generate(context, builder, sig, args):
        vector = vector_of(context, sig.args[0])
        read = at(context, builder, sig.args[0], args[0], args[1])
        write = at(context, builder, sig.args[3], args[3], args[4])
        distance = args[2]

        def move(i, k):
            rows = [builder.add(builder.mul(distance, I64(phase)), k) for phase in range(phases)]
            parts = [load(builder, builder.gep(read, [row]), vector) for row in rows]
            for number in range(phases):
                elements = range(number * WIDTH, (number + 1) * WIDTH)
                value = pick(builder, parts, [e % phases * WIDTH + e // phases for e in elements])
                store(builder, value, builder.gep(write, [i]), number)

        def move_one(i):
            value = builder.load(builder.gep(read, [_place(builder, i, phases, distance)]))
            builder.store(value, builder.gep(write, [i]))

        _move_row(builder, args[5], builder.sub(args[6], args[4]), phases, move, move_one)
        return context.get_dummy_value()

    place = types.intp
    return types.void(source, place, place, target, place, place, place, step), generate


@register_jitable
def _plain_join(source, start, distance, target, to, count, limit, step):
    """target[to + i] = source[i % step][i // step] for i below ``count``: the inverse of ``deal``.

    Parameters
    ----------
    source : ndarray of float32 (or float64), [step][count / step], from ``start``, rows ``distance`` apart
    target : ndarray, one axis
        May be written to behind the row, up to ``target[limit]``; as much more is read from the source.
    step : constant
    """
    for i in range(count):
        target[to + i] = source[start + i % step * distance + i // step]


def _over_taps(builder: Any, begin: Any, end: Any, start: list[Any], body: Callable[..., list[Any]]) -> list[Any]:
    """Loop over taps; ``body(tap, values)`` returns the values after it. Return those after the last."""
    return loop(
        builder,
        [begin, *start],
        lambda tap: builder.icmp_signed("<", tap, end),
        lambda tap, *values: [builder.add(tap, I64(1)), *body(tap, values)],
    )[1:]


@intrinsic
def _vector_total(typing_context, source, base, offsets, begin, end, out, to):
    def generate(context, builder, sig, args):
        vector = vector_of(context, sig.args[0])
        read = at(context, builder, sig.args[0], args[0], args[1])
        table = at(context, builder, sig.args[2], args[2])
        write = at(context, builder, sig.args[5], args[5], args[6])

        def add(tap, sums):
            here = builder.gep(read, [builder.load(builder.gep(table, [tap]))])
            return [builder.fadd(s, load(builder, here, vector, i)) for i, s in enumerate(sums)]

        zeros = [ir.Constant(vector, [0.0] * WIDTH)] * _VECTORS
        for i, value in enumerate(_over_taps(builder, args[3], args[4], zeros, add)):
            store(builder, value, write, i)
        return context.get_dummy_value()

    return types.void(source, types.intp, offsets, types.intp, types.intp, out, types.intp), generate


@register_jitable
def _plain_total(source, base, offsets, begin, end, out, to):
    """out[to + i] = sum over the taps t from ``begin`` to ``end - 1`` of source[base + offsets[t] + i], for a run.

    Parameters
    ----------
    source, out : ndarrays of float32 (or float64), one axis
    offsets : ndarray of int64, [taps]
    """
    for i in range(LANES):
        out[to + i] = 0
    for tap in range(begin, end):
        for i in range(LANES):
            out[to + i] += source[base + offsets[tap] + i]


@intrinsic(prefer_literal=True)
def _vector_largest(typing_context, source, base, offsets, count, best, index, to, with_index):
    indexed = bool(with_index.literal_value)

    def generate(context, builder, sig, args):
        vector, mark = vector_of(context, sig.args[0]), vector_of(context, sig.args[5])
        places = ir.VectorType(I32, WIDTH)
        read = at(context, builder, sig.args[0], args[0], args[1])
        table = at(context, builder, sig.args[2], args[2])

        def compare(tap, state):
            here = builder.gep(read, [builder.load(builder.gep(table, [tap]))])
            name = splat(builder, builder.trunc(tap, I32), places)
            values, rest = [], []
            for i in range(_VECTORS):
                value = load(builder, here, vector, i)
                better = builder.fcmp_ordered(">", value, state[i])
                values.append(builder.select(better, value, state[i]))
                if indexed:
                    rest.append(builder.select(better, name, state[_VECTORS + i]))
            return values + rest

        start = [ir.Constant(vector, [LOWEST] * WIDTH)] * _VECTORS
        if indexed:
            start += [splat(builder, builder.trunc(args[3], I32), places)] * _VECTORS
        finals = _over_taps(builder, I64(0), args[3], start, compare)
        write = at(context, builder, sig.args[4], args[4], args[6])
        for i in range(_VECTORS):
            store(builder, finals[i], write, i)
        if indexed:
            write = at(context, builder, sig.args[5], args[5], args[6])
            for i, place in enumerate(finals[_VECTORS:]):
                store(builder, builder.trunc(place, mark) if mark.element.width < 32 else place, write, i)
        return context.get_dummy_value()

    place = types.intp
    return types.void(source, place, offsets, place, best, index, place, with_index), generate


@register_jitable
def _plain_largest(source, base, offsets, count, best, index, to, with_index):
    """best[to + i] = largest of source[base + offsets[t] + i] over the taps t below ``count``, for a run.

    Parameters
    ----------
    source, best : ndarrays of float32 (or float64), one axis
    offsets : ndarray of int64, [count]
    index : ndarray of integers, one axis
        ``index[to + i]`` is the first tap that has it, ``count`` where none is above LOWEST (or NaN).
    with_index : constant
        Whether ``index`` is set.
    """
    for i in range(LANES):
        best[to + i] = LOWEST
        if with_index:
            index[to + i] = count
    for tap in range(count):
        for i in range(LANES):
            value = source[base + offsets[tap] + i]
            if value > best[to + i]:
                best[to + i] = value
                if with_index:
                    index[to + i] = tap


_vectors = bool(settings.vector_width())

#: ``deal(source, start, count, target, to, distance, pitch, outside, step)``: see :func:`_plain_deal`.
deal = _vector_deal if _vectors else _plain_deal

#: ``join(source, start, distance, target, to, count, limit, step)``: see :func:`_plain_join`.
join = _vector_join if _vectors else _plain_join

#: ``total(source, base, offsets, begin, end, out, to)``: see :func:`_plain_total`.
total = _vector_total if _vectors else _plain_total

#: ``largest(source, base, offsets, count, best, index, to, with_index)``: see :func:`_plain_largest`.
largest = _vector_largest if _vectors else _plain_largest
