"""Winograd's minimal filtering on tiles of 6 x 6: the matrices, and the transforms as explicit vector instructions.

A tile of 6 x 6 input pixels, a filter of r x r and the (7 - r) x (7 - r) output pixels between them are taken to 36
*frequencies*, where correlation is a product: ``y = A^T [(G g G^T) * (B^T x B)] A``, with ``A`` of 6 x (7 - r), ``G``
of 6 x r and ``B`` of 6 x 6 (Winograd, "Arithmetic Complexity of Computations", 1980; Lavin and Gray, "Fast Algorithms
for Convolutional Neural Networks", 2016). The lanes of a vector are tiles. Polynomials are evaluated at 0, ±sqrt(1/2),
±sqrt(2) and infinity: with these points (in place of 0, ±1, ±2) results are about as near to those of float64 as direct
sums in float32 are.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, register_jitable

from caffelite.kernels.engine import settings
from caffelite.kernels.engine.routines import Routine, address_of, pointer, routine, run_routine
from caffelite.kernels.tiles.vectors import I32, I64, WIDTH, at, element_of, joined, load, loop, multiply_add, store

#: Rows and columns of a tile, and its frequencies.
TILE = 6
FREQUENCIES = TILE * TILE
_POINTS = (0.0, 0.5**0.5, -(0.5**0.5), 2**0.5, -(2**0.5))


@cache
def matrices(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ``A^T`` (7 - size x 6), ``G`` (6 x size) and ``B^T`` (6 x 6) for filters of ``size`` x ``size``."""
    outputs = TILE - size + 1
    powers = np.vander(_POINTS, max(size, outputs), increasing=True)
    others = [[p for p in _POINTS if p != point] for point in _POINTS]
    a, g, b = np.zeros((TILE, outputs)), np.zeros((TILE, size)), np.zeros((TILE, TILE))
    for i, point in enumerate(_POINTS):
        a[i], b[i, :-1] = powers[i, :outputs], np.poly(others[i])[::-1]
        g[i] = powers[i, :size] / np.prod(point - np.array(others[i]))
    a[-1, -1] = g[-1, -1] = 1
    b[-1] = np.poly(_POINTS)[::-1]
    return a.T, g, b


def spectrum(size: int, turned: bool = False) -> np.ndarray:
    """Return the matrix from the taps of a filter (turned by 180 degrees) to its frequencies: size² x FREQUENCIES."""
    _, g, _ = matrices(size)
    table = np.kron(g, g).T
    return table[::-1] if turned else table


def _matrix(kind: str, size: int) -> np.ndarray:
    """Return what a transform multiplies by from the left, and from the right by its transpose."""
    a, _, b = matrices(size)
    # Products of points are 0 or 1 but for rounding.
    return np.where(np.abs(m := {"input": b, "result": a, "gradient": a.T}[kind]) < 1e-12, 0, m)


