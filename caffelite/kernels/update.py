"""The update of all parameters in one pass over the flat arrays: regularisation, rule and step.

A task is what a thread has of the parameters, in chunks of one blob each. ``settings`` holds what may change between
iterations. In plain NumPy: ``NAIVE`` in tests/kernels/test_update.py.
"""

from collections.abc import Callable

import numpy as np
from numba.extending import register_jitable

from caffelite.kernels.engine.arrays import shares
from caffelite.kernels.engine.calls import Call, call
from caffelite.kernels.engine.compiling import kernel, specialised

#: Places in ``settings``.
RATE, MOMENTUM, DECAY, SCALE, SECOND, DELTA, CORRECTION = range(7)


@register_jitable
def _sgd(g, rate, h, i, n, s):
    h[i] = rate * g + s[MOMENTUM] * h[i]
    return h[i]


@register_jitable
def _nesterov(g, rate, h, i, n, s):
    before = h[i]
    h[i] = rate * g + s[MOMENTUM] * before
    return (np.float32(1) + s[MOMENTUM]) * h[i] - s[MOMENTUM] * before


@register_jitable
def _adagrad(g, rate, h, i, n, s):
    h[i] += g * g
    return rate * (g / (np.sqrt(h[i]) + s[DELTA]))


@register_jitable
def _rmsprop(g, rate, h, i, n, s):
    h[i] = s[SECOND] * h[i] + (np.float32(1) - s[SECOND]) * g * g
    return rate * (g / (np.sqrt(h[i]) + s[DELTA]))


@register_jitable
def _adadelta(g, rate, h, i, n, s):
    h[i] = s[MOMENTUM] * h[i] + (np.float32(1) - s[MOMENTUM]) * g * g
    step = g * np.sqrt((h[n + i] + s[DELTA]) / (h[i] + s[DELTA]))
    h[n + i] = s[MOMENTUM] * h[n + i] + (np.float32(1) - s[MOMENTUM]) * step * step
    return rate * step


@register_jitable
def _adam(g, rate, h, i, n, s):
    h[i] = s[MOMENTUM] * h[i] + (np.float32(1) - s[MOMENTUM]) * g
    h[n + i] = s[SECOND] * h[n + i] + (np.float32(1) - s[SECOND]) * g * g
    return rate * s[CORRECTION] * h[i] / (np.sqrt(h[n + i]) + s[DELTA])


_RULES = {
    "SGD": _sgd,
    "Nesterov": _nesterov,
    "AdaGrad": _adagrad,
    "RMSProp": _rmsprop,
    "AdaDelta": _adadelta,
    "Adam": _adam,
}


@specialised
def _update(rule: str, l1: bool) -> Callable[..., None]:
    """Make the kernel of a rule, with L1 or L2 regularisation."""
    step = _RULES[rule]

    def update(begin, end, worker, data, diff, history, bounds, order, firsts, multipliers, settings):
        """diff = the step, data -= diff.

        Parameters
        ----------
        data, diff : ndarray of float32, [parameters]
        history : ndarray of float32, [parameters] or [2 · parameters]
            What the rule keeps.
        bounds : ndarray of int64, [chunks + 1]
        order : ndarray of int64, [chunks]
        firsts : ndarray of int64, [tasks + 1]
            How parameters are dealt out: :class:`caffelite.kernels.engine.arrays.Shares`.
        multipliers : ndarray of float32, [chunks][2]
            Of rate and decay.
        settings : ndarray of float32, [7]
            By the places above.
        """
        n = len(data)
        s = settings
        for chunk in order[firsts[begin] : firsts[end]]:
            rate = s[RATE] * multipliers[chunk, 0]
            decay = s[DECAY] * multipliers[chunk, 1]
            for i in range(bounds[chunk], bounds[chunk + 1]):
                w = data[i]
                pull = (np.float32(w > 0) - np.float32(w < 0)) if l1 else w
                d = step(diff[i] * s[SCALE] + decay * pull, rate, history, i, n, s)
                diff[i] = d
                data[i] = w - d

    return update


@kernel
def _squares(begin, end, worker, diff, bounds, order, firsts, sums):
    """sums[chunk] = sum of squares of a chunk of gradients; arrays as in :func:`_update`."""
    for chunk in order[firsts[begin] : firsts[end]]:
        total = np.float32(0)
        for i in range(bounds[chunk], bounds[chunk + 1]):
            total += diff[i] * diff[i]
        sums[chunk] = total


class Update:
    """The update rule of a solver, bound to the parameters of a net.

    Parameters
    ----------
    rule : str
        SGD, Nesterov, AdaGrad, RMSProp, AdaDelta or Adam.
    l1 : bool
        Weight decay pulls with a constant force rather than in proportion.
    data, diff : ndarray of float32
        All parameters and their gradients.
    sizes : list of int
        Sizes of the blobs they consist of.
    multipliers : list of (float, float)
        For each blob, what learning rate and weight decay are multiplied by.

    Attributes
    ----------
    history : ndarray of float32
        What the rule keeps; AdaDelta and Adam keep two values a parameter, the second after all of the first.
    settings : ndarray of float32
        Rate, momentum, decay, scale of the gradient, second momentum, delta, correction.
    """

    def __init__(
        self,
        rule: str,
        l1: bool,
        data: np.ndarray,
        diff: np.ndarray,
        sizes: list[int],
        multipliers: list[tuple[float, float]],
    ) -> None:
        self.history = np.zeros(data.size * (2 if rule in ("AdaDelta", "Adam") else 1), np.float32)
        self.settings = np.zeros(7, np.float32)
        dealt = shares(sizes)
        table = np.array([multipliers[blob] for blob in dealt.blobs] or [(0, 0)], np.float32)
        self._sums = np.zeros(max(len(dealt.blobs), 1), np.float32)
        chunks = dealt.bounds, dealt.order, dealt.firsts
        self.apply = call(
            _update(rule, l1), dealt.tasks, data, diff, self.history, *chunks, table, self.settings, work=data.size * 4
        )
        self._norm: Call = call(_squares, dealt.tasks, diff, *chunks, self._sums, work=data.size)

    def norm(self) -> float:
        """Return the Euclidean norm of all gradients."""
        self._norm()
        return float(np.sqrt(self._sums.sum(dtype=np.float64)))
