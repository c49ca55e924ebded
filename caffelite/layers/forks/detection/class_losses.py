"""The class losses of MultiBoxLoss: the loss of each prior, and the gradient to the scores of those that count."""

import numpy as np

from caffelite.kernels.engine.compiling import kernel
from caffelite.kernels.functions import FLT_MIN, exp32, log32, sigmoid32

_F = np.float32


@kernel
def softmax_losses(begin, end, worker, x, labels, losses, classes):
    """losses[row] = -log of the softmax of its label; a task is a row of ``classes`` scores."""
    for row in range(begin, end):
        start = row * classes
        largest = x[start]
        for c in range(start + 1, start + classes):
            largest = max(largest, x[c])
        total = _F(0)
        for c in range(start, start + classes):
            total += exp32(x[c] - largest)
        losses[row] = -log32(max(exp32(x[start + labels[row]] - largest) / total, FLT_MIN))


@kernel
def softmax_gradient(begin, end, worker, x, labels, used, dx, scale, classes):
    """dx = scale[0] * (softmax(x) - [c = label]) for the rows that are used, else 0; a task is a row."""
    for row in range(begin, end):
        start = row * classes
        if not used[row]:
            for c in range(start, start + classes):
                dx[c] = 0
            continue
        largest = x[start]
        for c in range(start + 1, start + classes):
            largest = max(largest, x[c])
        total = _F(0)
        for c in range(start, start + classes):
            dx[c] = exp32(x[c] - largest)
            total += dx[c]
        factor = scale[0] / total
        for c in range(start, start + classes):
            dx[c] *= factor
        dx[start + labels[row]] -= scale[0]


@kernel
def logistic_losses(begin, end, worker, x, targets, losses, classes):
    """losses[row] = sum of the sigmoid cross entropies of a row."""
    for row in range(begin, end):
        total = _F(0)
        for c in range(row * classes, (row + 1) * classes):
            total += max(x[c], _F(0)) - x[c] * targets[c] + log32(_F(1) + exp32(-abs(x[c])))
        losses[row] = total


@kernel
def logistic_gradient(begin, end, worker, x, targets, used, dx, scale, classes):
    """dx = scale[0] * (sigmoid(x) - targets) for the rows that are used, else 0."""
    for row in range(begin, end):
        factor = scale[0] if used[row] else scale[0] * _F(0)
        for c in range(row * classes, (row + 1) * classes):
            dx[c] = (sigmoid32(x[c]) - targets[c]) * factor
