"""A net as boxes and edges: what there is to draw, whatever it is drawn with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from caffelite.layers.contract.registry import registry
from caffelite.layers.contract.summary import plain_summary
from caffelite.net.graph import included
from caffelite.net.survey import Survey, survey
from caffelite.schema.documents import NetDocument
from caffelite.schema.messages import LayerParameter
from caffelite.words import TEST, TRAIN, Shape, count, text_of

PHASES = {"TRAIN": TRAIN, "TEST": TEST}


@dataclass(slots=True)
class BoxRow:
    """A layer.

    Attributes
    ----------
    name, type : str
    settings : list of str
        What is worth telling of it, a line each.
    phases : str
        ``"TRAIN"`` or ``"TEST"`` where it belongs to one alone, else empty.
    parameters : int or None
        How many numbers it learns or keeps; None where that is not known.
    shared : list of str
        Names under which it shares parameters.
    """

    name: str
    type: str
    settings: list[str] = field(default_factory=list)
    phases: str = ""
    parameters: int | None = None
    shared: list[str] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """What the layer is: data, weights, pooling, normalization, activation, loss, measure or other."""
        known = registry().get(self.type)
        if known is not None:
            return known.facts.kind
        return next((ending.lower() for ending in ("Loss", "Data") if self.type.endswith(ending)), "other")


@dataclass(slots=True)
class Box:
    """A layer and the layers that run in place behind it."""

    rows: list[BoxRow]


@dataclass(slots=True)
class Edge:
    """A blob on its way from one box to another."""

    source: int
    target: int
    blob: str
    shape: str = ""
    phases: str = ""


@dataclass(slots=True)
class Diagram:
    """What there is to draw.

    Attributes
    ----------
    title : str
    boxes : list of Box
    edges : list of Edge
    layers : int
    parameters : int or None
    """

    title: str
    boxes: list[Box]
    edges: list[Edge]
    layers: int
    parameters: int | None


def build(
    document: NetDocument, phase: str = "ALL", allow_python: bool = False, inputs: Mapping[str, Shape] | None = None
) -> Diagram:
    """Make the diagram of a net.

    Parameters
    ----------
    document : NetDocument
    phase : str
        TRAIN, TEST, or ALL: every layer, those of one phase marked.
    allow_python : bool, optional
        Whether Python layers may run the code that the net names.
    inputs : mapping of str to tuple of int, optional
        Shapes of blobs, see :func:`caffelite.net.survey.survey`, which also tells what is raised.

    Notes
    -----
    Shapes and parameters are left out where they cannot be known: without the data, behind a Python layer that may not
    run, or with a layer type that is not known. Unknown layers are drawn all the same.
    """
    drawn = {phase} if phase in PHASES else set(PHASES)
    measured = {
        name: _measured(survey(document, PHASES[name], inputs=inputs, allow_python=allow_python))
        for name in sorted(drawn, key=lambda n: n != "TRAIN")
    }
    maker = _Maker(drawn, measured)
    for i, layer in enumerate(document.message.layer):
        place = partial(document.place, i)
        phases = {name for name in drawn if in_phase(layer, PHASES[name], place)}
        if phases:
            maker.add(layer, phases)
    parameters = maker.total if all(one.complete for one in measured.values()) else None
    return Diagram(document.message.name, maker.boxes, maker.edges, maker.layers, parameters)


class _Measured(NamedTuple):
    """The shapes of tops by (layer, blob) and the parameters of layers by name, and whether these are all."""

    shapes: dict[tuple[str, str], Shape]
    parameters: dict[str, int]
    complete: bool


def _measured(net: Survey) -> _Measured:
    shapes = {(layer.name, blob): shape for layer in net.layers for blob, shape in layer.tops if shape is not None}
    sizes = {layer.name: sum(map(count, layer.parameters)) for layer in net.layers if layer.parameters}
    return _Measured(shapes, sizes, not net.problem)


class _Maker:
    def __init__(self, drawn: set[str], measured: dict[str, _Measured]) -> None:
        #: The phases that are drawn, and what is known of the net in each.
        self.drawn, self.measured = drawn, measured
        self.boxes: list[Box] = []
        self._edges: dict[tuple[int, int, str], Edge] = {}  # (source, target, blob) -> edge
        self.layers = 0
        self.total = 0
        self._counted: set[str] = set()
        self._producer: dict[tuple[str, str], int] = {}  # (phase, blob) -> box
        self._last: tuple[LayerParameter, BoxRow, int] | None = None

    @property
    def edges(self) -> list[Edge]:
        return list(self._edges.values())

    def add(self, layer: LayerParameter, phases: set[str]) -> None:
        self.layers += 1
        row = self._row(layer, phases)
        in_place = len(layer.bottom) == 1 and list(layer.bottom) == list(layer.top)
        box = self._twin(layer, row, phases)
        if box is None and in_place:
            box = next((self._producer.get((p, layer.bottom[0])) for p in sorted(phases)), None)
            if box is not None:
                self.boxes[box].rows.append(row)
                self._last = (layer, row, box)
                return
        if box is None:
            self.boxes.append(Box([row]))
            box = len(self.boxes) - 1
            self._last = (layer, row, box)
        if not in_place:
            self._connect(layer, box, phases)

    def _twin(self, layer: LayerParameter, row: BoxRow, phases: set[str]) -> int | None:
        """Return the box of the layer before, if this is the same one for the other phase; its row then tells both."""
        if self._last is None:
            return None
        before, first, box = self._last
        same = all(getattr(before, name) == getattr(layer, name) for name in ("name", "type", "bottom", "top"))
        if not same or not first.phases or first.phases == row.phases:
            return None
        first.settings = [f"{r.phases}: {', '.join(r.settings)}" for r in (first, row) if r.settings]
        first.phases = ""
        return box

    def _connect(self, layer: LayerParameter, box: int, phases: set[str]) -> None:
        for blob in dict.fromkeys(layer.bottom):
            sources: dict[int, set[str]] = {}
            for p in sorted(phases):
                if (p, blob) in self._producer:
                    sources.setdefault(self._producer[p, blob], set()).add(p)
            for source, through in sources.items():
                known = self._edges.get((source, box, blob))
                mark = "" if through == self.drawn else next(iter(through))
                if known is None:
                    edge = Edge(source, box, blob, self._shape(blob, source, through), mark)
                    self._edges[source, box, blob] = edge
                elif known.phases != mark:
                    known.phases = ""
        for blob in layer.top:
            for p in phases:
                self._producer[p, blob] = box

    def _shape(self, blob: str, source: int, phases: set[str]) -> str:
        name = self.boxes[source].rows[0].name
        shapes = [self.measured[p].shapes.get((name, blob)) for p in ("TRAIN", "TEST") if p in phases]
        return next((text_of(shape) for shape in shapes if shape is not None), "")

    def _row(self, layer: LayerParameter, phases: set[str]) -> BoxRow:
        sizes = [self.measured[p].parameters.get(layer.name) for p in sorted(phases)]
        parameters = next((size for size in sizes if size), None)
        mark = "" if phases == self.drawn else next(iter(phases))
        shared = [spec.name for spec in layer.param if spec.name]
        names = {layer.name, *shared}
        if parameters and not names & self._counted:
            self.total += parameters
        self._counted |= names
        return BoxRow(layer.name, layer.type, _settings(layer), mark, parameters, shared)


def _settings(layer: LayerParameter) -> list[str]:
    known = registry().get(layer.type)
    return plain_summary(layer) if known is None else known.summary(layer)


def in_phase(layer: LayerParameter, phase: int, place: Callable[[], str]) -> bool:
    """Tell whether a layer is in the net of a phase, in whatever stages; errors are :func:`included`'s."""
    stages = [stage for rule in (*layer.include, *layer.exclude) for stage in rule.stage]
    return included(layer, phase, 0, stages, place)


def short_number(value: int) -> str:
    """Write a number of parameters as people do: ``25.6 k``."""
    for limit, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if value >= limit:
            return f"{value / limit:.3g} {unit}"
    return str(value)
