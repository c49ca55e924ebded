"""What happens if the gradient takes the mean, or mean and variance, for constants.

With ``use_global_stats: true`` the gradient of BatchNorm does that. So the statistics of each batch are put into the
stored blobs before the batch is seen: the outputs are those of normalization by the batch, the gradients are not.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from caffelite.experiments.bench import Bench, Images
from caffelite.experiments.nets import LOSS, inputs, product
from caffelite.experiments.result import Curve, Panel, Result, spread, verdict
from caffelite.experiments.training import Trained
from caffelite.net import Net

TITLE = "A gradient that ignores the mean"
CLAIM = (
    "If the gradient ignores that the mean depends on a bias, the bias grows without bound while output and loss stand "
    "still; with the full gradient it does not move."
)
_IMAGES, _ITERATIONS, _POINTS = 1000, 1000, 50
#: Change of the loss, relative, that counts as standing still.
_STILL = 1e-3


def _net(alone: bool, stored: bool) -> str:
    # In the first panel the bias alone learns.
    rates = "param { lr_mult: %d } param { lr_mult: %d }"
    hidden = product("ip1", "data", 100, 'type: "gaussian" std: 0.05')
    score = product("score", "act1", 10, 'type: "gaussian" std: 0.05')
    return (
        inputs(_IMAGES)
        + hidden.replace("inner_product_param", rates % (not alone, 1) + " inner_product_param")
        + 'layer { name: "bn1" type: "BatchNorm" bottom: "ip1" top: "bn1" '
        + "batch_norm_param { moving_average_fraction: 0 "
        + ("use_global_stats: true " if stored else "")
        + '} }\nlayer { name: "act1" type: "ReLU" bottom: "bn1" top: "act1" }\n'
        + score.replace("inner_product_param", rates % (not alone, not alone) + " inner_product_param")
        + LOSS
    )


class _Ignoring(Trained):
    """Training by statistics of the batch that the gradient does not see."""

    def next_batch(self, net: Net) -> None:
        super().next_batch(net)
        measuring = self._beside.get("measuring")
        if measuring is None:
            measuring = self._beside["measuring"] = self.measuring()
        for name in ("data", "label"):
            measuring.blobs[name].data[...] = net.blobs[name].data
        measuring.changed()
        measuring.forward()
        for _, variance, _ in self.norms().values():
            # What is stored is the estimate for the population; a batch is divided by its own.
            variance *= (_IMAGES - 1) / _IMAGES


#: How the gradient is computed, and what learns: whether it is the bias alone.
_WAYS = {"mean and variance constant": _Ignoring, "full gradient": Trained}
_LEARNERS = {"the bias alone learns": True, "everything learns": False}


def _trained(
    bench: Bench, same: Images, way: type[Trained], alone: bool, seed: int, marks: Sequence[int]
) -> tuple[list[float], list[float]]:
    """Train a net on the same images; return the norm of the bias and the loss at each mark."""
    few = Bench(same)
    with way(few, _net(alone, way is _Ignoring), seed, _IMAGES, type="SGD", base_lr=0.1) as trained:
        bias = trained.solver.net.params["ip1"][1].data
        sizes = [float(np.linalg.norm(bias))]
        for before, mark in pairwise(marks):
            trained.train(mark - before)
            bench.done(mark - before)
            sizes.append(float(np.linalg.norm(bias)))
        return sizes, [trained.losses[max(mark - 1, 0)] for mark in marks]


def run(bench: Bench) -> Result:
    """Train a bias alone, then everything, by both gradients, always on the same images."""
    images = bench.images
    same = Images(images.train[:_IMAGES], images.train_labels[:_IMAGES], images.test, images.test_labels, "")
    iterations = bench.of(_ITERATIONS)
    bench.expect(len(_WAYS) * len(_LEARNERS) * len(bench.seeds) * iterations)
    marks = sorted({round(i * iterations / _POINTS) for i in range(_POINTS + 1)})
    norms: dict[tuple[str, str], list[list[float]]] = {}
    losses: dict[tuple[str, str], list[list[float]]] = {}
    for learning, alone in _LEARNERS.items():
        for way, seed in bench.runs(list(_WAYS)):
            sizes, line = _trained(bench, same, _WAYS[way], alone, seed, marks)
            norms.setdefault((learning, way), []).append(sizes)
            losses.setdefault((learning, way), []).append(line)
    bias_alone, everything = _LEARNERS
    ignoring, full = _WAYS
    grown, still = norms[bias_alone, ignoring], norms[bias_alone, full]
    drift = max(abs(line[-1] / line[0] - 1) for line in losses[bias_alone, ignoring])
    half = len(marks) // 2
    # Without bound: as much in the second half as in the first.
    steady = all(line[-1] - line[half] > 0.9 * line[half] for line in grown)
    unmoved = max(line[-1] for line in still) < 1e-3 * min(line[-1] for line in grown)
    sentence = (
        f"With mean and variance taken for constants the norm of the bias went from 0 to "
        f"{spread(_last(grown), '{:.3g}')} in {iterations:,} iterations, "
        f"{100 * np.mean([1 - line[half] / line[-1] for line in grown]):.0f}% of it in the second half, while the loss "
        f"changed by at most {max(drift, 1e-7):.0e} of itself; with the full gradient it went to "
        f"{spread(_last(still), '{:.1g}')}. Where everything learns, the loss went from "
        f"{losses[everything, full][0][0]:.2f} to {spread(_last(losses[everything, full]), '{:.3f}')} with the full "
        f"gradient, and to {spread(_last(losses[everything, ignoring]), '{:.3f}')} with the other."
    )
    return Result(
        "ignored-gradient",
        TITLE,
        "784-100-10, BatchNorm (no Scale) between the first product, with a bias, and ReLU; gradient descent, learning "
        f"rate 0.1, the same {_IMAGES:,} images in each of {iterations:,} iterations; both normalize by the statistics "
        "of the batch, but one gradient takes them for constants",
        CLAIM,
        verdict(steady, drift < _STILL, unmoved),
        sentence,
        ["what learns", "gradient", "norm of the bias at the end", "loss at the start", "loss at the end"],
        [
            [
                learning,
                way,
                spread(_last(norms[learning, way]), "{:.3g}"),
                spread([line[0] for line in lines], "{:.4f}"),
                spread(_last(lines), "{:.4f}"),
            ]
            for (learning, way), lines in losses.items()
        ],
        [
            Panel(f"{learning}: {what}", "iterations", what, [Curve(way, marks, lines[learning, way]) for way in _WAYS])
            for learning in _LEARNERS
            for what, lines in (("norm of the bias", norms), ("training loss", losses))
        ],
        images.described,
        bench.seeds,
        bench.share,
    )


def _last(lines: list[list[float]]) -> list[float]:
    return [line[-1] for line in lines]
