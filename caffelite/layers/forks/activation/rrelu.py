"""RReLU and Insanity: ReLU with a random slope for negative values."""

import math
from collections.abc import Sequence

import numpy as np

from caffelite.kernels.engine import arrays
from caffelite.kernels.engine.arrays import CHUNK
from caffelite.kernels.engine.calls import call
from caffelite.kernels.engine.compiling import kernel
from caffelite.kernels.functions import random32
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.words import TRAIN

_F = np.float32


@kernel
def _forward(begin, end, worker, x, y, slopes, seed, passes, first, low, high):
    """y = x * slope, the slope 1 or 1 / (a number from low to high); a task is CHUNK elements.

    ``first`` elements of the batch come before those of ``x``: the slope at i depends on ``first + i``.
    """
    for i in range(begin * CHUNK, min(end * CHUNK, len(x))):
        divisor = _F(low) + _F(high - low) * random32(seed, passes[0], first + i)
        slope = _F(1) if x[i] > _F(0) else _F(1) / divisor
        slopes[i] = slope
        y[i] = x[i] * slope


@kernel
def _backward(begin, end, worker, dy, slopes, dx):
    """dx = dy * slope; a task is CHUNK elements."""
    for i in range(begin * CHUNK, min(end * CHUNK, len(dy))):
        dx[i] = dy[i] * slopes[i]


@layer("RReLU", "Insanity")
class RReLU(Layer):
    """``y = max(x, 0) + min(x, 0) / a``; in TRAIN a is a random number of its own for each value.

    It is uniform from ``lb`` (5) to ``ub`` (10); in TEST all are ``(ub - lb) / log(ub / lb)``. Which ones there are
    depends on the seed and the number of the pass alone. ``rrelu_param`` (RReLU, of ducha-aiki's fork) or
    ``insanity_param`` (Insanity, of happynear's).

    Xu et al., "Empirical Evaluation of Rectified Activations in Convolutional Network", 2015.
    """

    facts = Facts(
        in_place=True,
        backward_reads=frozenset(),
        kind="activation",
        settings=("insanity_param", "rrelu_param"),
        rectifies=True,
    )

    def setup(self) -> None:
        p = self.param.insanity_param if self.param.type == "Insanity" else self.param.rrelu_param
        if not p.lb < p.ub or p.lb * p.ub == 0:
            self.error(f"lb is {p.lb:g} and ub is {p.ub:g}, expected lb below ub and neither 0", "lb")
        self.passes = np.zeros(1, np.int64)
        self.bounds = float(p.lb), float(p.ub)
        if self.context.phase == TRAIN:
            self.state["passes"] = self.passes
        elif p.lb == -p.ub:
            self.error(f"lb is -ub ({p.lb:g}), between which there is no logarithmic mean", "lb")
        else:
            mean = (p.ub - p.lb) / (math.log(abs(p.ub)) - math.log(abs(p.lb)))
            self.bounds = mean, mean

    def _count(self) -> None:
        self.passes[0] += 1

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x = bottoms[0]
        self.slopes = arrays.zeros(x.data.size, x.data.dtype)
        return [
            self._count,
            call(
                _forward,
                -(-x.data.size // CHUNK),
                x.flat,
                tops[0].flat,
                self.slopes,
                self.seed,
                self.passes,
                self.context.place_in_batch(x.data.size)[0],
                *self.bounds,
                work=x.data.size * 10,
            ),
        ]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        dx = bottoms[0].diff
        if dx is None:
            return []
        return [call(_backward, -(-dx.size // CHUNK), tops[0].flat_diff, self.slopes, dx.reshape(-1), work=dx.size)]
