"""The part of a net between blobs that agree and the first one that does not, to be run again in other ways."""

from collections.abc import Collection, Mapping
from copy import deepcopy
from dataclasses import dataclass

import numpy as np

from caffelite.export.compare.sides import NetSide
from caffelite.net import Net
from caffelite.net.graph import Node, Version
from caffelite.schema.messages import LayerParameter, NetParameter
from caffelite.schema.text import net_from_message
from caffelite.user_code.permission import AllowPython
from caffelite.words import TEST


@dataclass(eq=False, slots=True)
class CutLayer:
    """A layer of it.

    Attributes
    ----------
    node : Node
        What it is in the net.
    param : LayerParameter
        Its bottoms and tops have names of their own for each version, so that nothing is in place.
    blobs : list of ndarray
        Its weights.
    """

    node: Node
    param: LayerParameter
    blobs: list[np.ndarray]


@dataclass(eq=False, slots=True)
class Cut:
    """Layers, the values that they read, and the blob that is looked at.

    Attributes
    ----------
    layers : list of CutLayer
    inputs : dict of str to ndarray
    net_inputs : dict of str to str
        Those of them that are inputs of the net, with the names that they have there.
    output : str
    allow_python : bool
    """

    layers: list[CutLayer]
    inputs: dict[str, np.ndarray]
    net_inputs: dict[str, str]
    output: str
    allow_python: AllowPython

    def copy(self) -> "Cut":
        """Return one that can be changed."""
        layers = [CutLayer(layer.node, deepcopy(layer.param), deepcopy(layer.blobs)) for layer in self.layers]
        return Cut(layers, dict(self.inputs), self.net_inputs, self.output, self.allow_python)

    def run(self) -> np.ndarray:
        """Return the values of the output.

        Raises
        ------
        Error
            The layers do not fit together.
        """
        message = NetParameter()
        for name, values in self.inputs.items():
            source = message.layer.add(name=name, type="Input")
            source.top.append(name)
            source.input_param.shape.add(dim=values.shape)
        for item in self.layers:
            message.layer.add().CopyFrom(item.param)
        document = net_from_message(message, "the layers that differ")
        net = Net(document, TEST, keep=True, learn=False, allow_python=self.allow_python, output_root=None)
        try:
            for item, layer in zip(self.layers, net.layers[len(self.inputs) :], strict=True):
                for blob, values in zip(layer.blobs, item.blobs, strict=True):
                    blob.data[...] = values
            for name, values in self.inputs.items():
                net.blobs[name].data[...] = values
            net.forward()
            result: np.ndarray = net.blobs[self.output].data.copy()
        finally:
            net.close()
        return result


def cut(side: NetSide, name: str, agreed: Collection[str]) -> Cut:
    """Return the part of a net that makes a blob out of blobs that agree.

    Parameters
    ----------
    side : NetSide
        Which has been run; its blobs are as that left them.
    name : str
        The blob.
    agreed : collection of str
        Blobs that are equal on both sides, and inputs of the net.
    """
    graph = side.net.graph
    known = {graph.names[blob] for blob in agreed}
    inputs, nodes, todo = dict[Version, None](), set[Node](), [graph.names[name].producer]
    while todo:
        node = todo.pop()
        if node in nodes:
            continue
        nodes.add(node)
        for version in node.bottoms:
            if version in known or version.producer.layer.facts.source:
                inputs[version] = None
            else:
                todo.append(version.producer)
    ordered = sorted(nodes, key=lambda node: node.index)
    versions = [*inputs, *(top for node in ordered for top in node.tops)]
    names = {version: f"{version.name} {i}" for i, version in enumerate(versions)}
    layers = [CutLayer(node, _param(node, names), [blob.data.copy() for blob in node.layer.blobs]) for node in ordered]
    values = {names[v]: _values(side, v) for v in inputs}
    own = {names[v]: v.name for v in inputs if v.producer.layer.facts.source}
    return Cut(layers, values, own, names[graph.names[name]], side.net.context.allow_python)


def _values(side: NetSide, version: Version) -> np.ndarray:
    # An input that a layer has written over in place is kept where it came from.
    own = side.feeds.get(version.name) if version.producer.layer.facts.source else None
    return side.net.plan.blob(version).data.copy() if own is None else own


def _param(node: Node, names: Mapping[Version, str]) -> LayerParameter:
    param = LayerParameter()
    param.CopyFrom(node.layer.param)
    for field in ("include", "exclude", "phase", "loss_weight", "propagate_down", "param"):
        param.ClearField(field)
    param.bottom[:] = [names[version] for version in node.bottoms]
    param.top[:] = [names[version] for version in node.tops[: len(param.top)]]
    return param
