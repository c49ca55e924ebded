"""The register tiles: the pieces of code that convolution is loops around, and the moving of blocks beside them.

``out[m, v] = sum over k of x[offset(k) + offset(m)] * w[k, v]``, with m over a few rows and columns of positions and v
over a few vectors of output channels, all sums held in registers: that is ``tile``. In ``spread`` the lanes of the
vectors are positions, and m output channels. They are written as explicit vector instructions, so that nothing depends
on the auto-vectorizer; the loops in whose place they stand are the plain functions of the same arguments beside them,
which run where the machine has no such vectors, and ``tile``, ``spread``, ``transpose`` and ``move`` of
``tests/naive.py``. The idea: Georganas et al., "High-Performance Deep Learning via a Single Building Block",
2019, where the building block is a product of small matrices whose blocks are given by their addresses.

A shape is a tuple of constants: each gives machine code of its own.
"""

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, register_jitable

from caffelite.kernels.engine import settings
from caffelite.kernels.tiles.vectors import (
    I32,
    I64,
    WIDTH,
    at,
    element_of,
    fetch,
    joined,
    load,
    loop,
    multiply_add,
    splat,
    store,
)


@intrinsic(prefer_literal=True)
def _vector_tile(typing_context, x, x_base, k_offsets, count, r_offsets, w, w_base, ahead, out, out_base, shape):
    # ``shape`` is a tuple of literals: rows, columns, vectors, step, width, accumulate, fetches.
    rows, columns, vectors, step, width, accumulate, fetches = (int(item.literal_value) for item in shape)
    whole = types.intp
    signature = types.void(x, whole, k_offsets, whole, r_offsets, w, whole, whole, out, whole, shape)

    def generate(context, builder, sig, args):
        vector = ir.VectorType(element_of(context, sig.args[5]), width)
        x_pointer = builder.gep(at(context, builder, sig.args[0], args[0]), [args[1]])
        k_pointer = at(context, builder, sig.args[2], args[2])
        r_pointer = at(context, builder, sig.args[4], args[4])
        w_pointer = builder.gep(at(context, builder, sig.args[5], args[5]), [args[6]])
        ahead_pointer = at(context, builder, sig.args[5], args[5], args[7])
        out_pointer = builder.gep(at(context, builder, sig.args[8], args[8]), [args[9]])
        row_offsets = [builder.load(builder.gep(r_pointer, [I64(r)])) for r in range(rows)]
        count = rows * columns * vectors
        if accumulate:
            start = [load(builder, builder.gep(out_pointer, [I64(i * width)]), vector) for i in range(count)]
        else:
            start = [ir.Constant(vector, [0.0] * width)] * count

        def step_of_k(k, *sums):
            here = builder.gep(x_pointer, [builder.load(builder.gep(k_pointer, [k]))])
            weights_here = builder.gep(w_pointer, [builder.mul(k, I64(vectors * width))])
            weights = [load(builder, builder.gep(weights_here, [I64(v * width)]), vector) for v in range(vectors)]
            if fetches:
                fetch(builder, builder.gep(ahead_pointer, [builder.mul(k, I64(vectors * width))]))
            results = []
            for r in range(rows):
                row = builder.gep(here, [row_offsets[r]])
                for c in range(columns):
                    value = splat(builder, builder.load(builder.gep(row, [I64(c * step)])), vector)
                    for v in range(vectors):
                        results.append(multiply_add(builder, value, weights[v], sums[len(results)]))
            return [builder.add(k, I64(1)), *results]

        finals = loop(builder, [I64(0), *start], lambda k: builder.icmp_signed("<", k, args[3]), step_of_k)[1:]
        for i, value in enumerate(finals):
            store(builder, value, builder.gep(out_pointer, [I64(i * width)]))
        return context.get_dummy_value()

    return signature, generate


