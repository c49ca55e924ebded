"""Learning rate policies: the rate of an iteration.

With t the iteration and s the step that a policy counts:

=========  ==========================================
fixed      base_lr
step       base_lr · gamma^s, s = floor(t / stepsize)
exp        base_lr · gamma^t
inv        base_lr · (1 + gamma·t)^(-power)
multistep  base_lr · gamma^s, s = stepvalues passed
poly       base_lr · (1 - t / max_iter)^power
sigmoid    base_lr / (1 + exp(-gamma·(t - stepsize)))
=========  ==========================================

Caffe computes them in float32; here the result is rounded to it.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from caffelite.errors import SolverError
from caffelite.schema.documents import SolverDocument
from caffelite.schema.messages import SolverParameter
from caffelite.words import did_you_mean, quoted

Policy = Callable[[SolverParameter, int, int], tuple[float, int]]


def _fixed(solver: SolverParameter, t: int, s: int) -> tuple[float, int]:
    return solver.base_lr, s


def _step(solver: SolverParameter, t: int, s: int) -> tuple[float, int]:
    s = t // solver.stepsize
    return solver.base_lr * solver.gamma**s, s


def _exp(solver: SolverParameter, t: int, s: int) -> tuple[float, int]:
    return solver.base_lr * solver.gamma**t, s


def _inv(solver: SolverParameter, t: int, s: int) -> tuple[float, int]:
    return solver.base_lr * (1 + solver.gamma * t) ** -solver.power, s


def _multistep(solver: SolverParameter, t: int, s: int) -> tuple[float, int]:
    # At most one step an iteration, as in Caffe: two equal stepvalues take effect one after the other.
    if s < len(solver.stepvalue) and t >= solver.stepvalue[s]:
        s += 1
    return solver.base_lr * solver.gamma**s, s


def _poly(solver: SolverParameter, t: int, s: int) -> tuple[float, int]:
    # Past max_iter (a run that is stepped by hand) the rate stays where it ended.
    left = max(1 - t / solver.max_iter, 0.0)
    return solver.base_lr * left**solver.power, s


def _sigmoid(solver: SolverParameter, t: int, s: int) -> tuple[float, int]:
    # Written with tanh, which cannot overflow.
    return solver.base_lr * 0.5 * (1 + math.tanh(0.5 * solver.gamma * (t - solver.stepsize))), s


_LARGEST = float(np.finfo(np.float32).max)

#: By name: the function of (solver, iteration, step) that returns rate and step, and the settings it needs.
POLICIES: dict[str, tuple[Policy, tuple[str, ...]]] = {
    "fixed": (_fixed, ()),
    "step": (_step, ("gamma", "stepsize")),
    "exp": (_exp, ("gamma",)),
    "inv": (_inv, ("gamma", "power")),
    "multistep": (_multistep, ("gamma", "stepvalue")),
    "poly": (_poly, ("power", "max_iter")),
    "sigmoid": (_sigmoid, ("gamma", "stepsize")),
}


def learning_rate(solver: SolverParameter, iteration: int, step: int) -> tuple[np.float32, int]:
    """Return the learning rate of an iteration, and the step that the policy has come to.

    Parameters
    ----------
    solver : SolverParameter
        Checked by :func:`check_policy`.
    iteration : int
    step : int
        The ``current_step`` of the iteration before; 0 at the start.
    """
    policy, _ = POLICIES[solver.lr_policy]
    try:
        rate, step = policy(solver, iteration, step)
    except (OverflowError, ZeroDivisionError):
        rate = math.inf
    return np.float32(rate if not abs(rate) > _LARGEST else math.copysign(math.inf, rate)), step


def check_policy(document: SolverDocument) -> None:
    """Raise SolverError where ``lr_policy`` is unknown or lacks a setting."""
    solver = document.message
    if not solver.HasField("lr_policy"):
        raise SolverError(f"{document.filename}: lr_policy is not given; it can be {_listed()}")
    place = document.setting("lr_policy")
    name = solver.lr_policy
    if name not in POLICIES:
        hint = did_you_mean(name.lower(), POLICIES, f"it can be {_listed()}")
        raise SolverError(f"{place}: there is no lr_policy {quoted(name)}{hint}")
    if not solver.HasField("base_lr"):
        raise SolverError(f"{document.filename}: base_lr, the learning rate at the start, is not given")
    for setting in POLICIES[name][1]:
        given = len(solver.stepvalue) > 0 if setting == "stepvalue" else solver.HasField(setting)
        if not given:
            raise SolverError(f"{place}: lr_policy {quoted(name)} needs {setting}, which is not given")
    if "gamma" in POLICIES[name][1] and not solver.gamma >= 0:
        raise SolverError(f"{document.setting('gamma')}: gamma is {solver.gamma:g}, expected 0 or more")
    for setting in {"stepsize", "max_iter"} & set(POLICIES[name][1]):
        if getattr(solver, setting) <= 0:
            raise SolverError(
                f"{document.setting(setting)}: {setting} is {getattr(solver, setting)}, expected more than 0"
            )


class WarmUp(NamedTuple):
    """What a rate is multiplied by: 1 at first, ``times`` after some iterations, and on a line between.

    For batches that are ``times`` as large, as long as the rate is small enough for that to be the same as so many
    steps: Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour", 2017, sections 2.1 and 2.2.
    """

    times: float
    iterations: int

    def factor(self, iteration: int) -> float:
        """Return the factor of an iteration."""
        done = min(iteration / self.iterations, 1.0) if self.iterations else 1.0
        return 1 + (self.times - 1) * done


#: Solvers whose steps are proportional to gradient and rate, which is what the rule of :class:`WarmUp` is about.
_PROPORTIONAL = ("SGD", "Nesterov")


def check_scaling(document: SolverDocument) -> None:
    """Raise SolverError where a rate that grows with the batch makes no sense."""
    solver = document.message
    if solver.type not in _PROPORTIONAL:
        raise SolverError(
            f"{document.setting('type')}: the rate of {solver.type}, whose steps do not grow with the gradient, is not "
            f"scaled with the batch; that is for {' and '.join(_PROPORTIONAL)}"
        )
    if solver.lr_policy == "sigmoid":
        raise SolverError(
            f'{document.setting("lr_policy")}: lr_policy "sigmoid" warms up by itself, so the rate is not scaled with '
            "the batch; set base_lr"
        )


def _listed() -> str:
    return ", ".join(quoted(name) for name in POLICIES)
