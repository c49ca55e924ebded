"""ConvolutionRistretto, DeconvolutionRistretto and FcRistretto: layers computed with numbers of few bits."""

import math
from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np

from caffelite.kernels.engine.arrays import CHUNK, zeros
from caffelite.kernels.engine.calls import call
from caffelite.kernels.engine.compiling import specialised
from caffelite.kernels.functions import random32
from caffelite.layers.contract.blobs import Blob, Parameter, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.layers.convolution import Convolution
from caffelite.layers.deconvolution import Deconvolution
from caffelite.layers.inner_product import InnerProduct
from caffelite.words import TEST, Shape

_FIXED, _FLOAT, _POWER = 0, 1, 2
_STOCHASTIC = 1


@specialised
def _quantise(form: int, stochastic: bool) -> Callable[..., None]:
    """Make the kernel of a form of numbers, rounded to the nearest or (``stochastic``) at random.

    Gysel et al., "Hardware-oriented Approximation of Convolutional Neural Networks", 2016.
    """

    def quantise(begin, end, worker, x, y, seed, passes, one, other):
        """y = the number of few bits next to x; a task is CHUNK elements.

        Parameters
        ----------
        x, y : ndarray of float, [elements]
            ``y`` is set.
        seed : int
        passes : ndarray of int64, [1]
            The number of the pass, which chance depends on.
        one, other : int
            Bits and fractional bits (fixed), bits of mantissa and exponent (float), least and largest exponent (power).
        """
        unit = 2.0**-other if form == _FIXED else 2.0**one
        for i in range(begin * CHUNK, min(end * CHUNK, len(x))):
            value = np.float64(x[i])
            size, sign = abs(value), 1.0 if value >= 0 else -1.0
            exponent = 0.0
            if form == _FIXED:
                half = 2.0 ** (one - 1)
                value = max(min(value, (half - 1) * unit), -half * unit) / unit
                size, sign = abs(value), 1.0 if value >= 0 else -1.0
            elif form == _FLOAT:
                mantissa, power = math.frexp(size)
                exponent = power - 1.0
                size = (2 * mantissa - 1) * unit
            else:
                size = np.log2(size)
            # Rounded away from 0 where half way, as C does.
            if stochastic and form == _FIXED:
                value = np.floor(value + random32(seed, passes[0], i))
            elif stochastic:
                size = np.floor(size + random32(seed, passes[0], i))
            elif size < 0:
                size = -np.floor(0.5 - size)
            else:
                size = np.floor(size + 0.5)
            if form == _FIXED:
                y[i] = (value if stochastic else sign * size) * unit
            elif form == _FLOAT:
                bias = 2.0 ** (other - 1) - 1
                largest = 2.0**other - 1 - bias
                if exponent > largest:
                    exponent, size = largest, unit - 1
                small = value == 0 or exponent < -bias
                y[i] = 0.0 if small else sign * (size / unit + 1) * 2.0**exponent
            else:
                y[i] = sign * 2.0 ** max(min(size, np.float64(other)), np.float64(one))

    return quantise


