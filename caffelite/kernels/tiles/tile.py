"""The register tile: the one piece of code that convolution and inner product are loops around.

``out[m, v] = sum over k of x[offset(k) + offset(m)] * w[k, v]``, with m over a few rows and columns of positions
and v over a few vectors of output channels, all sums held in registers. It is written as explicit vector
instructions, so that nothing depends on the auto-vectorizer. The idea: Georganas et al., "High-Performance Deep
Learning via a Single Building Block", 2019.
"""

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, register_jitable

from caffelite.kernels.engine import settings
from caffelite.kernels.tiles.vectors import I32, I64, WIDTH, at, element_of, joined, load, multiply_add, splat, store


@intrinsic(prefer_literal=True)
def _vector_tile(typing_context, x, x_base, k_offsets, count, r_offsets, w, w_base, out, out_base, shape):
    # ``shape`` is a tuple of literals: rows, columns, vectors, step, width, accumulate.
    rows, columns, vectors, step, width, accumulate = (int(item.literal_value) for item in shape)
    signature = types.void(x, types.intp, k_offsets, types.intp, r_offsets, w, types.intp, out, types.intp, shape)

    def generate(context, builder, sig, args):
        vector = ir.VectorType(element_of(context, sig.args[5]), width)
        x_pointer = builder.gep(at(context, builder, sig.args[0], args[0]), [args[1]])
        k_pointer = at(context, builder, sig.args[2], args[2])
        r_pointer = at(context, builder, sig.args[4], args[4])
        w_pointer = builder.gep(at(context, builder, sig.args[5], args[5]), [args[6]])
        out_pointer = builder.gep(at(context, builder, sig.args[7], args[7]), [args[8]])
        row_offsets = [builder.load(builder.gep(r_pointer, [I64(r)])) for r in range(rows)]
        places = [(r, c, v) for r in range(rows) for c in range(columns) for v in range(vectors)]
        if accumulate:
            start = [load(builder, builder.gep(out_pointer, [I64(i * width)]), vector) for i in range(len(places))]
        else:
            start = [ir.Constant(vector, [0.0] * width)] * len(places)

        before = builder.block
        loop = builder.append_basic_block("tile.k")
        after = builder.append_basic_block("tile.end")
        builder.cbranch(builder.icmp_signed(">", args[3], I64(0)), loop, after)

        builder.position_at_end(loop)
        k = builder.phi(I64)
        k.add_incoming(I64(0), before)
        sums = []
        for value in start:
            phi = builder.phi(vector)
            phi.add_incoming(value, before)
            sums.append(phi)
        here = builder.gep(x_pointer, [builder.load(builder.gep(k_pointer, [k]))])
        weights_here = builder.gep(w_pointer, [builder.mul(k, I64(vectors * width))])
        weights = [load(builder, builder.gep(weights_here, [I64(v * width)]), vector) for v in range(vectors)]
        results = []
        for r in range(rows):
            row = builder.gep(here, [row_offsets[r]])
            for c in range(columns):
                value = splat(builder, builder.load(builder.gep(row, [I64(c * step)])), vector)
                for v in range(vectors):
                    results.append(multiply_add(builder, value, weights[v], sums[len(results)]))
        following = builder.add(k, I64(1))
        k.add_incoming(following, loop)
        for phi, value in zip(sums, results, strict=True):
            phi.add_incoming(value, loop)
        builder.cbranch(builder.icmp_signed("<", following, args[3]), loop, after)

        builder.position_at_end(after)
        finals = [builder.phi(vector) for _ in places]
        for i, (phi, value, result) in enumerate(zip(finals, start, results, strict=True)):
            phi.add_incoming(value, before)
            phi.add_incoming(result, loop)
            store(builder, phi, builder.gep(out_pointer, [I64(i * width)]))
        return context.get_dummy_value()

    return signature, generate


@register_jitable
def _plain_tile(x, x_base, k_offsets, count, r_offsets, w, w_base, out, out_base, shape):
    rows, columns, vectors, step, width, accumulate = shape
    lanes = vectors * width
    for r in range(rows):
        for c in range(columns):
            place = out_base + (r * columns + c) * lanes
            if not accumulate:
                out[place : place + lanes] = 0
            for k in range(count):
                value = x[x_base + k_offsets[k] + r_offsets[r] + c * step]
                for lane in range(lanes):
                    out[place + lane] += value * w[w_base + k * lanes + lane]


