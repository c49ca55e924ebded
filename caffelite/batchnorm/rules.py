"""The rules of ``caffelite bn check``: each a function that yields what it finds in a net."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from caffelite.batchnorm.statistics import normalizing, uses_stored
from caffelite.batchnorm.subject import Subject
from caffelite.graph import Graph, Node
from caffelite.layers.base import Layer, quoted
from caffelite.layers.batchnorm import BatchNorm


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


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule: its name, and the function that finds what breaks it."""

    name: str
    find: Callable[[Subject], Iterator[Finding]]

    @property
    def summary(self) -> str:
        """What is wrong, in a line."""
        return self.find.__doc__ or ""


#: By name, in the order in which they are run.
RULES: dict[str, Rule] = {}
_Find = Callable[[Subject], Iterator[Finding]]

#: Activations that cut at zero: without a learned shift, half of what is normalized is cut off.
_RECTIFIERS = {"ReLU", "PReLU", "RReLU", "ELU", "ReLU6", "BNLL", "Swish", "Mish", "HSwish"}
#: Wu and He, "Group Normalization", 2018: from here down the error of nets with BatchNorm grows.
_SMALL_BATCH = 8
_TINY_BATCH = 2
#: The most that the first half of a training may count in the average at its end.
_EARLY_SHARE = 0.1


