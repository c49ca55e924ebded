"""The engine's net behind a net of OpenCV's: made when its shapes are known, planned for what is asked of it."""

from collections.abc import Mapping, Sequence

import numpy as np

from caffelite import net as engine
from caffelite.dnn.detections import is_detections, sorted_and_filled
from caffelite.errors import NetError, ShapeError, WeightsError
from caffelite.layers.contract.context import Context
from caffelite.layers.contract.layer import Layer
from caffelite.layers.input import Input
from caffelite.net.graph import Graph, Node, Version
from caffelite.net.plan import Plan
from caffelite.pycaffe.compiling import told
from caffelite.schema.documents import NetDocument
from caffelite.schema.weights import LayerWeights
from caffelite.words import TEST, Shape, quoted, text_of


class Planned:
    """A net that is planned for the shapes of its inputs and for the blobs that are read.

    It is not planned before it is needed: files of nets for images of any size often have a size that fits nothing.

    Parameters
    ----------
    document : NetDocument
        Shapes are written into its Input layers.
    weights : list of LayerWeights

    Attributes
    ----------
    graph : Graph
        The layers without a plan, to ask for names, and for shapes that the net does not have.
    inputs : list of str
    input_shape : tuple of int
        What the file has for the first one.

    Raises
    ------
    NetError
        There is no input, or a layer brings data of its own.
    """

    def __init__(self, document: NetDocument, weights: list[LayerWeights]) -> None:
        for layer in document.message.layer:
            if layer.type == "Input" and not layer.input_param.shape:
                layer.input_param.shape.add(dim=(1, 1, 1, 1))  # what setInput is given takes its place
        self._document, self._weights = document, weights
        self.graph = Graph(document, Context(TEST))
        self._check_sources()
        self.inputs = [top.name for top in self.tops_of_inputs()]
        self.input_shape = next(node.layer for node in self.graph.nodes if isinstance(node.layer, Input)).top_shapes[0]
        self._net: engine.Net | None = None
        self._untrained: set[str] = set()
        self._measured: tuple[Plan, np.ndarray] | None = None

    def _check_sources(self) -> None:
        for node in self.graph.nodes:
            if node.layer.facts.source and not isinstance(node.layer, Input):
                node.layer.error(
                    "it brings the net its data, and here setInput does: take the net's deploy file, which has an input"
                )
        if not any(isinstance(node.layer, Input) for node in self.graph.nodes):
            raise NetError(f"{self._document.filename}: the net has no input to set")

    @property
    def net(self) -> engine.Net:
        """The engine's net, in the shapes of its file where it is not there yet."""
        if self._net is None:
            self._net = self._made()
        return self._net

    def _made(self) -> engine.Net:
        with told():
            net = engine.Net(self._document, TEST, learn=False, output_root=None)
        self._untrained = {layer.name for layer in net.layers if layer.blobs}
        if self._weights:
            try:
                self._untrained -= set(net.copy_from(self._weights).taken)
            except ShapeError as error:
                inputs = ", ".join(text_of(net.blobs[name].shape) for name in net.inputs)
                raise ShapeError(f"for an input of {inputs} {error.message.partition(';')[0]}") from None
        self._weights = []
        return net

    def take(self, given: Mapping[str, np.ndarray], asked: Sequence[Version]) -> None:
        """Fit the net to these inputs, let what is asked for be kept, and fill the inputs.

        Raises
        ------
        ShapeError, WeightsError
        """
        if self._net is None:
            for layer in self._document.message.layer:
                if layer.type == "Input" and given.keys() >= set(layer.top):
                    del layer.input_param.shape[:]
                    for top in layer.top:
                        layer.input_param.shape.add(dim=given[top].shape)
        net = self.net
        if self._untrained:
            name = next(layer.name for layer in net.layers if layer.name in self._untrained)
            raise WeightsError(f"layer {quoted(name)} has no weights: the model has none for it, and none were set")
        self._fit({name: values.shape for name, values in given.items()})
        outputs = [net.graph.names[name] for name in net.outputs]
        fresh = [own for own in map(self._own, asked) if not own.asked and own not in outputs]
        if fresh:
            with told():
                net.ask(fresh)
        for version in self.tops_of_inputs():
            net.plan.blob(self._own(version)).data[...] = given[version.name]

    def _fit(self, shapes: Mapping[str, Shape]) -> None:
        layers = [layer for layer in self.net.layers if isinstance(layer, Input)]
        before = [layer.top_shapes for layer in layers]
        after = [[shapes[top] for top in layer.param.top] for layer in layers]
        if before == after:
            return
        for layer, new in zip(layers, after, strict=True):
            layer.top_shapes = new
        try:
            with told():
                self.net.reshape()
        except BaseException:
            for layer, old in zip(layers, before, strict=True):
                layer.top_shapes = old
            raise

    def run(self, asked: Sequence[Version]) -> None:
        """Run the net as far as what is asked for."""
        versions = {self._own(version) for version in asked}
        units = self.net.plan.units
        last = max(i for i, unit in enumerate(units) if not versions.isdisjoint(unit.tops))
        if last == len(units) - 1:
            self.net.forward()
        else:
            for position in range(last + 1):
                self.net.forward_unit(position)

    def parts(self) -> np.ndarray:
        """Return the seconds that each layer takes, in a pass that is measured once for a plan."""
        plan = self.net.plan
        if self._measured is None or self._measured[0] is not plan:
            times = self.net.profile(1, backward=False)
            parts = np.zeros(len(self.net.layers))
            for unit, time in zip(plan.units, times, strict=True):
                parts[unit.first.index] = time.forward
            self._measured = plan, parts
        return self._measured[1]

    def tops_of_inputs(self) -> list[Version]:
        """Return the inputs, in their order."""
        return [top for node in self.graph.nodes if isinstance(node.layer, Input) for top in node.tops]

    def values(self, version: Version) -> np.ndarray:
        """Return a copy of what a version holds, detections in OpenCV's form."""
        own = self._own(version)
        data = self.net.plan.blob(own).data
        return sorted_and_filled(data, own) if is_detections(own) else data.copy()

    def _own(self, version: Version) -> Version:
        producer = version.producer
        return self.net.graph.nodes[producer.index].tops[producer.tops.index(version)]

    def layer(self, node: Node) -> Layer:
        """Return the engine's layer of a node of :attr:`graph`."""
        return self.net.graph.nodes[node.index].layer

    def set_by_hand(self, node: Node) -> None:
        """Take note that the parameters of a layer were set."""
        self._untrained.discard(node.name)
        self.net.changed()
