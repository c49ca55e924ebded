"""The rules of ``caffelite bn check``: each a function that yields what it finds in a net."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from caffelite.batchnorm.statistics import normalizing
from caffelite.batchnorm.subject import Subject
from caffelite.layers.batchnorm import BatchNorm
from caffelite.layers.contract.layer import Layer
from caffelite.layers.scale import Scale
from caffelite.net.graph import Graph, Node
from caffelite.words import quoted


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that goes wrong.

    Attributes
    ----------
    place : str
        ``file:line:column``.
    layer : str
        The layer's name; empty where it is a setting of the solver.
    problem, mend : str
        What is wrong, and what to do.
    """

    place: str
    layer: str
    problem: str
    mend: str

    def position(self) -> tuple[str, int | None, int | None]:
        """Return file, line and column; None for those of a value that was not written."""
        parts = self.place.rsplit(":", 2)
        if len(parts) == 3 and parts[1].isdigit() and parts[2].isdigit():
            return parts[0], int(parts[1]), int(parts[2])
        return self.place, None, None


@dataclass(frozen=True, slots=True)
class CheckRule:
    """A rule: its name, and the function that finds what breaks it."""

    name: str
    find: Callable[[Subject], Iterator[Finding]]

    @property
    def summary(self) -> str:
        """What is wrong, in a line."""
        return self.find.__doc__ or ""


#: By name, in the order in which they are run.
RULES: dict[str, CheckRule] = {}
_Find = Callable[[Subject], Iterator[Finding]]


def rule(name: str) -> Callable[[_Find], _Find]:
    """Register a rule under its name; what it finds is said by its docstring."""

    def register(find: _Find) -> _Find:
        RULES[name] = CheckRule(name, find)
        return find

    return register


def finding(layer: Layer, setting: str | None, problem: str, mend: str) -> Finding:
    """Return a finding at a setting of a layer, or at the layer where that is not written."""
    return Finding(layer.place(setting), layer.name, problem, mend)


@rule("learned-statistics")
def learned_statistics(subject: Subject) -> Iterator[Finding]:
    """A solver is told to learn the statistics, which the layer keeps itself."""
    for document in subject.documents:
        for i, layer in enumerate(document.message.layer):
            if layer.type != BatchNorm.type:
                continue
            for j in BatchNorm.of_statistics(layer):
                rate = layer.param[j].lr_mult if layer.param[j].HasField("lr_mult") else 0
                if rate:
                    place = document.place_of((*document.origins[i], "param", j, "lr_mult", 0))
                    yield Finding(
                        place,
                        layer.name,
                        f"lr_mult of blob {j} is {rate:g}, but mean, variance and factor are no parameters: they have "
                        "no gradient, and weight decay would shrink them",
                        "write lr_mult: 0 three times, or leave param out; a scale and a shift that are learned "
                        "belong into a Scale layer behind it",
                    )


@rule("batch-statistics-in-test")
def batch_statistics_in_test(subject: Subject) -> Iterator[Finding]:
    """TEST normalizes with the statistics of the test batch."""
    for graph in subject.tests:
        for _, layer in normalizing(graph):
            if layer.uses_stored:
                continue
            setting, value, mend = layer.batch_setting
            yield finding(
                layer,
                setting,
                f"{setting} is {value} in TEST, so that the result for an image depends on the others in its batch, "
                "and a batch of one is normalized by itself",
                mend,
            )


@rule("stored-statistics-in-train")
def stored_statistics_in_train(subject: Subject) -> Iterator[Finding]:
    """TRAIN normalizes with stored statistics, and never changes them."""
    graph = subject.learning
    if graph is None or (subject.solver is not None and subject.solver.message.weights):
        return
    for node, layer in normalizing(graph):
        stored = subject.stored(node.name)
        if (
            layer.layout.factor
            and layer.uses_stored
            and not _frozen(node)
            and not (stored is not None and stored.factor)
        ):
            yield finding(
                layer,
                "use_global_stats",
                "use_global_stats is true in TRAIN: from scratch the stored statistics are 0 and stay so, and every "
                "value is divided by sqrt(eps)",
                "leave use_global_stats out: it is false in TRAIN and true in TEST by itself; to train on with the "
                "statistics of other weights, give these with --weights",
            )


@rule("unshared-names")
def unshared_names(subject: Subject) -> Iterator[Finding]:
    """A layer of TEST has a name that no layer of TRAIN has, so nothing learned reaches it."""
    if subject.learning is None:
        return
    learned = {node.name for node in subject.learning.nodes}
    for graph in subject.tests:
        for node, _ in normalizing(graph):
            for one in (node, *scales_behind(node)):
                if one.name in learned or one.name in subject.weights:
                    continue
                twin = _at_the_same_blob(subject.learning, one)
                partner = f"; in TRAIN it is {quoted(twin.name)}" if twin is not None else ""
                what = "stored statistics" if one is node else "scale and shift"
                yield finding(
                    one.layer,
                    "name",
                    f"no layer of TRAIN has this name{partner}: parameters are shared by name, so its {what} stay "
                    "as they began",
                    f"give both layers one name{f', {quoted(twin.name)}' if twin is not None else ''}, or write one "
                    "layer for both phases",
                )


