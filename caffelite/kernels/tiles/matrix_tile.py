"""The two register tiles that products of matrices are loops around, as explicit vector instructions.

``lanes_tile`` has columns of the result as lanes and reads the left operand a number at a time; ``dots_tile`` reads
both operands along k, a vector of each at a time, and adds the lanes up at the end: nothing is laid out anew for it.
Rows beyond the last one are read as the last one, so that no operand needs padding.
"""

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, register_jitable

from caffelite.kernels.engine import settings
from caffelite.kernels.tiles.vectors import I32, I64, at, element_of, load, multiply_add, splat, store


def _rows(builder: Any, base: Any, row: Any, valid: Any, rows: int) -> list[Any]:
    """Return pointers to the rows of an operand, the last valid one in place of those beyond it."""
    last = builder.sub(valid, I64(1))
    numbers = [builder.select(builder.icmp_signed("<", I64(r), last), I64(r), last) for r in range(rows)]
    return [builder.gep(base, [builder.mul(number, row)]) for number in numbers]


class _Loop:
    """A loop from 0 to ``count`` (not included), in steps, that carries vectors from turn to turn."""

    def __init__(self, builder: Any, count: Any, step: int, values: list[Any]) -> None:
        self.builder, self.count, self.step, self.start = builder, count, step, values
        self.before = builder.block
        self.body, self.after = builder.append_basic_block("k"), builder.append_basic_block("end")
        builder.cbranch(builder.icmp_signed(">=", count, I64(step)), self.body, self.after)
        builder.position_at_end(self.body)
        self.k = builder.phi(I64)
        self.k.add_incoming(I64(0), self.before)
        self.values = [builder.phi(value.type) for value in values]

    def end(self, results: list[Any]) -> list[Any]:
        """Close the loop; return what it carries behind it."""
        builder = self.builder
        following = builder.add(self.k, I64(self.step))
        builder.cbranch(
            builder.icmp_signed("<=", builder.add(following, I64(self.step)), self.count), self.body, self.after
        )
        self.k.add_incoming(following, self.body)
        builder.position_at_end(self.after)
        finals = []
        for phi, value, result in zip(self.values, self.start, results, strict=True):
            phi.add_incoming(value, self.before)
            phi.add_incoming(result, self.body)
            finals.append(builder.phi(value.type))
            finals[-1].add_incoming(value, self.before)
            finals[-1].add_incoming(result, self.body)
        return finals


@intrinsic(prefer_literal=True)
def _vector_lanes_tile(
    typing_context,
    a,
    a_base,
    a_row,
    a_step,
    valid,
    b,
    b_base,
    count,
    start,
    start_base,
    start_row,
    out,
    out_base,
    out_row,
    shape,
):
    rows, vectors, width = (int(item.literal_value) for item in shape)
    number = types.intp
    signature = types.void(a, *[number] * 4, b, number, number, start, number, number, out, number, number, shape)

    def generate(context, builder, sig, args):
        vector = ir.VectorType(element_of(context, sig.args[0]), width)
        a_pointer, b_pointer, start_pointer, out_pointer = (
            builder.gep(at(context, builder, sig.args[i], args[i]), [args[base]])
            for i, base in ((0, 1), (5, 6), (8, 9), (11, 12))
        )
        lines = _rows(builder, a_pointer, args[2], args[4], rows)
        places = [(r, v) for r in range(rows) for v in range(vectors)]

        def place(pointer, row, r, v):
            return builder.gep(pointer, [builder.add(builder.mul(row, I64(r)), I64(v * width))])

        loop = _Loop(
            builder, args[7], 1, [load(builder, place(start_pointer, args[10], r, v), vector) for r, v in places]
        )
        along = builder.mul(loop.k, args[3])
        here = builder.gep(b_pointer, [builder.mul(loop.k, I64(vectors * width))])
        columns = [load(builder, builder.gep(here, [I64(v * width)]), vector) for v in range(vectors)]
        results = []
        for line in lines:
            value = splat(builder, builder.load(builder.gep(line, [along])), vector)
            results += [
                multiply_add(builder, value, column, loop.values[len(results) + v]) for v, column in enumerate(columns)
            ]
        for (r, v), value in zip(places, loop.end(results), strict=True):
            store(builder, value, place(out_pointer, args[13], r, v))
        return context.get_dummy_value()

    return signature, generate


@register_jitable
def _plain_lanes_tile(
    a, a_base, a_row, a_step, valid, b, b_base, count, start, start_base, start_row, out, out_base, out_row, shape
):
    rows, vectors, width = shape
    for r in range(rows):
        for lane in range(vectors * width):
            total = start[start_base + r * start_row + lane]
            for k in range(count):
                total += a[a_base + min(r, valid - 1) * a_row + k * a_step] * b[b_base + k * vectors * width + lane]
            out[out_base + r * out_row + lane] = total


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


