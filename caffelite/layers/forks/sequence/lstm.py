"""Lstm: the LSTM of forks that read text in images."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from caffelite.layers.contract.blobs import Blob, Parameter, Step
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.recurrence import Cells
from caffelite.words import Shape, count, text_of


@layer("Lstm")
class Lstm(Cells):
    """Long short-term memory, computed as LSTM but with other parameters and bottoms.

    Bottoms: x, of T time steps of N streams: ``T × N × …`` as in CTPN, or, with ``batch_size`` or two axes only,
    ``(T N) × …`` as in junhyukoh's fork; if given, ``T N`` numbers, 0 where a sequence begins, 1 where it goes on.
    Without them each pass is a sequence; with them a pass starts from where the last one ended. Top:
    ``T × N × num_output``, or ``(T N) × num_output``.

    ``lstm_param``: ``num_output``; ``clipping_threshold`` (0: none; no gradient of a gate's sum is larger);
    ``weight_filler``, ``bias_filler``; ``batch_size`` (N, 1).

    Blobs: Wx (``4 num_output × inputs``, rows of i, f, o, g); Wh; b.

    As in the forks the gradient of Wh counts the hidden value before a step even where a sequence begins, and in the
    first step of a pass of the first stream only. With more than one stream the forks read the second bottom at
    ``t + n``; here it is ``t N + n``.

    Sources: github.com/junhyukoh/caffe-lstm; github.com/tianzhi0549/CTPN (Tian et al., "Detecting Text in Natural
    Image with Connectionist Text Proposal Network", 2016).
    """

    facts = Cells.facts.but(bottoms=(1, 2), without_gradient=(1,), kind="weights", settings=("lstm_param",))
    order = ("x", "h", "bias")

    def setup(self) -> None:
        self.settings = self.param.lstm_param
        self.size = self.settings.num_output
        if self.size < 1:
            self.error("lstm_param needs num_output of at least 1", "num_output")
        if self.settings.batch_size < 1:
            self.error("batch_size is 0, expected 1 or more", "batch_size")
        self.limit = self.settings.clipping_threshold
        if not self.limit >= 0:
            self.error(f"clipping_threshold is {self.limit:g}, expected 0 (none) or more", "clipping_threshold")
        self.indicated = len(self.param.bottom) > 1

    def _flat(self, x: Shape) -> bool:
        """Whether time steps and streams are one axis."""
        return len(x) == 2 or self.settings.HasField("batch_size")

    def extent(self, *bottoms: Shape) -> tuple[int, int, int]:
        x = bottoms[0]
        if len(x) < 2 or not count(x):
            self.shape_error(f"takes time steps × streams × values, not {text_of(x)}", "bottom", 0)
        if self._flat(x):
            streams = self.settings.batch_size
            if x[0] % streams:
                self.shape_error(f"{x[0]} rows of {text_of(x)} are not divisible by batch_size {streams}", "batch_size")
            time, inputs = x[0] // streams, count(x[1:])
        else:
            time, streams, inputs = x[0], x[1], count(x[2:])
        if self.indicated and count(bottoms[1]) != time * streams:
            self.shape_error(
                f"takes a number for each of {time} time steps of {streams} streams, not {text_of(bottoms[1])}",
                "bottom",
                1,
            )
        return time, streams, inputs

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        self.extent(*bottoms)
        x = bottoms[0]
        return [(*x[: 1 if self._flat(x) else 2], self.size)]

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        return self.matrices(self.settings, x=self.extent(*bottoms)[2], h=self.size)

    def prepare(self, tops: Sequence[Blob]) -> list[np.ndarray]:
        return [tops[0].data.reshape(*self.cont.shape, self.size), self.memory(self.size)]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        time, streams, inputs = self.extent(*[b.shape for b in bottoms])
        x = bottoms[0]
        if not self.indicated:
            cont = np.ones((time, streams), x.data.dtype)
            cont[0] = 0
            return self.walk(x, cont, inputs, tops)
        steps = self.walk(x, bottoms[1].data.reshape(time, streams), inputs, tops)
        kept = self.keep_state(streams)
        begin: list[Step] = [partial(np.copyto, a, b) for a, b in zip(self.start, kept, strict=True)]
        end: list[Step] = [partial(np.copyto, a, b[time - 1]) for a, b in zip(kept, self.steps, strict=True)]
        return [*begin, *steps, *end]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, dy = bottoms[0], tops[0].diff
        assert dy is not None
        _, _, inputs = self.extent(*[b.shape for b in bottoms])
        h, start = self.steps[0], self.start[0]
        seen = self.memory(self.size)

        def see() -> None:
            seen[0, 0] = start[0]
            seen[1:] = h[:-1]

        steps = self.walk_back(x, inputs, dy.reshape(h.shape), seen=seen)
        return [see, *steps]
