"""Running a net over test batches and averaging what it puts out."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from caffelite.errors import SolverError
from caffelite.net import Net
from caffelite.schema.messages import SolverParameter
from caffelite.solvers import debug_info
from caffelite.solvers.logs import Output
from caffelite.words import count, quoted


def outputs_of(net: Net, values: dict[str, np.ndarray] | None = None) -> list[Output]:
    """Return every value of the net's outputs, or of ``values`` in their place.

    In Caffe's order: output blobs sorted by name; without those of many values whose size depends on the data.
    """
    outputs: list[Output] = []
    if values is None:
        values = {name: net.blobs[name].flat for name in _outputs(net)}
    for name, flat in values.items():
        weight = net.graph.names[name].loss_weight
        outputs += [Output(len(outputs) + i, name, float(value), weight) for i, value in enumerate(flat)]
    return outputs


def _outputs(net: Net) -> list[str]:
    changing = net.graph.behind_dynamic(varying=True)
    versions = {name: net.graph.names[name] for name in sorted(net.outputs)}
    return [name for name, v in versions.items() if v.producer not in changing or count(v.shape) == 1]


def records_per_pass(net: Net) -> int:
    """Return how many records the net takes in one pass; 0 where it has no source of data."""
    sizes = [
        node.tops[0].shape[0]
        for node in net.graph.nodes
        if node.layer.facts.source and node.tops and node.tops[0].shape
    ]
    return max(sizes, default=0)


def epoch_iterations(net: Net) -> int | None:
    """Return how many passes show a net every record of its data once; None where it has no database.

    A last batch that is not full is counted: the first records fill it.
    """
    passes = []
    for node in net.graph.nodes:
        records = getattr(node.layer, "epoch_size", None)
        if records and node.tops and node.tops[0].shape:
            passes.append(-(-records // node.tops[0].shape[0]))
    return max(passes, default=None)


def run_test(
    net: Net,
    iterations: int | None = None,
    stopped: Callable[[], bool] = lambda: False,
    on_batch: Callable[[int, int], None] | None = None,
) -> tuple[list[Output], float]:
    """Run forward passes and average.

    Parameters
    ----------
    net : Net
    iterations : int, optional
        Number of passes; None or 0 shows every record once.
    stopped : callable, optional
        Asked before each pass; true ends the test.
    on_batch : callable, optional
        Called after each pass, with how many are done and how many there are; the net's blobs are those of the pass.

    Returns
    -------
    outputs : list of Output
        The mean of every value of every output, by name; without those whose size changes.
    loss : float
        The mean of the weighted sum of all losses.

    Raises
    ------
    SolverError
        ``iterations`` is not given and no layer knows how many records it has.
    """
    if not iterations:
        iterations = epoch_iterations(net)
        if iterations is None:
            raise SolverError(f"net {quoted(net.name)} has no data of a known size; say how many batches to test")
    net.changed()  # a train net may share the parameters; during the test nothing changes them
    sums: dict[str, np.ndarray] = {}
    loss, done = 0.0, 0
    while done < iterations and not stopped():
        loss += net.forward()
        values = {name: net.blobs[name].flat.astype(np.float64) for name in _outputs(net)}
        sums = _added(sums, values) if done else values
        done += 1
        if on_batch is not None:
            on_batch(done, iterations)
    return outputs_of(net, {name: total / done for name, total in sums.items()}), loss / max(done, 1)


def _added(sums: dict[str, np.ndarray], values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the sums with the values of another pass; what does not have the same size again is left out."""
    return {
        name: total + values[name] for name, total in sums.items() if name in values and values[name].size == total.size
    }


class Tests:
    """The tests of a run.

    Parameters
    ----------
    nets : sequence of Net
    param : SolverParameter
    tell : callable
        Takes an event of a Listener and its facts.
    stopped : callable
        Whether the run is to stop.
    on_batch : callable
        Is given the iteration, the number and the net of each batch that is done.
    """

    def __init__(
        self,
        nets: Sequence[Net],
        param: SolverParameter,
        tell: Callable[..., None],
        stopped: Callable[[], bool],
        on_batch: Callable[[int, int, Net], Any],
    ) -> None:
        self._nets, self._param, self._tell = nets, param, tell
        self._stopped, self._on_batch = stopped, on_batch

    def run(self, iteration: int) -> None:
        """Test every net for its ``test_iter`` batches."""
        for index in range(len(self._nets)):
            if not self._stopped():
                self._test(iteration, index)

    def _test(self, iteration: int, index: int) -> None:
        net = self._nets[index]
        self._tell("on_test_start", iteration, index)
        before = {key: array.copy() for key, array in net.state().items()}
        outputs, loss = run_test(
            net, self._param.test_iter[index], self._stopped, partial(self._tested, iteration, index)
        )
        if self._stopped():
            # A run that goes on from here repeats this test from its first batch.
            net.load_state(before)
            self._tell("on_test_interrupted", iteration, index)
        else:
            compute = self._param.test_compute_loss
            self._tell("on_test", iteration, index, outputs, loss if compute else None)

    def _tested(self, iteration: int, index: int, done: int, batches: int) -> None:
        self._tell("on_test_batch", index, done, batches)
        if self._param.debug_info:
            self._tell("on_debug", debug_info.forward(self._nets[index]))
        self._on_batch(iteration, index, self._nets[index])
