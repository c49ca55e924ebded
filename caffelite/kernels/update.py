"""The update of all parameters in one pass over the flat arrays: regularisation, rule and step.

A task is what a thread has of the parameters, in chunks of one blob each. ``settings`` holds what may change between
iterations. In plain NumPy: ``NAIVE`` in tests/kernels/test_update.py.
"""

from collections.abc import Callable

import numpy as np
from numba.extending import register_jitable

from caffelite.kernels.engine.arrays import shares
from caffelite.kernels.engine.calls import Call, Row, call
from caffelite.kernels.engine.compiling import kernel, specialised

#: Places in ``settings``.
RATE, MOMENTUM, DECAY, SCALE, SECOND, DELTA, CORRECTION = range(7)

#: Gradients and parameters below this are far enough from the largest float (3e38) for a step of a usual rate, and for
#: the squares that some rules keep, to stay below it as well.
LARGE = np.float32(1e12)
#: Places in ``guard``: whether a gradient, or a parameter after the update, is not below ``LARGE``.
GRADIENT, PARAMETER = range(2)


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

    def update(begin, end, worker, data, diff, history, bounds, order, firsts, multipliers, settings, guard):
        """diff = the step, data -= diff; nothing where ``guard`` says that a gradient is large.

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
        guard : ndarray of int32, [2]
            Its second is set to 1 where a parameter becomes large.
        """
        if guard[GRADIENT]:
            return
        n = len(data)
        s = settings
        for chunk in order[firsts[begin] : firsts[end]]:
            rate = s[RATE] * multipliers[chunk, 0]
            decay = s[DECAY] * multipliers[chunk, 1]
            total = np.float32(0)
            for i in range(bounds[chunk], bounds[chunk + 1]):
                w = data[i]
                pull = (np.float32(w > 0) - np.float32(w < 0)) if l1 else w
                d = step(diff[i] * s[SCALE] + decay * pull, rate, history, i, n, s)
                diff[i] = d
                data[i] = w - d
                total += (w - d) * (w - d)
            if not total < LARGE * LARGE:
                guard[PARAMETER] = 1

    return update


@kernel
def _squares(begin, end, worker, diff, bounds, order, firsts, sums, guard):
    """sums[chunk] = sum of squares of a chunk of gradients; arrays as in :func:`_update`.

    ``guard[GRADIENT]`` is set to 1 where one of them is large, infinite or NaN.
    """
    # Backwards: the update, which comes next, begins with what is still in the first cache.
    for place in range(firsts[end] - 1, firsts[begin] - 1, -1):
        chunk = order[place]
        total = np.float32(0)
        for i in range(bounds[chunk], bounds[chunk + 1]):
            total += diff[i] * diff[i]
        sums[chunk] = total
        # NaN is not below anything.
        if not total < LARGE * LARGE:
            guard[GRADIENT] = 1


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
    broken : ndarray of bool
        The parameters because of which the last update was not made.
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
        self._kept = 2 if rule in ("AdaDelta", "Adam") else 1
        self.history = np.zeros(data.size * self._kept, np.float32)
        self.settings = np.zeros(7, np.float32)
        dealt = shares(sizes)
        table = np.array([multipliers[blob] for blob in dealt.blobs] or [(0, 0)], np.float32)
        chunks = dealt.bounds, dealt.order, dealt.firsts
        self._arrays = data, diff, self.history
        #: Whatever the parameters are at the start, the first update is made on trial.
        self._guard = np.array([0, 1], np.int32)
        self._sums = np.zeros(max(len(dealt.blobs), 1), np.float32)
        self._apply = call(
            _update(rule, l1),
            dealt.tasks,
            *self._arrays,
            *chunks,
            table,
            self.settings,
            self._guard,
            work=data.size * 4,
        )
        self._squares: Call = call(_squares, dealt.tasks, diff, *chunks, self._sums, self._guard, work=data.size)
        self._examined = Row([self._squares, self._apply])
        self.broken = np.zeros(0, bool)

    def norm(self) -> float:
        """Return the Euclidean norm of all gradients."""
        self._squares()
        return float(np.sqrt(self._sums.sum(dtype=np.float64)))

    def apply(self) -> None:
        """Make the update, whatever comes of it."""
        self._guard[GRADIENT] = 0
        self._apply()

    def apply_if_finite(self, usual: bool, examined: bool = False) -> str:
        """Make the update, or nothing of it where a gradient, or what would come of it, is not finite.

        That is known before anything is written: in front of the update each thread reads the gradients that it has in
        its cache. Where one of them, or a parameter, is large, the old values are kept until the new ones are seen.

        Parameters
        ----------
        usual : bool
            Whether the settings are such that no update of values below ``LARGE`` can be infinite.
        examined : bool, optional
            :meth:`norm` has been called for these gradients.

        Returns
        -------
        str
            What is not finite: ``"gradient"``; ``"parameter"``, before the update; ``"update"``, a parameter or its
            history after it; of the last two ``broken`` says where. Empty where the update is made.
        """
        guard = self._guard
        if usual and not guard[PARAMETER]:
            (self._apply if examined else self._examined)()
            if not guard[GRADIENT]:
                return ""
        guard[:] = 0, 1
        data, diff, history = self._arrays
        if not np.isfinite(diff).all():
            return "gradient"
        self.broken = ~np.isfinite(data)
        if self.broken.any():
            return "parameter"
        guard[PARAMETER] = 0
        before = [array.copy() for array in self._arrays]
        self._apply()
        self.broken = ~(np.isfinite(data) & np.isfinite(history).reshape(self._kept, data.size).all(axis=0))
        if not self.broken.any():
            return ""
        guard[PARAMETER] = 1
        for array, old in zip(self._arrays, before, strict=True):
            array[...] = old
        return "update"
