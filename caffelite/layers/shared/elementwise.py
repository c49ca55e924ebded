"""What element-wise layers share: each is a scalar function, and a chain of them runs as one kernel."""

from collections.abc import Sequence

from caffelite.kernels import elementwise
from caffelite.kernels.elementwise import ADD, Chain, Function, chained
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer


class ElementWise(Layer):
    """A layer that applies one scalar function to every element.

    A type sets ``self.function`` and ``self.constants`` in ``setup``.
    """

    facts = Facts(in_place=True, elementwise=True)
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
        return self.forward_with([], bottoms, tops)

    def forward_with(self, followers: Sequence[Layer], bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        functions, constants = _functions([self, *followers])
        return [elementwise.forward(functions, constants, bottoms[0].flat, tops[0].flat)]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        return self.backward_with([], bottoms, tops)

    def backward_with(self, followers: Sequence[Layer], bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        (bottom,), (top,) = bottoms, tops
        if bottom.diff is None:
            return []
        functions, constants = _functions([self, *followers])
        return [elementwise.backward(functions, constants, bottom.flat, top.flat, top.flat_diff, bottom.flat_diff)]


def chain_of(layers: Sequence[Layer], operands: Sequence[Blob]) -> Chain:
    """Return the functions of those of the layers that are element-wise, and the sum of one that adds its operand."""
    keys = [
        layer.function.key if isinstance(layer, ElementWise) else ADD
        for layer in layers
        if isinstance(layer, ElementWise) or layer.facts.adds
    ]
    return chained(keys, _functions(layers)[1], *[blob.flat for blob in operands])


def _functions(layers: Sequence[Layer]) -> tuple[list[Function], list[float]]:
    chain = [layer for layer in layers if isinstance(layer, ElementWise)]
    return [layer.function for layer in chain], [value for layer in chain for value in layer.constants]
