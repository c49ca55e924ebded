"""A factor and an offset for each channel: forward, and the gradients to all three.

``y = x · factor + offset``; with sums over all but the channels, ``d_factor = sum(dy · x)``, ``d_offset = sum(dy)`` and
``dx = dy · factor``. Arrays are [outer][channels][length] on one axis; those without ``length`` are for a length of 1,
where vectors run over channels. Plain NumPy: ``naive.scale`` and ``naive.scale_gradients``.
"""

import numpy as np

from caffelite.kernels.bias import add_rows
from caffelite.kernels.engine.calls import Call, call
from caffelite.kernels.engine.compiling import kernel

#: Channels a task takes where there are no spatial axes, so that vectors run over channels.
_BLOCK = 16
_NOTHING = np.empty(0, np.float32)


@kernel
def _forward(begin, end, worker, x, y, factor, offset, channels, length):
    """y = x · factor + offset; a task is a channel of an outer index.

    Parameters
    ----------
    x, y : ndarray of float, [outer][channels][length]
        ``y`` is set.
    factor, offset : ndarray of float, [channels] or [0]
    channels, length : int
    """
    c = begin % channels
    for task in range(begin, end):
        f = factor[c] if len(factor) else np.float32(1)
        b = offset[c] if len(offset) else np.float32(0)
        row = task * length
        for i in range(length):
            y[row + i] = x[row + i] * f + b
        c = c + 1 if c + 1 < channels else 0


@kernel
def _forward_rows(begin, end, worker, x, y, factor, offset, channels):
    """y = x · factor + offset; a task is an outer index.

    Parameters
    ----------
    x, y : ndarray of float, [outer][channels]
        ``y`` is set.
    factor, offset : ndarray of float, [channels] or [0], not both of them empty
    channels : int
    """
    for n in range(begin, end):
        row = n * channels
        if len(factor) and len(offset):
            for c in range(channels):
                y[row + c] = x[row + c] * factor[c] + offset[c]
        elif len(factor):
            for c in range(channels):
                y[row + c] = x[row + c] * factor[c]
        else:
            for c in range(channels):
                y[row + c] = x[row + c] + offset[c]


@kernel
def _backward(begin, end, worker, x, dy, dx, factor, channels, length, add, d_factor, d_offset):
    """All gradients in one pass; sums in float64 over the outer indices. A task is a channel.

    Parameters
    ----------
    x, dy : ndarray of float, [outer][channels][length]
    dx : ndarray of float, [outer][channels][length] or [0]
        Is set.
    factor : ndarray of float, [channels]
    channels, length : int
    add : int
        1: add to ``d_factor``; 0: set it.
    d_factor : ndarray of float, [channels] or [0]
    d_offset : ndarray of float, [channels] or [0]
        Is added to.
    """
    outer = len(dy) // (channels * length)
    for c in range(begin, end):
        product, total = 0.0, 0.0
        f = factor[c]
        for n in range(outer):
            row = (n * channels + c) * length
            q, s = np.float32(0), np.float32(0)
            if len(dx):
                for i in range(length):
                    d = dy[row + i]
                    q += d * x[row + i]
                    s += d
                    dx[row + i] = d * f
            else:
                for i in range(length):
                    q += dy[row + i] * x[row + i]
                    s += dy[row + i]
            product += q
            total += s
        if len(d_factor):
            d_factor[c] = d_factor.dtype.type(product) + (d_factor[c] if add else np.float32(0))
        if len(d_offset):
            d_offset[c] += d_offset.dtype.type(total)


