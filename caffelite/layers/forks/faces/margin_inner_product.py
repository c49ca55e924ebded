"""MarginInnerProduct and LargeMarginInnerProduct: scores of classes, that of the label made harder to get."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from numba.extending import register_jitable

from caffelite.kernels.engine.arrays import zeros
from caffelite.kernels.engine.calls import call
from caffelite.kernels.engine.compiling import kernel
from caffelite.kernels.inner_product import product
from caffelite.layers.contract.blobs import Blob, Parameter, Step, with_gradient
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.loss import Loss
from caffelite.schema.messages import LargeMarginInnerProductParameter, MarginInnerProductParameter
from caffelite.words import Shape, count

_F = np.float32
_SMALL = _F(1e-9)


@register_jitable
def _sign(x):
    return _F(1) if x > _F(0) else (_F(-1) if x < _F(0) else _F(0))


@register_jitable
def _harder(c, m):
    """Return what takes the place of the cosine c for the margin m (2 to 4), and its derivative."""
    s = _sign(c)
    if m == 2:
        return _F(2) * s * c * c - _F(1), _F(4) * s * c
    if m == 3:
        t = _sign(abs(c) - _F(0.5))
        return t * (_F(4) * c * c - _F(3)) * c + s * (_F(1) + t) - _F(2), t * (_F(12) * c * c - _F(3))
    t = s * _sign(_F(2) * c * c - _F(1))
    value = t * (_F(8) * c * c * (c * c - _F(1)) + _F(1)) + _F(2) * s + t - _F(3)
    return value, t * (_F(32) * c * c - _F(16)) * c


@kernel
def _unit_rows(begin, end, worker, w, length):
    """Make each row of length one; a task is a row."""
    for task in range(begin, end):
        total = _F(0)
        for i in range(task * length, (task + 1) * length):
            total += w[i] * w[i]
        norm = np.sqrt(total)
        for i in range(task * length, (task + 1) * length if total > 0 else 0):
            w[i] /= norm


@kernel
def _margins(begin, end, worker, x, w, labels, y, measures, shares, classes, length, m):
    """Change the label's score of each row, keep [norm of x, norm of w, slope, rest]; a task is a row.

    Shares are those of the changed and of the plain score.
    """
    for n in range(begin, end):
        label = np.int64(labels[n])
        xx, ww = _F(0), _F(0)
        for i in range(length):
            xx += x[n * length + i] * x[n * length + i]
            ww += w[label * length + i] * w[label * length + i]
        x_norm, w_norm = np.sqrt(xx), np.sqrt(ww)
        place = n * classes + label
        size = x_norm * w_norm + _SMALL
        c = y[place] / size
        value, slope = _harder(c, m)
        y[place] = shares[0] * size * value + shares[1] * y[place]
        measures[n * 4], measures[n * 4 + 1] = x_norm, w_norm
        measures[n * 4 + 2], measures[n * 4 + 3] = slope, value - c * slope


@kernel
def _spread(begin, end, worker, dy, labels, measures, shares, changed, to_x, to_w, classes, unit):
    """changed = dy with the slope of the label's score; to_x, to_w = the factors of x and w themselves.

    A task is a row; ``unit``: slope and factor of x are divided by their length.
    """
    for n in range(begin, end):
        for c in range(n * classes, (n + 1) * classes):
            changed[c] = dy[c]
        place = n * classes + np.int64(labels[n])
        x_norm, w_norm = measures[n * 4] + _SMALL, measures[n * 4 + 1] + _SMALL
        slope, rest = measures[n * 4 + 2], measures[n * 4 + 3] * measures[n * 4 + 1] / x_norm
        if unit:
            size = np.sqrt(slope * slope + rest * rest)
            slope, rest = slope / size, rest / size
        to_x[n] = dy[place] * shares[0] * rest
        to_w[n] = dy[place] * shares[0] * measures[n * 4 + 3] * measures[n * 4] / w_norm
        changed[place] = dy[place] * (shares[0] * slope + shares[1])


@kernel
def _add_rows(begin, end, worker, x, factors, dx, length):
    """dx += factors * x; a task is a row."""
    for n in range(begin, end):
        for i in range(n * length, (n + 1) * length):
            dx[i] += factors[n] * x[i]


@kernel
def _add_classes(begin, end, worker, w, labels, factors, dw, length):
    """dw[label] += factors * w[label]; a task is a column, so that no two threads add to one element."""
    for n in range(len(labels)):
        first = np.int64(labels[n]) * length
        for i in range(begin, end):
            dw[first + i] += factors[n] * w[first + i]


class _MarginInnerProduct(Loss):
    """Scores ``x · w`` of all classes; that of the label is ``(|x| |w| f(cos) + lambda x · w) / (1 + lambda)``.

    cos is the cosine of the angle t between x and w, and ``f = (-1)^k cos(m t) - 2k`` with k the number of whole
    ``pi / m`` in t: it falls m times as fast as the cosine.
    """

    facts = Loss.facts.but(
        bottoms=2,
        tops=(1, 2),
        loss=False,
        deploy="kept",
        backward_reads=frozenset({"bottom"}),
        without_gradient=(1,),
        labels=(1,),
        refuses_gradient=False,
    )
    settings: LargeMarginInnerProductParameter | MarginInnerProductParameter

    def setup(self) -> None:
        if not self.settings.num_output:
            self.error(f"{self.settings.DESCRIPTOR.name} needs num_output of at least 1", "num_output")
        self.state["iteration"] = np.array([self.settings.iteration], np.int64)

    def _sizes(self, x: Shape) -> tuple[int, int]:
        axis = self.axis(self.settings.axis, x)
        return count(x[:axis]), count(x[axis:])

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        rows, _ = self._sizes(bottoms[0])
        self.check_labels_of_rows(rows, bottoms[1])
        top = (*bottoms[0][: self.axis(self.settings.axis, bottoms[0])], self.settings.num_output)
        return [top, (1,)][: len(self.param.top)]

    def of_batch(self, top: int, shape: Shape) -> bool:
        return top == 1

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        shape = (self.settings.num_output, self._sizes(bottoms[0])[1])
        return [Parameter(shape, self.settings.weight_filler)]

    def _weaken(self, shares: np.ndarray, tops: Sequence[Blob]) -> None:
        """Set what the changed and the plain score count in this pass."""
        s, iteration = self.settings, self.state["iteration"]
        iteration[0] += 1
        weight = max(s.base * (1 + s.gamma * int(iteration[0])) ** -s.power, s.lambda_min)
        shares[:] = 1 / (1 + weight), weight / (1 + weight)
        if len(tops) > 1:
            tops[1].flat[0] = weight

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, w, labels, y = bottoms[0], self.blobs[0], bottoms[1].flat, tops[0]
        rows, length = self._sizes(x.shape)
        classes, margin = self.settings.num_output, self.settings.type + 1
        dtype = x.data.dtype
        self.measures, self.shares = zeros(rows * 4, dtype), np.zeros(2, dtype)
        steps: list[Step] = [
            self.class_checker(labels, classes),
            partial(self._weaken, self.shares, tops),
            *product(x.data, (length, 1), w.data, (1, length), y.data, (rows, classes, length)),
        ]
        if margin > 1:
            steps.append(
                call(
                    _margins,
                    rows,
                    x.flat,
                    w.flat,
                    labels,
                    y.flat,
                    self.measures,
                    self.shares,
                    classes,
                    length,
                    margin,
                    work=x.data.size * 4,
                )
            )
        return steps

    def multiply_adds(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> tuple[int, int]:
        products = bottoms[0].data.size * self.settings.num_output
        return products, products * with_gradient(bottoms[0], self.blobs[0])

    def _gradients(
        self, bottoms: Sequence[Blob], dy: np.ndarray, unit: bool
    ) -> tuple[list[Step], np.ndarray, np.ndarray, np.ndarray]:
        """Return the steps, and what they set: the gradient of the plain scores, the factors of x and of w."""
        rows, _ = self._sizes(bottoms[0].shape)
        changed, to_x, to_w = zeros(dy.size, dy.dtype), np.zeros(rows, dy.dtype), np.zeros(rows, dy.dtype)
        step = call(
            _spread,
            rows,
            dy,
            bottoms[1].flat,
            self.measures,
            self.shares,
            changed,
            to_x,
            to_w,
            self.settings.num_output,
            int(unit),
            work=dy.size,
        )
        return [step], changed, to_x, to_w

    def _to_bottom(self, x: Blob, dy: np.ndarray, to_x: np.ndarray | None) -> list[Step]:
        if x.diff is None:
            return []
        rows, length = self._sizes(x.shape)
        classes = self.settings.num_output
        steps: list[Step] = [
            *product(dy, (classes, 1), self.blobs[0].data, (length, 1), x.diff, (rows, length, classes))
        ]
        if to_x is not None:
            steps.append(call(_add_rows, rows, x.flat, to_x, x.flat_diff, length, work=x.data.size))
        return steps

    def _to_weights(self, x: Blob, dy: np.ndarray) -> list[Step]:
        dw = self.blobs[0].diff
        if dw is None:
            return []
        rows, length = self._sizes(x.shape)
        classes = self.settings.num_output
        return [*product(dy, (1, classes), x.data, (length, 1), dw, (classes, length, rows), add=True)]


@layer("MarginInnerProduct")
class MarginInnerProduct(_MarginInnerProduct):
    """Scores of classes whose weights have length one, with an angular margin for the label's (A-Softmax).

    ``y[c] = x · w[c]``, but for the label ``(|x| f(cos) + lambda x · w) / (1 + lambda)``: cos is the cosine of the
    angle t between x and w, and ``f = (-1)^k cos(m t) - 2k`` with k the number of whole ``pi / m`` in t.

    Bottoms: features (one row from ``axis`` on), labels. Tops: the scores; lambda, if a second is named.
    ``margin_inner_product_param``: ``num_output`` (the classes), ``type`` SINGLE (no margin), DOUBLE, TRIPLE, QUADRUPLE
    (m of 1 to 4), ``axis`` (1), ``weight_filler``, and for lambda, which is
    ``max(base (1 + gamma i)^-power, lambda_min)`` in the i-th pass: ``base`` (1), ``gamma`` (0), ``power`` (1),
    ``lambda_min`` (0), ``iteration`` (0, where i begins). One blob, the weights; a pass makes its rows of length one.

    As in SphereFace, the gradient is not that of the scores: to the weights it leaves the margin out; to x, the factors
    of w and of x in the gradient of ``|x| f(cos)`` are divided by the length of the pair of them.

    Liu et al., "SphereFace: Deep Hypersphere Embedding for Face Recognition", 2017; also in happynear's fork.
    """

    facts = _MarginInnerProduct.facts.but(kind="weights", settings=("margin_inner_product_param",))

    def setup(self) -> None:
        self.settings = self.param.margin_inner_product_param
        super().setup()

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        w = self.blobs[0]
        normalise = call(_unit_rows, w.shape[0], w.flat, w.shape[1], work=w.data.size * 2)
        return [normalise, *super().forward(bottoms, tops)]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, dy = bottoms[0], tops[0].flat_diff
        steps = self._to_weights(x, dy)
        if not self.settings.type:
            return [*steps, *self._to_bottom(x, dy, None)]
        prepare, changed, to_x, _ = self._gradients(bottoms, dy, unit=True)
        return [*steps, *prepare, *self._to_bottom(x, changed, to_x)]


@layer("LargeMarginInnerProduct")
class LargeMarginInnerProduct(_MarginInnerProduct):
    """Scores of classes, with an angular margin for the label's (L-Softmax).

    ``y[c] = x · w[c]``, but for the label ``(|x| |w| f(cos) + lambda x · w) / (1 + lambda)``, with f as in
    MarginInnerProduct. ``largemargin_inner_product_param`` has the same settings. One blob, the weights.

    Liu et al., "Large-Margin Softmax Loss for Convolutional Neural Networks", 2016; also in happynear's fork.
    """

    facts = _MarginInnerProduct.facts.but(kind="weights", settings=("largemargin_inner_product_param",))

    def setup(self) -> None:
        self.settings = self.param.largemargin_inner_product_param
        super().setup()

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, w, dy = bottoms[0], self.blobs[0], tops[0].flat_diff
        if not self.settings.type:
            return [*self._to_weights(x, dy), *self._to_bottom(x, dy, None)]
        prepare, changed, to_x, to_w = self._gradients(bottoms, dy, unit=False)
        steps = [*prepare, *self._to_weights(x, changed), *self._to_bottom(x, changed, to_x)]
        if w.diff is not None:
            steps.append(
                call(_add_classes, w.shape[1], w.flat, bottoms[1].flat, to_w, w.flat_diff, w.shape[1], work=x.data.size)
            )
        return steps
