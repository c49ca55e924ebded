"""Vector instructions for the windows of a map: rows are dealt out and joined, runs of elements are combined.

A *run* is ``LANES`` elements, held in registers while a loop goes over *taps*: the distances, in a table, at which the
run's inputs lie. A tap costs one load and no store, and the machine code is the same for any number of them.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, register_jitable

from caffelite.kernels import settings
from caffelite.kernels.tile import WIDTH

_I64 = ir.IntType(64)
_I32 = ir.IntType(32)
#: Vectors of a run: enough that the loop over the taps costs little, few enough for a value and a place of each.
_VECTORS = 4

#: Elements of a run.
LANES = _VECTORS * WIDTH
#: What the largest of a window is compared with first; Caffe's.
LOWEST = -3.4028234663852886e38


def _at(context: Any, builder: Any, kind: Any, array: Any, *places: Any) -> Any:
    """Return the address of the element at the sum of ``places``."""
    pointer = context.make_array(kind)(context, builder, array).data
    for place in places:
        pointer = builder.gep(pointer, [place])
    return pointer


def _vector(context: Any, kind: Any) -> Any:
    return ir.VectorType(context.get_value_type(kind.dtype), WIDTH)


def _align(instruction: Any, element: Any) -> None:
    widths = {ir.FloatType(): 4, ir.DoubleType(): 8}
    instruction.align = widths[element] if element in widths else element.width // 8


def _load(builder: Any, pointer: Any, vector: Any, number: int = 0) -> Any:
    place = builder.gep(pointer, [_I64(number * WIDTH)])
    value = builder.load(builder.bitcast(place, vector.as_pointer()))
    _align(value, vector.element)
    return value


def _store(builder: Any, value: Any, pointer: Any, number: int = 0) -> None:
    place = builder.gep(pointer, [_I64(number * WIDTH)])
    _align(builder.store(value, builder.bitcast(place, value.type.as_pointer())), value.type.element)


def _pick(builder: Any, parts: list[Any], places: list[int]) -> Any:
    """Return the vector of the elements at ``places`` in the row of all ``parts``."""
    value = parts[0]
    for number, part in enumerate(parts[1:], 1):
        # Of the first part its own elements are taken on the way; later ones join what there is already.
        kept = [min(p, WIDTH - 1) if number == 1 else i for i, p in enumerate(places)]
        local = [p - number * WIDTH for p in places]
        mask = [p + WIDTH if 0 <= p < WIDTH else k for p, k in zip(local, kept, strict=True)]
        value = builder.shuffle_vector(value, part, ir.Constant(ir.VectorType(_I32, WIDTH), mask))
    return value


def _splat(builder: Any, scalar: Any, vector: Any) -> Any:
    undefined = ir.Constant(vector, ir.Undefined)
    zeros = ir.Constant(ir.VectorType(_I32, WIDTH), [0] * WIDTH)
    return builder.shuffle_vector(builder.insert_element(undefined, scalar, _I32(0)), undefined, zeros)


def _loop(builder: Any, start: list[Any], more: Callable[..., Any], body: Callable[..., list[Any]]) -> list[Any]:
    """While ``more(values[0])``, let ``values = body(*values)``; return the last ones."""
    before = builder.block
    loop = builder.append_basic_block("loop")
    after = builder.append_basic_block("loop.end")
    builder.cbranch(more(start[0]), loop, after)
    builder.position_at_end(loop)
    values = [builder.phi(value.type) for value in start]
    results = body(*values)
    builder.cbranch(more(results[0]), loop, after)
    builder.position_at_end(after)
    finals = [builder.phi(value.type) for value in start]
    for value, final, first, result in zip(values, finals, start, results, strict=True):
        value.add_incoming(result, loop)
        for phi in value, final:
            phi.add_incoming(first, before)
        final.add_incoming(result, loop)
    return finals


def _move_row(
    builder: Any, many: Any, room: Any, step: int, move: Callable[..., None], move_one: Callable[..., None]
) -> None:
    """Move a row of ``many`` elements: with ``move(i, i // step)`` from i on ``step`` vectors, while there is room.

    With ``move_one(i)`` the rest.
    """
    last = builder.sub(room, _I64(WIDTH * step - 1))

    def vectors(i, k):
        move(i, k)
        return [builder.add(i, _I64(WIDTH * step)), builder.add(k, _I64(WIDTH))]

    def single(i):
        # Keeps LLVM from vectorising a loop of few rounds, in which vectors would only cost code.
        builder.asm(ir.FunctionType(ir.VoidType(), []), "", "", (), side_effect=True)
        move_one(i)
        return [builder.add(i, _I64(1))]

    end = builder.select(builder.icmp_signed("<", last, many), last, many)
    i, _ = _loop(builder, [_I64(0), _I64(0)], lambda i: builder.icmp_signed("<", i, end), vectors)
    _loop(builder, [i], lambda i: builder.icmp_signed("<", i, many), single)


def _place(builder: Any, i: Any, step: int, distance: Any) -> Any:
    """Return where element i of a row lies in rows ``distance`` apart that it is dealt out into."""
    return builder.add(builder.mul(builder.urem(i, _I64(step)), distance), builder.udiv(i, _I64(step)))


@intrinsic(prefer_literal=True)
def _vector_deal(typing_context, source, start, many, target, to, distance, pitch, outside, step):
    phases = int(step.literal_value)

    def generate(context, builder, sig, args):
        vector = _vector(context, sig.args[0])
        read = _at(context, builder, sig.args[0], args[0], args[1])
        write = _at(context, builder, sig.args[3], args[3], args[4])
        many, distance = args[2], args[5]

        def move(i, k):
            here = builder.gep(read, [i])
            parts = [_load(builder, here, vector, number) for number in range(phases)]
            for phase in range(phases):
                value = _pick(builder, parts, [lane * phases + phase for lane in range(WIDTH)])
                _store(builder, value, builder.gep(write, [builder.add(builder.mul(distance, _I64(phase)), k)]))

        def move_one(i):
            value = builder.load(builder.gep(read, [i]))
            builder.store(value, builder.gep(write, [_place(builder, i, phases, distance)]))

        size = context.make_array(sig.args[0])(context, builder, args[0]).nitems
        _move_row(builder, many, builder.sub(size, args[1]), phases, move, move_one)
        filling = _splat(builder, context.cast(builder, args[7], sig.args[7], sig.args[3].dtype), vector)
        for phase in range(phases):
            filled = builder.udiv(builder.add(many, _I64(phases - 1 - phase)), _I64(phases))
            row = builder.gep(write, [builder.mul(distance, _I64(phase))])

            def fill(i, row=row):
                _store(builder, filling, builder.gep(row, [i]))
                return [builder.add(i, _I64(WIDTH))]

            _loop(builder, [filled], lambda i: builder.icmp_signed("<", i, args[6]), fill)
        return context.get_dummy_value()

    place = types.intp
    return types.void(source, place, place, target, place, place, place, outside, step), generate


@register_jitable
def _plain_deal(source, start, many, target, to, distance, pitch, outside, step):
    for i in range(many):
        target[to + i % step * distance + i // step] = source[start + i]
    for phase in range(step):
        for i in range((many + step - 1 - phase) // step, pitch):
            target[to + phase * distance + i] = outside


@intrinsic(prefer_literal=True)
def _vector_join(typing_context, source, start, distance, target, to, many, limit, step):
    phases = int(step.literal_value)

    def generate(context, builder, sig, args):
        vector = _vector(context, sig.args[0])
        read = _at(context, builder, sig.args[0], args[0], args[1])
        write = _at(context, builder, sig.args[3], args[3], args[4])
        distance = args[2]

        def move(i, k):
            rows = [builder.add(builder.mul(distance, _I64(phase)), k) for phase in range(phases)]
            parts = [_load(builder, builder.gep(read, [row]), vector) for row in rows]
            for number in range(phases):
                elements = range(number * WIDTH, (number + 1) * WIDTH)
                value = _pick(builder, parts, [e % phases * WIDTH + e // phases for e in elements])
                _store(builder, value, builder.gep(write, [i]), number)

        def move_one(i):
            value = builder.load(builder.gep(read, [_place(builder, i, phases, distance)]))
            builder.store(value, builder.gep(write, [i]))

        _move_row(builder, args[5], builder.sub(args[6], args[4]), phases, move, move_one)
        return context.get_dummy_value()

    place = types.intp
    return types.void(source, place, place, target, place, place, place, step), generate


@register_jitable
def _plain_join(source, start, distance, target, to, many, limit, step):
    for i in range(many):
        target[to + i] = source[start + i % step * distance + i // step]


def _over_taps(builder: Any, begin: Any, end: Any, start: list[Any], body: Callable[..., list[Any]]) -> list[Any]:
    """Loop over taps; ``body(tap, values)`` returns the values after it. Return those after the last."""
    return _loop(
        builder,
        [begin, *start],
        lambda tap: builder.icmp_signed("<", tap, end),
        lambda tap, *values: [builder.add(tap, _I64(1)), *body(tap, values)],
    )[1:]


@intrinsic
def _vector_total(typing_context, source, base, offsets, begin, end, out, to):
    def generate(context, builder, sig, args):
        vector = _vector(context, sig.args[0])
        read = _at(context, builder, sig.args[0], args[0], args[1])
        table = _at(context, builder, sig.args[2], args[2])
        write = _at(context, builder, sig.args[5], args[5], args[6])

        def add(tap, sums):
            here = builder.gep(read, [builder.load(builder.gep(table, [tap]))])
            return [builder.fadd(s, _load(builder, here, vector, i)) for i, s in enumerate(sums)]

        zeros = [ir.Constant(vector, [0.0] * WIDTH)] * _VECTORS
        for i, value in enumerate(_over_taps(builder, args[3], args[4], zeros, add)):
            _store(builder, value, write, i)
        return context.get_dummy_value()

    return types.void(source, types.intp, offsets, types.intp, types.intp, out, types.intp), generate


@register_jitable
def _plain_total(source, base, offsets, begin, end, out, to):
    for i in range(LANES):
        out[to + i] = 0
    for tap in range(begin, end):
        for i in range(LANES):
            out[to + i] += source[base + offsets[tap] + i]


@intrinsic(prefer_literal=True)
def _vector_largest(typing_context, source, base, offsets, count, best, index, to, with_index):
    wanted = bool(with_index.literal_value)

    def generate(context, builder, sig, args):
        vector, mark = _vector(context, sig.args[0]), _vector(context, sig.args[5])
        places = ir.VectorType(_I32, WIDTH)
        read = _at(context, builder, sig.args[0], args[0], args[1])
        table = _at(context, builder, sig.args[2], args[2])

        def compare(tap, state):
            here = builder.gep(read, [builder.load(builder.gep(table, [tap]))])
            name = _splat(builder, builder.trunc(tap, _I32), places)
            values, rest = [], []
            for i in range(_VECTORS):
                value = _load(builder, here, vector, i)
                better = builder.fcmp_ordered(">", value, state[i])
                values.append(builder.select(better, value, state[i]))
                if wanted:
                    rest.append(builder.select(better, name, state[_VECTORS + i]))
            return values + rest

        start = [ir.Constant(vector, [LOWEST] * WIDTH)] * _VECTORS
        if wanted:
            start += [_splat(builder, builder.trunc(args[3], _I32), places)] * _VECTORS
        finals = _over_taps(builder, _I64(0), args[3], start, compare)
        write = _at(context, builder, sig.args[4], args[4], args[6])
        for i in range(_VECTORS):
            _store(builder, finals[i], write, i)
        if wanted:
            write = _at(context, builder, sig.args[5], args[5], args[6])
            for i, place in enumerate(finals[_VECTORS:]):
                _store(builder, builder.trunc(place, mark) if mark.element.width < 32 else place, write, i)
        return context.get_dummy_value()

    place = types.intp
    return types.void(source, place, offsets, place, best, index, place, with_index), generate


@register_jitable
def _plain_largest(source, base, offsets, count, best, index, to, with_index):
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

#: ``deal(source, start, many, target, to, distance, pitch, outside, step)`` deals ``source[start:start + many]`` out
#: into ``step`` (a constant) rows of the target, ``distance`` apart: element i goes to row ``i % step``. What is left
#: of ``pitch`` elements of each is set to ``outside``. Behind a row, up to a vector may be written.
deal = _vector_deal if _vectors else _plain_deal

#: ``join(source, start, distance, target, to, many, limit, step)`` is the inverse: of rows ``distance`` apart it makes
#: one of ``many`` elements. It may write on behind them, up to ``target[limit]``, and reads as much on from the source.
join = _vector_join if _vectors else _plain_join

#: ``total(source, base, offsets, begin, end, out, to)``: ``out[to + i]`` is the sum of
#: ``source[base + offsets[t] + i]`` over the taps ``begin`` to ``end - 1``.
total = _vector_total if _vectors else _plain_total

#: ``largest(source, base, offsets, count, best, index, to, with_index)``: ``best[to + i]`` is the largest of
#: ``source[base + offsets[t] + i]``, ``index[to + i]`` the first tap that has it, ``count`` where none is above LOWEST
#: (or NaN); ``with_index`` is a constant.
largest = _vector_largest if _vectors else _plain_largest
