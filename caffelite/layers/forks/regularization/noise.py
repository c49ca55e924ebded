"""Noise: random numbers added to values, or factors for images, while training."""

from collections.abc import Sequence

import numpy as np

from caffelite.kernels import scale
from caffelite.kernels.engine import arrays
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.words import TRAIN, Shape, count


@layer("Noise")
class Noise(Layer):
    """In TRAIN, ``y = x + noise``; in TEST, y = x. In another fork each image is multiplied by a random number.

    Two forks have a layer of this name; ``noise_param`` tells them apart:

    *happynear* (``gaussian_std``, or ``uniform_range``; ``bias`` 0): the noise is normal, with mean ``bias`` and a
    deviation of ``gaussian_std`` times the root of the mean of x², or uniform, from ``bias - uniform_range`` to
    ``bias + uniform_range``. With neither there is none. The gradient passes as it is.

    *OpenCL Caffe*, naibaf7 (``mu``, ``sigma``): in TRAIN each image is multiplied by a normal number of mean ``mu`` (0)
    and deviation ``sigma`` (1); in TEST y is 0, as there.

    Random numbers depend on the seed and the number of the pass alone.
    """

    facts = Facts(backward_reads=frozenset(), kind="activation", settings=("noise_param",), deploy="identity")

    def setup(self) -> None:
        p = self.settings = self.param.noise_param
        self.multiplies = p.HasField("mu") or p.HasField("sigma")
        mine = [name for name in ("gaussian_std", "uniform_range", "bias") if p.HasField(name)]
        if self.multiplies and mine:
            self.error(
                f"{mine[0]} and {'mu' if p.HasField('mu') else 'sigma'} belong to different forks' Noise layers",
                mine[0],
            )
        self.noisy = self.context.phase == TRAIN
        if self.noisy:
            self.state["passes"] = np.zeros(1, np.int64)

    def specific_facts(self) -> Facts:
        return self.facts.but(deploy="kept") if self.multiplies else self.facts

    def _rng(self) -> np.random.Generator:
        passes = self.state["passes"]
        passes[0] += 1
        return np.random.default_rng([self.seed, int(passes[0])])

    @staticmethod
    def _per_image(x: Shape) -> tuple[int, int]:
        return (x[0], count(x[1:])) if x else (1, 1)

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, y = bottoms[0].data, tops[0].data
        if self.multiplies:
            images, length = self._per_image(x.shape)
            self.factors = np.zeros(images, x.dtype)
            if not self.noisy:
                return [lambda: y.fill(0)]
            return [self._draw_factors, scale.forward(x.reshape(-1), y.reshape(-1), self.factors, None, images, length)]
        if not self.noisy:
            return [arrays.copy(x, y)]
        first, values = self.context.place_in_batch(x.size)
        # All processes draw for the whole batch, and take what is for their own images.
        p, drawn = self.settings, arrays.zeros(values, x.dtype)
        noise = drawn[first : first + x.size].reshape(x.shape)

        def add() -> None:
            rng = self._rng()
            if p.HasField("gaussian_std"):
                rng.standard_normal(out=drawn, dtype=drawn.dtype)
                mean = self.context.over_batch(np.square(x).mean(dtype=np.float64) * self.context.part)
                deviation = p.gaussian_std * np.sqrt(mean)
                np.multiply(noise, deviation, out=noise)
            elif p.HasField("uniform_range"):
                rng.random(out=drawn, dtype=drawn.dtype)
                np.subtract(noise, 0.5, out=noise)
                np.multiply(noise, 2 * p.uniform_range, out=noise)
            else:
                np.copyto(y, x)
                return
            np.add(noise, p.bias, out=noise)
            np.add(x, noise, out=y)

        return [add]

    def _draw_factors(self) -> None:
        own = len(self.factors)
        first, whole = self.context.place_in_batch(own)
        drawn = self._rng().standard_normal(whole)[first : first + own]
        self.factors[:] = self.settings.mu + self.settings.sigma * drawn

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x = bottoms[0]
        if x.diff is None or tops[0].diff is None:
            return []
        if not self.multiplies:
            return [arrays.copy(tops[0].diff, x.diff)]
        # In TEST the factors are 0.
        return [scale.forward(tops[0].flat_diff, x.flat_diff, self.factors, None, *self._per_image(x.shape))]
