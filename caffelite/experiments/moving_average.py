"""Which statistics to test with: those of the batch, an average over training of any form, or the population's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from caffelite.experiments.bench import Bench
from caffelite.experiments.nets import mlp
from caffelite.experiments.published import Published, prepare_cifar10
from caffelite.experiments.result import Curve, Panel, Result, spread, verdict
from caffelite.experiments.training import After, Trained, Training

TITLE = "Which statistics to test with"
CLAIM = "A simple average of the batches' statistics often beats the exponential one."
#: What the layer calls moving_average_fraction.
EXPONENTIAL = {"exponential, 0.9": 0.9, "exponential, 0.99": 0.99, "exponential, 0.999": 0.999}
_ALL = "simple, all batches"
#: All that people call a simple average: the mean over so many of the last batches, as a :class:`Moment` has it. The
#: first is ``moving_average: SIMPLE``.
SIMPLE: dict[str, Callable[["Moment"], int]] = {
    _ALL: lambda moment: moment.batches,
    "simple, the last epoch": lambda moment: moment.epoch,
    "simple, the last 500 batches": lambda moment: 500,
    "simple, the last 100 batches": lambda moment: 100,
    "simple, anew after each test": lambda moment: moment.batches - moment.tested,
    "simple, since the rate was lowered": lambda moment: max(moment.batches - moment.lowered, 0),
}
_OWN, _EXACT, _DEFAULT = "each test batch's own", "exact, measured anew", "exponential, 0.999"
_WAYS = (_OWN, *EXPONENTIAL, *SIMPLE, _EXACT)
#: The ways that are drawn.
_DRAWN = (_OWN, _EXACT, _DEFAULT, _ALL, "simple, the last epoch", "simple, the last 100 batches")
#: Training batches for exact statistics.
_BATCHES = 100
_BATCH = 60
_ITERATIONS, _LOWERED = 5000, 4000
_FIXED, _LOWER = "fixed rate", "lowered rate"

_Statistics = dict[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, slots=True)
class _Case:
    """A net to train, and where it is tested: in this many places, evenly spread."""

    train: Callable[..., Training]
    images: int
    batch: int
    points: int


@dataclass(frozen=True, slots=True)
class Moment:
    """Where a training is, in batches.

    Attributes
    ----------
    batches : int
        That have gone by.
    epoch : int
        That show every image once.
    tested, lowered : int
        After which the net was last tested, and its learning rate lowered.
    """

    batches: int
    epoch: int
    tested: int
    lowered: int


def exponential_weights(batches: int, fraction: float) -> np.ndarray:
    """Return what each batch counts in the layer's own average, the oldest first."""
    return np.asarray(fraction ** np.arange(batches - 1, -1, -1.0))


def simple_weights(batches: int, last: int) -> np.ndarray:
    """Return what each batch counts in the mean over the last ones."""
    return np.asarray(np.arange(batches) >= batches - last, np.float64)


def _weights(way: str, moment: Moment) -> np.ndarray:
    if way in EXPONENTIAL:
        return exponential_weights(moment.batches, EXPONENTIAL[way])
    return simple_weights(moment.batches, SIMPLE[way](moment))


class Averages:
    """All averages of one run of training, beside each other.

    The statistics that are stored decide nothing in training, so that one run serves all averages. Its layers have
    ``moving_average_fraction: 0``: what they store is the batch. All of these are kept, and an average is what each of
    them counts.
    """

    def __init__(self) -> None:
        self._batches: dict[str, list[np.ndarray]] = {}

    def add(self, norms: dict[str, list[np.ndarray]]) -> None:
        """Take in the statistics of a batch."""
        for name, blobs in norms.items():
            self._batches.setdefault(name, []).append(np.stack(blobs[:2]))

    def values(self, weights: np.ndarray) -> _Statistics:
        """Return mean and variance of each layer where the batches so far count that much, each a number."""
        shares = weights / weights.sum()
        means = {name: np.tensordot(shares, np.stack(batches), 1) for name, batches in self._batches.items()}
        return {name: (mean, variance) for name, (mean, variance) in means.items()}


@dataclass(slots=True)
class _Run:
    """What a training showed: the accuracy of each way at each test, and with one exact statistic at the end."""

    lines: dict[str, list[float]] = field(default_factory=lambda: {way: [] for way in _WAYS})
    crossed: list[float] = field(default_factory=list)


def _digits(bench: Bench, seed: int, after: After, **solver: Any) -> Trained:
    text = mlp([100] * 3, "ReLU", (1, 2, 3), batch=_BATCH, settings="moving_average_fraction: 0")
    return Trained(bench, text, seed, _BATCH, after, type="SGD", base_lr=0.01, momentum=0.9, **solver)


_NETS = {
    "784-100-100-100-10": _Case(_digits, 60_000, _BATCH, 8),
    "cifar10_bn": _Case(Published, 50_000, 100, 4),
}
_DIGITS, _SHAPES = _NETS
#: The net and the rate of each column.
_CASES = {f"{net}, {rate}": (net, rate) for net in _NETS for rate in (_FIXED, _LOWER)}


