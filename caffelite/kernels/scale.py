"""A factor and an offset for each channel: forward, and the gradients to all three.

Arrays are [outer][channels][length].
"""

import numpy as np

from caffelite.kernels.launch import Call, call, kernel

_BLOCK = 16
_NOTHING = np.empty(0, np.float32)


@kernel
def _forward(begin, end, worker, x, y, factor, offset, channels, length):
    """y = x * factor + offset; either may be empty; a task is an outer index."""
    for n in range(begin, end):
        for c in range(channels if length > 1 else 0):
            row = (n * channels + c) * length
            f = factor[c] if len(factor) else np.float32(1)
            b = offset[c] if len(offset) else np.float32(0)
            for i in range(length):
                y[row + i] = x[row + i] * f + b
        if length == 1:
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
def _sums(begin, end, worker, x, dy, channels, length, add, d_factor, d_offset):
    """d_factor = sum of dy * x, d_offset = sum of dy, for each channel; either may be empty; a task is a channel."""
    outer = len(dy) // (channels * length)
    for c in range(begin, end):
        product, total = 0.0, 0.0
        for n in range(outer):
            row = (n * channels + c) * length
            q, s = np.float32(0), np.float32(0)
            if len(d_factor):
                for i in range(length):
                    q += dy[row + i] * x[row + i]
            if len(d_offset):
                for i in range(length):
                    s += dy[row + i]
            product += q
            total += s
        if len(d_factor):
            d_factor[c] = np.float32(product) + (d_factor[c] if add else np.float32(0))
        if len(d_offset):
            d_offset[c] = np.float32(total) + (d_offset[c] if add else np.float32(0))


@kernel
def _sums_rows(begin, end, worker, x, dy, channels, add, d_factor, d_offset):
    """The same for length 1; a task is _BLOCK channels."""
    for task in range(begin, end):
        first, last = task * _BLOCK, min(task * _BLOCK + _BLOCK, channels)
        if not add:
            for c in range(first, last):
                if len(d_factor):
                    d_factor[c] = np.float32(0)
                if len(d_offset):
                    d_offset[c] = np.float32(0)
        for n in range(len(dy) // channels):
            row = n * channels
            if len(d_factor):
                for c in range(first, last):
                    d_factor[c] += dy[row + c] * x[row + c]
            if len(d_offset):
                for c in range(first, last):
                    d_offset[c] += dy[row + c]


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
    return call(_forward, x.size // (channels * length), x, y, _NOTHING if factor is None else factor.reshape(-1),
                _NOTHING if offset is None else offset.reshape(-1), channels, length, work=x.size)  # fmt: skip


def sums(
    x: np.ndarray, dy: np.ndarray, channels: int, length: int, d_factor: np.ndarray | None,
    d_offset: np.ndarray | None, add: bool,
) -> Call:  # fmt: skip
    """Return the call that computes the gradients to factor and offset; ``add`` adds them to what is there."""
    found = [_NOTHING if d is None else d.reshape(-1) for d in (d_factor, d_offset)]
    if length == 1:
        return call(_sums_rows, -(-channels // _BLOCK), x, dy, channels, int(add), *found, work=dy.size)
    return call(_sums, channels, x, dy, channels, length, int(add), *found, work=dy.size)
