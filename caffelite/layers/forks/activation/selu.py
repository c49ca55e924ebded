"""SeLu and SeLuDropout: values that keep mean 0 and variance 1 from layer to layer."""

from collections.abc import Sequence

import numpy as np

from caffelite.kernels.dropout import backward as masked
from caffelite.kernels.elementwise import Function, define
from caffelite.kernels.engine import arrays
from caffelite.kernels.engine.arrays import CHUNK
from caffelite.kernels.engine.calls import call
from caffelite.kernels.engine.compiling import kernel
from caffelite.kernels.functions import exp32, random32
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.elementwise import ElementWise
from caffelite.words import TRAIN

_F = np.float32
# Constants: the factor above 0; that of exp(x) - 1 below.
_SELU = define(
    Function(
        "SeLu",
        lambda x, p, o: p[o] * max(x, _F(0)) + p[o + 1] * (exp32(min(x, _F(0))) - _F(1)),
        lambda x, y, p, o: p[o] if x > _F(0) else y + p[o + 1],
        "x",
        2,
    )
)


@layer("SeLu")
class SeLu(ElementWise):
    """``y = lambda x`` above 0, ``lambda alpha (exp(x) - 1)`` below.

    ``selu_param``: ``lambda`` (1.05070102), ``alpha`` (1.67326319). In jolibrain's fork.

    Klambauer et al., "Self-Normalizing Neural Networks", 2017.
    """

    facts = ElementWise.facts.but(kind="activation", settings=("selu_param",))

    def setup(self) -> None:
        settings = self.param.selu_param
        factor = getattr(settings, "lambda")
        self.use(_SELU, factor, factor * settings.alpha)


@kernel
def _drop(begin, end, worker, x, y, mask, seed, passes, first, ratio, alpha, scale, offset):
    """y = (x or alpha) * scale + offset, which of the two as the mask says; a task is CHUNK elements.

    ``first`` elements of the batch come before those of ``x``: the mask at i depends on ``first + i``.
    """
    limit, low, factor, shift = _F(ratio), _F(alpha), _F(scale), _F(offset)
    for i in range(begin * CHUNK, min(end * CHUNK, len(x))):
        kept = random32(seed, passes[0], first + i) >= limit
        mask[i] = kept
        y[i] = (x[i] if kept else low) * factor + shift


@layer("SeLuDropout")
class SeLuDropout(Layer):
    """In TRAIN, with probability ``dropout_ratio`` a value becomes ``alpha``; then all are ``a y + b``. In TEST, y = x.

    a and b keep mean 0 and variance 1: with q = 1 - ``dropout_ratio``, ``a = (q (1 + alpha² (1 - q)))^-½`` and
    ``b = -a (1 - q) alpha``. ``selu_dropout_param``: ``dropout_ratio`` (0.1), ``alpha`` (-1.75809932). Which values
    are left out depends on the seed and the number of the pass alone. In jolibrain's fork.

    Klambauer et al., "Self-Normalizing Neural Networks", 2017.
    """

    facts = Facts(in_place=True, backward_reads=frozenset(), kind="activation", settings=("selu_dropout_param",))

    def setup(self) -> None:
        settings = self.param.selu_dropout_param
        self.ratio, self.alpha = settings.dropout_ratio, settings.alpha
        if not 0 <= self.ratio < 1:
            self.error(f"dropout_ratio is {self.ratio:g}, expected at least 0 and below 1", "dropout_ratio")
        kept = 1 - self.ratio
        self.scale = (kept * (1 + self.alpha**2 * self.ratio)) ** -0.5
        self.offset = -self.scale * self.ratio * self.alpha
        self.train = self.context.phase == TRAIN
        if self.train:
            self.state["passes"] = np.zeros(1, np.int64)

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, y = bottoms[0].flat, tops[0].flat
        if not self.train:
            return _copied(x, y)
        passes = self.state["passes"]
        self.mask = arrays.zeros(x.size, np.uint8)

        def count_pass() -> None:
            passes[0] += 1

        return [
            count_pass,
            call(
                _drop,
                -(-x.size // CHUNK),
                x,
                y,
                self.mask,
                self.seed,
                passes,
                self.context.place_in_batch(x.size)[0],
                self.ratio,
                self.alpha,
                self.scale,
                self.offset,
                work=x.size * 8,
            ),
        ]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        if bottoms[0].diff is None:
            return []
        dx, dy = bottoms[0].flat_diff, tops[0].flat_diff
        return [masked(dy, dx, self.mask, self.scale)] if self.train else _copied(dy, dx)


def _copied(source: np.ndarray, target: np.ndarray) -> list[Step]:
    return [] if source.ctypes.data == target.ctypes.data else [arrays.copy(source, target)]
