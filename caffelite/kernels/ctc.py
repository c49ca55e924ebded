"""Connectionist temporal classification: all ways to spread labels over time steps, as logarithms.

Graves et al., "Connectionist Temporal Classification: Labelling Unsegmented Sequence Data with Recurrent Neural
Networks", 2006: alpha and beta of section 4.1, the gradient of section 4.2. The labels of a stream, with a blank
before, between and after them, are its states: 2 · labels + 1. Held against all ways there are in
tests/layers/test_ctc_loss.py.
"""

from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable

from caffelite.kernels.engine.calls import Call, call
from caffelite.kernels.engine.compiling import kernel


class CtcExtent(NamedTuple):
    """How large it all is; :class:`Work` computes it.

    Attributes
    ----------
    time, streams, size : int
        Time steps; streams; labels there are, with the blank.
    most : int
        States that a stream has at most.
    """

    time: int
    streams: int
    size: int
    most: int


@register_jitable
def _log_sum(a, b, c):
    """The logarithm of a sum, from the logarithms of its parts."""
    if a == -np.inf and b == -np.inf and c == -np.inf:
        return -np.inf
    largest = max(a, max(b, c))
    return largest + np.log(np.exp(a - largest) + np.exp(b - largest) + np.exp(c - largest))


@kernel
def _log_softmax(begin, end, worker, x, y, size):
    """y = log of the softmax of each row of x, both [time · streams][size], y of float64; a task is a row."""
    for row in range(begin, end):
        base = row * size
        largest = x[base]
        for k in range(base, base + size):
            largest = max(largest, x[k])
        total = 0.0
        for k in range(base, base + size):
            total += np.exp(np.float64(x[k]) - largest)
        total = np.log(total) + largest
        for k in range(base, base + size):
            y[k] = x[k] - total


@kernel
def _forward(begin, end, worker, logs, states, lengths, fits, alphas, cost, g):
    """The probability of all ways to each state, and of all ways; a task is a stream.

    Parameters
    ----------
    logs : ndarray of float64, [time][streams][size]
        Logarithms of the probabilities of labels.
    states : ndarray of int64, [streams][most]
        The label of each state.
    lengths, fits : ndarray of int64, [streams]
        Labels of a stream; whether there are time steps enough for them (1) or not (0).
    alphas : ndarray of float64, [streams][time][most]
        Is set: the logarithm of what all ways to state s at t weigh.
    cost : ndarray of float64, [streams]
        Is set: -log of the probability of the labels; 0 where they do not fit.
    g : CtcExtent
    """
    time, streams, size, most = g.time, g.streams, g.size, g.most
    for n in range(begin, end):
        labels, here = n * most, n * time * most
        last = 2 * lengths[n]
        for s in range(last + 1):
            alphas[here + s] = logs[n * size + states[labels + s]] if s < 2 else -np.inf
        for t in range(1, time):
            before = here
            here += most
            for s in range(last + 1):
                # From the same state, the one before, or, between two labels that differ, over the blank.
                a = alphas[before + s]
                b = alphas[before + s - 1] if s > 0 else -np.inf
                c = -np.inf
                if s > 2 and s % 2 == 1 and states[labels + s] != states[labels + s - 2]:
                    c = alphas[before + s - 2]
                alphas[here + s] = _log_sum(a, b, c) + logs[(t * streams + n) * size + states[labels + s]]
        label_last = alphas[here + last - 1] if last > 0 else -np.inf
        cost[n] = -_log_sum(alphas[here + last], label_last, -np.inf) if fits[n] else 0


@kernel
def _backward(begin, end, worker, logs, states, lengths, fits, alphas, cost, scale, betas, dx, g):
    """dx = (softmax - how probable each label is at t, given the labels) · scale; a task is a stream.

    Parameters
    ----------
    logs, states, lengths, fits, alphas, cost, g
        As :func:`_forward` leaves them.
    scale : ndarray of float, [1]
    betas : ndarray of float64, [streams][most]: scratch.
    dx : ndarray of float, [time][streams][size]
        Is set.
    """
    time, streams, size, most = g.time, g.streams, g.size, g.most
    for n in range(begin, end):
        labels, last = n * most, 2 * lengths[n]
        for t in range(time - 1, -1, -1):
            base, here = (t * streams + n) * size, (n * time + t) * most
            for k in range(size):
                dx[base + k] = np.exp(logs[base + k]) * scale[0] if fits[n] else 0
            # In the order of s, so that one row of betas is enough: what is needed lies further on.
            for s in range(last + 1):
                beta = -np.inf
                if t == time - 1:
                    if s >= last - 1:
                        beta = 0.0
                else:
                    follows = base + streams * size
                    a = betas[labels + s] + logs[follows + states[labels + s]]
                    b = c = -np.inf
                    if s + 1 <= last:
                        b = betas[labels + s + 1] + logs[follows + states[labels + s + 1]]
                    if s + 2 <= last and s % 2 == 1 and states[labels + s] != states[labels + s + 2]:
                        c = betas[labels + s + 2] + logs[follows + states[labels + s + 2]]
                    beta = _log_sum(a, b, c)
                betas[labels + s] = beta
                weight = alphas[here + s] + beta
                if fits[n] and not weight == -np.inf:
                    dx[base + states[labels + s]] -= np.exp(weight + cost[n]) * scale[0]


class Work:
    """What the two passes share.

    Parameters
    ----------
    time, streams, size, most : int
        Time steps; streams; labels there are, with the blank; labels a stream has at most.

    Attributes
    ----------
    states : ndarray of int64
        Streams x (2 most + 1): the labels of a stream with a blank before, between and after them.
    lengths, fits : ndarray of int64
        How many labels a stream has; whether the time steps are enough for them (1) or not (0).
    cost : ndarray of float64
        Of each stream ``-log p``; 0 where the labels do not fit.
    """

    def __init__(self, time: int, streams: int, size: int, most: int) -> None:
        self.extent = CtcExtent(time, streams, size, 2 * most + 1)
        self.states = np.zeros((streams, 2 * most + 1), np.int64)
        self.lengths, self.fits = (np.zeros(streams, np.int64) for _ in range(2))
        self.cost = np.zeros(streams)
        self.logs = np.zeros(time * streams * size)
        self.alphas = np.zeros(time * self.states.size)


def forward(scores: np.ndarray, work: Work) -> list[Call]:
    """Return the calls that compute ``work.cost`` from the scores (time steps x streams x size, one axis)."""
    w = work
    time, streams, size, _ = w.extent
    return [
        call(_log_softmax, time * streams, scores, w.logs, size, work=w.logs.size * 20),
        call(
            _forward,
            streams,
            w.logs,
            w.states.reshape(-1),
            w.lengths,
            w.fits,
            w.alphas,
            w.cost,
            w.extent,
            work=w.alphas.size * 80,
        ),
    ]


def backward(work: Work, scale: np.ndarray, dx: np.ndarray) -> Call:
    """Return the call that computes the gradient of the sum of ``work.cost``, times ``scale[0]``."""
    w = work
    betas = np.zeros(w.states.size)
    return call(
        _backward,
        len(w.cost),
        w.logs,
        w.states.reshape(-1),
        w.lengths,
        w.fits,
        w.alphas,
        w.cost,
        scale,
        betas,
        dx,
        w.extent,
        work=w.alphas.size * 80,
    )
