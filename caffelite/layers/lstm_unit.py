"""LSTMUnit: one time step of an LSTM, from its sums on."""

from collections.abc import Sequence

import numpy as np

from caffelite.kernels import recurrent as kernels
from caffelite.kernels.engine import arrays
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.words import Shape, count, text_of


@layer("LSTMUnit")
class LSTMUnit(Layer):
    """``c = cont sigmoid(f) c_before + sigmoid(i) tanh(g)``, ``h = sigmoid(o) tanh(c)``.

    Bottoms: c_before (``1 × N × D``); i, f, o, g side by side (``1 × N × 4D``); cont (``1 × N``). Tops: c, h.

    As in Caffe the gradient of f is right for a cont of 0 or 1 only.
    """

    facts = Facts(
        images_meet="its axis 0 is time",
        bottoms=3,
        tops=2,
        without_gradient=(2,),
        backward_reads=frozenset({"bottom", "top"}),
    )

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        before, sums, cont = bottoms
        if len(before) != 3 or before[0] != 1 or not count(before):
            self.shape_error(f"takes cells of 1 × streams × values, not {text_of(before)}", "bottom", 0)
        if sums != (1, before[1], 4 * before[2]):
            expected = text_of((1, before[1], 4 * before[2]))
            self.shape_error(f"takes the sums of four gates, {expected}, not {text_of(sums)}", "bottom", 1)
        if cont != before[:2]:
            self.shape_error(f"takes one cont for each stream, {text_of(before[:2])}, not {text_of(cont)}", "bottom", 2)
        return [before, before]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        before, sums, cont = (b.data for b in bottoms)
        self.values = arrays.zeros(sums.shape, sums.dtype)
        return [kernels.lstm_forward(sums, cont.reshape(-1), before, self.values, tops[0].data, tops[1].data)]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        before, sums = bottoms[:2]
        dc, dh = tops[0].diff, tops[1].diff
        assert dc is not None
        assert dh is not None
        d_before = np.zeros_like(before.data) if before.diff is None else before.diff
        d_sums = np.zeros_like(sums.data) if sums.diff is None else sums.diff
        return [kernels.lstm_backward(self.values, before.data, tops[0].data, dh, dc, d_sums, d_before)]
