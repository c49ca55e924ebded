"""Three hidden layers of 100 from small weights: how soon they learn, and what BatchNorm costs a step."""

from time import perf_counter
from typing import Any

import numpy as np

from caffelite.experiments.bench import Bench
from caffelite.experiments.curves import Condition, columns, compare, panel
from caffelite.experiments.nets import mlp
from caffelite.experiments.result import Result, after, sentence, spread, verdict
from caffelite.experiments.training import Trained

TITLE = "Three hidden layers of 100"
CLAIM = (
    "Above 90% almost at once with BatchNorm; it costs half the speed (510 batches a second without it, 270 with it, "
    "in the notebook the figures come from)."
)
_BATCH, _EPOCHS, _LEVEL = 60, 30, 90
#: Epochs that are almost at once.
_AT_ONCE = 1.0
_SOLVER: dict[str, Any] = {"type": "SGD", "base_lr": 0.01}
#: Iterations of a measurement of speed, and how often each net has its turn.
_TIMED, _TURNS = 1000, 5


def run(bench: Bench) -> Result:
    """Train with ReLU and sigmoid, with and without BatchNorm; then measure both speeds in turns."""
    kinds = {"ReLU": "ReLU", "sigmoid": "Sigmoid"}
    conditions = [
        Condition(
            f"{name}, {way}",
            mlp([100] * 3, kind, norms, batch=_BATCH, filler='type: "gaussian" std: 0.05'),
            _BATCH,
            _EPOCHS,
            _SOLVER,
        )
        for name, kind in kinds.items()
        for way, norms in (("plain", ()), ("BatchNorm", (1, 2, 3)))
    ]
    courses = compare(bench, conditions)
    rates = _rates(bench, conditions)
    parts, sentences = [], []
    for name in kinds:
        plain, normed = courses[f"{name}, plain"], courses[f"{name}, BatchNorm"]
        parts.append(normed.typical_reach(_LEVEL) <= _AT_ONCE)
        sentences.append(
            f"with {name}, {_LEVEL}% was reached {after(normed.reach(_LEVEL))} with BatchNorm and "
            f"{after(plain.reach(_LEVEL))} without, and after {_EPOCHS} epochs there were "
            f"{spread(normed.last())}% against {spread(plain.last())}%"
        )
    plain_rate, normed_rate = (np.median(rates[f"ReLU, {way}"]) for way in ("plain", "BatchNorm"))
    parts.append(bool(normed_rate < 0.75 * plain_rate))
    sentences.append(
        f"here BatchNorm leaves {100 * normed_rate / plain_rate:.0f}% of the speed: {plain_rate:,.0f} batches a second "
        f"without it, {normed_rate:,.0f} with it (ReLU)"
    )
    return Result(
        "three-by-hundred",
        TITLE,
        f"784-100-100-100-10, weights of standard deviation 0.05, plain gradient descent, learning rate 0.01, batch "
        f"{_BATCH}, {_EPOCHS} epochs; BatchNorm with Scale before each activation, or none; speeds are the medians of "
        f"{_TURNS} turns of {_TIMED:,} iterations",
        CLAIM,
        verdict(*parts),
        sentence(sentences),
        [*columns(_LEVEL), "batches a second"],
        [[*course.row(_LEVEL), f"{np.median(rates[label]):,.0f}"] for label, course in courses.items()],
        [panel(name, [courses[f"{name}, plain"], courses[f"{name}, BatchNorm"]]) for name in kinds],
        bench.images.described,
        bench.seeds,
        bench.share,
    )


def _rates(bench: Bench, conditions: list[Condition]) -> dict[str, list[float]]:
    """Return batches a second of each, one figure a turn."""
    iterations = bench.of(_TIMED)
    trained = {one.label: Trained(bench, one.net, 1, _BATCH, **one.solver) for one in conditions}
    rates: dict[str, list[float]] = {label: [] for label in trained}
    try:
        for _ in range(_TURNS):
            for label, one in trained.items():
                begin = perf_counter()
                one.solver.step(iterations)
                rates[label].append(iterations / (perf_counter() - begin))
    finally:
        for one in trained.values():
            one.solver.close()
    return rates
