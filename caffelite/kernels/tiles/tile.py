"""The register tiles: the pieces of code that convolution is loops around, and the moving of blocks beside them.

``out[m, v] = sum over k of x[offset(k) + offset(m)] * w[k, v]``, with m over a few rows and columns of positions and v
over a few vectors of output channels, all sums held in registers: that is ``tile``. In ``spread`` the lanes of the
vectors are positions, and m output channels. They are written as explicit vector instructions, so that nothing depends
on the auto-vectorizer; the loops in whose place they stand are the plain functions of the same arguments beside them,
which run where the machine has no such vectors, and ``tile``, ``spread``, ``transpose`` and ``move`` of
``tests/naive.py``. The idea: Georganas et al., "High-Performance Deep Learning via a Single Building Block",
2019, where the building block is a product of small matrices whose blocks are given by their addresses.

``tile`` and ``spread`` are routines (:mod:`caffelite.kernels.engine.routines`), each shape of its own; for the two
others a shape is constants of the kernel.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, register_jitable
from numpy.typing import DTypeLike

from caffelite.kernels.engine import settings
from caffelite.kernels.engine.routines import Routine, address_of, pointer, routine, run_routine
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

#: How many weights ahead of those that are multiplied lie the ones that are asked for. Where a net is larger than the
#: caches, each pass reads its weights from memory, and what the machine fetches by itself comes too late.
_AHEAD = 1024


def _write_tile(builder, element, shape, x, k_offsets, count, r_offsets, w, ahead, out):
    """Write the routine of :data:`tile`; ``shape`` is that of :func:`tiler`."""
    rows, columns, vectors, step, accumulate, fetches = shape
    vector, lanes = ir.VectorType(element, WIDTH), I64(vectors * WIDTH)
    x_pointer, w_pointer, ahead_pointer, out_pointer = (pointer(builder, a, element) for a in (x, w, ahead, out))
    k_pointer, r_pointer = pointer(builder, k_offsets, I64), pointer(builder, r_offsets, I64)
    row_offsets = [builder.load(builder.gep(r_pointer, [I64(r)])) for r in range(rows)]
    places = [builder.gep(out_pointer, [I64(i * WIDTH)]) for i in range(rows * columns * vectors)]

    def step_of_k(k: Any, *sums: Any) -> list[Any]:
        here = builder.gep(x_pointer, [builder.load(builder.gep(k_pointer, [k]))])
        weights_here = builder.gep(w_pointer, [builder.mul(k, lanes)])
        weights = [load(builder, builder.gep(weights_here, [I64(v * WIDTH)]), vector) for v in range(vectors)]
        if fetches:
            fetch(builder, builder.gep(ahead_pointer, [builder.mul(k, lanes)]))
        results: list[Any] = []
        for r in range(rows):
            row = builder.gep(here, [row_offsets[r]])
            for c in range(columns):
                value = splat(builder, builder.load(builder.gep(row, [I64(c * step)])), vector)
                for v in range(vectors):
                    results.append(multiply_add(builder, value, weights[v], sums[len(results)]))
        return [builder.add(k, I64(1)), *results]

    zero = ir.Constant(vector, [0.0] * WIDTH)
    start = [load(builder, place, vector) if accumulate else zero for place in places]
    finals = loop(builder, [I64(0), *start], lambda k: builder.icmp_signed("<", k, count), step_of_k)[1:]
    for place, value in zip(places, finals, strict=True):
        store(builder, value, place)


@register_jitable
def _vector_tile(routine, x, x_base, k_offsets, count, r_offsets, w, w_base, ahead, out, out_base, shape):
    tables = address_of(k_offsets, 0), count, address_of(r_offsets, 0)
    weights = address_of(w, w_base), address_of(w, ahead)
    run_routine(routine, (address_of(x, x_base), *tables, *weights, address_of(out, out_base)))


@register_jitable
def _plain_tile(routine, x, x_base, k_offsets, count, r_offsets, w, w_base, ahead, out, out_base, shape):
    """out[r, c, lane] (+)= sum over k of x[k_offsets[k] + r_offsets[r] + c * step] * w[k, lane].

    Parameters
    ----------
    routine : int
        What :func:`tiler` returns.
    x : ndarray of float32 (or float64), one axis
        Its offsets count from ``x_base``.
    k_offsets : ndarray of int64, [count] or more
    r_offsets : ndarray of int64, [rows] or more
    w : ndarray, [count][vectors * WIDTH], from ``w_base``
    ahead : int
        Where in ``w`` the weights begin that are needed next: with ``fetches`` their lines are brought to the second
        cache, one for each k.
    out : ndarray, [rows][columns][vectors * WIDTH], from ``out_base``
    shape : tuple of int
        ``rows, columns, vectors, step, accumulate``; without ``accumulate`` (1) ``out`` is set.
    """
    rows, columns, vectors, step, accumulate = shape
    lanes = vectors * WIDTH
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


def _write_spread(builder, element, shape, x, k_offsets, count, v_in, w, out, out_step, v_out, pieces):
    """Write the routine of :data:`spread`, for ``pieces`` pieces; ``shape`` is outputs, vectors, piece."""
    outputs, vectors, piece = shape
    of_vector = WIDTH // piece
    taken = vectors * of_vector
    part, vector = ir.VectorType(element, piece), ir.VectorType(element, WIDTH)
    x_pointer, w_pointer, out_pointer = (pointer(builder, address, element) for address in (x, w, out))
    k_pointer = pointer(builder, k_offsets, I64)
    rows = [builder.gep(out_pointer, [builder.mul(out_step, I64(m))]) for m in range(outputs)]
    places = [(m, v) for m in range(outputs) for v in range(vectors)]

    def weight_of(weights: Any, m: int) -> Any:
        return splat(builder, builder.load(builder.gep(weights, [I64(m)])), vector)

    def one_tile(first: Any) -> list[Any]:
        # The last ones are moved back to fill the vectors.
        last = builder.sub(pieces, I64(taken))
        first = builder.select(builder.icmp_signed("<", first, last), first, last)

        def offsets(address: Any) -> list[Any]:
            start = pointer(builder, address, I64, first)
            return [builder.load(builder.gep(start, [I64(i)])) for i in range(taken)]

        sources, targets = offsets(v_in), offsets(v_out)

        def step_of_k(k: Any, *sums: Any) -> list[Any]:
            here = builder.gep(x_pointer, [builder.load(builder.gep(k_pointer, [k]))])
            loaded = [load(builder, builder.gep(here, [source]), part) for source in sources]
            values = [joined(builder, loaded[v * of_vector : (v + 1) * of_vector]) for v in range(vectors)]
            following = builder.add(k, I64(1))
            weights = builder.gep(w_pointer, [builder.mul(following, I64(outputs))])
            for line in range(0, outputs, 16):
                fetch(builder, builder.gep(weights, [I64(_AHEAD + line)]))
            results: list[Any] = []
            # One weight after the other: with all of them at once, sums would have to leave the registers.
            for m in range(outputs):
                weight = weight_of(weights, m)
                results += [multiply_add(builder, weight, values[v], sums[m * vectors + v]) for v in range(vectors)]
            return [following, *results]

        start = [weight_of(w_pointer, m) for m in range(outputs)]
        sums = [I64(0), *(start[m] for m, _ in places)]
        results = loop(builder, sums, lambda k: builder.icmp_signed("<", k, count), step_of_k)[1:]
        for value, (m, v) in zip(results, places, strict=True):
            for j in range(of_vector):
                piece_of = value if of_vector == 1 else _lanes(builder, value, j * piece, piece)
                store(builder, piece_of, builder.gep(rows[m], [targets[v * of_vector + j]]))
        return [builder.add(first, I64(taken))]

    loop(builder, [I64(0)], lambda first: builder.icmp_signed("<", first, pieces), one_tile)


@register_jitable
def _vector_spread(
    routine, x, x_base, k_offsets, count, v_in, first, last, w, w_base, out, out_base, out_step, v_out, shape
):
    arrays = address_of(x, x_base), address_of(k_offsets, 0), count, address_of(v_in, first), address_of(w, w_base)
    pieces = out_step, address_of(v_out, first), last - first
    run_routine(routine, (*arrays, address_of(out, out_base), *pieces))


def _lanes(builder: Any, value: Any, first: int, count: int) -> Any:
    """Return ``count`` lanes of a vector, from ``first`` on, as a vector."""
    mask = ir.Constant(ir.VectorType(I32, count), list(range(first, first + count)))
    return builder.shuffle_vector(value, ir.Constant(value.type, ir.Undefined), mask)


@register_jitable
def _plain_spread(
    routine, x, x_base, k_offsets, count, v_in, first, last, w, w_base, out, out_base, out_step, v_out, shape
):
    """out[m, v_out[j] + i] = w[0, m] + sum over k of w[1 + k, m] * x[k_offsets[k] + v_in[j] + i].

    Here the lanes are positions that lie side by side, in pieces of ``piece`` of them: for m below ``outputs``, i below
    ``piece``, and the pieces j from ``first`` to ``last - 1``, which fill the vectors of a tile at least.

    Parameters
    ----------
    routine : int
        What :func:`spreader` returns.
    x : ndarray of float32 (or float64), one axis
        Its offsets count from ``x_base``.
    k_offsets : ndarray of int64, [count] or more
    v_in, v_out : ndarrays of int64
        Where each piece begins, in ``x`` and in ``out``.
    w : ndarray, [1 + count][outputs], from ``w_base``
        Before the weights is what the sums begin with.
    out : ndarray, one axis
        Its offsets count from ``out_base``; from one m to the next it is ``out_step``.
    shape : (int, int)
        ``outputs, piece``.
    """
    outputs, piece = shape
    for m in range(outputs):
        for j in range(first, last):
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

#: ``tile(routine, x, x_base, k_offsets, count, r_offsets, w, w_base, ahead, out, out_base, shape)``: see
#: :func:`_plain_tile`. The shape of the tile is that of the routine.
tile = _vector_tile if settings.vector_width() else _plain_tile


def tiler(
    rows: int, columns: int, vectors: int, step: int, accumulate: bool, fetches: bool, dtype: DTypeLike
) -> Routine | int:
    """Return what :data:`tile` runs; ``step`` is from column to column, ``fetches`` brings the next weights nearer."""
    shape = rows, columns, vectors, step, int(accumulate), int(fetches)
    return routine(_write_tile, shape, np.dtype(dtype)) if settings.vector_width() else 0


#: ``spread(routine, x, x_base, k_offsets, count, v_in, first, last, w, w_base, out, out_base, out_step, v_out, …)``:
#: see :func:`_plain_spread`. The shape of the tile is that of the routine.
spread = _vector_spread if settings.vector_width() else _plain_spread


def spreader(outputs: int, vectors: int, piece: int, dtype: DTypeLike) -> Routine | int:
    """Return what :data:`spread` runs: tiles of ``outputs`` times ``vectors`` vectors, in pieces of ``piece``."""
    return routine(_write_spread, (outputs, vectors, piece), np.dtype(dtype)) if settings.vector_width() else 0


#: ``transpose(source, source_base, source_step, target, target_base, target_step, WIDTH)`` transposes one
#: WIDTH x WIDTH block between flat float32 arrays; the steps are the distances of lines.
transpose = _vector_transpose if settings.vector_width() else _plain_transpose

#: ``move(source, source_base, target, target_base, step, WIDTH)`` copies WIDTH elements, ``step`` (a constant) apart in
#: the source, and reads WIDTH * step.
move = _vector_move if settings.vector_width() else _plain_move
