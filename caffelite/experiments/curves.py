"""Accuracy while training, under several conditions: what most of the experiments are."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from caffelite.experiments.bench import Bench
from caffelite.experiments.result import Curve, Panel, reached, spread, when
from caffelite.experiments.training import Trained

#: Points of a curve.
_POINTS = 24


@dataclass(frozen=True, slots=True)
class Condition:
    """One way to train.

    Attributes
    ----------
    label : str
    net : str
        A prototxt.
    batch : int
    epochs : float
    solver : dict
        Fields of the SolverParameter.
    """

    label: str
    net: str
    batch: int
    epochs: float
    solver: dict[str, Any]


@dataclass(slots=True)
class Course:
    """How training went under a condition.

    Attributes
    ----------
    label : str
    epochs : list of float
        Where the net was looked at.
    accuracy, loss : list of list of float
        For each seed at each of these: percent of the test images, and the mean training loss since the last look.
    """

    label: str
    epochs: list[float]
    accuracy: list[list[float]] = field(default_factory=list)
    loss: list[list[float]] = field(default_factory=list)

    def curve(self) -> Curve:
        """Return the accuracy as a curve."""
        return Curve(self.label, self.epochs, self.accuracy)

    def last(self) -> list[float]:
        """Return the accuracy at the end, for each seed."""
        return [line[-1] for line in self.accuracy]

    def mean(self) -> float:
        """Return the mean over the seeds of the accuracy at the end."""
        return float(np.mean(self.last()))

    def reach(self, level: float) -> list[float]:
        """Return for each seed after how many epochs the accuracy was first ``level``; infinity if never."""
        return [reached(self.epochs, line, level) for line in self.accuracy]

    def typical_reach(self, level: float) -> float:
        """Return the median over the seeds of :meth:`reach`."""
        return float(np.median(self.reach(level)))

    def row(self, level: float) -> list[str]:
        """Return the label, when a level was reached, and the accuracy at the end."""
        return [self.label, when(self.reach(level)), spread(self.last(), "{:.2f}")]


def compare(bench: Bench, conditions: Sequence[Condition]) -> dict[str, Course]:
    """Train under each condition, for each seed, and look at the test accuracy on the way.

    Returns
    -------
    dict of str to Course
        By label, in the order given.
    """
    counts = {one.label: bench.epochs(one.epochs, one.batch) for one in conditions}
    bench.expect(len(bench.seeds) * sum(counts.values()))
    images = len(bench.images.train)
    courses = {
        one.label: Course(one.label, [mark * one.batch / images for mark in bench.marks(counts[one.label], _POINTS)])
        for one in conditions
    }
    by_label = {one.label: one for one in conditions}
    tasks = ((by_label[label], seed, counts[label]) for label, seed in bench.runs(list(by_label)))
    for label, accuracy, loss in bench.each(_train, tasks):
        courses[label].accuracy.append(accuracy)
        courses[label].loss.append(loss)
    return courses


def _train(bench: Bench, task: tuple[Condition, int, int]) -> tuple[str, list[float], list[float]]:
    """Train under a condition, with a seed, for a number of iterations; return label, accuracies and losses."""
    one, seed, iterations = task
    with Trained(bench, one.net, seed, one.batch, **one.solver) as trained:
        done, accuracy, loss = 0, [], []
        for mark in bench.marks(iterations, _POINTS):
            trained.train(mark - done)
            loss.append(trained.recent_loss(mark - done))
            share, test_loss = trained.test()
            accuracy.append(share if np.isfinite(test_loss) else np.nan)
            done = mark
    return one.label, accuracy, loss


def panel(title: str, courses: Sequence[Course]) -> Panel:
    """Return accuracy over epochs."""
    return Panel(title, "epochs", "test accuracy, %", [course.curve() for course in courses])


def columns(level: float) -> list[str]:
    """Return the heads of a table of :meth:`Course.row`."""
    return ["net", f"epochs to {level:g}%", "accuracy at the end, %"]
