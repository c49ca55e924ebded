"""How many images a batch needs for its statistics to be of use."""

from caffelite.experiments.bench import Bench
from caffelite.experiments.curves import Condition, columns, compare, panel
from caffelite.experiments.nets import HIDDEN, mlp
from caffelite.experiments.result import Result, sentence, verdict
from caffelite.experiments.speedup import SOLVER

TITLE = "Batch size"
CLAIM = "BatchNorm is best at a batch of 64; at 4 it does not help, or hurts."
_SIZES = (4, 64, 256, 1024)
_EPOCHS, _LEVEL = 3, 90


def run(bench: Bench) -> Result:
    """Train with each size, with and without BatchNorm."""
    kinds = {"sigmoid": "Sigmoid", "ReLU": "ReLU"}
    ways = {"plain": (), "BatchNorm": range(1, len(HIDDEN) + 1)}
    conditions = [
        Condition(f"{name}, {way}, batch {size}", mlp(HIDDEN, kind, norms, batch=size), size, _EPOCHS, SOLVER)
        for name, kind in kinds.items()
        for way, norms in ways.items()
        for size in _SIZES
    ]
    courses = compare(bench, conditions)

    def ends(name: str, way: str) -> list[float]:
        return [courses[f"{name}, {way}, batch {size}"].mean() for size in _SIZES]

    best = all(max(ends(name, "BatchNorm")) == ends(name, "BatchNorm")[_SIZES.index(64)] for name in kinds)
    no_help = all(ends(name, "BatchNorm")[0] <= ends(name, "plain")[0] for name in kinds)
    parts = [
        f"with {name} the accuracies after {_EPOCHS} epochs at batches of {', '.join(map(str, _SIZES))} were "
        f"{', '.join(f'{value:.1f}' for value in ends(name, 'BatchNorm'))}% with BatchNorm and "
        f"{', '.join(f'{value:.1f}' for value in ends(name, 'plain'))}% without"
        for name in kinds
    ]
    return Result(
        "batch-size",
        TITLE,
        f"784-512-256-128-64-10, weights by Glorot, Nesterov momentum 0.9, learning rate 0.01 for all sizes, {_EPOCHS} "
        "epochs; BatchNorm with Scale in all four hidden layers, or in none",
        CLAIM,
        verdict(best, no_help),
        sentence(parts),
        columns(_LEVEL),
        [course.row(_LEVEL) for course in courses.values()],
        [
            panel(f"{name}, {way}", [courses[f"{name}, {way}, batch {size}"] for size in _SIZES])
            for name in kinds
            for way in ways
        ],
        bench.images.described,
        bench.seeds,
        bench.share,
    )