def rule(name: str) -> Callable[[_Find], _Find]:
    """Register a rule under its name; what it finds is said by its docstring."""

    def register(find: _Find) -> _Find:
        RULES[name] = Rule(name, find)
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
        for node in normalizing(graph):
            if uses_stored(node.layer):
                continue
            if isinstance(node.layer, BatchNorm):
                setting, value, mend = "use_global_stats", "false", "leave it out: it is true in TEST by itself"
            elif node.layer.param.bn_param.HasField("moving_average"):
                setting, value, mend = "moving_average", "false", "write moving_average: true"
            else:
                setting, value = "bn_mode", "LEARN"
                mend = "write bn_mode: INFERENCE, with weights into which SegNet's script has worked the statistics"
            yield finding(
                node.layer,
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
    for node in normalizing(graph):
        layer = node.layer
        stored = subject.stored(node.name)
        if isinstance(layer, BatchNorm) and layer.use_global_stats and not _frozen(node) and not (
            stored is not None and stored.factor
        ):  # fmt: skip
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
        for node in normalizing(graph):
            for one in (node, *_scales(node)):
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
    for node in normalizing(subject.learning):
        if not isinstance(node.layer, BatchNorm) or node.layer.scale_bias:
            continue
        cut = [reader for reader, _ in node.tops[0].readers if reader.layer.param.type in _RECTIFIERS]
        if cut:
            yield finding(
                node.layer,
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
    taking = [node for node in normalizing(subject.learning) if not uses_stored(node.layer)]
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
        for node in normalizing(graph):
            param = node.layer.param
            others = [reader for reader, _ in node.bottoms[0].readers if reader is not node]
            if others and param.top[0] == param.bottom[0]:
                yield finding(
                    node.layer,
                    "top",
                    f"it writes over its bottom {quoted(param.top[0])}, which {quoted(others[0].name)} reads before "
                    "it; Caffe refuses such a net, and layers behind get the normalized values under the same name",
                    "give its top a name of its own",
                )


@rule("tiny-batch")
def tiny_batch(subject: Subject) -> Iterator[Finding]:
    """A training batch of 1 or 2 images has no statistics to speak of."""
    for node, setting, size in _batches(subject):
        if size <= _TINY_BATCH:
            yield finding(
                node.layer,
                setting,
                f"BatchNorm normalizes batches of {size} in training: its mean and variance are those of "
                f"{'one image' if size == 1 else 'two images'}, not of the data"
                + (", and where a channel has one value the output is 0" if size == 1 else ""),
                "train with at least 16 images a batch; where memory forbids it, take the statistics of trained "
                "weights (use_global_stats: true in both phases)",
            )


@rule("iter-size")
def iter_size(subject: Subject) -> Iterator[Finding]:
    """Iter_size makes the batch of the solver larger, not that of BatchNorm."""
    passes = 1 if subject.solver is None else subject.solver.message.iter_size
    for node, _, size in _batches(subject) if passes > 1 else ():
        if size <= _SMALL_BATCH:
            assert subject.solver is not None
            yield Finding(
                subject.solver.setting("iter_size"),
                node.name,
                f"iter_size adds up the gradients of {passes} batches, but each is normalized by itself: BatchNorm "
                f"sees {size} images, not {size * passes}, and its average moves {passes} times an iteration",
                "make batch_size larger and iter_size smaller",
            )


@rule("slow-average")
def slow_average(subject: Subject) -> Iterator[Finding]:
    """The moving average still holds the beginning of the training when it ends."""
    graph = subject.learning
    if graph is None or subject.solver is None:
        return
    last = subject.solver.message.max_iter * max(subject.solver.message.iter_size, 1)
    for node in normalizing(graph) if last else ():
        layer = node.layer
        if not isinstance(layer, BatchNorm) or layer.use_global_stats:
            continue
        keep = layer.settings.moving_average_fraction
        half = keep ** (last / 2) if keep < 1 else 1.0
        share = half / (1 + half)
        if share > _EARLY_SHARE:
            fitting = (_EARLY_SHARE / (1 - _EARLY_SHARE)) ** (2 / last)
            better = next((f for f in (0.999, 0.998, 0.995, 0.99, 0.98, 0.95, 0.9) if f <= fitting), 0.5)
            yield finding(
                layer,
                "moving_average_fraction",
                f"with moving_average_fraction {keep:g} and {last} training batches, {100 * share:.0f}% of the stored "
                "statistics come from the first half of the training, when the weights were others",
                f"write moving_average_fraction: {better:g}, or measure the statistics anew once it is trained",
            )


@rule("decayed-scale")
def decayed_scale(subject: Subject) -> Iterator[Finding]:
    """Weight decay pulls the factor of Scale towards 0."""
    graph = subject.learning
    if graph is None or subject.solver is None or not subject.solver.message.weight_decay:
        return
    decay = subject.solver.message.weight_decay
    for scale in dict.fromkeys(scale for node in normalizing(graph) for scale in _scales(node)):
        specs = scale.layer.specs()
        rate, share = (specs[0].lr_mult, specs[0].decay_mult) if specs else (1, 1)
        if rate and share:
            yield finding(
                scale.layer,
                "decay_mult",
                f"weight_decay {decay:g} works on its factor too (decay_mult {share:g}): it is pulled towards 0, "
                "though its size does not make the net more complex",
                "write param { decay_mult: 0 } twice in it",
            )


def _frozen(node: Node) -> bool:
    """Whether the Scale behind a layer is kept as it is, so that the layer is meant to be, too."""
    scales = [scale.layer.specs() for scale in _scales(node)]
    return bool(scales) and all(specs and not any(spec.lr_mult for spec in specs) for specs in scales)


def _scales(node: Node) -> list[Node]:
    """Return the Scale layers that read the top of a layer and learn their factor."""
    return [r for r, j in node.tops[0].readers if r.layer.type == "Scale" and j == 0 and len(r.bottoms) == 1]


def _at_the_same_blob(graph: Graph, node: Node) -> Node | None:
    """Return the layer of the same type that reads a blob of the same name, if there is one alone."""
    found = [n for n in graph.nodes if n.layer.type == node.layer.type and n.bottoms[0].name == node.bottoms[0].name]
    return found[0] if len(found) == 1 else None


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


def _batches(subject: Subject) -> Iterator[tuple[Node, str, int]]:
    """Yield the layers that say how large the batches are that BatchNorm normalizes in training, and where."""
    graph = subject.learning
    if graph is None or all(uses_stored(node.layer) for node in normalizing(graph)):
        return
    for node in graph.nodes:
        found = _batch(node.layer) if node.layer.source else None
        if found is not None:
            yield node, *found
            return


def _batch(layer: Layer) -> tuple[str, int] | None:
    """Return the setting of a layer that says how large a batch is, and the size."""
    for descriptor, settings in layer.param.ListFields():
        known: Any = descriptor.message_type.fields_by_name if descriptor.message_type is not None else {}
        if "batch_size" in known:
            return "batch_size", int(settings.batch_size)
        shape = settings.shape if "shape" in known and descriptor.name in ("input_param", "dummy_data_param") else []
        if shape and shape[0].dim:
            return "dim", int(shape[0].dim[0])
    return None