@intrinsic(prefer_literal=True)
def _vector_transpose(typing_context, source, source_base, source_step, target, target_base, target_step, width):
    size = int(width.literal_value)
    signature = types.void(source, *[types.intp] * 2, target, *[types.intp] * 2, width)

    def generate(context, builder, sig, args):
        vector = ir.VectorType(element_of(context, sig.args[0]), size)
        read = builder.gep(at(context, builder, sig.args[0], args[0]), [args[1]])
        write = builder.gep(at(context, builder, sig.args[3], args[3]), [args[4]])
        lines = [load(builder, builder.gep(read, [builder.mul(args[2], I64(i))]), vector) for i in range(size)]
        # Each round swaps the off-diagonal blocks of half the size: after log2(size) rounds all is transposed.
        half = size // 2
        while half:
            low = [i + size * (i // half % 2) - half * (i // half % 2) for i in range(size)]
            high = [(i + half if not i // half % 2 else i + size) for i in range(size)]
            for i in range(size):
                if i & half:
                    continue
                a, b = lines[i], lines[i + half]
                lines[i] = builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, size), low))
                lines[i + half] = builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, size), high))
            half //= 2
        for i, line in enumerate(lines):
            store(builder, line, builder.gep(write, [builder.mul(args[5], I64(i))]))
        return context.get_dummy_value()

    return signature, generate


@register_jitable
def _plain_transpose(source, source_base, source_step, target, target_base, target_step, width):
    for i in range(width):
        for j in range(width):
            target[target_base + j * target_step + i] = source[source_base + i * source_step + j]


@intrinsic(prefer_literal=True)
def _vector_move(typing_context, source, source_base, target, target_base, step, width):
    many, lanes = int(step.literal_value), int(width.literal_value)
    signature = types.void(source, types.intp, target, types.intp, step, width)

    def generate(context, builder, sig, args):
        vector = ir.VectorType(element_of(context, sig.args[0]), lanes)
        read = builder.gep(at(context, builder, sig.args[0], args[0]), [args[1]])
        write = builder.gep(at(context, builder, sig.args[2], args[2]), [args[3]])
        parts = [load(builder, builder.gep(read, [I64(i * lanes)]), vector) for i in range(many)]
        value = parts[0]
        for taken in range(many if many > 1 else 0):
            # Those of the elements wanted that lie in this vector; the others come from what there is already.
            places = [i * many - taken * lanes for i in range(lanes)]
            mask = [p + lanes if 0 <= p < lanes else i for i, p in enumerate(places)]
            value = builder.shuffle_vector(value, parts[taken], ir.Constant(ir.VectorType(I32, lanes), mask))
        store(builder, value, write)
        return context.get_dummy_value()

    return signature, generate


@register_jitable
def _plain_move(source, source_base, target, target_base, step, width):
    for i in range(width):
        target[target_base + i] = source[source_base + i * step]


