"""RNN and LSTM: recurrent layers over sequences of different lengths, side by side."""

import sys
from collections.abc import Sequence
from functools import partial
from typing import ClassVar

import numpy as np

from caffelite.kernels import recurrent as kernels
from caffelite.kernels.bias import add_rows
from caffelite.kernels.inner_product import product
from caffelite.layers.contract.blobs import Blob, Parameter, Step, with_gradient
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.recurrence import Cells, Recurrence
from caffelite.words import Shape, count, text_of


class Recurrent(Recurrence):
    """A recurrent layer of Caffe.

    Bottoms: x (``T × N × …``: T time steps of N streams); cont (``T × N``: 0 where a sequence begins, 1 where it goes
    on); if given, a static input (``N × …``), seen in every step; with ``expose_hidden`` the hidden values to start
    from (``1 × N × num_output`` each). Tops: the outputs (``T × N × num_output``); with ``expose_hidden`` the last
    hidden values.

    ``recurrent_param``: ``num_output``; ``weight_filler``, ``bias_filler``; ``expose_hidden`` (false);
    ``debug_info`` (false; true: the mean magnitude of the hidden values of each step goes to standard error).

    Without ``expose_hidden`` a pass starts from where the last one ended, times cont. As in Caffe no gradient passes
    through the hidden values that are exposed: neither from those at the end nor to those at the start, which get 0.

    Source: Donahue et al., "Long-term Recurrent Convolutional Networks for Visual Recognition and Description", 2015.
    """

    facts = Recurrence.facts.but(bottoms=(2, 5), tops=(1, 3), without_gradient=(1,))
    #: Parameters that only the type has.
    more: ClassVar[tuple[str, ...]] = ()

    def setup(self) -> None:
        self.settings = self.param.recurrent_param
        self.size = self.settings.num_output
        if self.size < 1:
            self.error("recurrent_param needs num_output of at least 1", "num_output")
        exposed = len(self.hidden) if self.settings.expose_hidden else 0
        names = ", ".join(f"{name}_0" for name in self.hidden[:exposed])
        given = len(self.param.bottom)
        if given - exposed not in (2, 3):
            takes = f"x, cont and {names}" if exposed else "x and cont"
            self.error(
                f"takes {2 + exposed} bottoms ({takes}) or {3 + exposed} (a static input after cont), not {given}",
                "bottom",
            )
        if len(self.param.top) != 1 + exposed:
            what = "1 top and one for each of its hidden values" if exposed else "1 top without expose_hidden"
            self.error(f"takes {what}, {1 + exposed} in all, not {len(self.param.top)}", "top")
        self.static = given - exposed == 3
        first = 3 if self.static else 2
        self.exposed = range(first, first + exposed)
        self.order = ("x", "bias", *(["static"] if self.static else []), "h", *self.more)

    def extent(self, *bottoms: Shape) -> tuple[int, int, int]:
        x, cont = bottoms[:2]
        if len(x) < 3 or not count(x):
            self.shape_error(f"takes time steps × streams × values, not {text_of(x)}", "bottom", 0)
        if cont != x[:2]:
            self.shape_error(
                f"takes one cont for each of its {text_of(x[:2])} time steps and streams, not {text_of(cont)}",
                "bottom",
                1,
            )
        if self.static and (len(bottoms[2]) < 2 or bottoms[2][0] != x[1] or not count(bottoms[2])):
            self.shape_error(f"takes a static input of {x[1]} streams × values, not {text_of(bottoms[2])}", "bottom", 2)
        for j in self.exposed:
            if bottoms[j] != (1, x[1], self.size):
                self.shape_error(
                    f"takes hidden values of {text_of((1, x[1], self.size))}, not {text_of(bottoms[j])}", "bottom", j
                )
        return x[0], x[1], count(x[2:])

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        time, streams, _ = self.extent(*bottoms)
        return [(time, streams, self.size), *[(1, streams, self.size) for _ in self.exposed]]

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        inputs = {"x": self.extent(*bottoms)[2], "h": self.size, "out": self.size}
        if self.static:
            inputs["static"] = count(bottoms[2][1:])
        return self.matrices(self.settings, **inputs)

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        time, streams, inputs = self.extent(*[b.shape for b in bottoms])
        found = self.walk(bottoms[0], bottoms[1].data, inputs, tops, bottoms[2] if self.static else None)
        last = [values[time - 1] for values in self.steps]
        if self.exposed:
            sources = [bottoms[j].data[0] for j in self.exposed]
            targets = [top.data[0] for top in tops[1:]]
        else:
            sources = targets = self.keep_state(streams)
        begin: list[Step] = [partial(np.copyto, a, b) for a, b in zip(self.start, sources, strict=True)]
        end: list[Step] = [partial(np.copyto, a, b) for a, b in zip(targets, last, strict=True)]
        return [*begin, *found, *end, *([self._print] if self.settings.debug_info else [])]

    def _print(self) -> None:
        for t in range(len(self.cont)):
            means = ", ".join(f"{n} {np.abs(v[t]).mean():.6g}" for n, v in zip(self.hidden, self.steps, strict=True))
            print(f"    [Forward] Layer {self.name}, time step {t + 1}: {means}", file=sys.stderr, flush=True)

    def multiply_adds(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> tuple[int, int]:
        forward, backward = super().multiply_adds(bottoms, tops)
        if self.static:
            static, weights = bottoms[2], self.named()["static"]
            products = static.shape[0] * weights.data.size
            forward, backward = forward + products, backward + products * with_gradient(static, weights)
        return forward, backward

    def _back(self, bottoms: Sequence[Blob], dy: np.ndarray) -> list[Step]:
        _, _, inputs = self.extent(*[b.shape for b in bottoms])
        found = self.walk_back(bottoms[0], inputs, dy, bottoms[2] if self.static else None)
        diffs = [bottoms[j].diff for j in self.exposed]
        return [*found, *[partial(diff.fill, 0) for diff in diffs if diff is not None]]


@layer("LSTM")
class LSTM(Cells, Recurrent):
    """Long short-term memory: a cell that is added to, and gates that decide what goes in, stays and comes out.

    ``(i, f, o, g) = Wx x + b + Ws x_static + Wh (cont h)``, ``c = cont sigmoid(f) c + sigmoid(i) tanh(g)``,
    ``h = sigmoid(o) tanh(c)``. The top is h. For bottoms, settings and what is carried on see
    :class:`caffelite.layers.recurrent.Recurrent`; the hidden values are h, c.

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


@layer("RNN")
class RNN(Recurrent):
    """A plain recurrent net: ``h = tanh(Wx x + b + Ws x_static + Wh (cont h))``, ``y = tanh(Wo h + bo)``.

    For bottoms, settings and what is carried on see :class:`caffelite.layers.recurrent.Recurrent`; the hidden value
    is h.

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
        found = super().forward(bottoms, tops)
        y, n, blobs = tops[0].data, self.size, self.named()
        out = product(
            self.steps[0], (n, 1), blobs["out"].data, (1, n), y, (self.cont.size, n, n), blobs["out bias"].data
        )
        return [*found, *out, kernels.tanh_forward(y, y)]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        dy = tops[0].diff
        assert dy is not None
        n, rows, blobs = self.size, self.cont.size, self.named()
        d_out, d_hidden = self.memory(n), self.memory(n)
        found: list[Step] = [kernels.tanh_backward(tops[0].data, dy, d_out)]
        found += product(d_out, (n, 1), blobs["out"].data, (n, 1), d_hidden, (rows, n, n))
        dw, db = blobs["out"].diff, blobs["out bias"].diff
        if dw is not None:
            found += product(d_out, (1, n), self.steps[0], (n, 1), dw, (n, n, rows), add=True)
        if db is not None:
            found.append(add_rows(d_out, n, db))
        return [*found, *self._back(bottoms, d_hidden)]

    def multiply_adds(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> tuple[int, int]:
        forward, backward = super().multiply_adds(bottoms, tops)
        weights = self.named()["out"]
        products = self.cont.size * weights.data.size
        return forward + products, backward + products * (1 + with_gradient(weights))
