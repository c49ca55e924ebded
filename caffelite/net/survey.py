"""What can be known of a net that is not built: shapes, parameters, arithmetic, memory; also without its data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from caffelite.errors import Error, NetError, ShapeError
from caffelite.layers.contract.blobs import Blob
from caffelite.layers.contract.context import Context
from caffelite.layers.contract.registry import registry
from caffelite.net.graph import Graph, Node, Version, included
from caffelite.net.parameters import parameters_of
from caffelite.net.receptive import Field, field_of
from caffelite.net.timing import stand_ins
from caffelite.schema.documents import NetDocument
from caffelite.schema.messages import NetParameter
from caffelite.words import Shape, count, did_you_mean, quoted, text_of

_FLOAT = np.dtype(np.float32)


@dataclass(slots=True)
class LayerSurvey:
    """What is known of a layer.

    Attributes
    ----------
    name, type : str
    tops : list of (str, tuple of int or None)
        Its blobs with their shapes; None where that is not known.
    parameters : list of tuple of int, or None
        The shapes of its parameter blobs.
    multiply_adds : int or None
        Products that are summed in a forward pass.
    bytes : int or None
        Memory of its tops in float32; 0 for what it writes in place.
    receptive_field : tuple of int or None
        How much of the data one value of its first top depends on, along each spatial axis: see
        :func:`caffelite.net.receptive.field_of`. Empty where there is no such axis, None where that is not known.
    """

    name: str
    type: str
    tops: list[tuple[str, Shape | None]]
    parameters: list[Shape] | None = None
    multiply_adds: int | None = None
    bytes: int | None = None
    receptive_field: Shape | None = None


@dataclass(slots=True)
class Survey:
    """What is known of a net in one state.

    Attributes
    ----------
    layers : list of LayerSurvey
    parameters, kept : int
        Numbers that layers learn or keep, those that are shared counted once; those of them that no solver changes
        (statistics).
    problem : str
        Why something is not known, the first reason; empty where all is.
    missing : str
        The first blob that a layer should bring whose data is not there; empty where there is none.
    """

    layers: list[LayerSurvey] = field(default_factory=list)
    parameters: int = 0
    kept: int = 0
    problem: str = ""
    missing: str = ""


def survey(
    document: NetDocument,
    phase: int,
    level: int = 0,
    stages: Sequence[str] = (),
    inputs: Mapping[str, Shape] | None = None,
    allow_python: bool = False,
) -> Survey:
    """Find out what can be known of a net without building it.

    Parameters
    ----------
    document : NetDocument
    phase : int
    level : int, optional
    stages : sequence of str, optional
    inputs : mapping of str to tuple of int, optional
        Shapes of blobs: in place of those of the data, which is not looked at then, or where they are not known.
    allow_python : bool, optional
        Whether Python layers may run the code that the net names.

    Raises
    ------
    NetError
        A name in ``inputs`` is no blob of the net, in no state of it.
    ShapeError
        With ``inputs``: shapes do not fit. Without, that is the survey's ``problem``.
    """
    inputs = inputs or {}
    _check_names(document, inputs)
    context = Context(phase, allow_python=allow_python, home=Path(document.filename).parent)
    try:
        graph = Graph(_brought(document, inputs), context, level, stages)
    except Error as error:
        return Survey(_names(document, phase, level, stages), problem=error.message)
    try:
        seen = _Walk(inputs).over(graph)
        for layer, named in zip(seen.layers, _names(document, phase, level, stages), strict=True):
            layer.type = named.type
        return seen
    finally:
        for node in graph.nodes:
            node.layer.close()


def _brought(document: NetDocument, inputs: Mapping[str, Shape]) -> NetDocument:
    """Return a net whose unknown layers that read nothing are Input layers, where all that they bring is given."""
    unknown = [
        i
        for i, layer in enumerate(document.message.layer)
        if not layer.bottom and layer.top and inputs.keys() >= set(layer.top) and layer.type not in registry()
    ]
    if not unknown:
        return document
    message = NetParameter()
    message.CopyFrom(document.message)
    for i in unknown:
        layer = message.layer[i]
        layer.type = "Input"
        del layer.input_param.shape[:]
        for top in layer.top:
            layer.input_param.shape.add(dim=inputs[top])
    return replace(document, message=message)


def _check_names(document: NetDocument, inputs: Mapping[str, Shape]) -> None:
    blobs = dict.fromkeys(blob for layer in document.message.layer for blob in layer.top)
    for name in inputs:
        if name not in blobs:
            hint = did_you_mean(name, blobs)
            raise NetError(
                f"{document.filename}: a shape is given for the blob {quoted(name)}, which is not there{hint}"
            )


def _names(document: NetDocument, phase: int, level: int, stages: Sequence[str]) -> list[LayerSurvey]:
    """Return the layers of a net as its file has them, and nothing else of them."""
    return [
        LayerSurvey(layer.name, layer.type, [(top, None) for top in layer.top])
        for i, layer in enumerate(document.message.layer)
        if included(layer, phase, level, stages, partial(document.place, i))
    ]


class _Walk:
    def __init__(self, inputs: Mapping[str, Shape]) -> None:
        self._inputs = inputs
        self._known: set[Version] = set()
        self._fields: dict[Version, Field | None] = {}
        self._shared: set[str] = set()
        self._survey = Survey()

    def over(self, graph: Graph) -> Survey:
        """Visit the layers from the first to the last, and return what they are."""
        for node in graph.nodes:
            layer = LayerSurvey(node.name, node.layer.param.type, [])
            try:
                self._visit(node, layer)
            except ShapeError as error:
                if self._inputs:
                    raise
                self._note(error)
            except Error as error:
                self._note(error)
                if node.layer.facts.source and node.tops:
                    self._survey.missing = self._survey.missing or node.tops[0].name
            layer.tops = [(v.name, v.shape if v in self._known else None) for v in node.tops]
            if all(version in self._known for version in node.tops):
                in_place = {version.name for version in node.bottoms}
                layer.bytes = sum(count(v.shape) * _FLOAT.itemsize for v in node.tops if v.name not in in_place)
                layer.receptive_field = self._receptive_field(node)
            self._survey.layers.append(layer)
        return self._survey

    def _receptive_field(self, node: Node) -> Shape | None:
        bottoms = [(version.shape, self._fields[version]) for version in node.bottoms if version in self._fields]
        if len(bottoms) == len(node.bottoms):
            self._fields |= {top: field_of(node.layer, bottoms, top.shape) for top in node.tops}
        first = self._fields.get(node.tops[0]) if node.tops else None
        return None if first is None else first.size

    def _note(self, error: Error) -> None:
        self._survey.problem = self._survey.problem or error.message

    def _visit(self, node: Node, layer: LayerSurvey) -> None:
        """Find the shapes of the tops of a layer, those that were given and those that follow, and what it computes."""
        given = {j: self._inputs[v.name] for j, v in enumerate(node.tops) if v.name in self._inputs}
        if node.layer.facts.source and given:
            self._give(node, given)
            layer.parameters, layer.multiply_adds = [], 0
            return
        if any(version not in self._known for version in node.bottoms):
            self._set(node, given)
            return
        try:
            shapes = node.layer.shapes(*[version.shape for version in node.bottoms])
        except Error:
            # A Python layer that may not run, say.
            self._set(node, given)
            raise
        self._set(node, dict(enumerate(shapes)))
        for j, shape in given.items():
            if shape != node.tops[j].shape:
                node.layer.shape_error(
                    f"top {quoted(node.tops[j].name)} is {text_of(node.tops[j].shape)}, not {text_of(shape)}, "
                    "which is given for it",
                    "top",
                    j,
                )
        self._measure(node, layer)

    def _give(self, node: Node, given: Mapping[int, Shape]) -> None:
        """Set the shapes of the tops of a source to those that were given; of the others, to what they are beside."""
        told = node.layer.shapes_beside(given)
        self._set(node, dict(enumerate(told)))
        if None in told:
            self._set(node, {j: own for j, own in enumerate(node.layer.shapes()) if told[j] is None})

    def _set(self, node: Node, shapes: Mapping[int, Shape | None]) -> None:
        for j, shape in shapes.items():
            if shape is not None:
                version = node.tops[j]
                version.shape = tuple(int(n) for n in shape)
                node.layer.check_blob(f"top {quoted(version.name)}", version.shape)
                self._known.add(version)

    def _measure(self, node: Node, layer: LayerSurvey) -> None:
        """Find out what parameters a layer has, and how much it computes; it knows its shapes."""
        parameters = parameters_of(node)
        specs = node.layer.specs()
        for j, parameter in enumerate(parameters):
            shared = specs[j].name if j < len(specs) else ""
            if not shared or shared not in self._shared:
                self._survey.parameters += count(parameter.shape)
                self._survey.kept += 0 if parameter.learned else count(parameter.shape)
            self._shared.add(shared)
        layer.parameters = [parameter.shape for parameter in parameters]
        node.layer.blobs = [Blob("", np.broadcast_to(_FLOAT.type(0), shape)) for shape in layer.parameters]
        layer.multiply_adds, _ = node.layer.multiply_adds(
            stand_ins(node.bottoms, (), _FLOAT), stand_ins(node.tops, (), _FLOAT)
        )
