"""cifar10_bn, as its published solver trains it."""

from pathlib import Path

from caffelite.datasets.prepare import DATA_FOLDER, prepare
from caffelite.errors import DataError
from caffelite.experiments.bench import Bench
from caffelite.experiments.training import After, Subject
from caffelite.net import Net
from caffelite.solvers.settings import load_solver
from caffelite.solvers.solver import Solver
from caffelite.solvers.sources import NetSource, source_to_train, sources_to_test
from caffelite.solvers.testing import run_test

_SOLVER = Path("models/cifar10_bn_solver.prototxt")
#: Passes over the test set.
_TESTS = 10


class Published(Subject):
    """The net in training, with the statistics of each batch in the stored blobs.

    Parameters
    ----------
    bench : Bench
    seed : int
    after : callable
        See :data:`After`.
    """

    def __init__(self, bench: Bench, seed: int, after: After) -> None:
        super().__init__(bench, after)
        document = load_solver(_SOLVER)
        document.message.ClearField("snapshot")
        document.message.snapshot_after_train = False
        document.message.test_interval = 1 << 30
        document.message.test_initialization = False
        self._source = _without_memory(source_to_train(document))
        tested = _without_memory(sources_to_test(document)[0])
        document.message.ClearField("net")
        document.message.net_param.CopyFrom(self._source.document.message)
        self.solver = Solver(document, self, seed=seed)
        self._beside = {stored: tested.net(global_stats=stored, share=self.solver.net) for stored in (True, False)}

    def test(self, global_stats: bool | None = None) -> tuple[float, float]:
        net = self._beside[global_stats is not False]
        net.changed()
        with self.statistics():
            outputs, _ = run_test(net, _TESTS)
        accuracy, loss = (next(one.value for one in outputs if one.name == name) for name in ("accuracy", "loss"))
        return 100 * accuracy, loss

    def measuring(self) -> Net:
        return self._source.net(global_stats=False, learn=False, share=self.solver.net)


def _without_memory(source: NetSource) -> NetSource:
    for layer in source.document.message.layer:
        if layer.type == "BatchNorm":
            layer.batch_norm_param.moving_average_fraction = 0
    return source


def prepare_cifar10(bench: Bench) -> str:
    """Make the data ready; return which images these are.

    Raises
    ------
    DataError
        The files of the net are not in ``models``, or see :func:`caffelite.datasets.prepare.prepare`.
    """
    if not _SOLVER.is_file():
        raise DataError(f"{_SOLVER} is not here; run this where caffelite was cloned")
    prepared = prepare("cifar10", DATA_FOLDER, bench.originals, bench.say)
    return "the built-in set of drawn shapes, not CIFAR-10" if prepared.builtin else "CIFAR-10"
