"""What it costs that each of many processes normalizes by the few images that it has itself."""

from caffelite.experiments.bench import Bench
from caffelite.experiments.curves import Condition, columns, compare, panel
from caffelite.experiments.nets import HIDDEN, LOSS, inputs, mlp, product
from caffelite.experiments.result import Result, sentence, verdict
from caffelite.experiments.speedup import SOLVER

TITLE = "Statistics of each process"
CLAIM = (
    "Eight processes with 4 images each do worse where each normalizes by its own images than where all do by the "
    "whole batch of 32, which is what one process does."
)
_PROCESSES, _IMAGES = 8, 4
_BATCH = _PROCESSES * _IMAGES
_EPOCHS, _LEVEL = 3, 95
#: What is stored decays once a batch; eight processes that share one place would have it decay eight times.
_FRACTION = 0.99 ** (1 / _PROCESSES)


def _divided(activation: str) -> str:
    """Return the net in which each eighth of a batch is normalized by itself: what eight processes compute."""
    text, below = inputs(_BATCH), "data"
    for i, outputs in enumerate(HIDDEN, 1):
        pieces = [f"ip{i}_{k}" for k in range(_PROCESSES)]
        text += product(f"ip{i}", below, outputs, 'type: "xavier" variance_norm: AVERAGE', bias=False)
        text += f'layer {{ name: "slice{i}" type: "Slice" bottom: "ip{i}" slice_param {{ axis: 0 }} '
        text += " ".join(f'top: "{piece}"' for piece in pieces) + " }\n"
        statistics = " ".join(f'param {{ name: "{what}{i}" lr_mult: 0 }}' for what in ("mean", "variance", "count"))
        for piece in pieces:
            text += (
                f'layer {{ name: "bn_{piece}" type: "BatchNorm" bottom: "{piece}" top: "{piece}" {statistics} '
                f"batch_norm_param {{ moving_average_fraction: {_FRACTION!r} }} }}\n"
            )
        text += f'layer {{ name: "concat{i}" type: "Concat" top: "normal{i}" concat_param {{ axis: 0 }} '
        text += " ".join(f'bottom: "{piece}"' for piece in pieces) + " }\n"
        text += (
            f'layer {{ name: "scale{i}" type: "Scale" bottom: "normal{i}" top: "normal{i}" '
            "scale_param { bias_term: true } }\n"
            f'layer {{ name: "act{i}" type: "{activation}" bottom: "normal{i}" top: "act{i}" }}\n'
        )
        below = f"act{i}"
    return text + product("score", below, 10, 'type: "xavier" variance_norm: AVERAGE') + LOSS


def run(bench: Bench) -> Result:
    """Train with the statistics of the whole batch, with those of each process, and without BatchNorm."""
    kinds = {"sigmoid": "Sigmoid", "ReLU": "ReLU"}
    ways = ("whole batch", "each process", "plain")
    conditions = []
    for name, kind in kinds.items():
        nets = (
            mlp(HIDDEN, kind, range(1, len(HIDDEN) + 1), batch=_BATCH),
            _divided(kind),
            mlp(HIDDEN, kind, batch=_BATCH),
        )
        conditions += [
            Condition(f"{name}, {way}", net, _BATCH, _EPOCHS, SOLVER) for way, net in zip(ways, nets, strict=True)
        ]
    courses = compare(bench, conditions)
    ends = {name: [courses[f"{name}, {way}"].mean() for way in ways] for name in kinds}
    parts = [
        f"with {name} the accuracies after {_EPOCHS} epochs were {whole:.2f}% by the statistics of the whole batch, "
        f"{own:.2f}% by those of each process, and {plain:.2f}% without BatchNorm"
        for name, (whole, own, plain) in ends.items()
    ]
    return Result(
        "process-statistics",
        TITLE,
        f"784-512-256-128-64-10, weights by Glorot, Nesterov momentum 0.9, learning rate 0.01, batch {_BATCH}, "
        f"{_EPOCHS} epochs; BatchNorm with Scale in all four hidden layers, by the whole batch or each eighth of it, "
        "or none",
        CLAIM,
        verdict(*(whole > own for whole, own, _ in ends.values())),
        sentence(parts),
        columns(_LEVEL),
        [course.row(_LEVEL) for course in courses.values()],
        [panel(name, [courses[f"{name}, {way}"] for way in ways]) for name in kinds],
        bench.images.described,
        bench.seeds,
        bench.share,
    )
