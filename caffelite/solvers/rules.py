"""A solver's update rule, bound to the parameters of a net."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from caffelite.kernels import arrays, update
from caffelite.net import Net


@dataclass(slots=True)
class Clipping:
    """Gradients were scaled down.

    Attributes
    ----------
    norm : float
        L2 norm of all gradients before.
    limit : float
        ``clip_gradients``.
    scale : float
        What they were multiplied by.
    """

    norm: float
    limit: float
    scale: float


class Rule:
    """SGD, Nesterov, AdaGrad, RMSProp, AdaDelta or Adam on the flat parameters of a net.

    In Caffe's order: gradients are clipped to ``clip_gradients`` by their common L2 norm (as accumulated, before the
    division by ``iter_size``), divided by ``iter_size``, pulled by weight decay, and turned into an update.

    Parameters
    ----------
    solver : SolverParameter message
        Checked.
    net : Net
        Its ``diff`` holds the updates afterwards, as in Caffe.

    Attributes
    ----------
    histories : list of ndarray of float32
        What the rule remembers: one or two arrays in the layout of ``net.data``.
    """

    def __init__(self, solver: Any, net: Net) -> None:
        self.solver = solver
        self._shapes = [own.blob.shape for own in net.learnable]
        self._sizes = [own.blob.data.size for own in net.learnable]
        kept = update.RULES[solver.type][1]
        self.histories = [arrays.zeros(net.data.size) for _ in range(kept)]
        self._numbers = np.zeros(update.NUMBERS, np.float32)
        self._sums = np.zeros(-(-net.data.size // update.CHUNK), np.float32)
        self._steps = []
        if net.data.size:
            # A blob without elements would be a segment without an end.
            local = [(own.lr_mult, solver.weight_decay * own.decay_mult) for own in net.learnable if own.blob.data.size]
            starts = np.cumsum([0, *[size for size in self._sizes if size]], dtype=np.int64)
            second = self.histories[1] if kept == 2 else np.zeros(0, np.float32)
            self._norm = update.sum_of_squares(net.diff, self._sums)
            self._steps = [update.update(solver.type, solver.regularization_type, net.data, net.diff,
                                         self.histories[0], second, starts, np.array(local, np.float32), self._numbers)]

    def apply(self, rate: float, iteration: int) -> Clipping | None:
        """Change the parameters by one step.

        Parameters
        ----------
        rate : float
            The learning rate.
        iteration : int
            Number of steps done before (Adam corrects its means by it).

        Returns
        -------
        Clipping or None
            None where gradients were not scaled down.
        """
        clipping = self._clip()
        numbers, solver = self._numbers, self.solver
        one = np.float32(1)
        momentum, momentum2 = np.float32(solver.momentum), np.float32(solver.momentum2)
        keep = np.float32(solver.rms_decay) if solver.type == "RMSProp" else momentum
        numbers[update.RATE] = rate
        numbers[update.SCALE] = (clipping.scale if clipping else 1.0) / solver.iter_size
        numbers[update.KEEP], numbers[update.TAKE] = keep, one - keep
        numbers[update.KEEP2], numbers[update.TAKE2] = momentum2, one - momentum2
        numbers[update.DELTA] = solver.delta
        if solver.type == "Adam":
            t = iteration + 1
            numbers[update.RATE] *= math.sqrt(1 - float(momentum2) ** t) / (1 - float(momentum) ** t)
        for step in self._steps:
            step()
        return clipping

    def _clip(self) -> Clipping | None:
        limit = self.solver.clip_gradients
        if limit < 0 or not self._steps:
            return None
        self._norm()
        norm = math.sqrt(float(self._sums.sum(dtype=np.float64)))
        return Clipping(norm, limit, limit / norm) if norm > limit else None

    def history_blobs(self) -> list[np.ndarray]:
        """Return the history as Caffe keeps it: an array for each parameter blob, then the second of each (live)."""
        starts = np.cumsum([0, *self._sizes])
        return [
            history[start : start + size].reshape(shape)
            for history in self.histories
            for start, size, shape in zip(starts, self._sizes, self._shapes, strict=False)
        ]
