"""The register tiles, and the moving of rows and blocks, against the loops in whose place they stand."""

from collections.abc import Callable
from typing import NamedTuple

import naive
import numpy as np
import pytest
from agreement import check_with_vectors_of, close

from caffelite.kernels.convolution.padding import copy_band, dealer
from caffelite.kernels.engine.calls import call
from caffelite.kernels.engine.compiling import specialised
from caffelite.kernels.tiles import lanes, matrix_tile
from caffelite.kernels.tiles.tile import move, spread, tile, transpose
from caffelite.kernels.tiles.vectors import WIDTH


def values(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


@specialised
def _tile(*shape: int) -> Callable[..., None]:
    def run(begin, end, worker, x, k_offsets, r_offsets, w, out):
        tile(x, 3, k_offsets, len(k_offsets), r_offsets, w, 2, 2, out, 1, shape)

    return run


def check_tile(accumulate: int) -> None:
    rows, columns, vectors, step = 2, 2, 1, 3
    x, w, out = values(60), values(2 + 5 * vectors * WIDTH), values(1 + rows * columns * vectors * WIDTH)
    k_offsets, r_offsets = np.array([0, 7, 2, 30, 1]), np.array([5, 9])
    start = out[1:].reshape(rows, columns, -1) * accumulate
    expected = naive.tile(x[3:], k_offsets, r_offsets, columns, step, w[2:].reshape(5, -1), start)
    call(_tile(rows, columns, vectors, step, WIDTH, accumulate, 1 - accumulate), 1, x, k_offsets, r_offsets, w, out)()
    close(out[1:].reshape(expected.shape), expected)


@specialised
def _spread(*shape: int) -> Callable[..., None]:
    def run(begin, end, worker, x, k_offsets, count, v_in, w, out, out_step, v_out):
        spread(x, 2, k_offsets, count, v_in, 1, w, 3, out, 4, out_step, v_out, shape)

    return run


def check_spread(piece: int, count: int) -> None:
    outputs, vectors = 3, 2
    pieces = vectors * WIDTH // piece
    x, w = values(200), values(3 + 3 * (1 + count))
    k_offsets, v_in = np.array([0, 9, 4][:count], np.int64), np.arange(1 + pieces) * (piece + 1)
    v_out = np.arange(1 + pieces)[::-1] * piece
    step = (1 + pieces) * piece
    out = np.zeros(4 + outputs * step, np.float32)
    call(_spread(outputs, vectors, WIDTH, piece), 1, x, k_offsets, count, v_in, w, out, step, v_out.copy())()
    expected = naive.spread(x[2:], k_offsets, v_in[1:], piece, w[3:].reshape(1 + count, outputs))
    found = out[4:].reshape(outputs, 1 + pieces, piece)
    close(found[:, ::-1][:, 1:], expected)


@specialised
def _matrices(kind: str, *shape: int) -> Callable[..., None]:
    if kind == "lanes":

        def run(begin, end, worker, a, b, count, start, out):
            line = shape[1] * shape[2]
            matrix_tile.lanes_tile(a, (1, 1, 2, 2), b, 1, count, start, (2, line), out, (3, line), shape)

    else:

        def run(begin, end, worker, a, b, count, start, out):
            rows = (2, count, 2)
            matrix_tile.dots_tile(a, rows, b, rows, count, start, (1, 4), out, (2, 5), shape)

    return run


def check_lanes_tile() -> None:
    rows, vectors, count = 3, 1, 5
    # Two valid rows, one after the other in each column.
    a, b, start = values(1 + 2 * count), values(1 + count * WIDTH), values(2 + rows * WIDTH)
    out = np.zeros(3 + rows * WIDTH, np.float32)
    call(_matrices("lanes", rows, vectors, WIDTH), 1, a, b, count, start, out)()
    expected = naive.lanes_tile(a[1:].reshape(count, 2).T, b[1:].reshape(count, -1), start[2:].reshape(rows, -1))
    close(out[3:].reshape(rows, -1), expected)


def check_dots_tile(count: int) -> None:
    rows, columns = 3, 4
    a, b, start = values(2 + 2 * count), values(2 + 2 * count) + 1, values(1 + rows * columns)
    out = np.zeros(2 + rows * 5, np.float32)
    call(_matrices("dots", rows, columns, WIDTH), 1, a, b, count, start, out)()
    expected = naive.dots_tile(a[2:].reshape(2, -1), b[2:].reshape(2, -1), start[1:].reshape(rows, columns))
    close(out[2:].reshape(rows, 5)[:, :columns], expected)


@specialised
def _moves(step: int) -> Callable[..., None]:
    def run(begin, end, worker, block, turned, row, moved, dealt, joined, pitch):
        transpose(block, 0, WIDTH, turned, 0, WIDTH, WIDTH)
        move(row, 1, moved, 0, step, WIDTH)
        lanes.deal(row, 0, len(row), dealt, 0, pitch + WIDTH, pitch, -1, step)
        lanes.join(dealt, 0, pitch + WIDTH, joined, 0, len(row), len(joined), step)

    return run


def check_moves(step: int) -> None:
    block, row = values(WIDTH, WIDTH), values(3 * step * WIDTH + 2)
    pitch = len(row) // step + 4
    turned, moved = np.zeros_like(block), np.zeros(WIDTH, np.float32)
    dealt, joined = np.zeros((step, pitch + WIDTH), np.float32), np.zeros(len(row), np.float32)
    call(_moves(step), 1, block.reshape(-1), turned.reshape(-1), row, moved, dealt.reshape(-1), joined, pitch)()
    assert (turned == block.T).all()
    assert (moved == row[1::step][:WIDTH]).all()
    assert (dealt[:, :pitch] == naive.deal(row, step, pitch, -1)).all()
    assert (joined == row).all()


class _Band(NamedTuple):
    channels: int
    height: int
    width: int
    left: int
    rows: int
    pitch: int


@specialised
def _bands(step: int) -> Callable[..., None]:
    deal = dealer(step)

    def run(begin, end, worker, g, x, first_row, row_used, phases, dealt, whole, plain):
        deal(g, x, 0, first_row, row_used, phases, dealt)
        copy_band(whole, x, 0, first_row, plain)

    return run


def check_bands(left: int, first_row: int) -> None:
    step, rows, pitch = 2, 6, 11
    x = values(2, 5, 17)
    g, whole = _Band(2, 5, 17, left, rows, pitch), _Band(2, 5, 17, left, rows, step * pitch)
    phases, row_used = np.array([0, 1]), np.array([1, 0, 1])
    dealt = np.full(2 * rows * 2 * pitch + WIDTH, 7, np.float32)
    plain = np.full((2, rows, step * pitch), 7, np.float32)
    call(_bands(step), 1, g, x.reshape(-1), first_row, row_used, phases, dealt, whole, plain.reshape(-1))()
    expected = naive.band(x, first_row, rows, left, step * pitch)
    assert (plain == expected).all()
    found = dealt[: plain.size].reshape(2, rows, 2, pitch)
    used = [r for r in range(rows) if row_used[r % 3]]
    for phase in range(2):
        assert (found[:, used, phase] == expected[:, used, phase::2]).all()


def check_all() -> None:
    check_tile(0)
    check_tile(1)
    for count in (3, 0):
        for piece in {WIDTH, max(WIDTH // 2, 4)}:
            check_spread(piece, count)
    check_lanes_tile()
    for count in (WIDTH, 2 * WIDTH + 3):
        check_dots_tile(count)
    for step in (1, 2, 3):
        check_moves(step)
    for left, first_row in ((3, -2), (0, 0), (-2, 3)):
        check_bands(left, first_row)


@pytest.mark.parametrize("width", ["", "0", "4", "8"])
def test_agrees_with_loops(width: str) -> None:
    """On this machine's vectors, on others, and without."""
    if width:
        check_with_vectors_of(width, "import test_tiles as t\nt.check_all()")
    else:
        check_all()
