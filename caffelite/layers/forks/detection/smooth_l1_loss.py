"""SmoothL1Loss: squares near zero, absolute values further out."""

from collections.abc import Callable, Sequence

import numpy as np

from caffelite.kernels.engine import arrays
from caffelite.kernels.engine.arrays import CHUNK
from caffelite.kernels.engine.calls import call
from caffelite.kernels.engine.compiling import specialised
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.loss import NONE, Loss
from caffelite.words import Shape, count, text_of

_F = np.float32


@specialised
def _forward(weights: int) -> Callable[..., None]:
    """Make the kernel for none, one or both of the weights. Girshick, "Fast R-CNN", 2015, section 2.3."""

    def forward(begin, end, worker, x, t, inside, outside, d, sums, sigma2):
        """d = inside · (x - t), sums[task] = sum of outside · f(d); a task is CHUNK elements.

        ``x, t, inside, outside, d`` are [elements], ``sums``, float64, is [tasks]; ``d`` and ``sums`` are set.
        """
        half, factor = _F(0.5), _F(sigma2)
        for task in range(begin, end):
            total = 0.0
            for i in range(task * CHUNK, min((task + 1) * CHUNK, len(x))):
                value = x[i] - t[i]
                if weights > 0:
                    value *= inside[i]
                d[i] = value
                size = abs(value)
                part = half * value * value * factor if size * factor < _F(1) else size - half / factor
                if weights > 1:
                    part *= outside[i]
                total += part
            sums[task] = total

    return forward


@specialised
def _backward(weights: int) -> Callable[..., None]:
    """Make the kernel of the gradient of :func:`_forward`."""

    def backward(begin, end, worker, d, inside, outside, dx, scale, sigma2):
        """dx = scale[0] · outside · inside · f'(d), all [elements]; a task is CHUNK elements."""
        factor = _F(sigma2)
        for i in range(begin * CHUNK, min(end * CHUNK, len(d))):
            value = d[i] * factor
            value = min(max(value, _F(-1)), _F(1)) * scale[0]
            if weights > 0:
                value *= inside[i]
            if weights > 1:
                value *= outside[i]
            dx[i] = value

    return backward


@layer("SmoothL1Loss")
class SmoothL1Loss(Loss):
    """``sum of w' f(w (x - t)) / N``: f(d) is ``(sigma d)² / 2`` where ``|d| < 1/sigma²``, else ``|d| - 1/(2 sigma²)``.

    Bottoms: predictions x and targets t, ``N × …``; weights w and w' of their size, or only w, or none.
    ``smooth_l1_loss_param``: ``sigma`` (1). With ``loss_param { normalization: NONE }`` the sum is not divided by N.

    From the Fast R-CNN and SSD forks; Girshick, "Fast R-CNN", 2015.
    """

    facts = Loss.facts.but(
        bottoms=(2, 4),
        tops=(0, 1),
        backward_reads=frozenset({"bottom"}),
        without_gradient=(2, 3),
        refuses_gradient=False,
        settings=("loss_param", "smooth_l1_loss_param"),
    )

    def setup(self) -> None:
        sigma = self.param.smooth_l1_loss_param.sigma
        if not sigma > 0:
            self.error(f"sigma is {sigma:g}, expected above 0", "sigma")
        self.sigma2 = float(sigma * sigma)

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        x = bottoms[0]
        for j, other in enumerate(bottoms):
            if not other or count(other) != count(x) or other[0] != x[0]:
                self.shape_error(
                    f"its bottoms must have the same shape, not {text_of(x)} and {text_of(other)}", "bottom", j
                )
        return [()]

    def loss_divisor(self, x: Shape) -> float:
        """Return what the sum is divided by."""
        return self.context.part if self.normalization(-1) == NONE else float(max(x[0], 1))

    @staticmethod
    def _weights(bottoms: Sequence[Blob]) -> tuple[np.ndarray, np.ndarray]:
        """Return the two weights; where there are none, something for the kernels that they do not read."""
        given = [x.flat for x in bottoms[2:]] + [bottoms[0].flat] * 2
        return given[0], given[1]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, t = bottoms[:2]
        self.difference = arrays.zeros(x.data.size, x.data.dtype)
        sums = np.zeros(-(-x.data.size // CHUNK))
        self.divided_by = self.loss_divisor(x.shape)
        out = tops[0].flat

        def finish() -> None:
            out[0] = sums.sum() / self.divided_by

        return [
            call(
                _forward(len(bottoms) - 2),
                len(sums),
                x.flat,
                t.flat,
                *self._weights(bottoms),
                self.difference,
                sums,
                self.sigma2,
                work=8 * x.data.size,
            ),
            finish,
        ]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        weight = tops[0].flat_diff
        steps: list[Step] = []
        for sign, x in zip((1, -1), bottoms[:2], strict=True):
            if x.diff is None:
                continue
            scale = np.zeros(1, x.data.dtype)

            def prepare(scale: np.ndarray = scale, sign: int = sign) -> None:
                scale[0] = sign * weight[0] / self.divided_by

            steps += [
                prepare,
                call(
                    _backward(len(bottoms) - 2),
                    -(-x.data.size // CHUNK),
                    self.difference,
                    *self._weights(bottoms),
                    x.flat_diff,
                    scale,
                    self.sigma2,
                    work=6 * x.data.size,
                ),
            ]
        return steps
