"""The update rules of solvers: one class a type, each with its formula, what it keeps, its source and its pitfalls.

In the formulas g is the gradient of a parameter w as the rule gets it (clipped, divided by ``iter_size``, with the pull
of weight decay added), r the learning rate times ``lr_mult``, h what the rule keeps (its history), zero at the start.
The loops are in ``caffelite.kernels.update``.
"""

import math
from typing import ClassVar

import numpy as np

from caffelite.kernels.update import CORRECTION, DECAY, DELTA, MOMENTUM, RATE, SCALE, SECOND, Update
from caffelite.net import Net
from caffelite.net.parameters import Learnable
from caffelite.schema.messages import SolverParameter
from caffelite.words import count

#: Settings up to which no update of values below ``caffelite.kernels.update.LARGE`` can be infinite: a learning rate
#: and a weight decay, with what they are multiplied by; and the least of what a rule divides by.
_RATE, _DECAY, _DELTA = 1e3, 1e3, 1e-20


class NotFiniteError(Exception):
    """An update was not made, as a gradient, or what would have come of it, is not finite.

    Attributes
    ----------
    what : str
        See :meth:`caffelite.kernels.update.Update.apply_if_finite`.
    """

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


class UpdateRule:
    """A rule on the flat parameters of a net; each of its subclasses is a type of solver, and has its name.

    In Caffe's order: gradients are clipped to ``clip_gradients`` by their common L2 norm (as accumulated,
    before the division by ``iter_size``), divided by ``iter_size``, pulled by weight decay, and turned into
    an update. Weight decay is part of the gradient in every rule, also where the rule divides by the size of
    gradients (it is not that of AdamW).

    Parameters
    ----------
    solver : SolverParameter message
        Checked.
    net : Net
        Its ``diff`` holds the updates afterwards, as in Caffe.

    Attributes
    ----------
    kept : int
        How many values the rule keeps for a parameter.
    momentum : bool
        Whether it reads ``momentum``, which is refused where it does not.
    shares : tuple of str
        The settings that are the share of a running mean which stays in an iteration: 0 or more and less than 1.
    divides : bool
        Whether it divides by ``delta`` and what it keeps.
    second : str
        The setting that the kernel takes as its second share, if it has one.
    history : list of ndarray of float32
        What the rule keeps, live and in Caffe's order: an array for each parameter blob, then the second of
        each.
    shapes : list of tuple of int
        Of the parameter blobs.
    """

    kept: ClassVar[int] = 1
    momentum: ClassVar[bool] = True
    shares: ClassVar[tuple[str, ...]] = ()
    divides: ClassVar[bool] = True
    second: ClassVar[str] = "momentum2"

    def __init__(self, solver: SolverParameter, net: Net) -> None:
        self.solver = solver
        self._learnable: list[Learnable] = net.learnable
        self.shapes = [own.blob.shape for own in net.learnable]
        sizes = [count(shape) for shape in self.shapes]
        factors = [(own.lr_mult, own.decay_mult) for own in net.learnable]
        self._rate_mult, self._decay_mult = (max(map(abs, column)) for column in zip((1, 1), *factors, strict=True))
        l1 = solver.regularization_type == "L1"
        self._update = Update(type(self).__name__, l1, net.data, net.diff, sizes, factors)
        self.history: list[np.ndarray] = []
        start = 0
        for shape in self.shapes * self.kept:
            end = start + count(shape)
            self.history.append(self._update.history[start:end].reshape(shape))
            start = end

    def apply(self, rate: float, iteration: int, finite: bool = False) -> tuple[float, float] | None:
        """Change the parameters by one step.

        Parameters
        ----------
        rate : float
            The learning rate.
        iteration : int
            Number of steps done before (Adam corrects its means by it).
        finite : bool, optional
            Make it only where all that comes of it is finite.

        Returns
        -------
        (norm, scale) or None
            The L2 norm of all gradients and what they were multiplied by; None where they were not clipped.

        Raises
        ------
        NotFiniteError
            With ``finite``: it has not been made, and all is as it was.
        """
        solver, numbers = self.solver, self._update.settings
        clipped = self._clip()
        decay, delta, correction = solver.weight_decay, solver.delta, self.correction(iteration)
        numbers[RATE], numbers[MOMENTUM] = rate, solver.momentum
        numbers[DECAY], numbers[DELTA] = decay, delta
        numbers[SCALE] = (clipped[1] if clipped else 1.0) / solver.iter_size
        numbers[SECOND] = getattr(solver, self.second)
        numbers[CORRECTION] = correction
        if not finite:
            self._update.apply()
            return clipped
        usual = rate * correction * self._rate_mult < _RATE and decay * self._decay_mult < _DECAY
        what = self._update.apply_if_finite(
            usual and (delta >= _DELTA or not self.divides), examined=solver.clip_gradients >= 0
        )
        if what:
            raise NotFiniteError(what)
        return clipped

    def broken(self) -> tuple[Learnable, int]:
        """Return the first blob because of which an update was not made, and how many of its values are."""
        start = 0
        for own in self._learnable:
            end = start + own.blob.data.size
            if values := int(self._update.broken[start:end].sum()):
                break
            start = end
        return own, values

    def correction(self, iteration: int) -> float:
        """Return what the learning rate of an iteration is multiplied by, in a rule that does so."""
        return 1.0

    def _clip(self) -> tuple[float, float] | None:
        limit = self.solver.clip_gradients
        if limit < 0:
            return None
        norm = self._update.norm()
        return (norm, limit / norm) if norm > limit else None


