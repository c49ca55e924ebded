"""Products of matrices on register tiles: what an inner product does, forward and backward.

A tile of the result stays in registers while k runs; the loops around it, over panels that stay in the caches, are
those of Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008. Where both operands have
their k side by side the tile sums over vectors of k (dots), else its vectors are columns (lanes).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable

from caffelite.kernels.engine import arrays, settings
from caffelite.kernels.engine.calls import Call, call
from caffelite.kernels.engine.compiling import specialised
from caffelite.kernels.tiles.matrix_tile import dots_tile, lanes_tile
from caffelite.kernels.tiles.tile import SUMS, move
from caffelite.kernels.tiles.vectors import WIDTH

#: Rows of a tile that has columns as lanes; rows and columns of one that reads along k.
ROWS = 4
DOT_ROWS, DOT_COLUMNS = min(SUMS // 4, 6), 4
#: Floats of an operand that a tile is used again with: 16 KB, so that they stay in the first-level cache.
_FLOATS = 4096
#: Floats of the right operand that are gone over at a time, so that they stay in the second-level cache.
_AGAIN = 1 << 16


class Product(NamedTuple):
    """A product of matrices, ``out[i, j] = sum over k of a[i, k] · b[k, j]``; :func:`product` computes it.

    Attributes
    ----------
    m, n, k : int
        Rows i, columns j, and elements of a sum.
    a_row, a_step : int
        Elements of ``a`` from a row i to the next, and from a k to the next.
    b_row, b_step : int
        Elements of ``b`` from a k to the next, and from a column j to the next.
    add : int
        1: add to ``out``; 0: set it.
    across : int
        1: a task is a run of columns; 0: of rows. Of tiles whose lanes are columns; for others 0.
    """

    m: int
    n: int
    k: int
    a_row: int
    a_step: int
    b_row: int
    b_step: int
    add: int
    across: int


@register_jitable
def _put(edges, edge, lanes, out, place, n, valid, filled, fresh, bias, j):
    """Bring the part of a tile that lies inside the result to its place."""
    for r in range(valid):
        source, goal = edge + r * lanes, place + r * n
        for lane in range(filled):
            value = edges[source + lane]
            if not fresh:
                value += out[goal + lane]
            elif len(bias):
                value += bias[j + lane]
            out[goal + lane] = value


def _packing(vectors: int) -> Callable[..., None]:
    """Make the function that copies ``steps`` rows of ``b``, from column j on, into a panel of [steps][lanes]."""
    lanes = vectors * WIDTH

    @register_jitable
    def pack(b, g, panels, panel, k, steps, j, filled):
        for step in range(steps):
            here, source = panel + step * lanes, (k + step) * g.b_row + j * g.b_step
            if filled == lanes and g.b_step == 1:
                for v in range(vectors):
                    move(b, source + v * WIDTH, panels, here + v * WIDTH, 1, WIDTH)
            else:
                for lane in range(filled):
                    panels[here + lane] = b[source + lane * g.b_step]
                for lane in range(filled, lanes):
                    panels[here + lane] = 0

    return pack


@specialised
def _with_lanes(vectors: int) -> Callable[..., None]:
    """Make the kernel whose tiles are ROWS rows × ``vectors`` vectors of columns.

    One long function: with the body of its loop in another, it was 8% slower.
    """
    shape = (ROWS, vectors, WIDTH)
    lanes = vectors * WIDTH
    depth = _FLOATS // lanes
    pack = _packing(vectors)

    def multiply(begin, end, worker, a, b, bias, out, g, panels, edges):
        """out[i, j] (+)= bias[j] + sum of a[i, k] · b[k, j]; a task is a run of ROWS rows, or (across) of lanes.

        For each run of k that fits into the first-level cache, columns of ``b`` are copied to a panel, and multiplied
        with all rows. In plain NumPy: ``naive.product``.

        Parameters
        ----------
        a, b : ndarray of float, one axis
            [m][count] and [count][n], with the steps of ``g``.
        bias : ndarray of float, [n] or [0]
        out : ndarray of float, [m][n]
            Is set, or added to.
        g : Product
        panels : ndarray of float, [threads][depth][lanes]: scratch.
        edges : ndarray of float, [threads][ROWS + 1][lanes]
            Scratch for a tile that goes beyond the result; its last row is zeros.
        """
        m, n, count, a_row, a_step = g.m, g.n, g.k, g.a_row, g.a_step
        panel, edge = worker * depth * lanes, worker * (ROWS + 1) * lanes
        nothing = edge + ROWS * lanes  # zeros
        groups, strips = (m + ROWS - 1) // ROWS, (n + lanes - 1) // lanes
        first, last = (0, groups) if g.across else (begin, end)
        left, right = (begin, end) if g.across else (0, strips)
        for k in range(0, count, depth):
            steps, fresh = min(depth, count - k), k == 0 and not g.add
            for strip in range(left, right):
                j = strip * lanes
                filled = min(lanes, n - j)
                pack(b, g, panels, panel, k, steps, j, filled)
                for group in range(first, last):
                    i = group * ROWS
                    place, valid = i * n + j, min(ROWS, m - i)
                    whole = valid == ROWS and filled == lanes
                    start, start_base, start_row = edges, nothing, 0
                    target, target_base, target_row = edges, edge, lanes
                    if whole:
                        target, target_base, target_row = out, place, n
                        if not fresh:
                            start, start_base, start_row = out, place, n
                        elif len(bias):
                            start, start_base = bias, j
                    lanes_tile(
                        a,
                        (i * a_row + k * a_step, a_row, a_step, valid),
                        panels,
                        panel,
                        steps,
                        start,
                        (start_base, start_row),
                        target,
                        (target_base, target_row),
                        shape,
                    )
                    if not whole:
                        _put(edges, edge, lanes, out, place, n, valid, filled, fresh, bias, j)

    return multiply


@specialised
def _with_dots(rows: int) -> Callable[..., None]:
    """Make the kernel whose tiles are ``rows`` × DOT_COLUMNS sums over vectors of k.

    One long function: with the body of its loop in another, it was 8% slower.
    """
    columns = DOT_COLUMNS
    shape = (rows, columns, WIDTH)
    depth = _FLOATS // rows // WIDTH * WIDTH

    def multiply(begin, end, worker, a, b, bias, out, g, edges):
        """out[i, j] (+)= bias[j] + sum of a[i, k] · b[k, j], k side by side in both; a task is DOT_COLUMNS columns.

        In plain NumPy: ``naive.product``.

        Parameters
        ----------
        a, b : ndarray of float, one axis
            Rows i of ``a`` and columns j of ``b``, each with its k side by side.
        bias : ndarray of float, [n] or [0]
        out : ndarray of float, [m][n]
            Is set, or added to.
        g : Product
        edges : ndarray of float, [threads][rows + 1][DOT_COLUMNS]
            Scratch for a tile that goes beyond the result; its last row is zeros.
        """
        m, n, count, a_row, b_row, add = g.m, g.n, g.k, g.a_row, g.b_step, g.add
        edge = worker * (rows + 1) * columns
        nothing = edge + rows * columns  # zeros
        for k in range(0, count, depth):
            # The last piece is never shorter than a vector: the one before it has what is left over.
            if k > 0 and count - k < WIDTH:
                break
            steps, fresh = min(depth, count - k), k == 0 and not add
            if count - k - steps < WIDTH:
                steps = count - k
            run = max(_AGAIN // (steps * columns), 1)
            for left in range(begin, end, run):
                for i in range(0, m, rows):
                    valid = min(rows, m - i)
                    for task in range(left, min(left + run, end)):
                        j = task * columns
                        place, filled = i * n + j, min(columns, n - j)
                        whole = valid == rows and filled == columns
                        start, start_base, start_row = edges, nothing, 0
                        target, target_base, target_row = edges, edge, columns
                        if whole:
                            target, target_base, target_row = out, place, n
                            if not fresh:
                                start, start_base, start_row = out, place, n
                            elif len(bias):
                                start, start_base = bias, j
                        dots_tile(
                            a,
                            (i * a_row + k, a_row, valid),
                            b,
                            (j * b_row + k, b_row, filled),
                            steps,
                            start,
                            (start_base, start_row),
                            target,
                            (target_base, target_row),
                            shape,
                        )
                        if not whole:
                            _put(edges, edge, columns, out, place, n, valid, filled, fresh, bias, j)

    return multiply


def lane_vectors(n: int) -> int:
    """Choose the vectors of a tile of ROWS rows for n columns: few wasted lanes, many sums."""

    def cost(vectors: int) -> float:
        # A step of k takes its multiply-adds or its loads, two of each a cycle, and a little for the loop.
        return -(-n // (vectors * WIDTH)) * (max(ROWS * vectors, ROWS + vectors) / 2 + 1)

    return min(range(1, min(SUMS // ROWS, 3) + 1), key=cost)


def product(
    a: np.ndarray,
    a_steps: tuple[int, int],
    b: np.ndarray,
    b_steps: tuple[int, int],
    out: np.ndarray,
    size: tuple[int, int, int],
    bias: np.ndarray | None = None,
    add: bool = False,
) -> list[Call]:
    """Return the calls that compute ``out[i, j] = bias[j] + sum over k of a[i, k] * b[k, j]``.

    Parameters
    ----------
    a, b : ndarray of float32
        Read as flat memory.
    a_steps : (int, int)
        Distance in ``a`` between rows i and between columns k.
    b_steps : (int, int)
        Distance in ``b`` between rows k and between columns j; fast where the second is 1, or the first and the second
        of ``a_steps`` are.
    out : ndarray of float32
        m x n values, row by row.
    size : (int, int, int)
        m, n and the number of k.
    bias : ndarray of float32, optional
        n values.
    add : bool, optional
        Add to ``out`` (without bias) instead of setting it.
    """
    m, n, count = size
    a, b, out = a.reshape(-1), b.reshape(-1), out.reshape(-1)
    bias = np.empty(0, a.dtype) if bias is None else bias.reshape(-1)
    threads, work = settings.threads(), m * n * count / WIDTH
    geometry = Product(m, n, count, *a_steps, *b_steps, int(add), 0)
    if a_steps[1] == b_steps[0] == 1 and count >= WIDTH:
        rows = min(m, DOT_ROWS)
        edges = arrays.zeros(threads * (rows + 1) * DOT_COLUMNS, a.dtype)
        return [call(_with_dots(rows), -(-n // DOT_COLUMNS), a, b, bias, out, geometry, edges, work=work, whole=True)]
    vectors = lane_vectors(n)
    lanes = vectors * WIDTH
    groups, strips = -(-m // ROWS), -(-n // lanes)
    # Each thread has rows of its own, so that it meets the same weights again in the next pass, unless they are few.
    across = groups < 4 * threads and groups < strips
    panels, edges = arrays.zeros(threads * _FLOATS, a.dtype), arrays.zeros(threads * (ROWS + 1) * lanes, a.dtype)
    geometry = geometry._replace(across=int(across))
    tasks = strips if across else groups
    return [call(_with_lanes(vectors), tasks, a, b, bias, out, geometry, panels, edges, work=work, whole=True)]