class _Ristretto(Layer):
    """A layer whose parameters, bottoms and tops are rounded to numbers of few bits."""

    facts = Facts(backward_reads=frozenset({"bottom"}))
    original: ClassVar[type[Layer]]

    def setup(self) -> None:
        self.inner = self.original(self.param, self.context, self.place)
        p = self.settings = self.param.quantization_param
        self.passes = np.zeros(1, np.int64)
        if self.context.phase != TEST or p.rounding_scheme == _STOCHASTIC:
            self.state["passes"] = self.passes
        for name in ("bw_layer_in", "bw_layer_out", "bw_params", "mant_bits", "exp_bits"):
            if not 1 <= getattr(p, name) <= 62:
                self.error(f"{name} is {getattr(p, name)}, expected 1 to 62", name)
        for name in ("fl_layer_in", "fl_layer_out", "fl_params"):
            if len(getattr(p, name)) > 1:
                self.error(f"{name} is given {len(getattr(p, name))} times, expected once", name)
        if p.exp_min > p.exp_max:
            self.error(f"exp_min is {p.exp_min}, above exp_max, {p.exp_max}", "exp_min")

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        return self.inner.shapes(*bottoms)

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        return self.inner.parameters(*bottoms)

    def _rounding(self, source: np.ndarray, target: np.ndarray, what: str, number: int) -> Step:
        """Return the step that rounds ``layer_in``, ``layer_out`` or ``params``, with random numbers of its own."""
        p = self.settings
        stochastic = p.rounding_scheme == _STOCHASTIC or self.context.phase != TEST
        form = p.precision
        if form == _POWER and what != "params":
            form = _FIXED
        if form == _FIXED:
            fraction = list(getattr(p, f"fl_{what}")) or [16]
            numbers = getattr(p, f"bw_{what}"), fraction[0]
        elif form == _FLOAT:
            numbers = p.mant_bits, p.exp_bits
        else:
            numbers = p.exp_min, p.exp_max
        return call(
            _quantise(form, stochastic),
            -(-source.size // CHUNK),
            source.reshape(-1),
            target.reshape(-1),
            self.seed + number & 0x7FFFFFFFFFFFFFFF,
            self.passes,
            *map(float, numbers),
            work=source.size * 20,
        )

    def _count(self) -> None:
        self.passes[0] += 1

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        test = self.context.phase == TEST
        steps: list[Step] = [self._count]
        self.inner.blobs = []
        for j, blob in enumerate(self.blobs):
            exact = j and self.settings.precision == _POWER
            values = blob.data if exact else zeros(blob.shape, blob.data.dtype)
            if not exact:
                steps.append(self._rounding(blob.data, values, "params", j))
            self.inner.blobs.append(Blob(blob.name, values))
        self.inputs = list(bottoms)
        for j, x in enumerate(bottoms if test else []):
            self.inputs[j] = Blob(x.name, zeros(x.shape, x.data.dtype), x.diff)
            steps.append(self._rounding(x.data, self.inputs[j].data, "layer_in", 10 + j))
        steps += self.inner.forward(self.inputs, tops)
        if test:
            steps += [self._rounding(y.data, y.data, "layer_out", 1000 + j) for j, y in enumerate(tops)]
        return steps

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        for own, blob in zip(self.inner.blobs, self.blobs, strict=True):
            own.diff = blob.diff
        return list(self.inner.backward(self.inputs, tops))

    def multiply_adds(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> tuple[int, int]:
        if not self.inner.blobs:  # it has not been planned; those that are not rounded have the same sizes
            self.inner.blobs = self.blobs
        return self.inner.multiply_adds(bottoms, tops)


@layer("ConvolutionRistretto")
class ConvolutionRistretto(_Ristretto):
    """A Convolution whose parameters, bottoms and tops are rounded to numbers of few bits, and then float32.

    Each pass rounds the parameters (the learned ones stay as they are), and in TEST also what comes in and goes out.
    In TRAIN the rounding of parameters is stochastic; the gradient passes it as if it were not there.
    ``quantization_param``: ``precision``:

    DYNAMIC_FIXED_POINT: whole multiples of ``2^-fl`` that have ``bw`` bits with their sign: ``bw_params`` and
    ``fl_params``, ``bw_layer_in`` and ``fl_layer_in``, ``bw_layer_out`` and ``fl_layer_out`` (32 and 16).
    MINIFLOAT: ``mant_bits`` (23) and ``exp_bits`` (8), without a sign for infinity and without numbers below the least
    exponent, which become 0. INTEGER_POWER_OF_2_WEIGHTS: weights of ``±2^e``, e from ``exp_min`` (-8) to ``exp_max``
    (-1); the bias stays, bottoms and tops are of fixed point. ``rounding_scheme`` (of TEST): NEAREST, or STOCHASTIC,
    which depends on the seed and the number of the pass alone.

    Differs from Ristretto in what it does by mistake: there the bottom itself is rounded, for all its readers; on a CPU
    the first 0 ends the rounding to minifloat, and powers of 2 go with bottoms and tops that are not rounded.

    pmgysel/caffe. Gysel et al., "Ristretto: Hardware-Oriented Approximation of Convolutional Neural Networks", 2016.
    """

    facts = _Ristretto.facts.but(
        bottoms=Convolution.facts.bottoms,
        tops=Convolution.facts.tops,
        kind="weights",
        settings=("convolution_param", "quantization_param"),
    )
    original = Convolution


@layer("DeconvolutionRistretto")
class DeconvolutionRistretto(_Ristretto):
    """A Deconvolution with numbers of few bits: see ConvolutionRistretto."""

    facts = _Ristretto.facts.but(
        bottoms=Deconvolution.facts.bottoms,
        tops=Deconvolution.facts.tops,
        kind="weights",
        settings=("convolution_param", "quantization_param"),
    )
    original = Deconvolution


@layer("FcRistretto")
class FcRistretto(_Ristretto):
    """An InnerProduct with numbers of few bits: see ConvolutionRistretto."""

    facts = _Ristretto.facts.but(kind="weights", settings=("inner_product_param", "quantization_param"))

    original = InnerProduct
