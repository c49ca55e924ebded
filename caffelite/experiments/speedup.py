"""One BatchNorm layer behind the first of five inner products."""

from typing import Any

from caffelite.experiments.bench import Bench
from caffelite.experiments.curves import Condition, columns, compare, panel
from caffelite.experiments.nets import HIDDEN, mlp
from caffelite.experiments.result import Result, after, sentence, spread, verdict

TITLE = "One BatchNorm layer: how much sooner a net learns"
CLAIM = "With sigmoid the net with BatchNorm converges far sooner; with ReLU somewhat sooner."
_BATCH, _EPOCHS, _LEVEL = 128, 10, 90
SOLVER: dict[str, Any] = {"type": "Nesterov", "base_lr": 0.01, "momentum": 0.9}


def run(bench: Bench) -> Result:
    """Train with and without the layer, with sigmoid and with ReLU."""
    kinds = {"sigmoid": "Sigmoid", "ReLU": "ReLU"}
    conditions = [
        Condition(f"{name}, {with_}", mlp(HIDDEN, kind, norms, batch=_BATCH), _BATCH, _EPOCHS, SOLVER)
        for name, kind in kinds.items()
        for with_, norms in (("plain", ()), ("BatchNorm", (1,)))
    ]
    courses = compare(bench, conditions)
    parts, sentences = [], []
    for name, factor in (("sigmoid", 0.5), ("ReLU", 1.0)):
        plain, normed = courses[f"{name}, plain"], courses[f"{name}, BatchNorm"]
        parts.append(normed.typical_reach(_LEVEL) < factor * plain.typical_reach(_LEVEL))
        sentences.append(
            f"with {name}, {_LEVEL}% of the test images were right {after(normed.reach(_LEVEL))} with BatchNorm and "
            f"{after(plain.reach(_LEVEL))} without, and at the end "
            f"{spread(normed.last())}% against {spread(plain.last())}%"
        )
    return Result(
        "speedup",
        TITLE,
        f"784-512-256-128-64-10, weights by Glorot, Nesterov momentum 0.9, learning rate 0.01, batch {_BATCH}, "
        f"{_EPOCHS} epochs; one BatchNorm with Scale between the first product and its activation, or none",
        CLAIM,
        verdict(*parts),
        sentence(sentences),
        columns(_LEVEL),
        [course.row(_LEVEL) for course in courses.values()],
        [panel(name, [courses[f"{name}, plain"], courses[f"{name}, BatchNorm"]]) for name in kinds],
        bench.images.described,
        bench.seeds,
        bench.share,
    )
