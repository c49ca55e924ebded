"""Sums over rows: the gradient of what was added to every row."""

import numpy as np

from caffelite.kernels.engine.calls import Call, call
from caffelite.kernels.engine.compiling import kernel


@kernel
def _add_rows(begin, end, worker, rows, length, out):
    """out += the sum of the rows; a task is 16 columns."""
    first, last = begin * 16, min(end * 16, length)
    for i in range(len(rows) // length):
        for j in range(first, last):
            out[j] += rows[i * length + j]


def add_rows(rows: np.ndarray, length: int, out: np.ndarray) -> Call:
    """Return the call that adds to ``out`` (``length`` values) the sum of all rows of ``length`` values."""
    return call(_add_rows, -(-length // 16), rows.reshape(-1), length, out.reshape(-1), work=rows.size / 4)