@rule("no-scale")
def no_scale(subject: Subject) -> Iterator[Finding]:
    """A rectifier follows BatchNorm without a learned scale and shift in between."""
    if subject.learning is None:
        return
    for node, layer in normalizing(subject.learning):
        if layer.scales:
            continue
        cut = [reader for reader, _ in node.tops[0].readers if reader.layer.facts.rectifies]
        if cut:
            yield finding(
                layer,
                None,
                f"{cut[0].layer.param.type} {quoted(cut[0].name)} follows at once: Caffe's BatchNorm has no scale and "
                "shift of its own, so every channel is cut at its mean and none can learn to be cut elsewhere",
                "put a Scale layer with bias_term: true between them",
            )


@rule("bias-without-effect")
def bias_without_effect(subject: Subject) -> Iterator[Finding]:
    """A bias before BatchNorm is taken away again with the mean."""
    if subject.learning is None:
        return
    taking = [node for node, layer in normalizing(subject.learning) if not layer.uses_stored]
    for version in dict.fromkeys(node.bottoms[0] for node in taking):
        layer = version.producer.layer
        if all(reader in taking for reader, _ in version.readers) and _learns_bias(layer):
            yield finding(
                layer,
                "bias_term",
                f"its bias has no effect: {version.readers[0][0].layer.type} {quoted(version.readers[0][0].name)} "
                "takes the mean of each channel away, and the bias with it",
                "write bias_term: false, and drop its param; the Scale layer behind BatchNorm has the bias",
            )


@rule("overwritten-input")
def overwritten_input(subject: Subject) -> Iterator[Finding]:
    """BatchNorm in place writes over a blob that another layer reads."""
    for graph in subject.graphs:
        for node, layer in normalizing(graph):
            param = layer.param
            others = [reader for reader, _ in node.bottoms[0].readers if reader is not node]
            if others and param.top[0] == param.bottom[0]:
                yield finding(
                    layer,
                    "top",
                    f"it writes over its bottom {quoted(param.top[0])}, which {quoted(others[0].name)} reads before "
                    "it; Caffe refuses such a net, and layers behind get the normalized values under the same name",
                    "give its top a name of its own",
                )


@rule("overwritten-output")
def overwritten_output(subject: Subject) -> Iterator[Finding]:
    """BatchNorm in place writes over what the layer before it needs for its gradient."""
    for node, layer in [] if subject.learning is None else normalizing(subject.learning):
        before = node.bottoms[0].producer.layer
        needed = before.facts.reads_own_output
        if _in_place(layer) and (needed == "always" or needed == "in place" and _in_place(before)):
            yield finding(
                layer,
                "top",
                f"it writes over {quoted(layer.param.top[0])}, from which {quoted(before.name)} ({before.type}) "
                "computes its gradient: Caffe computes a wrong one then, without a word (caffelite keeps what is "
                "needed)",
                "give its top a name of its own",
            )


def _in_place(layer: Layer) -> bool:
    return list(layer.param.top[:1]) == list(layer.param.bottom[:1])


def _frozen(node: Node) -> bool:
    """Whether the Scale behind a layer is kept as it is, so that the layer is meant to be, too."""
    scales = [scale.layer.specs() for scale in scales_behind(node)]
    return bool(scales) and all(specs and not any(spec.lr_mult for spec in specs) for specs in scales)


def scales_behind(node: Node) -> list[Node]:
    """Return the Scale layers that read the top of a layer and learn their factor."""
    return [r for r, j in node.tops[0].readers if isinstance(r.layer, Scale) and j == 0 and len(r.bottoms) == 1]


def _at_the_same_blob(graph: Graph, node: Node) -> Node | None:
    """Return the layer of the same type that reads a blob of the same name, if there is one alone."""
    kind, blob = node.layer.type, node.bottoms[0].name
    twins = [other for other in graph.nodes if other.layer.type == kind and other.bottoms[0].name == blob]
    return twins[0] if len(twins) == 1 else None


def _learns_bias(layer: Layer) -> bool:
    """Whether a layer adds a learned number to each channel, and to nothing else."""
    specs = layer.specs()
    if len(specs) > 1 and (specs[1].lr_mult == 0 or specs[1].name):
        return False
    for descriptor, settings in layer.param.ListFields():
        if descriptor.message_type is not None and {"num_output", "bias_term", "axis"} <= set(
            descriptor.message_type.fields_by_name
        ):
            return bool(settings.bias_term) and settings.axis == 1
    return False
