"""Solvers as pycaffe shows them."""

from collections.abc import Callable
from os import PathLike
from typing import Any

from caffelite.errors import SolverError
from caffelite.pycaffe.compiling import told
from caffelite.pycaffe.files import file_name
from caffelite.pycaffe.log import callbacks
from caffelite.pycaffe.mode import gpu_number, random_seed
from caffelite.pycaffe.net import Net
from caffelite.pycaffe.processes import NCCL
from caffelite.pycaffe.vectors import NetVec
from caffelite.solvers.resuming import Resumed
from caffelite.solvers.settings import load_solver
from caffelite.solvers.solver import Solver as Engine


class Solver:
    """Trains the net that a solver prototxt names.

    Lines in the format of Caffe's log go to standard error; ``GLOG_minloglevel=1`` in the environment, or
    ``init_log(1)``, keeps them away, as in Caffe.

    Parameters
    ----------
    solver_file : path
    allow_python : bool, optional
        Whether Python layers may run the code that the prototxt names; what the program has imported may.

    Attributes
    ----------
    net : Net
    test_nets : list of Net
    param : SolverParameter message
        The settings; what is set in it holds from the next iteration on.

    Raises
    ------
    SchemaError, SolverError, NetError
    """

    rule = ""

    def __init__(self, solver_file: Any, allow_python: bool = False) -> None:
        document = load_solver(file_name(solver_file))
        if self.rule:
            document.message.type = self.rule
        seed = random_seed() if document.message.random_seed < 0 else None
        self._callbacks = callbacks()
        with told():
            self._solver = Engine(
                document,
                self._callbacks,
                keep=True,
                seed=seed,
                allow_python=allow_python or "imported",
                gpu=gpu_number(),
                # As in Caffe a step ends as usual; a script looks at the loss itself.
                non_finite="warn",
            )
        self.net = Net.of(self._solver.net)
        self.test_nets = NetVec(Net.of(net) for net in self._solver.test_nets)
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

    def solve(self, resume: str | bytes | PathLike[str] | None = None) -> None:
        """Train up to ``max_iter``, from a ``.solverstate`` if one is given."""
        self._adopt()
        self._solver.solve(file_name(resume) or None)

    def snapshot(self) -> None:
        """Write weights and state."""
        self._solver.snapshot()

    def restore(self, path: str | bytes | PathLike[str], *, allow_changed: bool = False) -> Resumed:
        """Go on from a ``.solverstate``; see :meth:`caffelite.solvers.solver.Solver.restore`."""
        return self._solver.restore(file_name(path), allow_changed=allow_changed)

    def apply_update(self) -> None:
        """Change the parameters by their gradients, without counting an iteration."""
        self._solver.rate = self.lr
        self._solver.apply_update()

    def share_weights(self, net: Net) -> None:
        """Let another net use the parameters of this solver's net."""
        net.share_with(self.net)

    def add_callback(self, on_start: Callable[[], Any] | NCCL, on_gradients: Callable[[], Any] | None = None) -> None:
        """Have functions called in each iteration.

        Parameters
        ----------
        on_start : callable, or NCCL, which has nothing to do
            ``on_start()`` is called before the first pass, when the gradients are zero.
        on_gradients : callable
            ``on_gradients()`` is called before the parameters are changed.

        Raises
        ------
        SolverError
            One of the two is no function.
        """
        if isinstance(on_start, NCCL):
            return
        if not callable(on_start) or not callable(on_gradients):
            raise SolverError("add_callback takes two functions: one for the start of an iteration, one for gradients")
        self._callbacks.starts.append(on_start)
        self._callbacks.gradients.append(on_gradients)

    def _adopt(self) -> None:
        for net in (self.net, *self.test_nets):
            net._adopt(0, len(net.layers) - 1)


class SGDSolver(Solver):
    """Stochastic gradient descent with momentum, whatever ``type`` the file has.

    See :class:`caffelite.solvers.rules.SGD`.
    """

    rule = "SGD"


class NesterovSolver(SGDSolver):
    """Momentum that looks ahead, whatever ``type`` the file has.

    See :class:`caffelite.solvers.rules.Nesterov`.
    """

    rule = "Nesterov"


class AdaGradSolver(SGDSolver):
    """A rate for each parameter by all its gradients, whatever ``type`` the file has.

    See :class:`caffelite.solvers.rules.AdaGrad`.
    """

    rule = "AdaGrad"


class RMSPropSolver(SGDSolver):
    """A rate for each parameter by its last gradients, whatever ``type`` the file has.

    See :class:`caffelite.solvers.rules.RMSProp`.
    """

    rule = "RMSProp"


class AdaDeltaSolver(SGDSolver):
    """Steps in the units of the parameters, whatever ``type`` the file has.

    See :class:`caffelite.solvers.rules.AdaDelta`.
    """

    rule = "AdaDelta"


class AdamSolver(SGDSolver):
    """Momentum and a rate for each parameter, whatever ``type`` the file has.

    See :class:`caffelite.solvers.rules.Adam`.
    """

    rule = "Adam"


#: As in Caffe, each is an SGDSolver too.
_CLASSES: dict[str, type[Solver]] = {
    cls.rule: cls for cls in (SGDSolver, NesterovSolver, AdaGradSolver, RMSPropSolver, AdaDeltaSolver, AdamSolver)
}


def get_solver(solver_file: Any, allow_python: bool = False) -> Solver:
    """Return the solver of the ``type`` that a solver prototxt has."""
    document = load_solver(file_name(solver_file))
    # A type that there is not is left to the solver, which says so with its place.
    return _CLASSES.get(document.message.type, Solver)(document, allow_python)
