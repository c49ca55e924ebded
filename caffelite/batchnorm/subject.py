"""What ``caffelite bn check`` looks at: a net in both phases, its solver, its weights."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from caffelite.errors import NetError, WeightsError
from caffelite.layers.batchnorm import BatchNorm
from caffelite.layers.contract.context import Context
from caffelite.layers.shared.normalizing import Statistics, layout_of
from caffelite.net.graph import Graph
from caffelite.schema.documents import NetDocument, SolverDocument
from caffelite.schema.weights import LayerWeights, read_weights
from caffelite.solvers.sources import NetSource
from caffelite.words import TEST, TRAIN


@dataclass(slots=True)
class Subject:
    """A net and what belongs to it.

    Attributes
    ----------
    documents : list of NetDocument
        The files as they are.
    train : Graph or None
        The net in TRAIN.
    tests : list of Graph
        The nets in TEST.
    solver : SolverDocument or None
    weights : dict of str to LayerWeights
        By layer name; empty where none are given.
    weight_files : list of str
    measured : dict of str to Statistics
        Those of the data, by layer; empty where they were not measured.
    """

    documents: list[NetDocument]
    train: Graph | None
    tests: list[Graph]
    solver: SolverDocument | None = None
    weights: dict[str, LayerWeights] = field(default_factory=dict)
    weight_files: list[str] = field(default_factory=list)
    measured: dict[str, Statistics] = field(default_factory=dict)

    @property
    def graphs(self) -> list[Graph]:
        """All phases."""
        return [*([] if self.train is None else [self.train]), *self.tests]

    @property
    def learning(self) -> Graph | None:
        """The net in TRAIN, if that is what it is for: it has a loss, or a solver; None for one to be deployed."""
        graph = self.train
        if graph is None or self.solver is not None:
            return graph
        return graph if any(top.loss_weight for node in graph.nodes for top in node.tops) else None

    def stored(self, name: str) -> Statistics | None:
        """Return the statistics that the weights have for a layer, in whichever layout they are."""
        blobs = self.weights[name].blobs if name in self.weights else []
        layout = layout_of(blobs)
        return None if layout is None else layout.statistics(blobs)


def subject_of(
    train: NetSource, tests: Sequence[NetSource], solver: SolverDocument | None, allow_python: bool = False
) -> Subject:
    """Return nets, connected, as what is to be checked.

    Parameters
    ----------
    train : NetSource
    tests : sequence of NetSource
        Empty for a net without a solver: it is taken in TEST too, if it is one that can be tested.
    solver : SolverDocument, optional
    allow_python : bool, optional

    Raises
    ------
    NetError
        A net cannot be connected.
    """
    documents = list({id(source.document): source.document for source in (train, *tests)}.values())
    if solver is not None:
        graphs = [_graph(source, source.phase, allow_python) for source in tests]
        return Subject(documents, _graph(train, TRAIN, allow_python), graphs, solver)
    in_train, in_test = (_graph_or_error(train, phase, allow_python) for phase in (TRAIN, TEST))
    if isinstance(in_test, NetError):
        if isinstance(in_train, NetError):
            raise in_train
        return Subject(documents, in_train, [])
    if isinstance(in_train, NetError):
        return Subject(documents, None, [in_test])
    subject = Subject(documents, in_train, [in_test])
    # A file that learns and has nothing for TEST alone has a file of its own for TEST beside it.
    if subject.learning is not None and _places(in_train) == _places(in_test):
        subject.tests.clear()
    return subject


def take_weights(subject: Subject, files: Sequence[str]) -> None:
    """Read weights for the subject; later files go over earlier ones.

    Raises
    ------
    WeightsError
        A file cannot be read, or has nothing for these nets.
    """
    names = {node.name for graph in subject.graphs for node in graph.nodes}
    for file in files:
        layers = [layer for layer in read_weights(file) if layer.blobs]
        if layers and not names & {layer.name for layer in layers}:
            raise WeightsError(
                f"{file}: none of its {len(layers)} layers with weights is in {subject.documents[0].filename}; "
                f'its first is "{layers[0].name}"'
            )
        subject.weights.update((layer.name, layer) for layer in layers)
    subject.weight_files.extend(files)


def _graph(source: NetSource, phase: int, allow_python: bool) -> Graph:
    context = Context(phase, allow_python=allow_python, home=Path(source.document.filename).parent)
    return Graph(_without_rates(source.document), context, source.level, source.stages)


def _graph_or_error(source: NetSource, phase: int, allow_python: bool) -> Graph | NetError:
    try:
        return _graph(source, phase, allow_python)
    except NetError as error:
        return error


def _without_rates(document: NetDocument) -> NetDocument:
    """Return a net whose statistics have no rates: a BatchNorm refuses them, and there is more to be looked at."""
    copy = NetDocument(type(document.message)(), document.filename, document.places, document.unknown, document.origins)
    copy.message.CopyFrom(document.message)
    for layer in copy.message.layer:
        if layer.type == BatchNorm.type:
            for j in BatchNorm.of_statistics(layer):
                layer.param[j].ClearField("lr_mult")
    return copy


def _places(graph: Graph) -> list[str]:
    return [node.layer.place() for node in graph.nodes]
