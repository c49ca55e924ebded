"""Sums over rows: the gradient of what was added to every row. Plain NumPy: ``naive.scale_gradients``."""

import numpy as np

from caffelite.kernels.engine.calls import Call, call
from caffelite.kernels.engine.compiling import kernel

#: Columns of a task: those of a cache line.
BLOCK = 16


@kernel
def _add_rows(begin, end, worker, rows, length, out):
    """out += the sum of the rows; a task is BLOCK columns.

    Parameters
    ----------
    rows : ndarray of float, [any number][length]
    length : int
    out : ndarray of float, [length]
        Is added to.
    """
    first, last = begin * BLOCK, min(end * BLOCK, length)
    for i in range(len(rows) // length):
        for j in range(first, last):
            out[j] += rows[i * length + j]


def add_rows(rows: np.ndarray, length: int, out: np.ndarray) -> Call:
    """Return the call that adds to ``out`` (``length`` values) the sum of all rows of ``length`` values."""
    return call(
        _add_rows, -(-length // BLOCK), rows.reshape(-1), length, out.reshape(-1), work=rows.size / 4, whole=True
    )
