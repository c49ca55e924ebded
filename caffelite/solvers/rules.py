"""A solver's update rule, bound to the parameters of a net."""

import math
from typing import Any

import numpy as np

from caffelite.kernels.update import CORRECTION, DECAY, DELTA, MOMENTUM, RATE, SCALE, SECOND, Update
from caffelite.net import Net
from caffelite.words import count

#: The rules, with the number of values each keeps for a parameter.
RULES = {"SGD": 1, "Nesterov": 1, "AdaGrad": 1, "RMSProp": 1, "AdaDelta": 2, "Adam": 2}


class Rule:
    """SGD, Nesterov, AdaGrad, RMSProp, AdaDelta or Adam on the flat parameters of a net.

    In Caffe's order: gradients are clipped to ``clip_gradients`` by their common L2 norm (as accumulated,
    before the division by ``iter_size``), divided by ``iter_size``, pulled by weight decay, and turned into
    an update.

    Parameters
    ----------
    solver : SolverParameter message
        Checked.
    net : Net
        Its ``diff`` holds the updates afterwards, as in Caffe.

    Attributes
    ----------
    history : list of ndarray of float32
        What the rule keeps, live and in Caffe's order: an array for each parameter blob, then the second of
        each.
    shapes : list of tuple of int
        Of the parameter blobs.

    References
    ----------
    Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013 (Nesterov);
    Duchi et al., 2011 (AdaGrad); Tieleman and Hinton, 2012 (RMSProp); Zeiler, 2012 (AdaDelta); Kingma and Ba,
    2015 (Adam). Caffe's forms: ``delta`` is added outside the root, except in AdaDelta, and the learning rate
    is inside the history of SGD and Nesterov.
    """

    def __init__(self, solver: Any, net: Net) -> None:
        self.solver = solver
        self.shapes = [own.blob.shape for own in net.learnable]
        sizes = [count(shape) for shape in self.shapes]
        factors = [(own.lr_mult, own.decay_mult) for own in net.learnable]
        l1 = solver.regularization_type == "L1"
        self._update = Update(solver.type, l1, net.data, net.diff, sizes, factors)
        self.history: list[np.ndarray] = []
        start = 0
        for shape in self.shapes * RULES[solver.type]:
            end = start + count(shape)
            self.history.append(self._update.history[start:end].reshape(shape))
            start = end

    def apply(self, rate: float, iteration: int) -> tuple[float, float] | None:
        """Change the parameters by one step.

        Parameters
        ----------
        rate : float
            The learning rate.
        iteration : int
            Number of steps done before (Adam corrects its means by it).

        Returns
        -------
        (norm, scale) or None
            The L2 norm of all gradients and what they were multiplied by; None where they were not clipped.
        """
        solver, numbers = self.solver, self._update.settings
        clipped = self._clip()
        numbers[RATE], numbers[MOMENTUM] = rate, solver.momentum
        numbers[DECAY], numbers[DELTA] = solver.weight_decay, solver.delta
        numbers[SCALE] = (clipped[1] if clipped else 1.0) / solver.iter_size
        numbers[SECOND] = solver.rms_decay if solver.type == "RMSProp" else solver.momentum2
        if solver.type == "Adam":
            t = iteration + 1
            numbers[CORRECTION] = math.sqrt(1 - solver.momentum2**t) / (1 - solver.momentum**t)
        self._update.apply()
        return clipped

    def _clip(self) -> tuple[float, float] | None:
        limit = self.solver.clip_gradients
        if limit < 0:
            return None
        norm = self._update.norm()
        return (norm, limit / norm) if norm > limit else None
