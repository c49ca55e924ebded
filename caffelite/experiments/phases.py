"""The four ways to set use_global_stats in TRAIN and TEST, and statistics that never arrive."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from caffelite.experiments.bench import Bench
from caffelite.experiments.nets import mlp
from caffelite.experiments.result import Curve, Panel, Result, spread, verdict
from caffelite.experiments.training import Trained

TITLE = "use_global_stats in TRAIN and TEST"
CLAIM = (
    "Right is false in TRAIN and true in TEST, which is what leaving it out means; everything else fails in the test."
)
_BATCH, _EPOCHS, _POINTS = 60, 5, 20
_SOLVER: dict[str, Any] = {"type": "SGD", "base_lr": 0.01, "momentum": 0.9}
_WORDS = {True: "true", False: "false"}
#: A test loss of so many times the right one is a failure.
_FAILED = 2.0


@dataclass(slots=True)
class _Runs:
    """What was seen of all nets.

    Attributes
    ----------
    training : dict of bool to list of list of float
        Losses at each look, for each seed, by the setting of TRAIN.
    tests : dict of (bool, bool) to list of list of (float, float)
        Accuracy and loss at each look, for each seed, by the settings of TRAIN and TEST.
    by_class, lost : list of (float, float)
        Accuracy and loss at the end of the nets that were trained with false, for each seed: with batches of one digit
        and their own statistics; with stored statistics that never arrived.
    """

    training: dict[bool, list[list[float]]] = field(default_factory=lambda: {False: [], True: []})
    tests: dict[tuple[bool, bool], list[list[tuple[float, float]]]] = field(default_factory=dict)
    by_class: list[tuple[float, float]] = field(default_factory=list)
    lost: list[tuple[float, float]] = field(default_factory=list)

    def ends(self, stored: bool, use: bool) -> list[tuple[float, float]]:
        """Return accuracy and loss at the end, for each seed."""
        return [values[-1] for values in self.tests[stored, use]]


def _trained(bench: Bench, marks: Sequence[int]) -> _Runs:
    """Train with each setting, and look at each net with both at each mark."""
    runs = _Runs()
    by_class = np.argsort(bench.images.test_labels, kind="stable")
    for label, seed in bench.runs(["false", "true"]):
        stored = label == "true"
        net = mlp([100] * 3, "ReLU", (1, 2, 3), batch=_BATCH, settings=f"use_global_stats: {label}")
        with Trained(bench, net, seed, _BATCH, **_SOLVER) as trained:
            losses: list[float] = []
            seen: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
            done = 0
            for mark in marks:
                trained.train(mark - done)
                losses.append(trained.recent_loss(mark - done))
                done = mark
                for use in (False, True):
                    seen[use].append(trained.test(use))
            if not stored:
                runs.by_class.append(trained.test(False, 100, by_class))
                nothing = {
                    name: (np.zeros_like(mean), np.zeros_like(mean)) for name, (mean, *_) in trained.norms().items()
                }
                with trained.statistics(nothing):
                    runs.lost.append(trained.test(True))
        runs.training[stored].append(losses)
        for use, values in seen.items():
            runs.tests.setdefault((stored, use), []).append(values)
    return runs


def _cases(runs: _Runs) -> list[tuple[str, str, list[tuple[float, float]], str]]:
    """Return the setting of TRAIN, that of TEST, accuracies and losses, and the symptom; the first is right."""
    unlearned = (
        "the loss is no number after a few steps" if np.isnan(_loss(runs.ends(True, True))) else "the loss stays high"
    ) + ": nothing is normalized, and each layer multiplies by 1/sqrt(eps) = 316"
    return [
        ("false", "true", runs.ends(False, True), "none: this is right"),
        ("false", "false", runs.ends(False, False), "none, as long as each test batch is large and mixed"),
        (
            "false",
            "false, batches of one digit",
            runs.by_class,
            "what an image is taken for depends on the others in its batch",
        ),
        (
            "false",
            "true, in layers of other names",
            runs.lost,
            "good in training, bad in the test, for ever: the test net never gets the statistics",
        ),
        ("true", "true", runs.ends(True, True), unlearned),
        ("true", "false", runs.ends(True, False), "the same, whatever it is tested with"),
    ]


def run(bench: Bench) -> Result:
    """Train with each setting, and test each net with both."""
    iterations = bench.epochs(_EPOCHS, _BATCH)
    bench.expect(2 * len(bench.seeds) * iterations)
    marks = bench.marks(iterations, _POINTS)
    runs = _trained(bench, marks)
    cases = _cases(runs)
    rows = [
        [
            train,
            test,
            spread([line[-1] for line in runs.training[train == "true"]], "{:.3f}"),
            spread([loss for _, loss in tested], "{:.3f}"),
            _accuracy(tested),
            symptom,
        ]
        for train, test, tested, symptom in cases
    ]
    right = _loss(runs.ends(False, True))
    parts = [not _loss(tested) < _FAILED * right for *_, tested, _ in cases[1:]]
    sentence = "Test accuracy (TRAIN, TEST): " + "; ".join(f"{row[4]} ({row[0]}; {row[1]})" for row in rows) + "."
    return Result(
        "phases",
        TITLE,
        "784-100-100-100-10 with ReLU, BatchNorm with Scale before each, moving_average_fraction 0.999, weights by "
        f"Glorot, momentum 0.9, learning rate 0.01, batch {_BATCH}, {_EPOCHS} epochs; test batches of 1,000",
        CLAIM,
        verdict(*parts),
        sentence,
        ["TRAIN", "TEST", "training loss", "test loss", "test accuracy", "symptom"],
        rows,
        _panels(runs, [mark * _BATCH / len(bench.images.train) for mark in marks]),
        bench.images.described,
        bench.seeds,
        bench.share,
    )


def _panels(runs: _Runs, epochs: Sequence[float]) -> list[Panel]:
    training = [Curve(f"TRAIN {_WORDS[stored]}", epochs, lines) for stored, lines in runs.training.items()]
    tests = [
        Curve(
            f"TRAIN {_WORDS[stored]}, TEST {_WORDS[use]}",
            epochs,
            [[loss for _, loss in looks] for looks in lines],
        )
        for (stored, use), lines in runs.tests.items()
    ]
    return [
        Panel("training loss", "epochs", "loss", training, y_scale="log"),
        Panel("test loss", "epochs", "loss", tests, y_scale="log"),
    ]


def _loss(tested: Sequence[tuple[float, float]]) -> float:
    return float(np.mean([loss for _, loss in tested]))


def _accuracy(tested: Sequence[tuple[float, float]]) -> str:
    text = f"{spread([accuracy for accuracy, _ in tested])}%"
    return text if np.isfinite(_loss(tested)) else f"{text}: no score is a number"
