"""Solvers as pycaffe shows them."""

import os
from pathlib import Path
from typing import Any

from caffelite.pycaffe.mode import gpu_number, random_seed
from caffelite.pycaffe.net import Net
from caffelite.solvers.logs import Listener, LogListener
from caffelite.solvers.resuming import Resumed
from caffelite.solvers.settings import load_solver
from caffelite.solvers.solver import Solver as Engine
from caffelite.words import SOLVER_TYPES


class Solver:
    """Trains the net that a solver prototxt names.

    Lines in the format of Caffe's log go to standard error; ``GLOG_minloglevel=1`` in the environment keeps
    them away, as in Caffe.

    Parameters
    ----------
    solver_file : path
    allow_python : bool, optional
        Whether Python layers may run the code that the nets name.

    Attributes
    ----------
    net : Net
    test_nets : list of Net
    param : SolverParameter message

    Raises
    ------
    SchemaError, SolverError, NetError
    """

    rule = ""

    def __init__(self, solver_file: Any, allow_python: bool = False) -> None:
        document = load_solver(solver_file)
        if self.rule:
            document.message.type = self.rule
        seed = random_seed() if document.message.random_seed < 0 else None
        self._solver = Engine(
            document,
            _listener(),
            keep=True,
            seed=seed,
            allow_python=allow_python,
            gpu=gpu_number(),
            # As in Caffe a step ends as usual; a script looks at the loss itself.
            non_finite="warn",
        )
        self.net = Net.of(self._solver.net)
        self.test_nets = [Net.of(net) for net in self._solver.test_nets]
        self.param = self._solver.param

    @property
    def iter(self) -> int:
        """The number of iterations done."""
        return self._solver.iteration

    @property
    def lr(self) -> float:
        """The learning rate of the next iteration."""
        return float(self._solver.settings.rate(self._solver.iteration, self._solver.current_step)[0])

    def step(self, iterations: int) -> None:
        """Train for a number of iterations."""
        self._adopt()
        self._solver.step(int(iterations))

    def solve(self, resume: str | Path | None = None) -> None:
        """Train up to ``max_iter``, from a ``.solverstate`` if one is given."""
        self._adopt()
        self._solver.solve(resume or None)

    def snapshot(self) -> None:
        """Write weights and state."""
        self._solver.snapshot()

    def restore(self, path: str | Path, *, allow_changed: bool = False) -> Resumed:
        """Go on from a ``.solverstate``; see :meth:`caffelite.solvers.solver.Solver.restore`."""
        return self._solver.restore(path, allow_changed=allow_changed)

    def apply_update(self) -> None:
        """Change the parameters by their gradients, without counting an iteration."""
        self._solver.rate = self.lr
        self._solver.apply_update()

    def share_weights(self, net: Net) -> None:
        """Let another net use the parameters of this solver's net."""
        net.share_with(self.net)

    def _adopt(self) -> None:
        for net in (self.net, *self.test_nets):
            net.reshape()


class SGDSolver(Solver):
    """Stochastic gradient descent with momentum, whatever ``type`` the file has."""

    rule = "SGD"


def _class_of(rule: str) -> type[Solver]:
    """Return ``NesterovSolver`` and the like: as in Caffe, each is an SGDSolver too."""
    text = f"{rule}, whatever ``type`` the file has: see :class:`caffelite.solvers.rules.{rule}`."
    return type(f"{rule}Solver", (SGDSolver,), {"__doc__": text, "__module__": __name__, "rule": rule})


_CLASSES = {rule: SGDSolver if rule == SGDSolver.rule else _class_of(rule) for rule in SOLVER_TYPES}
globals().update((cls.__name__, cls) for cls in _CLASSES.values())


def get_solver(solver_file: Any, allow_python: bool = False) -> Solver:
    """Return the solver of the ``type`` that a solver prototxt has."""
    document = load_solver(solver_file)
    # A type that there is not is left to the solver, which says so with its place.
    return _CLASSES.get(document.message.type, Solver)(document, allow_python)


def _listener() -> Listener:
    level = os.environ.get("GLOG_minloglevel", "0")
    return Listener() if level.isdecimal() and int(level) > 0 else LogListener(year=False)
