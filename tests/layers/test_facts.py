"""What layer types declare of themselves is what they are."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from functools import cache

import pytest
from cases import golden_cases, graph_of, net_cases

from caffelite.gpu.batchnorm import VARIANTS
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import registry

KINDS = {"data", "weights", "pooling", "normalization", "activation", "loss", "measure"}
#: Why a type is of none of the kinds that a diagram has a colour for.
OTHERS = {
    "puts values elsewhere and computes none": (
        "BatchReindex Concat Filter Flatten Flip Permute Reorg Reshape Reverse ShuffleChannel Slice Split Tile Transpose"
    ),
    "joins blobs by arithmetic": "Axpy Correlation Correlation1D Eltwise FlowWarp LSTMUnit",
    "reduces or enlarges axes, not windows": "Accum ArgMax ChannelNorm Mean Reduction",
    "prepares labels, marks or scores": (
        "AdaptiveBiasChannel BiasChannel BoxAnnotatorOHEM ContinuationIndicator UniqueLabel"
    ),
    "makes boxes": "DetectionOutput PriorBox Proposal YoloDetectionOutput Yolov3DetectionOutput",
}
#: The methods that no layer has by itself, and the facts of a layer that is asked for them.
ASKED_WHERE = {
    "resize": ("dynamic",),
    "to_affine": ("affine",),
    "forward_with": ("absorbs", "absorbs_affine", "absorbs_activation", "elementwise"),
    "backward_with": ("absorbs_affine", "absorbs_activation", "elementwise"),
}


def definitions(cls: type[Layer], name: str) -> Iterator[object]:
    """Yield what a name of a class stands for: the first definition, and those that ``super()`` goes on to."""
    for base in cls.__mro__:
        if name in vars(base):
            yield (attribute := vars(base)[name])
            if not inspect.isroutine(attribute) or f"super().{name}" not in inspect.getsource(attribute):
                return


@cache
def messages_read(cls: type[Layer]) -> frozenset[str]:
    """Return the messages of the prototxt that a class's methods read, as far as the net and each other call them."""
    read: set[str] = set()
    waiting = [name for name in vars(Layer) if not name.startswith("_") and name != "summary"]
    known = set(waiting)
    while waiting:
        for attribute in definitions(cls, waiting.pop()):
            if isinstance(attribute, str) and attribute.endswith("_param"):
                read.add(attribute)
            if isinstance(attribute, type) and issubclass(attribute, Layer):
                read |= messages_read(attribute)
            if isinstance(attribute, property):
                attribute = attribute.fget
            if isinstance(attribute, classmethod | staticmethod):
                attribute = attribute.__func__
            if not inspect.isfunction(attribute):
                continue
            for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(attribute)))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "HasField":
                    if _is_param(node.func.value) and isinstance(node.args[0], ast.Constant):
                        read.add(node.args[0].value)
                if isinstance(node, ast.Attribute) and _is_param(node.value):
                    read.add(node.attr)
                own = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
                if own and node.attr not in known:
                    known.add(node.attr)
                    waiting.append(node.attr)
    return frozenset(name for name in read if name.endswith("_param"))


def _is_param(node: ast.expr) -> bool:
    """Whether an expression is the layer's prototxt: ``param`` or ``self.param``."""
    return getattr(node, "attr", getattr(node, "id", None)) == "param"


@pytest.mark.parametrize("kind", sorted(registry()))
def test_the_settings_declared_are_those_read(kind: str) -> None:
    cls = registry()[kind]
    assert sorted(cls.facts.settings) == sorted(messages_read(cls))


def test_every_type_is_of_a_kind() -> None:
    kinds = {kind: cls.facts.kind for kind, cls in registry().items()}
    assert set(kinds.values()) == KINDS | {"other"}
    assert {kind for kind in kinds if kinds[kind] == "other"} == set(" ".join(OTHERS.values()).split())


@cache
def declared() -> list[tuple[type[Layer], Facts]]:
    """Return the facts of all types and of all layers of the cases, with the classes that they are of."""
    layers = [
        node.layer
        for _, _, case in [*golden_cases(), *net_cases()]
        for variants in ({}, VARIANTS)
        for node in graph_of(case, variants).nodes
    ]
    return [*((cls, cls.facts) for cls in registry().values()), *((type(layer), layer.facts) for layer in layers)]


@pytest.mark.parametrize("name", ASKED_WHERE)
@pytest.mark.filterwarnings("ignore")
def test_a_layer_has_the_methods_that_its_facts_promise_and_no_others(name: str) -> None:
    lacking = getattr(Layer, name)
    promising = {cls for cls, facts in declared() if any(getattr(facts, fact) for fact in ASKED_WHERE[name])}
    assert not [cls for cls in promising if getattr(cls, name) is lacking]
    defined = {getattr(cls, name) for cls, _ in declared()} - {lacking}
    assert defined == {getattr(cls, name) for cls in promising}
