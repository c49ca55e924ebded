"""BatchReindex: images of a batch, chosen by number."""

from collections.abc import Sequence
from functools import partial

from caffelite.kernels.rows import gather, scatter
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.rows import row_checker
from caffelite.words import Shape, count, text_of


@layer("BatchReindex")
class BatchReindex(Layer):
    """``y[i] = x[index[i]]``: images of the first bottom, in the order and number the second says.

    An index outside the batch is an error. The gradient of an image is the sum over its copies.
    """

    facts = Facts(
        images_meet="its second bottom names images by their numbers in the batch",
        bottoms=2,
        without_gradient=(1,),
        backward_reads=frozenset({"bottom"}),
    )

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        x, index = bottoms
        if len(index) != 1 or not x:
            self.shape_error(
                f"takes images and one axis of numbers, not {text_of(x)} and {text_of(index)}", "bottom", 1
            )
        return [(index[0], *x[1:])]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, index = bottoms
        return [row_checker(self, 1, index.flat, x.shape[0]), gather(x.data, index.data, tops[0].data)]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        if bottoms[0].diff is None or not count(tops[0].shape):
            return []
        return [partial(bottoms[0].diff.fill, 0), scatter(tops[0].flat_diff, bottoms[1].flat, bottoms[0].diff)]
