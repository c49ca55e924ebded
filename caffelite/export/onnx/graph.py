"""An ONNX graph in the making: operators, constants, and the names of both."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from caffelite.export.onnx.choices import DETECTIONS
from caffelite.net import Net
from caffelite.net.graph import Node, Version
from caffelite.words import Shape

#: A dimension that depends on the batch or on the data, in a shape that an operator is given.
ANY = -1
#: An end of a slice that is beyond every axis.
END = 2**63 - 1

#: What adds the operators of a step of a loop, from its states and elements; returns new states and results.
Step = Callable[[list[str], list[str]], tuple[Sequence[str], Sequence[str]]]


class OnnxGraph:
    """Operators and constants, added one by one.

    A function for a layer (:mod:`caffelite.export.onnx.operators`) is given one, asks it for what it must know of the
    net, and adds its operators; it never chooses a name.

    Parameters
    ----------
    net : Net
        In the TEST phase, of layers that compute something at inference.
    opset : int
        The version of ONNX's operators.
    shapes : mapping of Version to list of int
        The shape of every blob; :data:`ANY` where a dimension depends on the batch or on the data.
    detections : str, optional
        What a layer that makes detections becomes: one of :data:`~caffelite.export.onnx.choices.DETECTIONS`.
    decompose_lrn : bool, optional
        Whether LRN across channels becomes what it is made of, in place of one operator.

    Attributes
    ----------
    net, opset, detections, decompose_lrn
    names : dict of Version to str
        The tensor that holds a blob.
    nodes : list of NodeProto
    constants : dict of str to ndarray
    """

    def __init__(
        self,
        net: Net,
        opset: int,
        shapes: Mapping[Version, Sequence[int]],
        detections: str = DETECTIONS[0],
        decompose_lrn: bool = False,
    ) -> None:
        self.net, self.opset, self.detections, self.decompose_lrn = net, opset, detections, decompose_lrn
        self.names: dict[Version, str] = {}
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self._shapes = shapes
        self._taken = {version.name for node in net.graph.nodes for version in node.tops}
        self._known: dict[tuple[str, Shape, bytes], str] = {}
        self._layer = ""

    # What a function for a layer may ask.

    def shape(self, version: Version) -> list[int]:
        """Return the shape of a blob, with :data:`ANY` where a dimension depends on the batch or on the data."""
        return list(self._shapes[version])

    # What it may add.

    def constant(self, values: Any, dtype: Any = np.float32, name: str = "") -> str:
        """Add a constant and return its name; one that is there already is used again.

        Parameters
        ----------
        values : array_like
        dtype : dtype, optional
        name : str, optional
            What it is for the layer, part of its name: ``weight``, ``axes``.
        """
        array = np.asarray(values, dtype, order="C")
        key = (array.dtype.str, array.shape, sha256(array.data).digest())
        if key not in self._known:
            self._known[key] = self._named(name or "constant")
            self.constants[self._known[key]] = array
        return self._known[key]

    def integers(self, values: int | Iterable[int], name: str = "") -> str:
        """Add int64 constants, which shapes, axes and places are for ONNX."""
        return self.constant(values if isinstance(values, int) else list(values), np.int64, name)

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add an operator with one result; return the tensor's name. An input that is not given is an empty name."""
        return self.add_many(operator, 1, *inputs, **attributes)[0]

    def add_many(self, operator: str, results: int, *inputs: str, **attributes: Any) -> list[str]:
        """Add an operator with several results; return their names. One of constants alone is computed here and now."""
        given = {key: value for key, value in attributes.items() if value is not None}
        if any(inputs) and self.constants.keys() >= set(filter(None, inputs)) and "body" not in given:
            node = helper.make_node(operator, inputs, [f"y{j}" for j in range(results)], **given)
            return [self.constant(y, y.dtype, operator.lower()) for y in self._computed(node)]
        names = [self._named(operator.lower()) for _ in range(results)]
        self.nodes.append(helper.make_node(operator, inputs, names, name=names[0], **given))
        return names

    def _computed(self, node: NodeProto) -> list[np.ndarray]:
        """Return the results of an operator of constants."""
        values = {name: self.constants[name] for name in node.input if name}
        inputs = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            for name, value in values.items()
        ]
        graph = helper.make_graph([node], "constants", inputs, [ValueInfoProto(name=y) for y in node.output])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)])
        return [np.asarray(y) for y in ReferenceEvaluator(model).run(None, values)]

    # What is not the same in every opset.

    def reshape(self, x: str, shape: Sequence[int]) -> str:
        """Give a tensor another shape, in which at most one dimension is :data:`ANY`."""
        return self.add("Reshape", x, self.integers(shape, "shape"))

    def softmax(self, x: str, axis: int, axes: int, operator: str = "Softmax") -> str:
        """Add Softmax over one of so many axes."""
        if self.opset >= 13 or axis == axes - 1:
            return self.add(operator, x, axis=axis)
        # Before opset 13 it is over all axes from this one on.
        order = [i for i in range(axes) if i != axis] + [axis]
        back = [order.index(i) for i in range(axes)]
        last = self.add("Transpose", x, perm=order)
        return self.add("Transpose", self.add(operator, last, axis=axes - 1), perm=back)

    def reduce(self, operator: str, x: str, axes: Sequence[int], keepdims: bool = True) -> str:
        """Add a reduction (ReduceSum, ReduceMean …) over some axes."""
        if self.opset >= (13 if operator == "ReduceSum" else 18):
            return self.add(operator, x, self.integers(axes, "axes"), keepdims=int(keepdims))
        return self.add(operator, x, axes=list(axes), keepdims=int(keepdims))

    def squeeze(self, x: str, axes: Sequence[int]) -> str:
        """Take axes of one element away."""
        return self._with_axes("Squeeze", x, axes)

    def unsqueeze(self, x: str, axes: Sequence[int]) -> str:
        """Put axes of one element in."""
        return self._with_axes("Unsqueeze", x, axes)

    def _with_axes(self, operator: str, x: str, axes: Sequence[int]) -> str:
        if self.opset >= 13:
            return self.add(operator, x, self.integers(axes, "axes"))
        return self.add(operator, x, axes=list(axes))

    def slice(
        self,
        x: str,
        axes: Sequence[int],
        starts: Sequence[int],
        ends: Sequence[int],
        steps: Sequence[int] | None = None,
    ) -> str:
        """Take a part of a tensor along some axes; an end of :data:`END` is that of the axis."""
        limits = [self.integers(starts, "starts"), self.integers(ends, "ends"), self.integers(axes, "axes")]
        return self.add("Slice", x, *limits, *([] if steps is None else [self.integers(steps, "steps")]))

    def split(self, x: str, axis: int, sizes: Sequence[int]) -> list[str]:
        """Cut a tensor along an axis into parts of these sizes; equal ones, where the first is :data:`ANY`."""
        if sizes[0] == ANY:
            parts = len(sizes) if self.opset >= 18 else None
            return self.add_many("Split", len(sizes), x, axis=axis, num_outputs=parts)
        if self.opset >= 13:
            return self.add_many("Split", len(sizes), x, self.integers(sizes, "sizes"), axis=axis)
        return self.add_many("Split", len(sizes), x, axis=axis, split=list(sizes))

    def pad(self, x: str, before: Sequence[int], after: Sequence[int], value: float = 0.0) -> str:
        """Put a value around a tensor: so many of it before and after, for each axis."""
        return self.add("Pad", x, self.integers([*before, *after], "pads"), self.constant(value, name="fill"))

    def resize(self, x: str, before: Sequence[int], after: Sequence[int], **attributes: Any) -> str:
        """Add Resize from one shape to another; an axis of the batch has the same size in both."""
        factors = [np.float32(n) / np.float32(m) if m != n else 1.0 for m, n in zip(before, after, strict=True)]
        # The product with the old size is rounded down, so a factor must not be a trace too small.
        for axis, (factor, m, n) in enumerate(zip(factors, before, after, strict=True)):
            if m * float(factor) < n:
                factors[axis] = np.nextafter(np.float32(factor), np.float32(np.inf))
        region = "" if self.opset >= 13 else self.constant([], name="region")
        return self.add("Resize", x, region, self.constant(factors, name="factors"), **attributes)

    # Loops.

    def scan(self, states: Sequence[str], sequences: Sequence[str], size: int, step: Step) -> list[str]:
        """Add a loop over the first axis of some tensors; return the last states, and the results of all steps.

        Parameters
        ----------
        states : sequence of str
            What the first step starts from, of two axes.
        sequences : sequence of str
            Of three axes; a step is given an element of each.
        size : int
            The last axis of the states and of the results of a step.
        step : callable
            Adds the operators of a step, from states and elements; returns the new states and the results.
        """
        around, self.nodes = self.nodes, []
        given = [self._named("state") for _ in states]
        elements = [self._named("element") for _ in sequences]
        after, results = step(given, elements)
        # A tensor cannot be two results of a step.
        results = [self.add("Identity", name) if name in after else name for name in results]
        inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in (*given, *elements)]
        made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, size]) for name in (*after, *results)]
        body = helper.make_graph(self.nodes, self._named("step"), inputs, made)
        self.nodes = around
        parts = len(after) + len(results)
        return self.add_many("Scan", parts, *states, *sequences, body=body, num_scan_inputs=len(sequences))

    # Names.

    def _named(self, what: str) -> str:
        """Return a name that no tensor has: the layer's, and what it is in it."""
        name, number = f"{self._layer}.{what}", 1
        while name in self._taken:
            number += 1
            name = f"{self._layer}.{what}{number}"
        self._taken.add(name)
        return name

    def outside(self, name: str) -> str:
        """Return a name for a tensor that the model is given and the net has no blob for: this one, if it is free."""
        if name in self._taken:
            return self._named(name)
        self._taken.add(name)
        return name

    def begin(self, node: Node) -> int:
        """Name what is added from now on after this layer; return how many operators there are."""
        self._layer = node.name
        return len(self.nodes)

    def settle(self, node: Node, results: Sequence[str], first: int) -> None:
        """Let the results of a layer, the operators from number ``first`` on, be the tensors of its tops."""
        made = {name for op in self.nodes[first:] for name in op.output}
        for version, result in zip(node.tops, results, strict=True):
            if result in made:
                made.discard(result)
                result = self._rename(result, self._tensor(version), first)
            self.names[version] = result

    def _tensor(self, version: Version) -> str:
        """Return what the tensor of a blob is called: as the blob; an earlier version of it, with its layer."""
        if self.net.graph.names[version.name] is version:
            return version.name
        return self._named(version.name)

    def _rename(self, old: str, new: str, first: int) -> str:
        for op in self.nodes[first:]:
            for names in (op.input, op.output):
                for j, name in enumerate(names):
                    if name == old:
                        names[j] = new
            if op.name == old:
                op.name = new
        return new

    def finish(self, outputs: Sequence[Version], inputs: Iterable[str]) -> None:
        """Let every output of the net be a tensor of its name."""
        used = set(inputs)
        for version in outputs:
            tensor = self.names[version]
            if tensor in self.constants:
                self.constants[version.name] = self.constants[tensor]
            elif tensor != version.name:
                if tensor in used:
                    self._layer = version.producer.name
                    self.nodes.append(helper.make_node("Identity", [tensor], [version.name], name=version.name))
                else:
                    self._rename(tensor, version.name, 0)
                    self.names = {v: version.name if t == tensor else t for v, t in self.names.items()}
            used.add(version.name)
        self._prune(version.name for version in outputs)

    def _prune(self, outputs: Iterable[str]) -> None:
        """Leave out what no output depends on: of some operators' results only the shape was read."""
        needed, kept = set(outputs), []
        for op in reversed(self.nodes):
            if not needed.isdisjoint(op.output):
                kept.append(op)
                needed.update(_reads([op]))
        self.nodes = kept[::-1]
        self.constants = {name: array for name, array in self.constants.items() if name in needed}

    def initializers(self) -> list[TensorProto]:
        """Return the constants."""
        return [numpy_helper.from_array(array, name) for name, array in self.constants.items()]


def _reads(nodes: Iterable[NodeProto]) -> Iterator[str]:
    """Yield what operators read, those of loops too."""
    for node in nodes:
        yield from node.input
        for attribute in node.attribute:
            yield from _reads(attribute.g.node)
