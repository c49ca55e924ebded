"""Running a net over test batches and averaging what it puts out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from caffelite.errors import SolverError
from caffelite.layers.contract.group import ALONE, Group, Turns
from caffelite.net import Net
from caffelite.net.graph import Node
from caffelite.net.parameters import parameters_of
from caffelite.schema.messages import SolverParameter
from caffelite.solvers import debug_info
from caffelite.solvers.agreement import Agreement
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


def whole_outputs(net: Net) -> list[Output]:
    """Return every value of the outputs of the batch that all processes share; all of them call it."""
    group = net.context.group
    if group.size == 1:
        return outputs_of(net)
    parts = net.combine({name: net.blobs[name].data for name in _outputs(net)})
    total = np.concatenate([np.zeros(0), *(part.reshape(-1) for part in parts.values())])
    group.sum(total)
    return outputs_of(net, _split(parts, total))


def _split(alike: Mapping[str, np.ndarray], values: np.ndarray) -> dict[str, np.ndarray]:
    """Return values that lie one after the other by the names of arrays of the same sizes."""
    ends = np.cumsum([array.size for array in alike.values()])
    return dict(zip(alike, np.split(values, ends[:-1]), strict=True)) if alike else {}


def _outputs(net: Net) -> list[str]:
    changing = net.graph.behind_dynamic(varying=True)
    versions = {name: net.graph.names[name] for name in sorted(net.outputs)}
    return [name for name, v in versions.items() if v.producer not in changing or count(v.shape) == 1]


class TestBatch(NamedTuple):
    """A batch of a test that is done.

    Attributes
    ----------
    done, batches : int
        How many are done, and how many there are.
    outputs : list of Output
    loss : float
    own : bool
        Whether this process ran it, so that the net's blobs are those of this batch.
    """

    done: int
    batches: int
    outputs: list[Output]
    loss: float
    own: bool


def records_per_pass(net: Net) -> int:
    """Return how many records the net takes in one pass, of all processes; 0 where it has no source of data."""
    return max((size for size, _ in _batches(net)), default=0)


def epoch_iterations(net: Net) -> int | None:
    """Return how many passes show a net every record of its data once; None where it has no database.

    A last batch that is not full is counted: the first records fill it.
    """
    passes = [-(-layer.epoch_size // size) for size, layer in _batches(net) if getattr(layer, "epoch_size", None)]
    return max(passes, default=None)


def _batches(net: Net) -> Iterator[tuple[int, Any]]:
    """Yield the sizes of the batches of all processes, with the sources that they come from."""
    for node in net.graph.nodes:
        if node.layer.facts.source and node.tops and node.tops[0].shape:
            yield round(node.tops[0].shape[0] / net.part), node.layer


def in_turns(build: Callable[[Group], Net], group: Group) -> Net:
    """Return the net of a test whose batches the processes of a group run in turns.

    A net that carries over more from batch to batch than the place in its data, or may do so, is run whole by every
    process: where a layer beside the sources has a state, or one without tops or in Python may have one elsewhere,
    where parameters change without being learned, and where shapes depend on the data.

    Parameters
    ----------
    build : callable
        Makes the net with the group that it is given.
    group : Group
    """
    if group.size == 1:
        return build(group)
    net = build(Turns(group))
    if all(map(_starts_anew, net.graph.nodes)):
        return net
    net.close()
    return build(ALONE)


def _starts_anew(node: Node) -> bool:
    """Whether a batch of a layer depends on nothing but the batch, and in a source its position."""
    layer, facts = node.layer, node.layer.facts
    if facts.source:
        return hasattr(layer, "share") or hasattr(layer, "shares")
    kept = any(not parameter.learned for parameter in parameters_of(node)) and not facts.affine
    return bool(node.tops) and not (layer.state or kept or facts.dynamic or layer.param.type == "Python")


def run_test(
    net: Net,
    iterations: int | None = None,
    stopped: Callable[[], bool] = lambda: False,
    on_batch: Callable[[TestBatch], Any] | None = None,
) -> tuple[list[Output], float]:
    """Run forward passes and average.

    Processes that take turns (:func:`in_turns`) have a batch each at a time; what they find is joined in the order of
    the batches in float64, so that it is the same for any number of them, to the bit.

    Parameters
    ----------
    net : Net
    iterations : int, optional
        Number of passes; None or 0 shows every record once.
    stopped : callable, optional
        Asked before each pass, by all processes alike; true ends the test.
    on_batch : callable, optional
        Called after each pass.

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
    own = net.context.group
    group = own.among if isinstance(own, Turns) else ALONE
    before = {key: array.copy() for key, array in net.state().items()}
    sums: dict[str, np.ndarray] = {}
    loss, done = 0.0, 0
    while done < iterations and not stopped():
        for rank, (one, values) in enumerate(_round(net, group, min(iterations - done, group.size))):
            loss += one
            sums = _added(sums, values) if done else values
            done += 1
            if on_batch is not None:
                on_batch(TestBatch(done, iterations, outputs_of(net, values), one, rank == group.rank))
    if group.size > 1 and done:
        _move_to(net, group, before, done)
    return outputs_of(net, {name: total / done for name, total in sums.items()}), loss / max(done, 1)


