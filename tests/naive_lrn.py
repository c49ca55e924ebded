"""Plain local response normalization, in float64."""

import numpy as np


def sum_across(x, size):
    """Sum over ``size`` channels around each; x is images x channels x height x width."""
    half, channels = size // 2, x.shape[1]
    return np.stack([x[:, max(c - half, 0) : c + half + 1].sum(axis=1) for c in range(channels)], axis=1)


def sum_within(x, size):
    """Sum over ``size`` x ``size`` pixels around each."""
    half, (h, w) = size // 2, x.shape[2:]
    y = np.zeros_like(x)
    for i in range(h):
        for j in range(w):
            square = x[:, :, max(i - half, 0) : i + half + 1, max(j - half, 0) : j + half + 1]
            y[:, :, i, j] = square.sum(axis=(2, 3))
    return y


def forward(x, total, share, beta, k):
    """y = x * (k + share * total(x^2)) ^ -beta."""
    return x * (k + share * total(x**2)) ** -beta


def gradient(x, dy, total, share, beta, k):
    """dx: a sum over neighbours is its own transpose."""
    s = k + share * total(x**2)
    return dy * s**-beta - 2 * share * beta * x * total(dy * x * s ** (-beta - 1))