def _run(bench: Bench, case: str, seed: int) -> _Run:
    """Train, and test by all statistics on the way."""
    name, rate = _CASES[case]
    net, lowered = _NETS[name], bench.of(_LOWERED)
    solver = {"lr_policy": "multistep", "gamma": 0.1, "stepvalue": [lowered]} if rate == _LOWER else {}
    run, averages = _Run(), Averages()
    done = 0
    with net.train(bench, seed, averages.add, **solver) as training:
        for mark in _marks(bench, net):
            training.train(mark - done)
            # At a fixed rate nothing is taken after it was lowered.
            moment = Moment(mark, bench.of(net.images // net.batch), done, lowered if rate == _LOWER else mark)
            done = mark
            exact = training.population(min(_BATCHES, bench.of(_ITERATIONS)))
            for way, line in run.lines.items():
                line.append(_accuracy(training, way, averages, moment, exact))
        old = averages.values(_weights(_DEFAULT, moment))
        for one, other in ((exact, old), (old, exact)):
            with training.statistics({layer: (one[layer][0], other[layer][1]) for layer in old}):
                run.crossed.append(training.test(True)[0])
    return run


def _accuracy(training: Training, way: str, averages: Averages, moment: Moment, exact: _Statistics) -> float:
    if way == _OWN:
        return training.test(False)[0]
    if way == _EXACT:
        values = exact
    else:
        weights = _weights(way, moment)
        if not weights.any():
            return np.nan
        values = averages.values(weights)
    with training.statistics(values):
        return training.test(True)[0]


def _marks(bench: Bench, net: _Case) -> list[int]:
    iterations = bench.of(_ITERATIONS)
    return sorted({max(1, round(iterations * i / net.points)) for i in range(1, net.points + 1)})


def run(bench: Bench) -> Result:
    """Train both nets at both rates, and test each on the way by all statistics."""
    shapes = prepare_cifar10(bench)
    bench.expect(len(bench.seeds) * len(_CASES) * bench.of(_ITERATIONS))
    runs: dict[str, list[_Run]] = {case: [] for case in _CASES}
    for case, seed in bench.runs(list(_CASES)):
        runs[case].append(_run(bench, case, seed))
    return _result(bench, shapes, runs)


def _result(bench: Bench, shapes: str, runs: dict[str, list[_Run]]) -> Result:
    rows = [[way, *(_cell(_ends(runs[case], way)) for case in _CASES)] for way in _WAYS]
    for i, label in enumerate(("exact means, 0.999's variances", "0.999's means, exact variances")):
        rows.append([label, *(_cell([run.crossed[i] for run in runs[case]]) for case in _CASES)])
    better = [_mean(runs[case], way) > _mean(runs[case], _DEFAULT) for case in _CASES for way in _simple(runs[case])]
    return Result(
        "moving-average",
        TITLE,
        _setting(bench, shapes),
        CLAIM,
        verdict(*better),
        _sentence(runs),
        ["statistics in the test", *(f"{case}, %" for case in _CASES)],
        rows,
        [_panel(case, _marks(bench, _NETS[net]), runs[case]) for case, (net, _) in _CASES.items()],
        f"{bench.images.described}; {shapes}",
        bench.seeds,
        bench.share,
    )


def _setting(bench: Bench, shapes: str) -> str:
    tests = " and ".join(f"{bench.of(_ITERATIONS) // net.points:,}" for net in _NETS.values())
    return (
        f"{_DIGITS} with ReLU and BatchNorm, momentum 0.9, learning rate 0.01, batch {_BATCH}, and {_SHAPES} by its "
        f"published solver on {shapes}, {bench.of(_ITERATIONS):,} iterations each, at a fixed rate or at a tenth of it "
        f"from {bench.of(_LOWERED):,} on; all averages from the same runs; an epoch is 1,000 and 500 batches, and "
        f"tests are {tests} iterations apart; exact statistics are those of {_BATCHES} training batches"
    )


def _sentence(runs: dict[str, list[_Run]]) -> str:
    beaten, windows, tried, best, parts = 0, 0, 0, 0, []
    for case, done in runs.items():
        ways = _simple(done)
        simple = max(ways, key=lambda way: _mean(done, way))
        exponential = max(EXPONENTIAL, key=lambda way: _mean(done, way))
        beaten += _mean(done, _ALL) > _mean(done, _DEFAULT)
        windows += sum(_mean(done, way) > _mean(done, _DEFAULT) for way in ways if way != _ALL)
        tried += len(ways) - 1
        best += _mean(done, simple) > _mean(done, exponential)
        parts.append(
            f"{case}: {_mean(done, _ALL):.2f}% by the average of all batches, {_mean(done, simple):.2f}% by the best "
            f"simple one ({simple.removeprefix('simple, ')}), {_mean(done, _DEFAULT):.2f}% by Caffe's 0.999, "
            f"{_mean(done, exponential):.2f}% by the best exponential one "
            f"({exponential.removeprefix('exponential, ')}), {_mean(done, _EXACT):.2f}% measured anew"
        )
    return (
        f"The average of all batches beat the exponential one with Caffe's 0.999 in {beaten} of {len(runs)} cases, "
        f"those of the last batches in {windows} of {tried}; the best simple average beat the best exponential one in "
        f"{best} of {len(runs)}. {'; '.join(parts)}."
    )


def _ends(runs: Sequence[_Run], way: str) -> list[float]:
    return [run.lines[way][-1] for run in runs]


def _mean(runs: Sequence[_Run], way: str) -> float:
    return float(np.mean(_ends(runs, way)))


def _simple(runs: Sequence[_Run]) -> list[str]:
    """Return the simple averages that there are."""
    return [way for way in SIMPLE if not np.isnan(_mean(runs, way))]


def _cell(values: Sequence[float]) -> str:
    return "" if np.isnan(values).any() else spread(values, "{:.2f}")


def _panel(case: str, marks: Sequence[int], runs: Sequence[_Run]) -> Panel:
    curves = [Curve(way, marks, [run.lines[way] for run in runs]) for way in _DRAWN]
    return Panel(case, "iterations", "test accuracy, %", curves)
