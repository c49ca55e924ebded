"""BatchNorm in none to all of four hidden layers."""

from itertools import pairwise

from caffelite.experiments.bench import Bench
from caffelite.experiments.curves import Condition, columns, compare, panel
from caffelite.experiments.nets import HIDDEN, mlp
from caffelite.experiments.result import Result, spread, verdict, when
from caffelite.experiments.speedup import SOLVER

TITLE = "How many BatchNorm layers"
CLAIM = "With sigmoid, the more BatchNorm layers the better; with ReLU there is little difference."
_BATCH, _EPOCHS, _LEVEL = 128, 10, 90
#: Points of accuracy that count as little difference.
_LITTLE = 0.5


def run(bench: Bench) -> Result:
    """Train with BatchNorm in the first 0, 1, 2, 3, 4 hidden layers."""
    kinds = {"sigmoid": "Sigmoid", "ReLU": "ReLU"}
    numbers = range(len(HIDDEN) + 1)
    conditions = [
        Condition(
            f"{name}, {number} BatchNorm",
            mlp(HIDDEN, kind, range(1, number + 1), batch=_BATCH),
            _BATCH,
            _EPOCHS,
            SOLVER,
        )
        for name, kind in kinds.items()
        for number in numbers
    ]
    courses = compare(bench, conditions)
    groups = {name: [courses[f"{name}, {number} BatchNorm"] for number in numbers] for name in kinds}
    times = {name: [course.typical_reach(_LEVEL) for course in group] for name, group in groups.items()}
    ends = {name: [course.mean() for course in group] for name, group in groups.items()}
    sooner = all(b <= a for a, b in pairwise(times["sigmoid"])) and times["sigmoid"][-1] < times["sigmoid"][0]
    difference = max(ends["ReLU"]) - min(ends["ReLU"])
    sentence = (
        f"With sigmoid and 0 to {len(HIDDEN)} BatchNorm layers, the epochs to {_LEVEL}% were: "
        f"{', '.join(when(course.reach(_LEVEL)) for course in groups['sigmoid'])}; the accuracies at the end: "
        f"{', '.join(spread(course.last()) for course in groups['sigmoid'])}%. With ReLU the accuracies at the end "
        f"are {difference:.2f} points apart."
    )
    return Result(
        "depth",
        TITLE,
        f"784-512-256-128-64-10, weights by Glorot, Nesterov momentum 0.9, learning rate 0.01, batch {_BATCH}, "
        f"{_EPOCHS} epochs; BatchNorm with Scale between product and activation of the first 0 to 4 hidden layers",
        CLAIM,
        verdict(sooner, difference <= _LITTLE),
        sentence,
        columns(_LEVEL),
        [course.row(_LEVEL) for course in courses.values()],
        [panel(name, group) for name, group in groups.items()],
        bench.images.described,
        bench.seeds,
        bench.share,
    )
