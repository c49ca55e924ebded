"""The names and numbers that OpenCV gives to the layers of a Caffe net."""

from collections import Counter
from collections.abc import Sequence

from caffelite.errors import NetError
from caffelite.layers.input import Input
from caffelite.net.graph import Graph, Node, Version
from caffelite.words import did_you_mean, quoted

#: What layer number 0, which is all inputs together, is called.
INPUT = "_input"


class Names:
    """The layers of a graph by OpenCV's names and numbers.

    A layer has its name in the file, but a Convolution has that of its top, and a second layer of one name gets a
    number. Inputs are no layers: number 0 stands for all of them.

    Parameters
    ----------
    graph : Graph

    Attributes
    ----------
    nodes : list of Node
        Layer number i is ``nodes[i - 1]``.
    names : list of str
        Theirs.
    """

    def __init__(self, graph: Graph) -> None:
        self.nodes = [node for node in graph.nodes if not isinstance(node.layer, Input)]
        self.names: list[str] = []
        self._last = graph.names
        seen: Counter[str] = Counter()
        for node in self.nodes:
            param = node.layer.param
            name = param.top[0] if param.type == "Convolution" else param.name
            self.names.append(f"{name}_{seen[name]}" if seen[name] else name)
            seen[name] += 1
        self._numbers = {name: number for number, name in enumerate(self.names, 1)}

    def number(self, layer: str | int) -> int:
        """Return the number of a layer, by OpenCV's name for it or the file's; -1 where there is none.

        Raises
        ------
        NetError
            A number that no layer has.
        """
        if isinstance(layer, str):
            if layer == INPUT:
                return 0
            return self._numbers.get(layer) or self._number_in_file(layer)
        if not 0 <= layer <= len(self.nodes):
            raise NetError(f"there is no layer number {layer}: numbers go from 0, the input, to {len(self.nodes)}")
        return int(layer)

    def _number_in_file(self, name: str) -> int:
        return next((i for i, node in enumerate(self.nodes, 1) if node.name == name), -1)

    def node(self, layer: str | int) -> Node:
        """Return a layer.

        Raises
        ------
        NetError
            There is none of this name or number, or it is the input.
        """
        number = self.number(layer)
        if number < 0:
            raise NetError(f"there is no layer {quoted(str(layer))}{did_you_mean(str(layer), self.names)}")
        if number == 0:
            raise NetError("layer number 0 is the input: it has no parameters, and holds what setInput was given")
        return self.nodes[number - 1]

    def tops(self, name: str) -> Sequence[Version]:
        """Return what a layer makes; where no layer has the name, the last version of the blob that has it.

        Raises
        ------
        NetError
            Neither is there, or the layer has no tops.
        """
        if self.number(name) < 0 and name in self._last and not isinstance(self._last[name].producer.layer, Input):
            return [self._last[name]]
        tops = self.node(name).tops
        if not tops:
            raise NetError(f"layer {quoted(name)} has no outputs")
        return tops
