"""L1Loss and LpqLoss: sums of powers of differences."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from caffelite.kernels.engine.arrays import zeros
from caffelite.kernels.engine.calls import call
from caffelite.kernels.engine.compiling import kernel, specialised
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.loss import Loss
from caffelite.schema.messages import L1LossParameter, LpqLossParameter
from caffelite.words import Shape, count, text_of


@kernel
def _subtract(begin, end, worker, a, b, difference, known, length):
    """difference = a - b (a, where b is empty), known = how many are numbers; a task is an image."""
    for n in range(begin, end):
        numbers = 0
        for i in range(n * length, (n + 1) * length):
            difference[i] = a[i] - b[i] if len(b) else a[i]
            numbers += difference[i] == difference[i]
        known[n] = numbers


@kernel
def _sum(begin, end, worker, difference, sums, length, plateau, lenient):
    """sums = sum of |difference|; lenient: of what is a number and not below the plateau; a task is an image."""
    for n in range(begin, end):
        total: Any = 0.0
        for i in range(n * length, (n + 1) * length):
            d = abs(difference[i])
            total += d if not lenient or d >= plateau else np.float32(0)
        sums[n] = total


@kernel
def _signs(begin, end, worker, difference, dx, length, factor, plateau, lenient):
    """The gradient of :func:`_sum`, times factor[0]; a task is an image."""
    f = factor[0]
    for i in range(begin * length, end * length):
        d = difference[i]
        if lenient:
            dx[i] = (f if d > 0 else -f) if abs(d) >= plateau else np.float32(0)
        else:
            dx[i] = f if d > 0 else (-f if d < 0 else np.float32(0))


@specialised
def _places(p: float, q: float) -> Callable[..., None]:
    """Make the kernel of the loss of places, with these powers."""
    inner, outer, slope = np.float32(p), np.float32(q), np.float32(q - 1)

    def places(begin, end, worker, difference, sums, factors, channels, length, share, shift, outer_shift, plateau):
        """sums = sum over places of (share · sum over channels of (|d| + shift)^p + outer_shift)^q.

        A task is an image.

        Parameters
        ----------
        difference : ndarray of float, [images][channels][length]
            What is no number counts as 0.
        sums : ndarray of float64, [images]
        factors : ndarray of float, [images][length]
            Are set; the latter to the derivative of a place's value by the sum over its channels.
        channels, length : int
        share, shift, outer_shift : float
        plateau : float
            Values below it count as 0.
        """
        for n in range(begin, end):
            first = n * length
            for i in range(first, first + length):
                factors[i] = np.float32(0)
            for c in range(channels):
                row = (n * channels + c) * length
                for i in range(length):
                    d = abs(difference[row + i])
                    factors[first + i] += ((d if d == d else np.float32(0)) + np.float32(shift)) ** inner
            total: Any = 0.0
            for i in range(first, first + length):
                value = factors[i] * np.float32(share)
                flat = value < plateau
                base = np.float32(outer_shift) + (np.float32(0) if flat else value)
                total += base**outer
                factors[i] = np.float32(0) if flat else outer * np.float32(share) * base**slope
            sums[n] = total

    return places


@specialised
def _places_gradient(p: float) -> Callable[..., None]:
    """Make the kernel of the gradient of :func:`_places`."""
    power, slope = np.float32(p), np.float32(p - 1)

    def gradient(begin, end, worker, difference, factors, dx, channels, length, shift, factor):
        """A task is an image."""
        for n in range(begin, end):
            for c in range(channels):
                row = (n * channels + c) * length
                for i in range(length):
                    d = difference[row + i]
                    f = factor[0] * factors[n * length + i] * power
                    if d == d:
                        g = f * (abs(d) + np.float32(shift)) ** slope
                        dx[row + i] = g if d > 0 else -g
                    else:
                        dx[row + i] = np.float32(0)

    return gradient


class _DifferenceLoss(Loss):
    """A loss of the difference of two bottoms, or of one bottom.

    It sums over places ``(sum over channels of (|d| + shift)^p + outer_shift)^q``; an inner sum below ``plateau``
    counts as 0.
    """

    facts = Loss.facts.but(bottoms=(1, 2), tops=(0, 1), backward_reads=frozenset())
    p, q = 2.0, 0.5
    shift, outer_shift, plateau = 0.0, 0.0, 0.0
    settings: L1LossParameter | LpqLossParameter

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        x = bottoms[0]
        if len(x) < 2:
            self.shape_error(f"takes a bottom with a channel axis (images × channels × …), not {text_of(x)}")
        if bottoms[-1][:1] != x[:1] or count(bottoms[-1]) != count(x):
            self.shape_error(
                f"its bottoms must have as many images and as many values, not {text_of(x)} and {text_of(bottoms[-1])}",
                "bottom",
                1,
            )
        return [()]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        a = bottoms[0]
        images, length = a.shape[0], count(a.shape[1:])
        self.difference = zeros(a.data.size, a.data.dtype)
        self.known, self.sums = np.zeros(images, np.int64), np.zeros(images)
        self.divided_by = 1.0
        b = bottoms[1].flat if len(bottoms) == 2 else np.empty(0, a.data.dtype)
        out = tops[0].flat

        def finish() -> None:
            self.divided_by = self._divisor(images, a.shape[1])
            out[0] = self.sums.sum() / self.divided_by

        return [
            call(_subtract, images, a.flat, b, self.difference, self.known, length, work=a.data.size * 2),
            *self._summed(a.shape),
            finish,
        ]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        weight = tops[0].flat_diff
        factors = np.zeros(2, tops[0].data.dtype)

        def prepare() -> None:
            factors[0] = weight[0] / self.divided_by
            factors[1] = -factors[0]

        steps: list[Step] = [prepare]
        for j, x in enumerate(bottoms):
            if x.diff is not None:
                steps.append(self._slopes(x.shape, x.flat_diff, factors[j : j + 1]))
        return steps

    def _divisor(self, images: int, channels: int) -> float:
        if not self.settings.normalize_by_num_entries:
            return float(images)
        # Where nothing is a number the loss is 0.
        return (float(self.context.over_batch(self.known.sum())) / channels or 1.0) * self.context.part

    def _summed(self, shape: Shape) -> list[Step]:
        """Return the steps that sum each image's loss."""
        images, channels = shape[:2]
        length = count(shape[2:])
        self.factors = zeros(images * length, self.difference.dtype)
        share = 1 / channels if self.settings.l2_prescale_by_channels else 1.0
        return [
            call(
                _places(self.p, self.q),
                images,
                self.difference,
                self.sums,
                self.factors,
                channels,
                length,
                share,
                self.shift,
                self.outer_shift,
                self.plateau,
                work=self.difference.size * 20,
            )
        ]

    def _slopes(self, shape: Shape, dx: np.ndarray, factor: np.ndarray) -> Step:
        """Return the step that computes the gradient times ``factor[0]``."""
        return call(
            _places_gradient(self.p),
            shape[0],
            self.difference,
            self.factors,
            dx,
            shape[1],
            count(shape[2:]),
            self.shift,
            factor,
            work=dx.size * 20,
        )


