"""Fusion: which layers run as one.

A unit is a chain of layers in which each is the only reader of the one before. A layer joins the chain before it where
one of :data:`RULES` lets it; what else it reads was made before the unit. The rules know no types: they read the facts
of layers, and which of them learn. A net that is to be looked into (``keep``) has one layer a unit.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from caffelite.layers.contract.blobs import Step
from caffelite.net.graph import Graph, Node, Version

#: Layers of a chain. What a chain computes is compiled as functions inside each other, and the compiler goes down them.
LONGEST_CHAIN = 8


@dataclass(eq=False, slots=True)
class Unit:
    """One layer, or a chain of layers that run as one.

    Attributes
    ----------
    nodes : list of Node
    prepare : list of callable
        The steps to run before the first forward, and again when parameters have changed.
    ready : bool
        Whether they have run.
    forward, backward : list of callable
        The steps to run, in order.
    """

    nodes: list[Node]
    prepare: list[Step] = field(default_factory=list)
    ready: bool = False
    forward: list[Step] = field(default_factory=list)
    backward: list[Step] = field(default_factory=list)

    @property
    def first(self) -> Node:
        """The layer that computes for all of them."""
        return self.nodes[0]

    @property
    def bottoms(self) -> list[Version]:
        """What the unit reads: the bottoms of its first layer, then those of the others that are not made in it."""
        made = [top for node in self.nodes[:-1] for top in node.tops]
        return [version for node in self.nodes for version in node.bottoms if version not in made]

    @property
    def tops(self) -> list[Version]:
        """What it makes; what is between its layers is nowhere."""
        return self.nodes[-1].tops

    @property
    def backward_reads(self) -> frozenset[str]:
        """Which data its ``backward`` reads: a chain computes what is inside it again, from its bottom."""
        return self.first.layer.facts.backward_reads if len(self.nodes) == 1 else frozenset({"bottom"})

    @property
    def is_view(self) -> bool:
        """Whether its top is its bottom's memory, and there is nothing to compute."""
        return self.first.layer.facts.view

    def gradients(self) -> Iterator[tuple[int, Version]]:
        """Yield the bottoms that get a share of their gradient here."""
        for j, propagated in enumerate(self.first.propagate):
            if propagated:
                yield j, self.bottoms[j]


class FusionRule(NamedTuple):
    """A reason for a layer to run as one with the chain before it.

    Attributes
    ----------
    name : str
    sentence : str
        What runs as one, and why it can.
    joins : callable
        ``joins(chain, node)``: whether it holds for the node behind this chain. That the node is the only reader of
        what the chain makes is known then.
    """

    name: str
    sentence: str
    joins: Callable[[Sequence[Node], Node], bool]


def _is_absorbed(chain: Sequence[Node], node: Node) -> bool:
    first, before = chain[0], chain[-1]
    affine = node.layer.facts.affine and (len(chain) == 1 or before.layer.facts.affine)
    adds = node.layer.facts.adds and not any(one.layer.facts.adds for one in chain)
    return (
        first.layer.facts.absorbs
        and (affine or adds or node.layer.facts.elementwise)
        and not first.backward
        and not node.backward
        and len(first.bottoms) == 1
    )


def _is_learned_affine(chain: Sequence[Node], node: Node) -> bool:
    return (
        chain[0].layer.facts.absorbs_affine
        and len(chain) == 1
        and _learn_alike(chain[-1], node)
        and node.layer.learned_affine() is not None
    )


def _is_activation(chain: Sequence[Node], node: Node) -> bool:
    activation = node.layer.facts.activation
    return (
        activation is not None
        and activation[0] in chain[0].layer.facts.absorbs_activation
        and chain[-1].layer.facts.activation is None
        and _learn_alike(chain[-1], node)
    )


def _is_elementwise(chain: Sequence[Node], node: Node) -> bool:
    return chain[0].layer.facts.elementwise and node.layer.facts.elementwise and _learn_alike(chain[-1], node)


def _learn_alike(before: Node, node: Node) -> bool:
    """Whether both run backward or neither does: a chain has one gradient, from its end to its beginning."""
    return before.backward == node.backward and before.propagate == node.propagate


#: When a layer runs as one with those before it; one of them is enough.
RULES = (
    FusionRule(
        "inference",
        "Where nothing learns, a layer that `absorbs` (Convolution; BatchNorm with stored statistics) takes the "
        "`affine` ones behind it (BatchNorm with stored statistics, Scale, Bias) into what it multiplies by and what "
        "it adds, and runs the `elementwise` ones behind those, and one that `adds` what was made earlier (Eltwise), "
        "over each block of results while that is in the cache.",
        _is_absorbed,
    ),
    FusionRule(
        "learned affine",
        "A layer that `absorbs_affine` (BatchNorm by the statistics of the batch) computes one layer behind it that "
        "multiplies each channel and adds to it by parameters (`learned_affine`: Scale, Bias), forward and backward.",
        _is_learned_affine,
    ),
    FusionRule(
        "activation",
        "A layer that `absorbs_activation` (BatchNorm by the statistics of the batch: ReLU; on a GPU Sigmoid, too) "
        "computes one `activation` that its kernels know, behind it or behind what it has absorbed, forward and "
        "backward.",
        _is_activation,
    ),
    FusionRule(
        "element-wise",
        "Layers that are `elementwise` are functions of one number, and a chain of them is the composed function: one "
        "pass over memory, forward and backward.",
        _is_elementwise,
    ),
)


def rule_for(chain: Sequence[Node], node: Node) -> FusionRule | None:
    """Return the rule by which ``node`` runs as one with ``chain``; None where it begins a unit of its own."""
    before = chain[-1]
    if len(chain) == LONGEST_CHAIN:
        return None
    if len(before.tops) != 1 or [reader for reader, _ in before.tops[0].readers] != [node]:
        return None
    if before.tops[0].loss_weight or before.tops[0].asked:
        return None
    return next((rule for rule in RULES if rule.joins(chain, node)), None)


def units_of(graph: Graph, keep: bool = False) -> list[Unit]:
    """Return the layers of a graph as units, in forward order.

    Parameters
    ----------
    graph : Graph
        Which of its layers run backward is known.
    keep : bool, optional
        Every layer is a unit.
    """
    units: list[Unit] = []
    for node in graph.nodes:
        if units and not keep and rule_for(units[-1].nodes, node) is not None:
            units[-1].nodes.append(node)
        else:
            units.append(Unit([node]))
    return units
