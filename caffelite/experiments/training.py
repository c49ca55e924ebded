"""Nets in training, looked at from outside."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import numpy as np

from caffelite.batchnorm.recalibrate import recalibrate
from caffelite.batchnorm.statistics import normalizing
from caffelite.experiments.bench import Bench
from caffelite.experiments.nets import TEST_BATCH
from caffelite.net import Net
from caffelite.schema import messages
from caffelite.schema.text import net_from_message, net_from_text
from caffelite.solvers.logs import Listener
from caffelite.solvers.solver import Solver
from caffelite.words import TEST, TRAIN

#: Takes the stored blobs of all BatchNorm layers after each iteration.
After = Callable[[dict[str, list[np.ndarray]]], None]


class Training(Listener, ABC):
    """A solver, which it listens to, and the statistics that its BatchNorm layers store.

    Attributes
    ----------
    solver : Solver
    losses : list of float
        Of all iterations so far.
    """

    solver: Solver

    def __init__(self, bench: Bench, after: After | None) -> None:
        self._bench, self._after = bench, after
        self.losses: list[float] = []
        self._beside: dict[Any, Net] = {}

    def on_step(self, iteration: int, loss: float) -> None:
        self.losses.append(loss)
        if self._after is not None:
            self._after(self.norms())

    def train(self, iterations: int) -> None:
        """Make some iterations."""
        self.solver.step(iterations)
        self._bench.done(iterations)

    @abstractmethod
    def test(self, global_stats: bool | None = None) -> tuple[float, float]:
        """Return accuracy, in percent, and loss on the test images.

        Parameters
        ----------
        global_stats : bool, optional
            Whether BatchNorm uses its stored statistics (True), those of each test batch (False), or what the net says.
        """

    @abstractmethod
    def measuring(self) -> Net:
        """Return the net in TRAIN with these parameters, that normalizes by the batch and does not learn."""

    def batches(self, net: Net, count: int) -> Iterable[int]:
        """Count to a number; before each the next training images are in a net of :meth:`measuring`."""
        return range(count)

    def population(self, batches: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Return mean and variance of what each BatchNorm reads, over some training batches, weights as they are."""
        net = self.measuring()
        try:
            with self.statistics():
                recalibrate(net, self.batches(net, batches))
                return {name: (blobs[0].copy(), blobs[1].copy()) for name, blobs in self.norms().items()}
        finally:
            net.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.solver.close()
        for net in self._beside.values():
            net.close()

    def norms(self) -> dict[str, list[np.ndarray]]:
        """Return the stored blobs of each BatchNorm: mean, variance and factor."""
        return {node.name: layer.sums for node, layer in normalizing(self.solver.net.graph)}

    @contextmanager
    def statistics(self, values: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None) -> Iterator[None]:
        """Let the BatchNorm layers have other means and variances meanwhile; whatever is changed is put back."""
        norms = self.norms()
        before = {name: [blob.copy() for blob in blobs] for name, blobs in norms.items()}
        for name, (mean, variance) in (values or {}).items():
            for blob, value in zip(norms[name], (mean, variance, 1), strict=True):
                blob[...] = value
        try:
            yield
        finally:
            for name, blobs in norms.items():
                for blob, old in zip(blobs, before[name], strict=True):
                    blob[...] = old


class Trained(Training):
    """A net in training, on images in an order that the seed decides.

    Parameters
    ----------
    bench : Bench
    text : str
        The net, with inputs as :func:`inputs` makes them.
    seed : int
        Of the weights and of the order.
    batch : int
        As in the net.
    after : callable, optional
        See :data:`After`.
    solver
        Fields of the SolverParameter; the learning rate is fixed where ``lr_policy`` says nothing else.
    """

    def __init__(
        self,
        bench: Bench,
        text: str,
        seed: int,
        batch: int,
        after: After | None = None,
        **solver: Any,
    ) -> None:
        super().__init__(bench, after)
        self._batch = batch
        self._document = net_from_text(text, "experiment")
        self._order = np.random.default_rng(seed)
        self._indices = np.zeros(0, np.int64)
        given = messages.SolverParameter(
            net_param=self._document.message,
            random_seed=seed,
            snapshot_after_train=False,
            **{"lr_policy": "fixed", **solver},
        )
        # Rates that are too high are part of what is shown.
        self.solver = Solver(given, self, non_finite="ignore")

    def on_iteration(self, iteration: int) -> None:
        self.next_batch(self.solver.net)

    def next_batch(self, net: Net) -> None:
        """Put the next images of a walk over all of them, in random order, into a net's inputs."""
        images = self._bench.images
        if len(self._indices) < self._batch:
            self._indices = self._order.permutation(len(images.train))
        chosen, self._indices = self._indices[: self._batch], self._indices[self._batch :]
        np.take(images.train, chosen, axis=0, out=net.blobs["data"].data, mode="clip")
        net.blobs["label"].data[...] = images.train_labels[chosen]

    def shared(self, phase: int, global_stats: bool | None = None, batch: int = TEST_BATCH) -> Net:
        """Return a net with these parameters.

        Parameters
        ----------
        phase : int
        global_stats : bool, optional
            For all BatchNorm layers, in place of what they say.
        batch : int
            Images a batch in TEST.
        """
        message = messages.NetParameter()
        message.CopyFrom(self._document.message)
        if phase == TEST:
            for layer in message.layer:
                for shape in layer.input_param.shape:
                    shape.dim[0] = batch
        return Net(
            net_from_message(message, "experiment"),
            phase,
            global_stats=global_stats,
            share=self.solver.net,
            learn=False,
        )

    def test(
        self, global_stats: bool | None = None, batch: int = TEST_BATCH, order: np.ndarray | None = None
    ) -> tuple[float, float]:
        """See :meth:`Training.test`.

        Parameters
        ----------
        global_stats : bool, optional
        batch : int
            Images a batch.
        order : ndarray of int, optional
            Of the images.
        """
        images = self._bench.images
        order = np.arange(len(images.test)) if order is None else order
        batch = min(batch, len(images.test))
        key = (batch, global_stats)
        net = self._beside.get(key)
        if net is None:
            net = self._beside[key] = self.shared(TEST, global_stats, batch)
        net.changed()
        sums = np.zeros(2)
        count = len(images.test) // batch
        # Statistics of the batch would go into the stored ones, as in Caffe.
        with self.statistics():
            for i in range(count):
                chosen = order[i * batch : (i + 1) * batch]
                net.blobs["data"].data[...] = images.test[chosen]
                net.blobs["label"].data[...] = images.test_labels[chosen]
                net.forward()
                sums += [float(net.blobs[name].data.reshape(-1)[0]) for name in ("accuracy", "loss")]
        accuracy, loss = sums / count
        return 100 * accuracy, loss

    def measuring(self) -> Net:
        return self.shared(TRAIN, False)

    def batches(self, net: Net, count: int) -> Iterator[int]:
        for i in range(count):
            self.next_batch(net)
            yield i

    def recent_loss(self, iterations: int) -> float:
        """Return the mean loss of the last iterations."""
        return float(np.mean(self.losses[-iterations:]))
