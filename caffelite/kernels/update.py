"""One step of a solver over all parameters: regularise, compute the update, apply it, in one pass.

The parameters of a net lie in one flat array, their gradients in another of the same layout, and so does what a rule
remembers of earlier steps (its history). A short table of segments tells which learning rate and which weight decay
hold where.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba.extending import register_jitable

from caffelite.kernels.launch import Call, call, kernel, specialised

#: Floats a task works on; a sum over tasks does not depend on the number of threads.
CHUNK = 8192

#: Places in the array of numbers that a step is given: the learning rate; what gradients are multiplied by first;
#: for each of the two histories what it keeps of itself and what it takes of the new value; the divisor's guard.
RATE, SCALE, KEEP, TAKE, KEEP2, TAKE2, DELTA = range(7)
NUMBERS = 7


# A rule is a scalar function: gradient, both histories and the numbers in; update and both histories out.


@register_jitable
def _sgd(g, h1, h2, rate, keep, take, keep2, take2, delta):  # type: ignore[no-untyped-def]
    """h ← rate·g + keep·h; the update is h."""
    h1 = rate * g + keep * h1
    return h1, h1, h2


@register_jitable
def _nesterov(g, h1, h2, rate, keep, take, keep2, take2, delta):  # type: ignore[no-untyped-def]
    """h' ← rate·g + keep·h; the update is (1 + keep)·h' - keep·h."""
    new = rate * g + keep * h1
    return (np.float32(1) + keep) * new - keep * h1, new, h2


@register_jitable
def _adagrad(g, h1, h2, rate, keep, take, keep2, take2, delta):  # type: ignore[no-untyped-def]
    """h ← h + g²; the update is rate·g / (√h + delta)."""
    h1 = h1 + g * g
    return rate * (g / (math.sqrt(h1) + delta)), h1, h2


@register_jitable
def _rmsprop(g, h1, h2, rate, keep, take, keep2, take2, delta):  # type: ignore[no-untyped-def]
    """h ← keep·h + take·g²; the update is rate·g / (√h + delta)."""
    h1 = take * (g * g) + keep * h1
    return rate * (g / (math.sqrt(h1) + delta)), h1, h2


@register_jitable
def _adadelta(g, h1, h2, rate, keep, take, keep2, take2, delta):  # type: ignore[no-untyped-def]
    """h1 ← keep·h1 + take·g²; u = g·√((h2 + delta) / (h1 + delta)); h2 ← keep·h2 + take·u²; the update is rate·u."""
    h1 = take * (g * g) + keep * h1
    update = g * math.sqrt((h2 + delta) / (h1 + delta))
    h2 = take * (update * update) + keep * h2
    return rate * update, h1, h2


@register_jitable
def _adam(g, h1, h2, rate, keep, take, keep2, take2, delta):  # type: ignore[no-untyped-def]
    """h1 ← keep·h1 + take·g; h2 ← keep2·h2 + take2·g²; the update is rate·h1 / (√h2 + delta)."""
    h1 = take * g + keep * h1
    h2 = take2 * (g * g) + keep2 * h2
    return rate * (h1 / (math.sqrt(h2) + delta)), h1, h2


#: The rules by Caffe's names, with the number of histories each keeps.
RULES: dict[str, tuple[Any, int]] = {
    "SGD": (_sgd, 1), "Nesterov": (_nesterov, 1), "AdaGrad": (_adagrad, 1), "RMSProp": (_rmsprop, 1),
    "AdaDelta": (_adadelta, 2), "Adam": (_adam, 2),
}  # fmt: skip


@specialised
def _update(rule: str, regularization: str) -> Callable[..., None]:
    compute, histories = RULES[rule]
    two, l1 = histories == 2, regularization == "L1"

    def run(begin, end, worker, data, diff, first, second, starts, local, numbers):  # type: ignore[no-untyped-def]
        last = min(end * CHUNK, len(data))
        segment = 0
        low = begin * CHUNK
        scale = numbers[SCALE]
        keep, take, keep2, take2 = numbers[KEEP], numbers[TAKE], numbers[KEEP2], numbers[TAKE2]
        delta = numbers[DELTA]
        zero = np.float32(0)
        while low < last:
            while starts[segment + 1] <= low:
                segment += 1
            high = min(last, starts[segment + 1])
            rate = numbers[RATE] * local[segment, 0]
            decay = local[segment, 1]
            # Slices, so that indices run from 0 and the loop becomes vector instructions.
            ws, gs, firsts = data[low:high], diff[low:high], first[low:high]
            seconds = second[low:high] if two else firsts
            for i in range(len(ws)):
                w = ws[i]
                if l1:
                    pull = decay if w > zero else (-decay if w < zero else zero)
                else:
                    pull = decay * w
                g = scale * gs[i] + pull
                update, h1, h2 = compute(g, firsts[i], seconds[i], rate, keep, take, keep2, take2, delta)
                firsts[i] = h1
                if two:
                    seconds[i] = h2
                gs[i] = update
                ws[i] = w - update
            low = high

    return run


@kernel
def _sum_of_squares(begin, end, worker, values, sums):  # type: ignore[no-untyped-def]
    """sums[task] = the sum of squares of one chunk of ``values``."""
    for task in range(begin, end):
        total = np.float32(0)
        for i in range(task * CHUNK, min((task + 1) * CHUNK, len(values))):
            total += values[i] * values[i]
        sums[task] = total


def update(
    rule: str,
    regularization: str,
    data: np.ndarray,
    diff: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    starts: np.ndarray,
    local: np.ndarray,
    numbers: np.ndarray,
) -> Call:
    """Return the call that does one step of a rule.

    For each element, with the ``r`` and ``d`` of its segment: ``g = scale·diff + d·data`` (L2) or
    ``scale·diff + d·sign(data)`` (L1); the rule makes an update of g and the histories with the rate
    ``rate·r``; ``diff`` becomes the update and ``data`` loses it.

    Parameters
    ----------
    rule : str
        A key of ``RULES``.
    regularization : str
        ``"L1"`` or ``"L2"``.
    data, diff : ndarray of float32, shape (n,)
    first, second : ndarray of float32, shape (n,)
        The histories; a rule that keeps only one ignores ``second``, which may then be empty.
    starts : ndarray of int64, shape (segments + 1,)
        Where each segment begins; the last entry is n.
    local : ndarray of float32, shape (segments, 2)
        For each segment its factor of the learning rate and its weight decay.
    numbers : ndarray of float32, shape (NUMBERS,)
        See ``RATE`` to ``DELTA``; read at each call.

    References
    ----------
    Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013 (Nesterov);
    Duchi et al., 2011 (AdaGrad); Tieleman and Hinton, 2012 (RMSProp); Zeiler, 2012 (AdaDelta); Kingma and Ba, 2015
    (Adam). Caffe's forms: the guard ``delta`` is added outside the root, except in AdaDelta, and the learning
    rate is inside the history of SGD and Nesterov.
    """
    tasks = -(-data.size // CHUNK)
    kernel_ = _update(rule, regularization)
    return call(kernel_, tasks, data, diff, first, second, starts, local, numbers, work=6.0 * data.size)


def sum_of_squares(values: np.ndarray, sums: np.ndarray) -> Call:
    """Return the call that sets ``sums[i]`` to the sum of squares of chunk i.

    Parameters
    ----------
    values : ndarray of float32, shape (n,)
    sums : ndarray of float32, shape (ceil(n / CHUNK),)
        Their sum is the same for any number of threads.
    """
    return call(_sum_of_squares, len(sums), values, sums, work=2.0 * values.size)
