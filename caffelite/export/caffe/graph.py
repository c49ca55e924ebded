"""The layers that are made of a model's nodes: what the function for an operator may ask and add."""

from collections.abc import Sequence
from typing import NamedTuple, NoReturn

import numpy as np

from caffelite.errors import NetError
from caffelite.export.caffe.reading import OnnxNode, OnnxSource
from caffelite.schema.messages import LayerParameter
from caffelite.words import Shape, quoted


class Padding(NamedTuple):
    """Padding that no layer does by itself: it is part of the layer that reads it.

    Attributes
    ----------
    tensor : str
        What is padded.
    begins, ends : pair of int
        How much, vertically and horizontally.
    value : float
    """

    tensor: str
    begins: Shape
    ends: Shape
    value: float


class CaffeGraph:
    """Layers and their weights, in the order in which they run.

    Attributes
    ----------
    source : OnnxSource
    layers : list of LayerParameter
    weights : dict of str to list of ndarray
        By the name of the layer.
    paddings : dict of str to Padding
        By the tensor that has it.
    """

    def __init__(self, source: OnnxSource) -> None:
        self.source = source
        self.layers: list[LayerParameter] = []
        self.weights: dict[str, list[np.ndarray]] = {}
        self.paddings: dict[str, Padding] = {}
        self._blobs = {name: name for name in source.inputs}
        self._taken = {name for node in source.nodes for name in node.outputs} | set(source.inputs)
        for name, shape in source.inputs.items():
            layer = LayerParameter(name=name, type="Input", top=[name])
            layer.input_param.shape.add().dim.extend(shape)
            self.layers.append(layer)

    def shape(self, tensor: str) -> Shape:
        """Return the shape of a tensor."""
        return self.source.shape(tensor)

    def constant(self, node: OnnxNode, position: int) -> np.ndarray | None:
        """Return the values of an input that is a constant; None for others, and where it is left out."""
        return self.source.constant(node.inputs[position]) if position < len(node.inputs) else None

    def weight(self, node: OnnxNode, position: int) -> np.ndarray:
        """Return the values of an input that must be a constant."""
        values = self.constant(node, position)
        if values is None:
            self.refuse(node, f"its input {position} is no constant, and a layer of Caffe's has its own weights")
        return values

    def integers(self, node: OnnxNode, attribute: str, position: int) -> list[int] | None:
        """Return numbers that are an attribute in older opsets, and an input in newer ones; None without either."""
        if attribute in node.attributes:
            return [int(value) for value in node.attributes[attribute]]
        if position >= len(node.inputs) or not node.inputs[position]:
            return None
        return [int(value) for value in self.weight(node, position).reshape(-1)]

    def bottom(self, node: OnnxNode, position: int = 0) -> str:
        """Return the blob that holds an input."""
        name = node.inputs[position]
        if name in self.paddings:
            self.refuse(node, f"its input {quoted(name)} is padded, and it has no padding of its own")
        if name not in self._blobs:
            self.refuse(node, f"its input {position} is a constant, which no blob of Caffe's is")
        return self._blobs[name]

    def unpadded(self, tensor: str) -> str:
        """Return the blob that holds a tensor before it was padded."""
        return self._blobs[tensor]

    def add(
        self,
        node: OnnxNode,
        kind: str,
        *bottoms: str,
        tops: Sequence[str] = (),
        weights: Sequence[np.ndarray] = (),
    ) -> LayerParameter:
        """Add a layer for a node and return its message, for the settings; its top is the node's first output."""
        name = node.name
        while any(layer.name == name for layer in self.layers):
            name += f"/{kind.lower()}"
        tops = tops or node.outputs[:1]
        layer = LayerParameter(name=name, type=kind, bottom=bottoms, top=tops)
        self.layers.append(layer)
        self.weights[name] = list(weights)
        self._blobs.update({top: top for top in tops})
        return layer

    def between(self, node: OnnxNode, what: str) -> str:
        """Return a name for a blob between two layers of a node."""
        name = f"{node.outputs[0]}/{what}"
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name

    def same(self, node: OnnxNode) -> None:
        """Let the first output be the first input: nothing is computed."""
        if node.inputs[0] in self.paddings:
            self.paddings[node.outputs[0]] = self.paddings[node.inputs[0]]
        self._blobs[node.outputs[0]] = self._blobs[node.inputs[0]]

    def reshape(self, node: OnnxNode, bottom: str, before: Shape, after: Shape, top: str = "") -> None:
        """Give a blob another shape; the size of the batch stays open where it can."""
        tops = [top] if top else ()
        if len(after) == 2 and len(before) > 1 and before[0] == after[0]:
            self.add(node, "Flatten", bottom, tops=tops)
            return
        p = self.add(node, "Reshape", bottom, tops=tops).reshape_param
        p.shape.dim.extend(after)
        if before and after and before[0] == after[0]:
            p.shape.dim[0] = 0

    def finish(self) -> None:
        """Let outputs have their names; end what nobody reads."""
        for output in self.source.outputs:
            blob = self._blobs.get(output)
            if blob is None:
                raise NetError(
                    f"{self.source.path}: output {quoted(output)} is a constant or padded, no blob of a layer"
                )
            if blob == output:
                continue
            if blob in self.source.inputs or blob in self.source.outputs:
                self.layers.append(LayerParameter(name=output, type="Power", bottom=[blob], top=[output]))
                continue
            for layer in self.layers:
                for names in (layer.bottom, layer.top):
                    names[:] = [output if name == blob else name for name in names]
            self._blobs = {name: output if held == blob else held for name, held in self._blobs.items()}
        read = {name for layer in self.layers for name in layer.bottom}.union(self.source.outputs, self.source.inputs)
        left = [name for layer in self.layers for name in layer.top if name not in read]
        if left:
            self.layers.append(LayerParameter(name=f"{left[0]}/silence", type="Silence", bottom=left))

    def refuse(self, node: OnnxNode, reason: str) -> NoReturn:
        """Say why a node cannot be a layer, and what it is used for."""
        raise refusal(self.source, node, reason)


def refusal(source: OnnxSource, node: OnnxNode, reason: str) -> NetError:
    """Return the error that tells why a node cannot be a layer, and what it is used for."""
    made = next((name for name in node.outputs if name), "")
    reader = next((other for other in source.nodes if made in other.inputs), None)
    if made in source.outputs:
        use = "an output of the model"
    elif reader is not None:
        use = f"for {reader.operator} {quoted(reader.name)}"
    else:
        use = "which nobody reads"
    return NetError(f"{source.path}: {node.operator} {quoted(node.name)}, which makes {quoted(made)}, {use}: {reason}")