@layer("L1Loss")
class L1Loss(_DifferenceLoss):
    """``sum of |a - b| / N`` for N images; with one bottom, of ``|a|``.

    Without ``l1_loss_param`` this is NVIDIA's layer: NaN stays NaN, and where a = b the gradient is 0. With it, it is
    FlowNet2's: a difference that is NaN (a place where nothing is known) does not count, and where a = b the gradient
    is that of ``b - a``. ``l1_loss_param``: ``normalize_by_num_entries`` (false: N; true: the number of differences
    that are numbers, over the channels); ``plateau`` (0: differences below it do not count); ``l2_per_location``: the
    sum over places of ``sqrt(sum over channels of (a - b)² + epsilon)``, with ``epsilon`` (0.01), the inner sum as a
    mean with ``l2_prescale_by_channels``, and a plateau of distances.

    Dosovitskiy et al., "FlowNet", 2015 (the endpoint error); lmb-freiburg/flownet2, NVIDIA/caffe.
    """

    facts = _DifferenceLoss.facts.but(settings=("l1_loss_param",))
    settings: L1LossParameter

    def setup(self) -> None:
        p = self.settings = self.param.l1_loss_param
        self.lenient = self.param.HasField("l1_loss_param")
        if not self.lenient and len(self.param.bottom) == 1:
            self.error("takes 2 bottoms, a and b (with l1_loss_param it can take the differences alone)")
        self.plateau = p.plateau**2 if p.l2_per_location else p.plateau
        self.outer_shift = p.epsilon

    def _summed(self, shape: Shape) -> list[Step]:
        if self.settings.l2_per_location:
            return super()._summed(shape)
        return [
            call(
                _sum,
                shape[0],
                self.difference,
                self.sums,
                count(shape[1:]),
                self.plateau,
                int(self.lenient),
                work=self.difference.size,
            )
        ]

    def _slopes(self, shape: Shape, dx: np.ndarray, factor: np.ndarray) -> Step:
        if self.settings.l2_per_location:
            return super()._slopes(shape, dx, factor)
        return call(
            _signs,
            shape[0],
            self.difference,
            dx,
            count(shape[1:]),
            factor,
            self.plateau,
            int(self.lenient),
            work=dx.size,
        )


@layer("LpqLoss")
class LpqLoss(_DifferenceLoss):
    """``1/N sum over places of (sum over channels of (|a - b| + p_epsilon)^p + q_epsilon)^q`` for N images.

    ``lpq_loss_param``: ``p`` and ``q``, one each (FlowNet2 can change them with the iteration, by
    ``pq_episode_starts_at_iter``; a layer here does not know it); ``p_epsilon`` (0); ``q_epsilon`` (0.01);
    ``l2_prescale_by_channels`` (the sum over channels as a mean); ``normalize_by_num_entries`` as in L1Loss. A
    difference that is NaN counts as 0 and has no gradient. With one bottom, of ``|a|``.

    Sun et al., "A Quantitative Analysis of Current Practices in Optical Flow Estimation", 2014; lmb-freiburg/flownet2.
    """

    facts = _DifferenceLoss.facts.but(settings=("lpq_loss_param",))

    def setup(self) -> None:
        s = self.settings = self.param.lpq_loss_param
        if len(s.p) != 1 or len(s.q) != 1 or list(s.pq_episode_starts_at_iter) not in ([], [0]):
            self.error("lpq_loss_param needs one p and one q, which hold from the first iteration on")
        self.p, self.q, self.shift, self.outer_shift = s.p[0], s.q[0], s.p_epsilon, s.q_epsilon
