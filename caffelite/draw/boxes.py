"""A net as boxes and edges: what there is to draw, whatever it is drawn with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from caffelite.layers.contract.registry import registry
from caffelite.layers.contract.summary import plain_summary
from caffelite.net.graph import included
from caffelite.net.survey import LayerSurvey, Survey, survey
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
    layers : list of int
        Which layers of the net it stands for: one, or one a phase.
    multiply_adds, bytes : int or None
        Of a forward pass, and of its tops; None where that is not known.
    """

    name: str
    type: str
    settings: list[str] = field(default_factory=list)
    phases: str = ""
    parameters: int | None = None
    shared: list[str] = field(default_factory=list)
    layers: list[int] = field(default_factory=list)
    multiply_adds: int | None = None
    bytes: int | None = None

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


class Totals(NamedTuple):
    """What a pass of a net takes: products that are summed, and bytes of blobs in float32, each with its own memory."""

    multiply_adds: int
    bytes: int


@dataclass(slots=True)
class Frame:
    """Boxes that belong together: blocks that are equal but for their names, the first of them alone where ``folded``.

    Attributes
    ----------
    boxes : range
    label, told : str
        Which blocks these are, and what they have together.
    group : int
        Which of the groups of equal blocks it is.
    folded : bool
    """

    boxes: range
    label: str
    told: str
    group: int
    folded: bool


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
    totals : dict of str to Totals
        By phase; empty where not all is known.
    frames : list of Frame
    """

    title: str
    boxes: list[Box]
    edges: list[Edge]
    layers: int
    parameters: int | None
    totals: dict[str, Totals] = field(default_factory=dict)
    frames: list[Frame] = field(default_factory=list)


def build(
    document: NetDocument,
    phase: str = "ALL",
    allow_python: bool = False,
    inputs: Mapping[str, Shape] | None = None,
    stages: Sequence[str] | None = None,
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
    stages : sequence of str, optional
        Those that rules are held against; by default layers are drawn in whatever stages they are.

    Notes
    -----
    Shapes and parameters are left out where they cannot be known: without the data, behind a Python layer that may not
    run, or with a layer type that is not known. Unknown layers are drawn all the same.
    """
    return assemble(document, surveys(document, phase, allow_python, inputs, stages), stages)


def surveys(
    document: NetDocument,
    phase: str = "ALL",
    allow_python: bool = False,
    inputs: Mapping[str, Shape] | None = None,
    stages: Sequence[str] | None = None,
) -> dict[str, Survey]:
    """Return what is known of a net in each phase that is drawn, TRAIN first; arguments are :func:`build`'s."""
    drawn = [phase] if phase in PHASES else list(PHASES)
    return {
        name: survey(document, PHASES[name], stages=stages or (), inputs=inputs, allow_python=allow_python)
        for name in drawn
    }


def assemble(document: NetDocument, measured: Mapping[str, Survey], stages: Sequence[str] | None = None) -> Diagram:
    """Make the diagram of a net of which this is known, by phase."""
    maker = _Maker(measured)
    for i, layer in enumerate(document.message.layer):
        place = partial(document.place, i)
        phases = {name for name in measured if in_phase(layer, PHASES[name], place, stages)}
        if phases:
            maker.add(i, layer, phases)
    complete = not any(one.problem for one in measured.values())
    totals = {name: _totals(one) for name, one in measured.items()} if complete else {}
    parameters = maker.total if complete else None
    return Diagram(document.message.name, maker.boxes, maker.edges, maker.layers, parameters, totals)


def _totals(net: Survey) -> Totals:
    return Totals(sum(one.multiply_adds or 0 for one in net.layers), sum(one.bytes or 0 for one in net.layers))


class _Maker:
    def __init__(self, measured: Mapping[str, Survey]) -> None:
        #: The phases that are drawn.
        self.drawn = set(measured)
        self._known = {name: {layer.name: layer for layer in net.layers} for name, net in measured.items()}
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

    def add(self, index: int, layer: LayerParameter, phases: set[str]) -> None:
        self.layers += 1
        row = self._row(index, layer, phases)
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
        first.layers += row.layers
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
        layers = self._facts(self.boxes[source].rows[0].name, phases)
        shapes = [shape for layer in layers for top, shape in layer.tops if top == blob and shape is not None]
        return text_of(shapes[0]) if shapes else ""

    def _facts(self, name: str, phases: set[str]) -> list[LayerSurvey]:
        """Return what is known of a layer in each of these phases, TRAIN first."""
        return [known[name] for phase, known in self._known.items() if phase in phases and name in known]

    def _row(self, index: int, layer: LayerParameter, phases: set[str]) -> BoxRow:
        facts = self._facts(layer.name, phases)
        parameters = next((size for one in facts if (size := sum(map(count, one.parameters or ())))), None)
        mark = "" if phases == self.drawn else next(iter(phases))
        shared = [spec.name for spec in layer.param if spec.name]
        names = {layer.name, *shared}
        if parameters and not names & self._counted:
            self.total += parameters
        self._counted |= names
        products = next((one.multiply_adds for one in facts if one.multiply_adds is not None), None)
        taken = next((one.bytes for one in facts if one.bytes is not None), None)
        return BoxRow(layer.name, layer.type, _settings(layer), mark, parameters, shared, [index], products, taken)


def _settings(layer: LayerParameter) -> list[str]:
    known = registry().get(layer.type)
    return plain_summary(layer) if known is None else known.summary(layer)


def in_phase(layer: LayerParameter, phase: int, place: Callable[[], str], stages: Sequence[str] | None = None) -> bool:
    """Tell whether a layer is in the net of a phase, in these stages or in whatever; errors are :func:`included`'s."""
    if stages is None:
        stages = [stage for rule in (*layer.include, *layer.exclude) for stage in rule.stage]
    return included(layer, phase, 0, stages, place)