@intrinsic(prefer_literal=True)
def _vector_dots_tile(
    typing_context,
    a,
    a_base,
    a_row,
    a_valid,
    b,
    b_base,
    b_row,
    b_valid,
    count,
    start,
    start_base,
    start_row,
    out,
    out_base,
    out_row,
    shape,
):
    rows, columns, width = (int(item.literal_value) for item in shape)
    number = types.intp
    signature = types.void(a, *[number] * 3, b, *[number] * 4, start, number, number, out, number, number, shape)

    def generate(context, builder, sig, args):
        vector = ir.VectorType(element_of(context, sig.args[0]), width)
        numbers = ir.VectorType(I64, width)
        zero = ir.Constant(vector, [0.0] * width)
        a_pointer, b_pointer, start_pointer, out_pointer = (
            builder.gep(at(context, builder, sig.args[i], args[i]), [args[base]])
            for i, base in ((0, 1), (4, 5), (9, 10), (12, 13))
        )
        left = _rows(builder, a_pointer, args[2], args[3], rows)
        right = _rows(builder, b_pointer, args[6], args[7], columns)

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

        loop = _Loop(builder, args[8], width, [zero] * (rows * columns))
        sums = loop.end(add(loop.k, loop.values))
        # The rest: the last vector, without what has been counted.
        rest = builder.and_(args[8], I64(width - 1))
        before, some, after = builder.block, builder.append_basic_block("rest"), builder.append_basic_block("sum")
        builder.cbranch(builder.icmp_signed(">", rest, I64(0)), some, after)
        builder.position_at_end(some)
        first = splat(builder, builder.sub(I64(width), rest), numbers)
        mask = builder.icmp_signed(">=", ir.Constant(numbers, list(range(width))), first)
        more = add(builder.sub(args[8], I64(width)), sums, mask)
        builder.branch(after)
        builder.position_at_end(after)
        finals = []
        for value, result in zip(sums, more, strict=True):
            finals.append(builder.phi(vector))
            finals[-1].add_incoming(value, before)
            finals[-1].add_incoming(result, some)
        line = ir.VectorType(vector.element, columns)
        together = width // columns
        for first in range(0, rows, together):
            many = range(first, min(first + together, rows))
            added = _sums(builder, finals[first * columns : (many[-1] + 1) * columns], width)
            for r in many:
                place = ir.Constant(ir.VectorType(I32, columns), [(r - first) * columns + c for c in range(columns)])
                value = builder.shuffle_vector(added, ir.Constant(vector, ir.Undefined), place)
                value = builder.fadd(
                    value, load(builder, builder.gep(start_pointer, [builder.mul(args[11], I64(r))]), line)
                )
                store(builder, value, builder.gep(out_pointer, [builder.mul(args[14], I64(r))]))
        return context.get_dummy_value()

    return signature, generate


@register_jitable
def _plain_dots_tile(
    a,
    a_base,
    a_row,
    a_valid,
    b,
    b_base,
    b_row,
    b_valid,
    count,
    start,
    start_base,
    start_row,
    out,
    out_base,
    out_row,
    shape,
):
    rows, columns, width = shape
    for r in range(rows):
        left = a_base + min(r, a_valid - 1) * a_row
        for c in range(columns):
            right = b_base + min(c, b_valid - 1) * b_row
            total = start[start_base + r * start_row + c]
            for k in range(count):
                total += a[left + k] * b[right + k]
            out[out_base + r * out_row + c] = total


#: ``lanes_tile(a, a_base, a_row, a_step, valid, b, b_base, count, start, start_base, start_row, out, out_base, out_row,
#: shape)`` with flat arrays of float32 (or float64) and ``shape = (rows, vectors, WIDTH)`` of constants:
#: ``out[r, lane] = start[r, lane] + sum over k of a[r, k] * b[k, lane]``; rows of ``a`` from ``valid`` on are the last
#: valid one, and ``b`` is [count][vectors * WIDTH].
lanes_tile = _vector_lanes_tile if settings.vector_width() else _plain_lanes_tile

#: ``dots_tile(a, a_base, a_row, a_valid, b, b_base, b_row, b_valid, count, start, start_base, start_row, out, out_base,
#: out_row, shape)`` with ``shape = (rows, columns, WIDTH)``, where WIDTH is a multiple of ``columns``:
#: ``out[r, c] = start[r, c] + sum over k of a[r, k] * b[c, k]``. ``count`` is at least WIDTH.
dots_tile = _vector_dots_tile if settings.vector_width() else _plain_dots_tile
