"""RNN: a plain recurrent net over sequences of different lengths, side by side."""

from collections.abc import Sequence

import numpy as np

from caffelite.kernels import recurrent as kernels
from caffelite.kernels.bias import add_rows
from caffelite.kernels.inner_product import product
from caffelite.layers.contract.blobs import Blob, Step, with_gradient
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.recurrent import Recurrent


@layer("RNN")
class RNN(Recurrent):
    """A plain recurrent net: ``h = tanh(Wx x + b + Ws x_static + Wh (cont h))``, ``y = tanh(Wo h + bo)``.

    For bottoms, settings and what is carried on see
    :class:`caffelite.layers.shared.recurrent.Recurrent`; the hidden value is h.

    Blobs: Wx (``num_output × inputs``); b; Ws, with a static input; Wh; Wo; bo.
    """

    facts = Recurrent.facts.but(kind="weights", settings=("recurrent_param",))

    more = ("out", "out bias")

    def prepare(self, tops: Sequence[Blob]) -> list[np.ndarray]:
        return [self.memory(self.size)]

    def step(self, t: int) -> list[Step]:
        return [kernels.tanh_forward(self.sums[t], self.steps[0][t])]

    def step_back(self, t: int, d_hidden: np.ndarray) -> list[Step]:
        return [kernels.tanh_backward(self.steps[0][t], d_hidden, self.d_sums[t])]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        steps = super().forward(bottoms, tops)
        y, n, blobs = tops[0].data, self.size, self.named()
        out = product(
            self.steps[0], (n, 1), blobs["out"].data, (1, n), y, (self.cont.size, n, n), blobs["out bias"].data
        )
        return [*steps, *out, kernels.tanh_forward(y, y)]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        dy = tops[0].diff
        assert dy is not None
        n, rows, blobs = self.size, self.cont.size, self.named()
        d_out, d_hidden = self.memory(n), self.memory(n)
        steps: list[Step] = [kernels.tanh_backward(tops[0].data, dy, d_out)]
        steps += product(d_out, (n, 1), blobs["out"].data, (n, 1), d_hidden, (rows, n, n))
        dw, db = blobs["out"].diff, blobs["out bias"].diff
        if dw is not None:
            steps += product(d_out, (1, n), self.steps[0], (n, 1), dw, (n, n, rows), add=True)
        if db is not None:
            steps.append(add_rows(d_out, n, db))
        return [*steps, *self._back(bottoms, d_hidden)]

    def multiply_adds(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> tuple[int, int]:
        forward, backward = super().multiply_adds(bottoms, tops)
        weights = self.named()["out"]
        time, streams, _ = self.extent(*[b.shape for b in bottoms])
        products = time * streams * weights.data.size
        return forward + products, backward + products * (1 + with_gradient(weights))