class SGD(UpdateRule):
    """Stochastic gradient descent with momentum: ``h = r·g + momentum·h``, ``w -= h``.

    Keeps the last step. What to watch for: the learning rate is inside the history, so after the rate falls the steps
    fall over some 1/(1 - momentum) iterations, not at once (PyTorch has it outside). ``momentum`` is 0 where it is not
    given.

    Source: Polyak, "Some methods of speeding up the convergence of iteration methods", 1964; Caffe's
    ``sgd_solver.cpp``.
    """

    divides = False


class Nesterov(UpdateRule):
    """Nesterov's accelerated gradient: ``h' = r·g + momentum·h``, ``w -= (1 + momentum)·h' - momentum·h``.

    Keeps h', the last step of the momentum. What to watch for: the parameters of a snapshot are those that look ahead,
    where the gradient is taken. The learning rate is inside the history, as for :class:`SGD`.

    Source: Nesterov, 1983, in the form of Sutskever et al., "On the importance of initialization and momentum in deep
    learning", 2013; Caffe's ``nesterov_solver.cpp``.
    """

    divides = False


class AdaGrad(UpdateRule):
    """A rate for each parameter by all its gradients: ``h += g²``, ``w -= r·g / (√h + delta)``.

    Keeps the sum of the squares, which never falls, and so the steps shrink like 1/√iterations under any policy. What
    to watch for: ``momentum`` is refused; ``delta`` is outside the root.

    Source: Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and stochastic optimization",
    2011; Caffe's ``adagrad_solver.cpp``.
    """

    momentum = False


class RMSProp(UpdateRule):
    """A rate for each parameter by its last gradients: ``h = d·h + (1 - d)·g²``, ``w -= r·g / (√h + delta)``.

    d is ``rms_decay``. Keeps the running mean of the squares. What to watch for: the mean starts at 0 and is not
    corrected, so the first step is 1/√(1 - d) times as large as later ones; ``momentum`` is refused; ``delta`` is
    outside the root.

    Source: Tieleman and Hinton, "Lecture 6.5: RMSProp", 2012; Caffe's ``rmsprop_solver.cpp``.
    """

    momentum = False
    shares = ("rms_decay",)
    second = "rms_decay"


class AdaDelta(UpdateRule):
    """Steps in the units of the parameters: ``h₁ = m·h₁ + (1 - m)·g²``, ``s = g·√((h₂ + delta) / (h₁ + delta))``,
    ``h₂ = m·h₂ + (1 - m)·s²``, ``w -= r·s``.

    m is ``momentum``. Keeps two running means, of g² and of s². What to watch for: the paper has no learning rate, so
    ``base_lr`` is 1; h₂ starts at 0, so that ``delta`` alone decides how large the first steps are (the paper has 1e-6,
    Caffe's default, 1e-8, starts slowly); ``delta`` is inside the root, in this rule only.

    Source: Zeiler, "ADADELTA: an adaptive learning rate method", 2012; Caffe's ``adadelta_solver.cpp``.
    """

    kept = 2
    shares = ("momentum",)


class Adam(UpdateRule):
    """Momentum and a rate for each parameter: ``h₁ = m·h₁ + (1 - m)·g``, ``h₂ = n·h₂ + (1 - n)·g²``,
    ``w -= r·√(1 - nᵗ)/(1 - mᵗ)·h₁ / (√h₂ + delta)``, in iteration t = 1, 2, …

    m is ``momentum``, n ``momentum2``. Keeps two running means, of g and of g². What to watch for: ``momentum`` is 0
    where it is not given, the paper has 0.9; ``delta`` is added to √h₂ as it is, not to its corrected value, so in the
    first iterations it weighs more than in other programs; t is the iteration of the run, so it goes on with a
    ``.solverstate`` and begins anew with weights alone.

    Source: Kingma and Ba, "Adam: a method for stochastic optimization", 2015, in the form at the end of its section 2;
    Caffe's ``adam_solver.cpp``.
    """

    kept = 2
    shares = ("momentum", "momentum2")

    def correction(self, iteration: int) -> float:
        t = iteration + 1
        return math.sqrt(1 - self.solver.momentum2**t) / (1 - self.solver.momentum**t)


#: By the ``type`` of a solver; ``caffelite.words.SOLVER_TYPES`` are its names, for what must not load any kernel.
RULES: dict[str, type[UpdateRule]] = {rule.__name__: rule for rule in (SGD, Nesterov, AdaGrad, RMSProp, AdaDelta, Adam)}
