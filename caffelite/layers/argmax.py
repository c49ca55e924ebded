"""ArgMax: where the largest values are."""

from collections.abc import Sequence

import numpy as np

from caffelite.kernels.engine.calls import call
from caffelite.kernels.engine.compiling import kernel
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.words import Shape, count, text_of


@kernel
def _largest(begin, end, worker, x, places, values, top_k, dim, inner):
    """The top_k largest of a row of ``dim`` values, ``inner`` apart, largest first; a task is a row."""
    for row in range(begin, end):
        base = row // inner * dim * inner + row % inner
        target = row // inner * top_k * inner + row % inner
        last_value, last_place = np.inf, -1
        for k in range(top_k):
            best, place = -np.inf, -1
            for j in range(dim):
                value = x[base + j * inner]
                # Those not yet taken; of equal values the one further on comes first.
                if (value < last_value or (value == last_value and j < last_place)) and value >= best:
                    best, place = value, j
            last_value, last_place = best, place
            places[target + k * inner] = place
            values[target + k * inner] = best


@layer("ArgMax")
class ArgMax(Layer):
    """The places of the ``top_k`` largest values, largest first.

    ``argmax_param``: ``top_k`` (1); ``axis`` (without it an image is one row, and the top is ``N × 1 × top_k``);
    ``out_max_val`` (with ``axis``: the values instead of the places; without: ``N × 2 × top_k``, places then values).
    Of equal values the last comes first, as in Caffe. No gradient.
    """

    facts = Facts(differentiable=False, settings=("argmax_param",))

    def setup(self) -> None:
        self.settings = self.param.argmax_param
        if self.settings.top_k < 1:
            self.error(f"top_k is {self.settings.top_k}, expected at least 1", "top_k")

    def _sizes(self, x: Shape) -> tuple[int, int, int]:
        """Return rows, values in a row, and their distance."""
        if self.settings.HasField("axis"):
            axis = self.axis(self.settings.axis, x)
            dim, inner = x[axis], count(x[axis + 1 :])
        else:
            if not x:
                self.shape_error("its bottom is a scalar")
            dim, inner = count(x[1:]), 1
        if not self.settings.top_k <= dim:
            self.shape_error(f"top_k is {self.settings.top_k}, but there are {dim} values in {text_of(x)}", "top_k")
        return count(x) // dim, dim, inner

    def images_meet(self, *bottoms: Shape) -> str:
        return self.along_images(self.settings.axis, bottoms[0]) if self.settings.HasField("axis") else ""

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        x = bottoms[0]
        self._sizes(x)
        if self.settings.HasField("axis"):
            axis = self.axis(self.settings.axis, x)
            return [(*x[:axis], self.settings.top_k, *x[axis + 1 :])]
        ones = (1,) * max(len(x) - 3, 0)
        return [(x[0], 2 if self.settings.out_max_val else 1, self.settings.top_k, *ones)]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, y = bottoms[0], tops[0].data
        rows, dim, inner = self._sizes(x.shape)
        top_k = self.settings.top_k
        places = np.zeros(rows * top_k, y.dtype)
        values = np.zeros(rows * top_k, y.dtype)

        def write() -> None:
            if self.settings.HasField("axis"):
                y.reshape(-1)[:] = values if self.settings.out_max_val else places
                return
            both = y.reshape(rows, -1, top_k)
            both[:, 0] = places.reshape(rows, top_k)
            if self.settings.out_max_val:
                both[:, 1] = values.reshape(rows, top_k)

        search = call(_largest, rows, x.flat, places, values, top_k, dim, inner, work=rows * dim * top_k * 2)
        return [search, write]