@kernel
def _backward_rows(begin, end, worker, x, dy, dx, factor, channels, add, d_factor, d_offset):
    """All gradients in one pass; a task is _BLOCK channels.

    Parameters
    ----------
    x, dy : ndarray of float, [outer][channels]
    dx : ndarray of float, [outer][channels] or [0]
        Is set.
    factor : ndarray of float, [channels]
    channels : int
    add : int
        1: add to ``d_factor``; 0: set it.
    d_factor : ndarray of float, [channels] or [0]
    d_offset : ndarray of float, [channels] or [0]
        Is added to.
    """
    first, last = begin * _BLOCK, min(end * _BLOCK, channels)
    if not add:
        for c in range(first, last if len(d_factor) else first):
            d_factor[c] = np.float32(0)
    for n in range(len(dy) // channels):
        row = n * channels
        # Loops of their own: with more arrays in one, LLVM does not vectorise it for fear that they overlap.
        if len(d_factor):
            for c in range(first, last):
                d_factor[c] += dy[row + c] * x[row + c]
        if len(d_offset):
            for c in range(first, last):
                d_offset[c] += dy[row + c]
        if len(dx):
            for c in range(first, last):
                dx[row + c] = dy[row + c] * factor[c]


@kernel
def _sums(begin, end, worker, dy, channels, length, add, d_offset):
    """d_offset = sum of dy for each channel; a task is a channel.

    Parameters
    ----------
    dy : ndarray of float, [outer][channels][length]
    channels, length : int
    add : int
        1: add to ``d_offset``; 0: set it.
    d_offset : ndarray of float, [channels]
    """
    for c in range(begin, end):
        total = 0.0
        for n in range(len(dy) // (channels * length)):
            row = (n * channels + c) * length
            s = np.float32(0)
            for i in range(length):
                s += dy[row + i]
            total += s
        d_offset[c] = d_offset.dtype.type(total) + (d_offset[c] if add else np.float32(0))


def forward(
    x: np.ndarray, y: np.ndarray, factor: np.ndarray | None, offset: np.ndarray | None, channels: int, length: int
) -> Call:
    """Return the call that computes ``y = x * factor + offset``.

    Parameters
    ----------
    x, y : ndarray of float32, one axis
        [outer][channels][length]; ``y`` may be ``x``.
    factor, offset : ndarray of float32 or None
        One value a channel.
    """
    f, b = (_NOTHING if values is None else values.reshape(-1) for values in (factor, offset))
    if length == 1:
        return call(_forward_rows, x.size // channels, x, y, f, b, channels, work=x.size)
    return call(_forward, x.size // length, x, y, f, b, channels, length, work=x.size)


def backward(
    x: np.ndarray,
    dy: np.ndarray,
    dx: np.ndarray | None,
    factor: np.ndarray,
    d_factor: np.ndarray | None,
    d_offset: np.ndarray | None,
    channels: int,
    length: int,
    add: bool,
) -> Call:
    """Return the call that computes all gradients of :func:`forward` in one pass; those that are None are left out.

    Parameters
    ----------
    x, dy, dx : ndarray of float32, one axis
        [outer][channels][length]; ``dx`` may be ``dy``.
    factor, d_factor, d_offset : ndarray of float32
        One value a channel.
    add : bool
        Add to ``d_factor`` (a parameter) instead of setting it (a bottom); ``d_offset`` is always added to.
    """
    out, d_f, d_o = (_NOTHING if d is None else d.reshape(-1) for d in (dx, d_factor, d_offset))
    f = factor.reshape(-1)
    if length == 1:
        return call(
            _backward_rows,
            -(-channels // _BLOCK),
            x,
            dy,
            out,
            f,
            channels,
            int(add),
            d_f,
            d_o,
            work=dy.size * 3,
            whole=True,
        )
    return call(_backward, channels, x, dy, out, f, channels, length, int(add), d_f, d_o, work=dy.size * 3)


def sums(dy: np.ndarray, channels: int, length: int, d_offset: np.ndarray, add: bool) -> Call:
    """Return the call that sums ``dy`` for each channel; ``add`` adds the sums to what is there."""
    if length == 1 and add:
        return add_rows(dy, channels, d_offset)
    return call(_sums, channels, dy, channels, length, int(add), d_offset.reshape(-1), work=dy.size)
