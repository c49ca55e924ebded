"""Operands laid out as the tile reads them: panels of a few vectors of lanes, zero where there is nothing."""

import numpy as np
from numpy.typing import DTypeLike

from caffelite.kernels import arrays
from caffelite.kernels.launch import Call, call, kernel
from caffelite.kernels.tile import WIDTH, transpose


@kernel
def _pack_lines(begin, end, worker, source, offsets, base, lane_step, lanes, per_panel, target):
    """target[p][k][lane] = source[base + offsets[k] + (p * per_panel + lane) * lane_step]; a task is a panel's row."""
    count = len(offsets)
    for task in range(begin, end):
        panel = task // count
        k = task % count
        first = panel * per_panel
        here = task * per_panel
        start = base + offsets[k] + first * lane_step
        filled = min(per_panel, lanes - first)
        if lane_step == 1:
            for lane in range(filled):
                target[here + lane] = source[start + lane]
        else:
            for lane in range(filled):
                target[here + lane] = source[start + lane * lane_step]
        for lane in range(filled, per_panel):
            target[here + lane] = 0


@kernel
def _pack_transposed(begin, end, worker, source, base, lane_step, lanes, count, per_panel, target):
    """target[p][k][lane] = source[base + k + (p * per_panel + lane) * lane_step]; a task is WIDTH lanes of a panel."""
    blocks = per_panel // WIDTH
    for task in range(begin, end):
        panel = task // blocks
        first = panel * per_panel + task % blocks * WIDTH
        here = panel * count * per_panel + task % blocks * WIDTH
        k = 0
        if first + WIDTH <= lanes:
            while k + WIDTH <= count:
                transpose(source, base + first * lane_step + k, lane_step, target, here + k * per_panel, per_panel,
                          WIDTH)  # fmt: skip
                k += WIDTH
        while k < count:
            for lane in range(WIDTH):
                value = source.dtype.type(0)
                if first + lane < lanes:
                    value = source[base + (first + lane) * lane_step + k]
                target[here + k * per_panel + lane] = value
            k += 1


def panels(lanes: int, vectors: int) -> int:
    """Return the number of panels of ``vectors`` vectors that hold ``lanes`` lanes."""
    return -(-lanes // (vectors * WIDTH))


def panel_memory(lanes: int, vectors: int, count: int, groups: int = 1, dtype: DTypeLike = np.float32) -> np.ndarray:
    """Return memory for the panels of an operand: [groups][panels][count][vectors * WIDTH]."""
    return arrays.zeros(groups * panels(lanes, vectors) * max(count, 1) * vectors * WIDTH, dtype)


def pack(
    source: np.ndarray, base: int, offsets: np.ndarray, lane_step: int, lanes: int, vectors: int, target: np.ndarray
) -> Call:
    """Return the call that packs one operand.

    Parameters
    ----------
    source : ndarray of float32, one axis
    base : int
        Where the operand begins.
    offsets : ndarray of int64
        For each k, where its lanes begin.
    lane_step : int
        From one lane to the next.
    lanes, vectors : int
        Number of lanes; vectors of a panel.
    target : ndarray of float32, one axis
        [panels][len(offsets)][vectors * WIDTH].
    """
    count = len(offsets)
    per_panel = vectors * WIDTH
    many = panels(lanes, vectors)
    if lane_step > 1 and np.array_equal(offsets, np.arange(count)):
        return call(_pack_transposed, many * vectors, source, base, lane_step, lanes, count, per_panel, target,
                    work=count * lanes)  # fmt: skip
    return call(_pack_lines, many * count, source, offsets, base, lane_step, lanes, per_panel, target,
                work=count * lanes)  # fmt: skip
