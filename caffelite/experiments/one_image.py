"""Test batches of one image: what is left of it after normalization by its own statistics."""

from typing import Any

from caffelite.experiments.bench import Bench
from caffelite.experiments.nets import LOSS, convolution, inputs, mlp, normalize, product
from caffelite.experiments.result import Curve, Panel, Result, spread, verdict
from caffelite.experiments.training import Trained

TITLE = "One image at a time"
CLAIM = "With its own statistics, a batch of one image is normalized to zero."
_BATCH, _EPOCHS = 100, 2
_SIZES = (1, 2, 5, 10, 20, 50, 100, 500, 1000)
_SOLVER: dict[str, Any] = {"type": "SGD", "base_lr": 0.01, "momentum": 0.9}
_GUESSING = 12.0


def run(bench: Bench) -> Result:
    """Train two nets, and test them with batches of several sizes, by stored statistics and by the batch's own."""
    nets = {"inner products": mlp([100] * 3, "ReLU", (1, 2, 3), batch=_BATCH), "convolutions": _convolutions()}
    sizes = [size for size in _SIZES if size <= len(bench.images.test)]
    iterations = bench.epochs(_EPOCHS, _BATCH)
    bench.expect(len(nets) * len(bench.seeds) * iterations)
    accuracies: dict[tuple[str, bool], list[list[float]]] = {}
    for label, seed in bench.runs(list(nets)):
        with Trained(bench, nets[label], seed, _BATCH, **_SOLVER) as trained:
            trained.train(iterations)
            for stored in (True, False):
                line = [trained.test(stored, size)[0] for size in sizes]
                accuracies.setdefault((label, stored), []).append(line)

    def at(label: str, stored: bool, size: int) -> list[float]:
        return [line[sizes.index(size)] for line in accuracies[label, stored]]

    products, maps = at("inner products", False, 1), at("convolutions", False, 1)
    sentence = (
        f"With inner products a batch of one is classified at {spread(products)}% by its own statistics and at "
        f"{spread(at('inner products', True, 1))}% by the stored ones; with convolutions, where one image is "
        f"24·24 and 8·8 values a channel, at {spread(maps)}% against {spread(at('convolutions', True, 1))}%."
    )
    return Result(
        "one-image",
        TITLE,
        "784-100-100-100-10, and two 5×5 convolutions of 16 and 32 maps, each with ReLU and 2×2 pooling; BatchNorm "
        f"with Scale before each ReLU; momentum 0.9, learning rate 0.01, batch {_BATCH}, {_EPOCHS} epochs",
        CLAIM,
        verdict(max(products) < _GUESSING, max(maps) < _GUESSING),
        sentence,
        ["images a test batch", *(f"{label}, {'stored' if stored else 'own'}" for label, stored in accuracies)],
        [[str(size), *(spread(at(*key, size)) for key in accuracies)] for size in sizes],
        [
            Panel(
                label,
                "images a test batch",
                "test accuracy, %",
                [
                    Curve(name, sizes, accuracies[label, stored])
                    for stored, name in ((True, "stored statistics"), (False, "the batch's own"))
                ],
                x_scale="log",
            )
            for label in nets
        ],
        bench.images.described,
        bench.seeds,
        bench.share,
    )


def _convolutions() -> str:
    return (
        inputs(_BATCH)
        + convolution("c1", "data", 16)
        + normalize("c1", "1")
        + _RELU_POOL.format(1)
        + convolution("c2", "pool1", 32)
        + normalize("c2", "2")
        + _RELU_POOL.format(2)
        + product("score", "pool2", 10, 'type: "xavier"')
        + LOSS
    )


_RELU_POOL = (
    'layer {{ name: "relu{0}" type: "ReLU" bottom: "c{0}" top: "c{0}" }}\n'
    'layer {{ name: "pool{0}" type: "Pooling" bottom: "c{0}" top: "pool{0}" '
    "pooling_param {{ pool: MAX kernel_size: 2 stride: 2 }} }}\n"
)