class _Emitter:
    """Writes products of small matrices with vectors."""

    def __init__(self, builder: Any, vector: Any) -> None:
        self.builder, self.vector = builder, vector

    def _sum(self, factors: Sequence[float], values: Sequence[Any], start: Any = None) -> Any:
        total = start
        for factor, value in zip(factors, values, strict=True):
            if abs(factor) < 1e-12:
                continue
            if total is None:
                total = value if factor == 1 else self.builder.fmul(self._splat(factor), value)
            elif factor == 1:
                total = self.builder.fadd(total, value)
            else:
                total = multiply_add(self.builder, self._splat(factor), value, total)
        return total

    def _splat(self, factor: float) -> Any:
        return ir.Constant(self.vector, [float(factor)] * self.vector.count)

    def product(self, matrix: np.ndarray, values: Sequence[Any]) -> list[Any]:
        """Return the rows of ``matrix @ values``; rows or columns 1 and 2, 3 and 4 belong to points p and -p.

        Such rows are the sum and the difference of an even and an odd part.
        """
        if len(matrix) == TILE:
            results = [self._sum(matrix[0], values)]
            for i in (1, 3):
                even, odd = (matrix[i] + matrix[i + 1]) / 2, (matrix[i] - matrix[i + 1]) / 2
                last = odd[np.flatnonzero(np.abs(odd) > 1e-12)[-1]]
                ours, theirs = self._sum(even, values), self._sum(odd / last, values)
                results += [multiply_add(self.builder, self._splat(sign * last), theirs, ours) for sign in (1, -1)]
            return [*results, self._sum(matrix[-1], values)]
        add, subtract = self.builder.fadd, self.builder.fsub
        parts = [[op(values[i], values[i + 1]) for op in (add, subtract)] for i in (1, 3)]
        results = []
        for row in matrix:
            # The powers of p and of -p are equal, or opposite.
            pairs = [parts[i // 2][int(row[i] != row[i + 1])] for i in (1, 3)]
            results.append(self._sum(row[[1, 3, 0, 5]], [*pairs, values[0], values[5]]))
        return results

    def both(self, matrix: np.ndarray, values: list[list[Any]]) -> list[list[Any]]:
        """Return ``matrix @ values @ matrix.T``."""
        columns = [self.product(matrix, column) for column in zip(*values, strict=True)]
        return [self.product(matrix, row) for row in zip(*columns, strict=True)]


_KINDS = ("input", "result", "gradient")


def _write_to_tiles(builder, element, shape, source, taps, starts, target, step, lanes):
    """Write the routine of :func:`to_tiles`; ``shape`` is kind, size, piece."""
    kind, size, piece = shape
    part, vector = ir.VectorType(element, piece), ir.VectorType(element, WIDTH)
    read, table = pointer(builder, source, element), pointer(builder, taps, I64)
    matrix = _matrix(_KINDS[kind], size)
    across = matrix.shape[1]

    def one_vector(lane: Any) -> list[Any]:
        begins = pointer(builder, starts, I64, builder.sdiv(lane, I64(piece)))
        places = [builder.gep(read, [builder.load(builder.gep(begins, [I64(i)]))]) for i in range(WIDTH // piece)]

        def gathered(tap: int) -> Any:
            offset = builder.load(builder.gep(table, [I64(tap)]))
            return joined(builder, [load(builder, builder.gep(place, [offset]), part) for place in places])

        values = [[gathered(i * across + j) for j in range(across)] for i in range(across)]
        write = pointer(builder, target, element, lane)
        frequencies = _Emitter(builder, vector).both(matrix, values)
        for i, value in enumerate(value for row in frequencies for value in row):
            store(builder, value, builder.gep(write, [builder.mul(step, I64(i))]))
        return [builder.add(lane, I64(WIDTH))]

    loop(builder, [I64(0)], lambda lane: builder.icmp_signed("<", lane, lanes), one_vector)


@intrinsic(prefer_literal=True)
def _vector_from_tiles(typing_context, source, base, step, target, to, row, shape):
    # ``shape`` is a tuple of literals: size, width.
    size, width = (int(item.literal_value) for item in shape)
    number = types.intp
    signature = types.void(source, number, number, target, number, number, shape)

    def generate(context, builder, sig, args):
        vector = ir.VectorType(element_of(context, sig.args[0]), width)
        read = builder.gep(at(context, builder, sig.args[0], args[0]), [args[1]])
        write = builder.gep(at(context, builder, sig.args[3], args[3]), [args[4]])
        values = [
            [load(builder, builder.gep(read, [builder.mul(args[2], I64(i * TILE + j))]), vector) for j in range(TILE)]
            for i in range(TILE)
        ]
        outputs = TILE - size + 1
        for i, line in enumerate(_Emitter(builder, vector).both(_matrix("result", size), values)):
            goal = builder.gep(write, [builder.mul(args[5], I64(i))])
            for number, value in enumerate(_interleaved(builder, line, width)):
                store(builder, value, builder.gep(goal, [I64(number * width)]))
        assert outputs == i + 1
        return context.get_dummy_value()

    return signature, generate


def _interleaved(builder: Any, line: list[Any], width: int) -> list[Any]:
    """Return element 0 of each of two or four vectors, then element 1 of each, and so on, as that many vectors."""
    halves = [[i // 2 + offset + i % 2 * width for i in range(width)] for offset in (0, width // 2)]
    masks = [ir.Constant(ir.VectorType(I32, width), half) for half in halves]
    if len(line) == 2:
        return [builder.shuffle_vector(*line, mask) for mask in masks]
    even, odd = _interleaved(builder, line[::2], width), _interleaved(builder, line[1::2], width)
    return [v for pair in zip(even, odd, strict=True) for v in _interleaved(builder, list(pair), width)]


def raiser(kind: str, size: int, piece: int, dtype: np.dtype) -> Routine | int:
    """Return what a function of :func:`to_tiles` runs, for pieces of ``piece`` tiles."""
    shape = (_KINDS.index(kind), size, piece)
    return routine(_write_to_tiles, shape, dtype) if settings.vector_width() else 0


@cache
def to_tiles(kind: str, size: int) -> Callable[..., None]:
    """Return ``transform(raiser, source, taps, starts, piece, target, to, step, lanes)``: tiles to frequencies.

    With ``kind`` "input" ``B^T x B`` of 6 x 6 pixels, with "gradient" ``A y A^T`` of (7 - size) x (7 - size). Lane l
    is element ``l % piece`` of piece ``p = l // piece``; the elements of a piece lie side by side. ``lanes`` is a
    multiple of WIDTH. The function's arrays:

    source : ndarray of float32 (or float64), one axis
        Pixel t of a tile lies at ``taps[t] + starts[p]``.
    taps : ndarray of int64, [pixels of a tile]; starts : ndarray of int64, [pieces]
    target : ndarray, one axis
        Frequency f goes to ``target[to + f * step:]``, lane by lane.
    """
    if settings.vector_width():

        def vectors(raiser, source, taps, starts, piece, target, to, step, lanes):
            arrays = address_of(source, 0), address_of(taps, 0), address_of(starts, 0), address_of(target, to)
            run_routine(raiser, (*arrays, step, lanes))

        return register_jitable(vectors)
    matrix = _matrix(kind, size)
    rows, across = matrix.shape

    def loops(raiser, source, taps, starts, piece, target, to, step, lanes):
        for lane in range(lanes):
            here = starts[lane // piece] + lane % piece
            for i in range(rows):
                for j in range(rows):
                    total = 0.0
                    for k in range(across):
                        for n in range(across):
                            total += matrix[i, k] * matrix[j, n] * source[here + taps[k * across + n]]
                    target[to + (i * rows + j) * step + lane] = total

    return register_jitable(loops)


@cache
def from_tiles(size: int) -> Callable[..., None]:
    """Return ``transform(source, base, step, target, to, row)``, which takes frequencies to results: ``A^T m A``.

    The function's arrays:

    source : ndarray of float32 (or float64), one axis
        Frequency f of WIDTH tiles lies at ``source[base + f * step:]``, tile by tile.
    target : ndarray, one axis
        Row i of the tiles' (7 - size) x (7 - size) results goes to ``target[to + i * row:]``, one tile after the other.
    """
    if settings.vector_width():
        shape = (size, WIDTH)

        def vectors(source, base, step, target, to, row):
            _vector_from_tiles(source, base, step, target, to, row, shape)

        return register_jitable(vectors)
    matrix = _matrix("result", size)
    outputs = len(matrix)

    def loops(source, base, step, target, to, row):
        for lane in range(WIDTH):
            for i in range(outputs):
                for j in range(outputs):
                    total = 0.0
                    for k in range(TILE):
                        for n in range(TILE):
                            total += matrix[i, k] * matrix[j, n] * source[base + (k * TILE + n) * step + lane]
                    target[to + i * row + lane * outputs + j] = total

    return register_jitable(loops)
