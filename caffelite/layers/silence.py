"""Silence: blobs that nobody wants."""

from collections.abc import Sequence
from functools import partial

from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.words import Shape


@layer("Silence")
class Silence(Layer):
    """Read blobs so that they do not count as outputs of the net."""

    facts = Facts(bottoms=(1, None), tops=0, backward_reads=frozenset(), kind="measure", deploy="dropped")

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        return []

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        return [partial(x.diff.fill, 0) for x in bottoms if x.diff is not None]
