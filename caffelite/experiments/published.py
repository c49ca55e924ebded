"""cifar10_bn, as its published solver trains it."""

from typing import Any

from caffelite.datasets.prepare import DATA_FOLDER, prepare
from caffelite.experiments.bench import Bench
from caffelite.experiments.nets import cifar10_bn
from caffelite.experiments.training import After, Training
from caffelite.net import Net
from caffelite.schema.messages import SolverParameter
from caffelite.schema.text import net_from_text
from caffelite.solvers.solver import Solver
from caffelite.solvers.testing import run_test
from caffelite.words import TEST, TRAIN

#: What ``models/cifar10_bn_solver.prototxt`` says of the updates.
SOLVER: dict[str, Any] = {"base_lr": 0.001, "momentum": 0.9, "lr_policy": "fixed"}
#: Passes over the test set.
_TESTS = 10


class Published(Training):
    """The net in training, with the statistics of each batch in the stored blobs.

    Parameters
    ----------
    bench : Bench
    seed : int
    after : callable
        See :data:`After`.
    solver
        Fields of the SolverParameter, in place of the published ones.
    """

    def __init__(self, bench: Bench, seed: int, after: After, **solver: Any) -> None:
        super().__init__(bench, after)
        self._document = net_from_text(cifar10_bn("moving_average_fraction: 0"), "cifar10_bn")
        param = SolverParameter(
            net_param=self._document.message, random_seed=seed, snapshot_after_train=False, **{**SOLVER, **solver}
        )
        self.solver = Solver(param, self, non_finite="ignore")
        self._beside = {
            stored: Net(self._document, TEST, global_stats=stored, share=self.solver.net) for stored in (True, False)
        }

    def test(self, global_stats: bool | None = None) -> tuple[float, float]:
        net = self._beside[global_stats is not False]
        net.changed()
        with self.statistics():
            outputs, _ = run_test(net, _TESTS)
        accuracy, loss = (next(one.value for one in outputs if one.name == name) for name in ("accuracy", "loss"))
        return 100 * accuracy, loss

    def measuring(self) -> Net:
        return Net(self._document, TRAIN, global_stats=False, learn=False, share=self.solver.net)


def prepare_cifar10(bench: Bench) -> str:
    """Make the data ready; return which images these are.

    Raises
    ------
    DataError
        See :func:`caffelite.datasets.prepare.prepare`.
    """
    prepared = prepare("cifar10", DATA_FOLDER, bench.originals, bench.say)
    return "the built-in set of drawn shapes, not CIFAR-10" if prepared.builtin else "CIFAR-10"
