"""BatchNorm and Adam, which both make a net less sensitive to the size of its gradients."""

from caffelite.experiments.bench import Bench
from caffelite.experiments.curves import Condition, columns, compare, panel
from caffelite.experiments.nets import HIDDEN, mlp
from caffelite.experiments.result import Result, after, sentence, spread, verdict
from caffelite.experiments.speedup import SOLVER

TITLE = "BatchNorm or Adam"
CLAIM = "BatchNorm does about what Adam does; both together are best."
_BATCH, _EPOCHS, _LEVEL = 128, 10, 90
#: Points of accuracy at the end, and the ratio of epochs, within which two ways count as equal.
_POINTS, _RATIO = 1.0, 2.0


def run(bench: Bench) -> Result:
    """Train the sigmoid net with neither, one or both."""
    adam = {"type": "Adam", "base_lr": 0.01, "momentum": 0.9, "momentum2": 0.999}
    all_layers = range(1, len(HIDDEN) + 1)
    conditions = [
        Condition(label, mlp(HIDDEN, "Sigmoid", norms, batch=_BATCH), _BATCH, _EPOCHS, solver)
        for label, norms, solver in (
            ("neither", (), SOLVER),
            ("BatchNorm", all_layers, SOLVER),
            ("Adam", (), adam),
            ("both", all_layers, adam),
        )
    ]
    courses = compare(bench, conditions)
    normed, adaptive, both = courses["BatchNorm"], courses["Adam"], courses["both"]
    times = [course.typical_reach(_LEVEL) for course in (normed, adaptive)]
    alike = abs(normed.mean() - adaptive.mean()) <= _POINTS and max(times) <= _RATIO * min(times)
    best = both.mean() >= max(course.mean() for course in courses.values())
    parts = [
        "at the end " + ", ".join(f"{spread(course.last())}% ({label})" for label, course in courses.items()),
        f"{_LEVEL}% was reached "
        + ", ".join(f"{after(course.reach(_LEVEL))} ({label})" for label, course in courses.items()),
    ]
    return Result(
        "adaptive",
        TITLE,
        f"784-512-256-128-64-10 with sigmoid, weights by Glorot, learning rate 0.01 for all, batch {_BATCH}, "
        f"{_EPOCHS} epochs; Nesterov momentum 0.9, or Adam (0.9, 0.999); BatchNorm with Scale in all four hidden "
        "layers or in none",
        CLAIM,
        verdict(alike, best),
        sentence(parts),
        columns(_LEVEL),
        [course.row(_LEVEL) for course in courses.values()],
        [panel("sigmoid", list(courses.values()))],
        bench.images.described,
        bench.seeds,
        bench.share,
    )
