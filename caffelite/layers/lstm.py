"""LSTM: long short-term memory over sequences of different lengths, side by side."""

from collections.abc import Sequence

import numpy as np

from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.recurrence import Cells
from caffelite.layers.shared.recurrent import Recurrent


@layer("LSTM")
class LSTM(Cells, Recurrent):
    """Long short-term memory: a cell that is added to, and gates that decide what goes in, stays and comes out.

    ``(i, f, o, g) = Wx x + b + Ws x_static + Wh (cont h)``, ``c = cont sigmoid(f) c + sigmoid(i) tanh(g)``,
    ``h = sigmoid(o) tanh(c)``. The top is h. For bottoms, settings and what is carried on see
    :class:`caffelite.layers.shared.recurrent.Recurrent`; the hidden values are h, c.

    Blobs: Wx (``4 num_output × inputs``, rows of i, f, o, g); b; Ws, with a static input; Wh.

    Hochreiter and Schmidhuber, "Long Short-Term Memory", 1997.
    """

    facts = Recurrent.facts.but(backward_reads=frozenset({"bottom"}), kind="weights", settings=("recurrent_param",))

    def prepare(self, tops: Sequence[Blob]) -> list[np.ndarray]:
        return [tops[0].data, self.memory(self.size)]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        dy = tops[0].diff
        assert dy is not None
        return self._back(bottoms, dy)
