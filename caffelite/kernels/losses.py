"""Losses that compare two arrays element by element. A task is a row of ``length`` elements.

Plain NumPy: ``naive.cross_entropy``, ``naive.cross_entropy_gradient`` and ``naive.difference``.
"""

import numpy as np

from caffelite.kernels.engine.calls import Call, call
from caffelite.kernels.engine.compiling import kernel
from caffelite.kernels.functions import exp32, log32, sigmoid32

_IGNORE_NOTHING = -(1 << 40)


@kernel
def _cross_entropy(begin, end, worker, x, t, losses, counts, length, ignore):
    """losses[n] = sum of -(t log p + (1 - t) log(1 - p)) over row n, with p = sigmoid(x).

    Parameters
    ----------
    x, t : ndarray of float, [rows][length]
        Scores and targets.
    losses : ndarray of float, [rows]
    counts : ndarray of int64, [rows]
        Are set; the latter to how many targets count.
    length : int
    ignore : int
        The target that does not count.
    """
    one = np.float32(1)
    for n in range(begin, end):
        total, count = np.float32(0), 0
        for i in range(n * length, (n + 1) * length):
            counts_here = np.int64(t[i]) != ignore
            positive = x[i] if x[i] > 0 else np.float32(0)
            # log(1 + e^-|x|) cannot overflow.
            part = positive - x[i] * t[i] + log32(one + exp32(-abs(x[i])))
            total += part if counts_here else np.float32(0)
            count += 1 if counts_here else 0
        losses[n] = total
        counts[n] = count


@kernel
def _cross_entropy_gradient(begin, end, worker, x, t, dx, scale, length, ignore):
    """dx = (sigmoid(x) - t) · scale[0], 0 where the target is ignored.

    Parameters
    ----------
    x, t, dx : ndarray of float, [rows][length]
        Scores and targets; ``dx`` is set.
    scale : ndarray of float, [1]
    length : int
    ignore : int
        The target that does not count.
    """
    for i in range(begin * length, end * length):
        value = (sigmoid32(x[i]) - t[i]) * scale[0]
        dx[i] = value if np.int64(t[i]) != ignore else np.float32(0)


@kernel
def _difference(begin, end, worker, a, b, d, sums, length):
    """d = a - b, sums[n] = sum of its squares over row n.

    Parameters
    ----------
    a, b, d : ndarray of float, [rows][length]
        ``d`` is set.
    sums : ndarray of float, [rows]
        Is set.
    length : int
    """
    for n in range(begin, end):
        total = np.float32(0)
        for i in range(n * length, (n + 1) * length):
            v = a[i] - b[i]
            d[i] = v
            total += v * v
        sums[n] = total


@kernel
def _scaled_rows(begin, end, worker, d, factors, out, length):
    """out = d · factors[n] for row n.

    Parameters
    ----------
    d, out : ndarray of float, [rows][length]
        ``out`` is set.
    factors : ndarray of float, [rows]
    length : int
    """
    for n in range(begin, end):
        for i in range(n * length, (n + 1) * length):
            out[i] = d[i] * factors[n]


def cross_entropy(x: np.ndarray, t: np.ndarray, losses: np.ndarray, counts: np.ndarray, ignore: int | None) -> Call:
    """Return the call that computes the sigmoid cross entropy of each row, and how many targets of it count."""
    return call(
        _cross_entropy,
        losses.size,
        x.reshape(-1),
        t.reshape(-1),
        losses,
        counts,
        x.size // losses.size,
        _IGNORE_NOTHING if ignore is None else ignore,
        work=x.size * 20,
    )


def cross_entropy_gradient(
    x: np.ndarray, t: np.ndarray, dx: np.ndarray, scale: np.ndarray, rows: int, ignore: int | None
) -> Call:
    """Return the call of its gradient to ``x``, times ``scale[0]``."""
    return call(
        _cross_entropy_gradient,
        rows,
        x.reshape(-1),
        t.reshape(-1),
        dx.reshape(-1),
        scale,
        x.size // rows,
        _IGNORE_NOTHING if ignore is None else ignore,
        work=x.size * 10,
    )


def difference(a: np.ndarray, b: np.ndarray, d: np.ndarray, sums: np.ndarray) -> Call:
    """Return the call that computes ``d = a - b`` and the sum of squares of each row."""
    return call(
        _difference, sums.size, a.reshape(-1), b.reshape(-1), d.reshape(-1), sums, a.size // sums.size, work=a.size * 3
    )


def scaled_rows(d: np.ndarray, factors: np.ndarray, out: np.ndarray) -> Call:
    """Return the call that multiplies each row by its factor."""
    return call(
        _scaled_rows, factors.size, d.reshape(-1), factors, out.reshape(-1), d.size // factors.size, work=d.size
    )