def _round(net: Net, group: Group, batches: int) -> list[tuple[float, dict[str, np.ndarray]]]:
    """Return loss and output values of the next batches, of which each process runs one."""
    loss = net.forward() if group.rank < batches else 0.0
    values = {name: net.blobs[name].flat.astype(np.float64) for name in _outputs(net)}
    if group.size == 1:
        return [(loss, values)]
    table = np.zeros((group.size, 1 + sum(array.size for array in values.values())))
    if group.rank < batches:
        table[group.rank] = np.concatenate([[loss], *values.values()])
    group.sum(table)
    return [(float(row[0]), _split(values, row[1:])) for row in table[:batches]]


def _move_to(net: Net, group: Group, before: dict[str, np.ndarray], done: int) -> None:
    """Set the state of the sources of a net to that behind ``done`` batches, wherever the own ones have left it.

    All processes go by the first one, which has run at least one batch.
    """
    own = -(-done // group.size)
    after = {key: old + (net.state()[key] - old) // (own * group.size) * done for key, old in before.items()}
    for array in after.values():
        shared = array.astype(np.float64) * (group.rank == 0)
        group.sum(shared)
        array[...] = shared
    net.load_state(after)


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
    agreement : Agreement
        Whether the run is to stop.
    on_batch : callable
        Is given the iteration, the number and the net of each batch that is done, and the batch.
    """

    def __init__(
        self,
        nets: Sequence[Net],
        param: SolverParameter,
        tell: Callable[..., None],
        agreement: Agreement,
        on_batch: Callable[[int, int, Net, TestBatch], Any],
    ) -> None:
        self._nets, self._param, self._tell = nets, param, tell
        self._agreement, self._on_batch = agreement, on_batch

    def run(self, iteration: int) -> None:
        """Test every net for its ``test_iter`` batches."""
        for index in range(len(self._nets)):
            if not self._agreement.stop:
                self._test(iteration, index)

    def _test(self, iteration: int, index: int) -> None:
        net = self._nets[index]
        self._tell("on_test_start", iteration, index)
        before = {key: array.copy() for key, array in net.state().items()}
        outputs, loss = run_test(
            net, self._param.test_iter[index], self._agreement.ask, partial(self._tested, iteration, index)
        )
        if self._agreement.stop:
            # A run that goes on from here repeats this test from its first batch.
            net.load_state(before)
            self._tell("on_test_interrupted", iteration, index)
        else:
            compute = self._param.test_compute_loss
            self._tell("on_test", iteration, index, outputs, loss if compute else None)

    def _tested(self, iteration: int, index: int, batch: TestBatch) -> None:
        self._tell("on_test_batch", index, batch.done, batch.batches)
        if self._param.debug_info and batch.own:
            self._tell("on_debug", debug_info.forward(self._nets[index]))
        self._on_batch(iteration, index, self._nets[index], batch)