@intrinsic(prefer_literal=True)
def _vector_spread(
    typing_context, x, x_base, k_offsets, count, v_in, first, w, w_base, out, out_base, out_step, v_out, shape
):
    # ``shape`` is a tuple of literals: outputs, vectors, width, piece.
    outputs, vectors, width, piece = (int(item.literal_value) for item in shape)
    many = width // piece
    whole = types.intp
    signature = types.void(x, whole, k_offsets, whole, v_in, whole, w, whole, out, whole, whole, v_out, shape)

    def generate(context, builder, sig, args):
        element = element_of(context, sig.args[6])
        part = ir.VectorType(element, piece)
        vector = ir.VectorType(element, width)
        undefined = ir.Constant(vector, ir.Undefined)
        x, x_base, k_table, count, in_table, first, w, w_base, out, out_base, out_step, out_table, _ = args

        def pointer(index: int, array: Any, *place: Any) -> Any:
            start = at(context, builder, sig.args[index], array)
            return builder.gep(start, list(place)) if place else start

        x_pointer, k_pointer = pointer(0, x, x_base), pointer(2, k_table)
        w_pointer, out_pointer = pointer(6, w, w_base), pointer(8, out, out_base)

        def offsets(start: Any) -> list[Any]:
            # Of each piece of each vector.
            return [builder.load(builder.gep(start, [I64(i)])) for i in range(vectors * many)]

        def everywhere(start: Any) -> Any:
            return splat(builder, builder.load(start), vector)

        def gathered(start: Any, places: list[Any]) -> Any:
            return joined(builder, [load(builder, builder.gep(start, [place]), part) for place in places])

        sources, targets = offsets(pointer(4, in_table, first)), offsets(pointer(11, out_table, first))
        rows = [builder.gep(out_pointer, [builder.mul(out_step, I64(m))]) for m in range(outputs)]
        places = [(m, v) for m in range(outputs) for v in range(vectors)]
        start = [everywhere(builder.gep(w_pointer, [I64(m)])) for m in range(outputs)]

        before = builder.block
        loop, after = builder.append_basic_block("spread.k"), builder.append_basic_block("spread.end")
        builder.cbranch(builder.icmp_signed(">", count, I64(0)), loop, after)

        builder.position_at_end(loop)
        k = builder.phi(I64)
        k.add_incoming(I64(0), before)
        sums = [builder.phi(vector) for _ in places]
        for phi, (m, _) in zip(sums, places, strict=True):
            phi.add_incoming(start[m], before)
        here = builder.gep(x_pointer, [builder.load(builder.gep(k_pointer, [k]))])
        values = [gathered(here, sources[v * many : (v + 1) * many]) for v in range(vectors)]
        following = builder.add(k, I64(1))
        weights = builder.gep(w_pointer, [builder.mul(following, I64(outputs))])
        results = []
        for m in range(outputs):
            weight = everywhere(builder.gep(weights, [I64(m)]))
            for v in range(vectors):
                results.append(multiply_add(builder, weight, values[v], sums[len(results)]))
        k.add_incoming(following, loop)
        for phi, value in zip(sums, results, strict=True):
            phi.add_incoming(value, loop)
        builder.cbranch(builder.icmp_signed("<", following, count), loop, after)

        builder.position_at_end(after)
        finals = [builder.phi(vector) for _ in sums]
        for phi, result, (m, _) in zip(finals, results, places, strict=True):
            phi.add_incoming(start[m], before)
            phi.add_incoming(result, loop)
        for i, phi in enumerate(finals):
            m, v = places[i]
            for j in range(many):
                mask = ir.Constant(ir.VectorType(I32, piece), list(range(j * piece, (j + 1) * piece)))
                value = phi if many == 1 else builder.shuffle_vector(phi, undefined, mask)
                store(builder, value, builder.gep(rows[m], [targets[v * many + j]]))
        return context.get_dummy_value()

    return signature, generate


@register_jitable
def _plain_spread(x, x_base, k_offsets, count, v_in, first, w, w_base, out, out_base, out_step, v_out, shape):
    outputs, vectors, width, piece = shape
    for m in range(outputs):
        for j in range(first, first + vectors * (width // piece)):
            source, target = x_base + v_in[j], out_base + m * out_step + v_out[j]
            for i in range(piece):
                out[target + i] = w[w_base + m]
            for k in range(count):
                value = w[w_base + (k + 1) * outputs + m]
                for i in range(piece):
                    out[target + i] += x[source + k_offsets[k] + i] * value


#: Vector registers of the machine.
REGISTERS = 32 if WIDTH == 16 else 16

#: Vector registers that may hold sums: the machine's, less what the operands need.
SUMS = 28 if WIDTH == 16 else 12

#: ``tile(x, x_base, k_offsets, count, r_offsets, w, w_base, out, out_base, shape)`` with flat arrays of float32
#: (or float64), int64 offset tables and ``shape = (rows, columns, vectors, step, WIDTH, accumulate)`` of constants.
#: Writes (or with ``accumulate`` adds to) ``out[out_base:]``, laid out [rows][columns][vectors * WIDTH]; ``w`` from
#: ``w_base`` is laid out [count][vectors * WIDTH].
tile = _vector_tile if settings.vector_width() else _plain_tile

#: ``spread(x, x_base, k_offsets, count, v_in, first, w, w_base, out, out_base, out_step, v_out, shape)`` with
#: ``shape = (outputs, vectors, WIDTH, piece)`` of constants: here the lanes are positions that lie side by side, in
#: pieces of ``piece`` of them. For m below ``outputs`` and the pieces j, from ``first`` on, that fill the vectors,
#: ``out[m * out_step + v_out[j] + i] = w[0, m] + sum over k of w[1 + k, m] * x[k_offsets[k] + v_in[j] + i]``.
spread = _vector_spread if settings.vector_width() else _plain_spread

#: ``transpose(source, source_base, source_step, target, target_base, target_step, WIDTH)`` transposes one
#: WIDTH x WIDTH block between flat float32 arrays; the steps are the distances of lines.
transpose = _vector_transpose if settings.vector_width() else _plain_transpose

#: ``move(source, source_base, target, target_base, step, WIDTH)`` copies WIDTH elements, ``step`` (a constant) apart in
#: the source, and reads WIDTH * step.
move = _vector_move if settings.vector_width() else _plain_move
