"""What LSTM and RNN share: Caffe's bottoms, settings and what goes on from pass to pass."""

import sys
from collections.abc import Sequence
from functools import partial
from typing import ClassVar

import numpy as np

from caffelite.layers.contract.blobs import Blob, Parameter, Step, with_gradient
from caffelite.layers.shared.recurrence import Recurrence
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
        steps = self.walk(bottoms[0], bottoms[1].data, inputs, tops, bottoms[2] if self.static else None)
        last = [values[time - 1] for values in self.steps]
        if self.exposed:
            sources = [bottoms[j].data[0] for j in self.exposed]
            targets = [top.data[0] for top in tops[1:]]
        else:
            sources = targets = self.keep_state(streams)
        begin: list[Step] = [partial(np.copyto, a, b) for a, b in zip(self.start, sources, strict=True)]
        end: list[Step] = [partial(np.copyto, a, b) for a, b in zip(targets, last, strict=True)]
        return [*begin, *steps, *end, *([self._print] if self.settings.debug_info else [])]

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
        steps = self.walk_back(bottoms[0], inputs, dy, bottoms[2] if self.static else None)
        diffs = [bottoms[j].diff for j in self.exposed]
        return [*steps, *[partial(diff.fill, 0) for diff in diffs if diff is not None]]
