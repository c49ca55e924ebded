"""Running a net over test batches and averaging what it puts out."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from caffelite.errors import SolverError
from caffelite.layers.base import quoted
from caffelite.net import Net


@dataclass(slots=True)
class Output:
    """An output blob of a net.

    Attributes
    ----------
    name : str
    values : ndarray of float64, shape (n,)
    loss_weight : float
        What it counts in the loss; 0 where it is none.
    """

    name: str
    values: np.ndarray
    loss_weight: float = 0.0


@dataclass(slots=True)
class Scores:
    """Means over the batches of a test.

    Attributes
    ----------
    outputs : list of Output
        In Caffe's order, by name.
    loss : float
        The weighted sum of all losses.
    iterations : int
        Number of batches.
    records : int or None
        How many records they hold; None where the net's data has no end.
    repeated : int
        How many records at the end were the first ones again, to fill the last batch.
    """

    outputs: list[Output]
    loss: float
    iterations: int
    records: int | None = None
    repeated: int = 0

    def means(self) -> dict[str, np.ndarray]:
        """Return the mean of every element of every output, by name."""
        return {output.name: output.values for output in self.outputs}


def outputs_of(net: Net) -> list[Output]:
    """Return copies of the outputs of the last forward pass, in Caffe's order (sorted by name)."""
    return [
        Output(name, net.blobs[name].flat.astype(np.float64), net.graph.names[name].loss_weight)
        for name in sorted(net.outputs)
    ]


def batch_size(net: Net) -> int:
    """Return how many records the net takes in a pass; 0 where it has no source of data."""
    return max((node.tops[0].shape[0] for node in net.graph.nodes
                if node.layer.source and node.tops and node.tops[0].shape), default=0)  # fmt: skip


def batches_of_set(net: Net) -> tuple[int, int]:
    """Return how many batches hold every record once, and how many records there are.

    A last batch that is not full is counted: the data starts again at the first record to fill it.

    Raises
    ------
    SolverError
        No layer of the net knows how many records it has.
    """
    found = []
    for node in net.graph.nodes:
        records = getattr(node.layer, "epoch_size", None)
        if records and node.tops and node.tops[0].shape:
            found.append((-(-records // node.tops[0].shape[0]), records))
    if not found:
        raise SolverError(f"net {quoted(net.name)} has no data of a known size; say how many batches to test")
    return max(found)


def run_test(
    net: Net,
    iterations: int | None = None,
    *,
    on_batch: Callable[[int, int, list[Output], float], None] | None = None,
    stopped: Callable[[], bool] | None = None,
) -> Scores | None:
    """Run forward passes and average the outputs.

    Parameters
    ----------
    net : Net
    iterations : int, optional
        Number of batches; None or 0 is every record once (the last batch filled up from the first record).
    on_batch : callable, optional
        Called after each batch with its index, the number of batches, its outputs and its loss.
    stopped : callable, optional
        Asked before each batch; true ends the test.

    Returns
    -------
    Scores or None
        None where the test was ended.
    """
    records = None
    repeated = 0
    if not iterations:
        iterations, records = batches_of_set(net)
        repeated = max(iterations * batch_size(net) - records, 0)
    sums: list[np.ndarray] = []
    loss = 0.0
    outputs: list[Output] = []
    for i in range(iterations):
        if stopped is not None and stopped():
            return None
        batch_loss = net.forward()
        loss += batch_loss
        outputs = outputs_of(net)
        if on_batch is not None:
            on_batch(i, iterations, outputs, batch_loss)
        if sums:
            for total, output in zip(sums, outputs, strict=True):
                total += output.values
        else:
            sums = [output.values.copy() for output in outputs]
    means = [Output(o.name, total / iterations, o.loss_weight) for o, total in zip(outputs, sums, strict=True)]
    return Scores(means, loss / iterations, iterations, records, repeated)
