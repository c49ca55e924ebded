"""Solvers, as Caffe's Python interface has them."""

from pathlib import Path
from typing import Any

from caffelite.pycaffe.modes import random_seed
from caffelite.pycaffe.net import Net
from caffelite.schema.text import read_solver
from caffelite.solvers.solver import Solver as Core


class SGDSolver:
    """Trains a net by the rule its class is named after, whatever ``type`` the file says.

    Attributes
    ----------
    net : Net
    test_nets : list of Net
    iter : int
    lr : float
        The learning rate of the last iteration.
    param : SolverParameter message
    """

    rule: str | None = "SGD"

    def __init__(self, path: str | Path) -> None:
        document = read_solver(path)
        if self.rule is not None:
            document.message.type = self.rule
        self._solver = Core(document, keep=True, seed=random_seed())
        self.net = Net(self._solver.net)
        self.test_nets = [Net(net) for net in self._solver.test_nets]

    @property
    def iter(self) -> int:
        return self._solver.iteration

    @property
    def lr(self) -> float:
        return self._solver.rate

    @property
    def param(self) -> Any:
        return self._solver.param

    def step(self, iterations: int) -> None:
        """Train for a number of iterations."""
        self._solver.step(iterations)

    def solve(self, resume: str | Path | None = None) -> None:
        """Train up to ``max_iter``, from a snapshot if one is given."""
        self._solver.solve(resume)

    def snapshot(self) -> None:
        """Write weights and state."""
        self._solver.snapshot()

    def restore(self, path: str | Path) -> None:
        """Go on from a ``.solverstate``."""
        self._solver.restore(path)

    def apply_update(self) -> None:
        """Change the parameters by their gradients."""
        self._solver.rate, self._solver.current_step = self._solver.settings.rate(self.iter, self._solver.current_step)
        self._solver.apply_update()

    def share_weights(self, net: Net) -> None:
        """Let another net use the parameters of ``self.net``."""
        net.share_with(self.net)


class NesterovSolver(SGDSolver):
    """Nesterov's accelerated gradient."""

    rule = "Nesterov"


class AdaGradSolver(SGDSolver):
    """AdaGrad (Duchi et al., 2011)."""

    rule = "AdaGrad"


class RMSPropSolver(SGDSolver):
    """RMSProp (Tieleman and Hinton, 2012)."""

    rule = "RMSProp"


class AdaDeltaSolver(SGDSolver):
    """AdaDelta (Zeiler, 2012)."""

    rule = "AdaDelta"


class AdamSolver(SGDSolver):
    """Adam (Kingma and Ba, 2015)."""

    rule = "Adam"


class _AsWritten(SGDSolver):
    rule = None


def get_solver(path: str | Path) -> SGDSolver:
    """Return the solver that a file describes."""
    return _AsWritten(path)
