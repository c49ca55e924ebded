"""Which statistics to test with: those of the batch, an average over training, or the population's."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from caffelite.experiments.bench import Bench
from caffelite.experiments.nets import mlp
from caffelite.experiments.published import Published, prepare_cifar10
from caffelite.experiments.result import Curve, Panel, Result, spread, verdict
from caffelite.experiments.training import After, Trained, Training

TITLE = "Which statistics to test with"
CLAIM = "A simple average of the batches' statistics often beats the exponential one."
#: What the layer calls moving_average_fraction; 1 is ``moving_average: SIMPLE``, which forgets nothing.
_AVERAGES = {"exponential, 0.9": 0.9, "exponential, 0.99": 0.99, "exponential, 0.999": 0.999, "simple": 1.0}
_OWN, _EXACT, _DEFAULT = "each test batch's own", "exact, measured anew", "exponential, 0.999"
_WAYS = (_OWN, *_AVERAGES, _EXACT)
#: Training batches for exact statistics.
_BATCHES = 100
_DIGITS, _SHAPES = "784-100-100-100-10", "cifar10_bn"
_BATCH = 60
_SOLVER: dict[str, Any] = {"type": "SGD", "base_lr": 0.01, "momentum": 0.9}
_ITERATIONS = {_DIGITS: 5000, _SHAPES: 5000}
_POINTS = {_DIGITS: 20, _SHAPES: 10}

_Statistics = dict[str, tuple[np.ndarray, np.ndarray]]


class Averages:
    """All averages of one run of training, beside each other.

    The statistics that are stored decide nothing in training, so that one run serves all averages. Its layers have
    ``moving_average_fraction: 0``: what they store is the batch. Each average here makes of that what the layer would:
    ``S = fraction * S + batch``, divided by ``F = fraction * F + 1``.
    """

    def __init__(self) -> None:
        self._sums: dict[str, dict[str, list[np.ndarray]]] = {label: {} for label in _AVERAGES}
        self._factors = dict.fromkeys(_AVERAGES, 0.0)

    def add(self, norms: dict[str, list[np.ndarray]]) -> None:
        """Take in the statistics of a batch."""
        for label, fraction in _AVERAGES.items():
            self._factors[label] = fraction * self._factors[label] + 1
            for name, blobs in norms.items():
                sums = self._sums[label].setdefault(name, [np.zeros(blob.shape, np.float64) for blob in blobs[:2]])
                for total, blob in zip(sums, blobs[:2], strict=True):
                    total *= fraction
                    total += blob

    def values(self, label: str) -> _Statistics:
        """Return mean and variance of each layer by one of the averages."""
        factor = self._factors[label]
        return {name: (mean / factor, variance / factor) for name, (mean, variance) in self._sums[label].items()}


def _digits(bench: Bench, seed: int, after: After) -> Trained:
    text = mlp([100] * 3, "ReLU", (1, 2, 3), batch=_BATCH, settings="moving_average_fraction: 0")
    return Trained(bench, text, seed, _BATCH, after, **_SOLVER)


def _tested(training: Training, marks: Sequence[int], averages: Averages) -> tuple[dict[str, list[float]], _Statistics]:
    """Train, and test by all statistics at each mark; return the accuracies, and the exact statistics at the end."""
    lines: dict[str, list[float]] = {way: [] for way in _WAYS}
    exact: _Statistics = {}
    done = 0
    for mark in marks:
        training.train(mark - done)
        done = mark
        exact = training.population(min(_BATCHES, marks[-1]))
        lines[_OWN].append(training.test(False)[0])
        for way in _WAYS[1:]:
            with training.statistics(exact if way == _EXACT else averages.values(way)):
                lines[way].append(training.test(True)[0])
    return lines, exact


def run(bench: Bench) -> Result:
    """Train both nets, and test each on the way by all statistics."""
    shapes = prepare_cifar10(bench)
    makers: dict[str, Callable[[Bench, int, After], Training]] = {_DIGITS: _digits, _SHAPES: Published}
    counts = {net: bench.of(iterations) for net, iterations in _ITERATIONS.items()}
    bench.expect(len(bench.seeds) * sum(counts.values()))
    accuracies: dict[str, dict[str, list[list[float]]]] = {net: {way: [] for way in _WAYS} for net in makers}
    crossed: dict[str, list[float]] = {"exact means, 0.999's variances": [], "0.999's means, exact variances": []}
    marks = {net: bench.marks(counts[net], _POINTS[net]) for net in makers}
    for net, seed in bench.runs(list(makers)):
        averages = Averages()
        with makers[net](bench, seed, averages.add) as training:
            lines, exact = _tested(training, marks[net], averages)
            for way, line in lines.items():
                accuracies[net][way].append(line)
            if net == _SHAPES:
                old = averages.values(_DEFAULT)
                for label, one, other in zip(crossed, (exact, old), (old, exact), strict=True):
                    with training.statistics({name: (one[name][0], other[name][1]) for name in old}):
                        crossed[label].append(training.test(True)[0])

    def ends(net: str, way: str) -> list[float]:
        return [line[-1] for line in accuracies[net][way]]

    def mean(net: str, way: str) -> float:
        return float(np.mean(ends(net, way)))

    better = [mean(net, "simple") > mean(net, _DEFAULT) for net in makers]
    default = mean(_SHAPES, _DEFAULT)
    means, variances = (float(np.mean(values)) - default for values in crossed.values())
    sentence = (
        f"At the end the simple average gave {mean(_DIGITS, 'simple'):.2f}% on {_DIGITS} and "
        f"{mean(_SHAPES, 'simple'):.1f}% on {_SHAPES}, the exponential one with Caffe's 0.999 "
        f"{mean(_DIGITS, _DEFAULT):.2f}% and {spread(ends(_SHAPES, _DEFAULT))}%. By the statistics of each test batch "
        f"{_SHAPES} has {mean(_SHAPES, _OWN):.1f}%. Of the {mean(_SHAPES, _OWN) - default:.1f} points between, "
        f"statistics measured anew bring back {mean(_SHAPES, _EXACT) - default:.1f}, an average with 0.99 "
        f"{mean(_SHAPES, 'exponential, 0.99') - default:.1f}; exact means alone {means:.1f}, exact variances alone "
        f"{variances:.1f}."
    )
    rows = [[way, *(spread(ends(net, way), "{:.2f}") for net in makers)] for way in _WAYS]
    rows += [[label, "", spread(values, "{:.2f}")] for label, values in crossed.items()]
    return Result(
        "moving-average",
        TITLE,
        f"{_DIGITS} with ReLU and BatchNorm, momentum 0.9, learning rate 0.01, batch {_BATCH}, {counts[_DIGITS]:,} "
        f"iterations; {_SHAPES} by its published solver, {counts[_SHAPES]:,} iterations on {shapes}; all averages from "
        f"the same runs; exact statistics are those of {_BATCHES} training batches",
        CLAIM,
        verdict(*better),
        sentence,
        ["statistics in the test", *(f"{net}, %" for net in makers)],
        rows,
        [_panel(net, marks[net], accuracies[net]) for net in makers],
        f"{bench.images.described}; {shapes}",
        bench.seeds,
        bench.share,
    )


def _panel(net: str, marks: Sequence[int], accuracies: dict[str, list[list[float]]]) -> Panel:
    return Panel(net, "iterations", "test accuracy, %", [Curve(way, marks, lines) for way, lines in accuracies.items()])
