"""Filter: only the images that a selector lets through."""

from collections.abc import Sequence

import numpy as np

from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.words import Shape, count, text_of


@layer("Filter")
class Filter(Layer):
    """The images of each bottom but the last for which the last bottom, one number an image, is not 0.

    As many tops as bottoms to filter. How many images they have depends on the data: all layers behind are fitted to it
    in each pass. An image that is left out has gradient 0.
    """

    facts = Facts(
        images_meet="how many images its tops have depends on all of them",
        bottoms=(2, None),
        tops=(1, None),
        dynamic=True,
        backward_reads=frozenset(),
    )

    def setup(self) -> None:
        if len(self.param.top) != len(self.param.bottom) - 1:
            self.error(f"{len(self.param.bottom)} bottoms need {len(self.param.bottom) - 1} tops, one less")
        self.kept = np.zeros(0, np.int64)

    def specific_facts(self) -> Facts:
        return self.facts.but(without_gradient=(len(self.param.bottom) - 1,))

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        *filtered, selector = bottoms
        if not selector or count(selector) != selector[0]:
            self.shape_error(f"its last bottom must have one number an image, not {text_of(selector)}", "bottom")
        for j, x in enumerate(filtered):
            if not x or x[0] != selector[0]:
                self.shape_error(f"bottom {text_of(x)} must have {selector[0]} images, as its last one", "bottom", j)
        return filtered

    def resize(self, bottoms: Sequence[Blob]) -> Sequence[Shape]:
        self.kept = np.flatnonzero(bottoms[-1].flat)
        return [(len(self.kept), *x.shape[1:]) for x in bottoms[:-1]]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        def forward() -> None:
            for x, y in zip(bottoms, tops, strict=False):
                np.take(x.data, self.kept, axis=0, out=y.data)

        return [forward]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        def backward() -> None:
            for x, y in zip(bottoms, tops, strict=False):
                if x.diff is not None and y.diff is not None:
                    x.diff.fill(0)
                    x.diff[self.kept] = y.diff

        return [backward]
