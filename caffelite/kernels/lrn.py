"""Local response normalization, over neighbouring channels or over neighbouring pixels."""

from collections.abc import Callable

import numpy as np
from numba.extending import register_jitable

from caffelite.kernels import arrays, settings
from caffelite.kernels.functions import exp32, log32
from caffelite.kernels.launch import Call, call, specialised


def _minus_power(beta: float) -> Callable[..., float]:
    """Return the scalar function ``s ** -beta``, without a logarithm where square roots do."""
    if beta == 0.75:
        return register_jitable(lambda s: np.float32(1) / (np.sqrt(s) * np.sqrt(np.sqrt(s))))
    if beta == 0.5:
        return register_jitable(lambda s: np.float32(1) / np.sqrt(s))
    if beta == 1.0:
        return register_jitable(lambda s: np.float32(1) / s)
    exponent = np.float32(-beta)
    return register_jitable(lambda s: exp32(exponent * log32(s)))


@specialised
def _across_forward(beta: float) -> Callable[..., None]:
    minus_power = _minus_power(beta)

    def forward(begin, end, worker, x, y, scale, channels, length, size, alpha, k):
        """scale = k + alpha / size * sum of squares of the channels around; y = x * scale^-beta; a task is an image."""
        half = size // 2
        a, offset = np.float32(alpha / size), np.float32(k)
        for n in range(begin, end):
            image = n * channels * length
            for c in range(channels):
                row = image + c * length
                for i in range(length):
                    scale[row + i] = offset
                for other in range(max(c - half, 0), min(c + half + 1, channels)):
                    near = image + other * length
                    for i in range(length):
                        scale[row + i] += a * x[near + i] * x[near + i]
                for i in range(length):
                    y[row + i] = x[row + i] * minus_power(scale[row + i])

    return forward


@specialised
def _across_backward(beta: float) -> Callable[..., None]:
    minus_power = _minus_power(beta)

    def backward(begin, end, worker, x, y, dy, dx, scale, channels, length, size, alpha, sums):
        """dx = dy * scale^-beta - 2 alpha beta / size * x * sum of dy * y / scale around; a task is an image."""
        half = size // 2
        a = np.float32(2 * alpha * beta / size)
        total = sums[worker]
        for n in range(begin, end):
            image = n * channels * length
            for c in range(channels):
                row = image + c * length
                for i in range(length):
                    total[i] = np.float32(0)
                for other in range(max(c - half, 0), min(c + half + 1, channels)):
                    near = image + other * length
                    for i in range(length):
                        total[i] += dy[near + i] * y[near + i] / scale[near + i]
                for i in range(length):
                    dx[row + i] = dy[row + i] * minus_power(scale[row + i]) - a * x[row + i] * total[i]

    return backward


@register_jitable
def _box(source, target, rows, h, w, half):
    """target = the sum of source over a square around each pixel of a map, zero outside; ``rows`` is scratch."""
    for i in range(h):
        for j in range(w + 2 * half):
            rows[j] = np.float32(0)
        for other in range(max(i - half, 0), min(i + half + 1, h)):
            for j in range(w):
                rows[half + j] += source[other * w + j]
        for j in range(w):
            target[i * w + j] = np.float32(0)
        for shift in range(2 * half + 1):
            for j in range(w):
                target[i * w + j] += rows[shift + j]


@specialised
def _within_forward(beta: float) -> Callable[..., None]:
    minus_power = _minus_power(beta)

    def forward(begin, end, worker, x, y, scale, h, w, size, alpha, rows, squares):
        """scale = 1 + alpha * mean of squares around; y = x * scale^-beta; a task is a map."""
        length = h * w
        a = np.float32(alpha / (size * size))
        mine = squares[worker]
        for task in range(begin, end):
            plane = task * length
            for i in range(length):
                mine[i] = x[plane + i] * x[plane + i]
            _box(mine, scale[plane : plane + length], rows[worker], h, w, size // 2)
            for i in range(length):
                s = np.float32(1) + a * scale[plane + i]
                scale[plane + i] = s
                y[plane + i] = x[plane + i] * minus_power(s)

    return forward


@specialised
def _within_backward(beta: float) -> Callable[..., None]:
    minus_power = _minus_power(beta)

    def backward(begin, end, worker, x, y, dy, dx, scale, h, w, size, alpha, rows, ratios):
        """The gradient of :func:`_within_forward`; a task is a map."""
        length = h * w
        a = np.float32(2 * alpha * beta / (size * size))
        ratio, total = ratios[worker, 0], ratios[worker, 1]
        for task in range(begin, end):
            plane = task * length
            for i in range(length):
                ratio[i] = dy[plane + i] * y[plane + i] / scale[plane + i]
            _box(ratio, total, rows[worker], h, w, size // 2)
            for i in range(length):
                dx[plane + i] = dy[plane + i] * minus_power(scale[plane + i]) - a * x[plane + i] * total[i]

    return backward


def across_forward(
    x: np.ndarray, y: np.ndarray, scale: np.ndarray, size: int, alpha: float, beta: float, k: float
) -> Call:
    """Return the call that normalises over ``size`` channels; arrays are images x channels x height x width."""
    n, c = x.shape[:2]
    return call(_across_forward(beta), n, x.reshape(-1), y.reshape(-1), scale.reshape(-1), c, x.size // (n * c), size,
                float(alpha), float(k), work=x.size * (size + 8))  # fmt: skip


def across_backward(
    x: np.ndarray,
    y: np.ndarray,
    dy: np.ndarray,
    dx: np.ndarray,
    scale: np.ndarray,
    size: int,
    alpha: float,
    beta: float,
) -> Call:
    """Return the call of the gradient of :func:`across_forward`."""
    n, c = x.shape[:2]
    length = x.size // (n * c)
    return call(_across_backward(beta), n, x.reshape(-1), y.reshape(-1), dy.reshape(-1), dx.reshape(-1),
                scale.reshape(-1), c, length, size, float(alpha), arrays.zeros((settings.threads(), length)),
                work=x.size * (size + 8))  # fmt: skip


def within_forward(x: np.ndarray, y: np.ndarray, scale: np.ndarray, size: int, alpha: float, beta: float) -> Call:
    """Return the call that normalises over ``size`` x ``size`` pixels of each map."""
    n, c, h, w = x.shape
    return call(_within_forward(beta), n * c, x.reshape(-1), y.reshape(-1), scale.reshape(-1), h, w, size,
                float(alpha), arrays.zeros((settings.threads(), w + size)),
                arrays.zeros((settings.threads(), h * w)), work=x.size * (2 * size + 8))  # fmt: skip


def within_backward(
    x: np.ndarray,
    y: np.ndarray,
    dy: np.ndarray,
    dx: np.ndarray,
    scale: np.ndarray,
    size: int,
    alpha: float,
    beta: float,
) -> Call:
    """Return the call of the gradient of :func:`within_forward`."""
    n, c, h, w = x.shape
    return call(_within_backward(beta), n * c, x.reshape(-1), y.reshape(-1), dy.reshape(-1), dx.reshape(-1),
                scale.reshape(-1), h, w, size, float(alpha), arrays.zeros((settings.threads(), w + size)),
                arrays.zeros((settings.threads(), 2, h * w)), work=x.size * (2 * size + 8))  # fmt: skip
