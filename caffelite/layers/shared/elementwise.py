"""What element-wise layers share: each is a scalar function, and a chain of them runs as one kernel."""

from collections.abc import Sequence

from caffelite.kernels import elementwise
from caffelite.kernels.elementwise import Chain, Function, chained
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer


class ElementWise(Layer):
    """A layer that applies one scalar function to every element.

    A type sets ``self.function`` and ``self.constants`` in ``setup``.
    """

    facts = Facts(in_place=True)
    function: Function
    constants: tuple[float, ...] = ()

    def use(self, function: Function, *constants: float) -> None:
        """Choose the function and its constants."""
        self.function = function
        self.constants = constants

    def specific_facts(self) -> Facts:
        reads = {"x": "bottom", "y": "top"}
        return self.facts.but(backward_reads=frozenset({reads[self.function.reads]} if self.function.reads else ()))

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        return fused_forward([self], bottoms[0], tops[0])

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        return fused_backward([self], bottoms[0], tops[0])


def chain_of(layers: Sequence[Layer]) -> Chain:
    """Return the functions of those of the layers that are element-wise."""
    chain = [layer for layer in layers if isinstance(layer, ElementWise)]
    return chained([layer.function for layer in chain], [value for layer in chain for value in layer.constants])


def fused_forward(layers: Sequence[Layer], bottom: Blob, top: Blob) -> list[Step]:
    """Return the steps that run a chain of element-wise layers as one kernel."""
    chain = [layer for layer in layers if isinstance(layer, ElementWise)]
    constants = [value for layer in chain for value in layer.constants]
    return [elementwise.forward([layer.function for layer in chain], constants, bottom.flat, top.flat)]


def fused_backward(layers: Sequence[Layer], bottom: Blob, top: Blob) -> list[Step]:
    """Return the steps that compute the gradient of a chain of element-wise layers."""
    if bottom.diff is None:
        return []
    chain = [layer for layer in layers if isinstance(layer, ElementWise)]
    constants = [value for layer in chain for value in layer.constants]
    return [
        elementwise.backward(
            [layer.function for layer in chain], constants, bottom.flat, top.flat, top.flat_diff, bottom.flat_diff
        )
    ]
