"""The two register tiles that products of matrices are loops around, as explicit vector instructions.

``lanes_tile`` has columns of the result as lanes and reads the left operand a number at a time; ``dots_tile`` reads
both operands along k, a vector of each at a time, and adds the lanes up at the end: nothing is laid out anew for it.
Rows beyond the last one are read as the last one, so that no operand needs padding. The idea of a tile of sums in
registers, where k runs: Georganas et al., "High-Performance Deep Learning via a Single Building Block", 2019. The loops
in whose place they stand are the plain functions beside them, and ``lanes_tile`` and ``dots_tile`` of
``tests/naive.py``.

Where an operand lies is a tuple of numbers beside its array: ``base`` is where it begins, ``row`` the distance of its
rows, ``valid`` the number of rows there are.
"""

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, register_jitable

from caffelite.kernels.engine import settings
from caffelite.kernels.tiles.vectors import I32, I64, at, element_of, load, loop, multiply_add, splat, store

_PLACE = types.intp
_START, _DOTS, _LANES = (types.UniTuple(_PLACE, count) for count in (2, 3, 4))


def _rows(builder: Any, base: Any, row: Any, valid: Any, rows: int) -> list[Any]:
    """Return pointers to the rows of an operand, the last valid one in place of those beyond it."""
    last = builder.sub(valid, I64(1))
    numbers = [builder.select(builder.icmp_signed("<", I64(r), last), I64(r), last) for r in range(rows)]
    return [builder.gep(base, [builder.mul(number, row)]) for number in numbers]


def _operands(context: Any, builder: Any, sig: Any, args: Any, pairs: list[tuple[int, int]]) -> list[list[Any]]:
    """Return, for each pair (number of an array, of where it lies), a pointer and the numbers behind ``base``."""
    operands = []
    for array, place in pairs:
        base, *rest = [builder.extract_value(args[place], i) for i in range(len(sig.args[place]))]
        operands.append([at(context, builder, sig.args[array], args[array], base), *rest])
    return operands


@intrinsic(prefer_literal=True)
def _vector_lanes_tile(typing_context, a, a_at, b, b_base, count, start, start_at, out, out_at, shape):
    rows, vectors, width = (int(item.literal_value) for item in shape)
    signature = types.void(a, _LANES, b, _PLACE, _PLACE, start, _START, out, _START, shape)

    def generate(context, builder, sig, args):
        vector = ir.VectorType(element_of(context, sig.args[0]), width)
        (a_pointer, a_row, a_step, valid), (start_pointer, start_row), (out_pointer, out_row) = _operands(
            context, builder, sig, args, [(0, 1), (5, 6), (7, 8)]
        )
        b_pointer = at(context, builder, sig.args[2], args[2], args[3])
        lines = _rows(builder, a_pointer, a_row, valid, rows)
        places = [(r, v) for r in range(rows) for v in range(vectors)]

        def place(pointer, row, r, v):
            return builder.gep(pointer, [builder.add(builder.mul(row, I64(r)), I64(v * width))])

        def step_of_k(k, *sums):
            along = builder.mul(k, a_step)
            here = builder.gep(b_pointer, [builder.mul(k, I64(vectors * width))])
            columns = [load(builder, builder.gep(here, [I64(v * width)]), vector) for v in range(vectors)]
            results = []
            for line in lines:
                value = splat(builder, builder.load(builder.gep(line, [along])), vector)
                results += [
                    multiply_add(builder, value, column, sums[len(results) + v]) for v, column in enumerate(columns)
                ]
            return [builder.add(k, I64(1)), *results]

        begin = [I64(0), *(load(builder, place(start_pointer, start_row, r, v), vector) for r, v in places)]
        finals = loop(builder, begin, lambda k: builder.icmp_signed("<", k, args[4]), step_of_k)[1:]
        for (r, v), value in zip(places, finals, strict=True):
            store(builder, value, place(out_pointer, out_row, r, v))
        return context.get_dummy_value()

    return signature, generate


@register_jitable
def _plain_lanes_tile(a, a_at, b, b_base, count, start, start_at, out, out_at, shape):
    """out[r, lane] = start[r, lane] + sum over k of a[r, k] * b[k, lane].

    Parameters
    ----------
    a, start, out : ndarrays of float32 (or float64), one axis
    a_at : (base, row, step, valid)
        ``step`` is the distance of columns k; rows from ``valid`` on are the last valid one.
    b : ndarray, [count][vectors * WIDTH], from ``b_base``
    start_at, out_at : (base, row)
    shape : tuple of constants
        ``rows, vectors, WIDTH``.
    """
    rows, vectors, width = shape
    a_base, a_row, a_step, valid = a_at
    for r in range(rows):
        for lane in range(vectors * width):
            total = start[start_at[0] + r * start_at[1] + lane]
            for k in range(count):
                total += a[a_base + min(r, valid - 1) * a_row + k * a_step] * b[b_base + k * vectors * width + lane]
            out[out_at[0] + r * out_at[1] + lane] = total


