"""Rows of a table, picked by index and put back. Plain NumPy: ``naive.gather`` and ``naive.scatter``."""

import numpy as np

from caffelite.kernels.engine.calls import Call, call
from caffelite.kernels.engine.compiling import kernel


@kernel
def _gather(begin, end, worker, table, index, out, length):
    """out[i] = table[index[i]]; a task is an i.

    Parameters
    ----------
    table : ndarray of float, [any number][length]
    index : ndarray of any type, [rows]
        From 0 to the rows of the table less 1.
    out : ndarray of float, [rows][length]
        Is set.
    length : int
    """
    for i in range(begin, end):
        source = np.int64(index[i]) * length
        for j in range(length):
            out[i * length + j] = table[source + j]


@kernel
def _scatter(begin, end, worker, rows, index, table, length):
    """table[index[i]] += rows[i]; a task is a column, so that no two threads add to one element.

    Parameters
    ----------
    rows : ndarray of float, [rows][length]
    index : ndarray of any type, [rows]
    table : ndarray of float, [any number][length]
        Is added to.
    length : int
    """
    for i in range(len(index)):
        target = np.int64(index[i]) * length
        for j in range(begin, end):
            table[target + j] += rows[i * length + j]


def gather(table: np.ndarray, index: np.ndarray, out: np.ndarray) -> Call:
    """Return the call that sets each row of ``out`` to the row of ``table`` that ``index`` names.

    The numbers in ``index`` (of any dtype) are not checked: they must be from 0 to ``len(table) - 1``.
    """
    return call(
        _gather,
        index.size,
        table.reshape(-1),
        index.reshape(-1),
        out.reshape(-1),
        out.size // max(index.size, 1),
        work=out.size,
    )


def scatter(rows: np.ndarray, index: np.ndarray, table: np.ndarray) -> Call:
    """Return the call that adds each of ``rows`` to the row of ``table`` that ``index`` names."""
    length = rows.size // max(index.size, 1)
    return call(
        _scatter, length, rows.reshape(-1), index.reshape(-1), table.reshape(-1), length, work=rows.size, whole=True
    )