@register_jitable
def _plain_tile(x, x_base, k_offsets, count, r_offsets, w, w_base, ahead, out, out_base, shape):
    """out[r, c, lane] (+)= sum over k of x[k_offsets[k] + r_offsets[r] + c * step] * w[k, lane].

    Parameters
    ----------
    x : ndarray of float32 (or float64), one axis
        Its offsets count from ``x_base``.
    k_offsets : ndarray of int64, [count] or more
    r_offsets : ndarray of int64, [rows] or more
    w : ndarray, [count][vectors * WIDTH], from ``w_base``
    ahead : int
        Where in ``w`` the weights begin that are needed next: with ``fetches`` their lines are brought to the second
        cache, one for each k.
    out : ndarray, [rows][columns][vectors * WIDTH], from ``out_base``
    shape : tuple of constants
        ``rows, columns, vectors, step, WIDTH, accumulate, fetches``; without ``accumulate`` ``out`` is set.
    """
    rows, columns, vectors, step, width, accumulate, _ = shape
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
    parts, lanes = int(step.literal_value), int(width.literal_value)
    signature = types.void(source, types.intp, target, types.intp, step, width)

    def generate(context, builder, sig, args):
        vector = ir.VectorType(element_of(context, sig.args[0]), lanes)
        read = builder.gep(at(context, builder, sig.args[0], args[0]), [args[1]])
        write = builder.gep(at(context, builder, sig.args[2], args[2]), [args[3]])
        loaded = [load(builder, builder.gep(read, [I64(i * lanes)]), vector) for i in range(parts)]
        value = loaded[0]
        for taken in range(parts if parts > 1 else 0):
            # Those of the elements wanted that lie in this vector; the others come from what there is already.
            places = [i * parts - taken * lanes for i in range(lanes)]
            mask = [p + lanes if 0 <= p < lanes else i for i, p in enumerate(places)]
            value = builder.shuffle_vector(value, loaded[taken], ir.Constant(ir.VectorType(I32, lanes), mask))
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
    of_vector = width // piece
    whole = types.intp
    signature = types.void(x, whole, k_offsets, whole, v_in, whole, w, whole, out, whole, whole, v_out, shape)

    def generate(context, builder, sig, args):
        element = element_of(context, sig.args[6])
        part, vector = ir.VectorType(element, piece), ir.VectorType(element, width)
        x_pointer, w_pointer, out_pointer = (at(context, builder, sig.args[i], args[i], args[i + 1]) for i in (0, 6, 8))
        k_pointer = at(context, builder, sig.args[2], args[2])

        def offsets(index: int) -> list[Any]:
            # Of each piece of each vector.
            start = at(context, builder, sig.args[index], args[index], args[5])
            return [builder.load(builder.gep(start, [I64(i)])) for i in range(vectors * of_vector)]

        sources, targets = offsets(4), offsets(11)
        rows = [builder.gep(out_pointer, [builder.mul(args[10], I64(m))]) for m in range(outputs)]
        places = [(m, v) for m in range(outputs) for v in range(vectors)]

        def weight_of(pointer: Any, m: int) -> Any:
            return splat(builder, builder.load(builder.gep(pointer, [I64(m)])), vector)

        def step_of_k(k: Any, *sums: Any) -> list[Any]:
            here = builder.gep(x_pointer, [builder.load(builder.gep(k_pointer, [k]))])
            pieces = [load(builder, builder.gep(here, [source]), part) for source in sources]
            values = [joined(builder, pieces[v * of_vector : (v + 1) * of_vector]) for v in range(vectors)]
            following = builder.add(k, I64(1))
            weights = builder.gep(w_pointer, [builder.mul(following, I64(outputs))])
            results: list[Any] = []
            # One weight after the other: with all of them at once, sums would have to leave the registers.
            for m in range(outputs):
                weight = weight_of(weights, m)
                results += [multiply_add(builder, weight, values[v], sums[m * vectors + v]) for v in range(vectors)]
            return [following, *results]

        start = [weight_of(w_pointer, m) for m in range(outputs)]
        sums = [I64(0), *(start[m] for m, _ in places)]
        results = loop(builder, sums, lambda k: builder.icmp_signed("<", k, args[3]), step_of_k)[1:]
        for value, (m, v) in zip(results, places, strict=True):
            for j in range(of_vector):
                piece_of = value if of_vector == 1 else _lanes(builder, value, j * piece, piece)
                store(builder, piece_of, builder.gep(rows[m], [targets[v * of_vector + j]]))
        return context.get_dummy_value()

    return signature, generate


def _lanes(builder: Any, value: Any, first: int, count: int) -> Any:
    """Return ``count`` lanes of a vector, from ``first`` on, as a vector."""
    mask = ir.Constant(ir.VectorType(I32, count), list(range(first, first + count)))
    return builder.shuffle_vector(value, ir.Constant(value.type, ir.Undefined), mask)


@register_jitable
def _plain_spread(x, x_base, k_offsets, count, v_in, first, w, w_base, out, out_base, out_step, v_out, shape):
    """out[m, v_out[j] + i] = w[0, m] + sum over k of w[1 + k, m] * x[k_offsets[k] + v_in[j] + i].

    Here the lanes are positions that lie side by side, in pieces of ``piece`` of them: for m below ``outputs``, i below
    ``piece``, and the pieces j, from ``first`` on, that fill the vectors.

    Parameters
    ----------
    x : ndarray of float32 (or float64), one axis
        Its offsets count from ``x_base``.
    k_offsets : ndarray of int64, [count] or more
    v_in, v_out : ndarrays of int64
        Where each piece begins, in ``x`` and in ``out``.
    w : ndarray, [1 + count][outputs], from ``w_base``
        Before the weights is what the sums begin with.
    out : ndarray, one axis
        Its offsets count from ``out_base``; from one m to the next it is ``out_step``.
    shape : tuple of constants
        ``outputs, vectors, WIDTH, piece``.
    """
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

#: ``tile(x, x_base, k_offsets, count, r_offsets, w, w_base, ahead, out, out_base, shape)``: see :func:`_plain_tile`.
tile = _vector_tile if settings.vector_width() else _plain_tile

#: ``spread(x, x_base, k_offsets, count, v_in, first, w, w_base, out, out_base, out_step, v_out, shape)``: see
#: :func:`_plain_spread`.
spread = _vector_spread if settings.vector_width() else _plain_spread

#: ``transpose(source, source_base, source_step, target, target_base, target_step, WIDTH)`` transposes one
#: WIDTH x WIDTH block between flat float32 arrays; the steps are the distances of lines.
transpose = _vector_transpose if settings.vector_width() else _plain_transpose

#: ``move(source, source_base, target, target_base, step, WIDTH)`` copies WIDTH elements, ``step`` (a constant) apart in
#: the source, and reads WIDTH * step.
move = _vector_move if settings.vector_width() else _plain_move
