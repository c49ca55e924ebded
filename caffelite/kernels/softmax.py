"""Softmax over one axis, and the loss on it. A task is an outer index.

``y = exp(x - max) / sum(exp(x - max))`` over the channels; the loss of a label is ``-log y[label]``, its gradient to x
is y less 1 at the label. Plain NumPy: ``naive.softmax`` and what follows it there.
"""

import numpy as np

from caffelite.kernels.engine.calls import Call, call
from caffelite.kernels.engine.compiling import kernel
from caffelite.kernels.functions import FLT_MIN, exp32, log32

_IGNORE_NOTHING = -(1 << 40)


@kernel
def _forward(begin, end, worker, x, y, channels, inner):
    """y = exp(x - max) / sum.

    Parameters
    ----------
    x, y : ndarray of float, [outer][channels][inner]
        ``y`` is set.
    channels, inner : int
    """
    for n in range(begin, end):
        base = n * channels * inner
        for i in range(inner):
            largest = x[base + i]
            for c in range(1, channels):
                largest = max(largest, x[base + c * inner + i])
            total = np.float32(0)
            for c in range(channels):
                e = exp32(x[base + c * inner + i] - largest)
                y[base + c * inner + i] = e
                total += e
            for c in range(channels):
                y[base + c * inner + i] /= total


@kernel
def _backward(begin, end, worker, y, dy, dx, channels, inner):
    """dx = (dy - sum of dy · y) · y.

    Parameters
    ----------
    y, dy, dx : ndarray of float, [outer][channels][inner]
        ``dx`` is set.
    channels, inner : int
    """
    for n in range(begin, end):
        base = n * channels * inner
        for i in range(inner):
            total = np.float32(0)
            for c in range(channels):
                total += dy[base + c * inner + i] * y[base + c * inner + i]
            for c in range(channels):
                place = base + c * inner + i
                dx[place] = (dy[place] - total) * y[place]


@kernel
def _loss(begin, end, worker, p, labels, losses, counts, wrong, channels, inner, ignore):
    """The sum of -log p[label], and how many labels count.

    Parameters
    ----------
    p : ndarray of float, [outer][channels][inner]
        Probabilities; below the smallest normal number they count as that.
    labels : ndarray of float, [outer][inner]
        Whole numbers.
    losses : ndarray of float, [outer]
    counts : ndarray of int64, [outer]
        Are set.
    wrong : ndarray of int64, [1]
        Is set to 1 + the index of a label that is no class, if there is one.
    channels, inner : int
    ignore : int
        The label that does not count.
    """
    for n in range(begin, end):
        total, count = np.float32(0), 0
        for i in range(inner):
            label = np.int64(labels[n * inner + i])
            if label == ignore:
                continue
            if label < 0 or label >= channels:
                wrong[0] = n * inner + i + 1
                continue
            total -= log32(max(p[(n * channels + label) * inner + i], FLT_MIN))
            count += 1
        losses[n] = total
        counts[n] = count


@kernel
def _mean(begin, end, worker, losses, counts, fixed, divisor, out):
    """out = the sum of the losses by the divisor; one task.

    Parameters
    ----------
    losses : ndarray of float, [outer]
    counts : ndarray of int64, [outer]
    fixed : float
        The divisor; 0: the sum of the counts, 1 at least.
    divisor : ndarray of float64, [1]
    out : ndarray of float, [1]
        Are set.
    """
    total, count = 0.0, 0
    for n in range(len(losses)):
        total += losses[n]
        count += counts[n]
    divisor[0] = fixed if fixed > 0 else float(max(count, 1))
    out[0] = out.dtype.type(total / divisor[0])


@kernel
def _gradient(begin, end, worker, p, labels, dx, weight, divisor, channels, inner, ignore):
    """dx = (p - 1 at the label) · weight[0] / divisor[0], 0 where the label is ignored.

    Parameters
    ----------
    p, dx : ndarray of float, [outer][channels][inner]
        ``dx`` is set.
    labels : ndarray of float, [outer][inner]
    weight : ndarray of float, [1]; divisor : ndarray of float64, [1]
    channels, inner : int
    ignore : int
        The label that does not count.
    """
    scale = dx.dtype.type(weight[0] / divisor[0])
    for n in range(begin, end):
        base = n * channels * inner
        for i in range(channels * inner):
            dx[base + i] = p[base + i] * scale
        for i in range(inner):
            label = np.int64(labels[n * inner + i])
            if label == ignore:
                for c in range(channels):
                    dx[base + c * inner + i] = np.float32(0)
            elif 0 <= label < channels:
                dx[base + label * inner + i] -= scale


def forward(x: np.ndarray, y: np.ndarray, outer: int, channels: int, inner: int) -> Call:
    """Return the call that computes the softmax of ``x``."""
    return call(_forward, outer, x.reshape(-1), y.reshape(-1), channels, inner, work=x.size * 10)


def backward(y: np.ndarray, dy: np.ndarray, dx: np.ndarray, outer: int, channels: int, inner: int) -> Call:
    """Return the call of the gradient, from the output."""
    return call(_backward, outer, y.reshape(-1), dy.reshape(-1), dx.reshape(-1), channels, inner, work=y.size * 4)


def loss(
    p: np.ndarray,
    labels: np.ndarray,
    losses: np.ndarray,
    counts: np.ndarray,
    wrong: np.ndarray,
    channels: int,
    inner: int,
    ignore: int | None,
) -> Call:
    """Return the call that computes, for each outer index, the sum of -log p[label] and how many labels count.

    ``wrong`` (int64, [1]) is set to 1 + the index of a label that is no class.
    """
    return call(
        _loss,
        losses.size,
        p.reshape(-1),
        labels.reshape(-1),
        losses,
        counts,
        wrong,
        channels,
        inner,
        _IGNORE_NOTHING if ignore is None else ignore,
        work=labels.size * 20,
    )


def mean(losses: np.ndarray, counts: np.ndarray, fixed: float, divisor: np.ndarray, out: np.ndarray) -> Call:
    """Return the call that sets ``out[0]`` to the sum of the losses by ``divisor[0]``.

    That is ``fixed``, or, where this is 0, the sum of the counts, 1 at least; ``divisor`` (float64) is set to it.
    """
    return call(_mean, 1, losses, counts, float(fixed), divisor, out, work=losses.size)


def gradient(
    p: np.ndarray,
    labels: np.ndarray,
    dx: np.ndarray,
    weight: np.ndarray,
    divisor: np.ndarray,
    channels: int,
    inner: int,
    ignore: int | None,
) -> Call:
    """Return the call of the gradient of :func:`mean` to what the softmax was taken of, times ``weight[0]``."""
    return call(
        _gradient,
        p.size // (channels * inner),
        p.reshape(-1),
        labels.reshape(-1),
        dx.reshape(-1),
        weight,
        divisor,
        channels,
        inner,
        _IGNORE_NOTHING if ignore is None else ignore,
        work=p.size * 2,
    )
