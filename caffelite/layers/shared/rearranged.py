"""What layers share that only put values elsewhere."""

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial

import numpy as np

from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer


class Rearranged(Layer):
    """A layer whose top has the values of its bottom in other places."""

    facts = Facts(backward_reads=frozenset())

    @abstractmethod
    def arranged(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return views of bottom and top (of their data or gradients) whose elements correspond."""

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, y = self.arranged(bottoms[0].data, tops[0].data)
        return [partial(np.copyto, y, x)]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        if bottoms[0].diff is None or tops[0].diff is None:
            return []
        dx, dy = self.arranged(bottoms[0].diff, tops[0].diff)
        return [partial(np.copyto, dx, dy)]