def _sums(builder: Any, values: list[Any], width: int) -> Any:
    """Return one vector: the sum of the lanes of each of ``values``, at most ``width`` of them."""
    group = [*values, *[ir.Constant(values[0].type, [0.0] * width)] * (width - len(values))]
    half = width // 2
    # As in a transposition each round swaps blocks of half the size, and what would lie in one line is added.
    while half:
        low = [i + (width - half) * (i // half % 2) for i in range(width)]
        high = [i + half if not i // half % 2 else i + width for i in range(width)]
        masks = [ir.Constant(ir.VectorType(I32, width), one) for one in (low, high)]
        group = [
            builder.fadd(*[builder.shuffle_vector(group[i], group[i + half], mask) for mask in masks])
            for i in range(half)
        ]
        half //= 2
    return group[0]


def _with_rest(builder: Any, count: Any, width: int, sums: list[Any], add: Any) -> list[Any]:
    """Return sums with what ``count`` is more than whole vectors: the last vector, without what has been counted."""
    numbers = ir.VectorType(I64, width)
    rest = builder.and_(count, I64(width - 1))
    before, some, after = builder.block, builder.append_basic_block("rest"), builder.append_basic_block("sum")
    builder.cbranch(builder.icmp_signed(">", rest, I64(0)), some, after)
    builder.position_at_end(some)
    first = splat(builder, builder.sub(I64(width), rest), numbers)
    mask = builder.icmp_signed(">=", ir.Constant(numbers, list(range(width))), first)
    more = add(builder.sub(count, I64(width)), sums, mask)
    builder.branch(after)
    builder.position_at_end(after)
    finals = []
    for value, result in zip(sums, more, strict=True):
        finals.append(builder.phi(value.type))
        finals[-1].add_incoming(value, before)
        finals[-1].add_incoming(result, some)
    return finals


@intrinsic(prefer_literal=True)
def _vector_dots_tile(typing_context, a, a_at, b, b_at, count, start, start_at, out, out_at, shape):
    rows, columns, width = (int(item.literal_value) for item in shape)
    signature = types.void(a, _DOTS, b, _DOTS, _PLACE, start, _START, out, _START, shape)

    def generate(context, builder, sig, args):
        vector = ir.VectorType(element_of(context, sig.args[0]), width)
        zero = ir.Constant(vector, [0.0] * width)
        a, b, (start_pointer, start_row), (out_pointer, out_row) = _operands(
            context, builder, sig, args, [(0, 1), (2, 3), (5, 6), (7, 8)]
        )
        left, right = _rows(builder, *a, rows), _rows(builder, *b, columns)

        def add(k, sums, mask=None):
            # The rows are fewer: with the sums and one of the columns they just fit into the registers.
            ours = [load(builder, builder.gep(row, [k]), vector) for row in left]
            if mask is not None:
                ours = [builder.select(mask, one, zero) for one in ours]
            results = list(sums)
            for c, column in enumerate(right):
                other = load(builder, builder.gep(column, [k]), vector)
                for i, one in zip(range(c, len(sums), columns), ours, strict=True):
                    results[i] = multiply_add(builder, one, other, sums[i])
            return results

        sums = loop(
            builder,
            [I64(0), *[zero] * (rows * columns)],
            lambda k: builder.icmp_signed("<=", builder.add(k, I64(width)), args[4]),
            lambda k, *sums: [builder.add(k, I64(width)), *add(k, sums)],
        )[1:]
        finals = _with_rest(builder, args[4], width, sums, add)
        line = ir.VectorType(vector.element, columns)
        together = width // columns
        for first in range(0, rows, together):
            numbers = range(first, min(first + together, rows))
            added = _sums(builder, finals[first * columns : (numbers[-1] + 1) * columns], width)
            for r in numbers:
                place = ir.Constant(ir.VectorType(I32, columns), [(r - first) * columns + c for c in range(columns)])
                value = builder.shuffle_vector(added, ir.Constant(vector, ir.Undefined), place)
                begin = load(builder, builder.gep(start_pointer, [builder.mul(start_row, I64(r))]), line)
                store(builder, builder.fadd(value, begin), builder.gep(out_pointer, [builder.mul(out_row, I64(r))]))
        return context.get_dummy_value()

    return signature, generate


@register_jitable
def _plain_dots_tile(a, a_at, b, b_at, count, start, start_at, out, out_at, shape):
    """out[r, c] = start[r, c] + sum over k of a[r, k] * b[c, k].

    Parameters
    ----------
    a, b, start, out : ndarrays of float32 (or float64), one axis
    a_at, b_at : (base, row, valid)
        Rows from ``valid`` on are the last valid one.
    count : int
        Number of k; at least WIDTH.
    start_at, out_at : (base, row)
    shape : tuple of constants
        ``rows, columns, WIDTH``, where WIDTH is a multiple of ``columns``.
    """
    rows, columns, width = shape
    for r in range(rows):
        left = a_at[0] + min(r, a_at[2] - 1) * a_at[1]
        for c in range(columns):
            right = b_at[0] + min(c, b_at[2] - 1) * b_at[1]
            total = start[start_at[0] + r * start_at[1] + c]
            for k in range(count):
                total += a[left + k] * b[right + k]
            out[out_at[0] + r * out_at[1] + c] = total


#: ``lanes_tile(a, a_at, b, b_base, count, start, start_at, out, out_at, shape)``: see :func:`_plain_lanes_tile`.
lanes_tile = _vector_lanes_tile if settings.vector_width() else _plain_lanes_tile

#: ``dots_tile(a, a_at, b, b_at, count, start, start_at, out, out_at, shape)``: see :func:`_plain_dots_tile`.
dots_tile = _vector_dots_tile if settings.vector_width() else _plain_dots_tile
