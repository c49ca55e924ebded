"""The rules of ``caffelite bn check`` that look at how a net is trained: batches, averages, weight decay."""

from collections.abc import Iterator
from typing import Any

from caffelite.batchnorm.rules import Finding, finding, rule, scales_behind
from caffelite.batchnorm.statistics import normalizing
from caffelite.batchnorm.subject import Subject
from caffelite.layers.batchnorm import BatchNorm
from caffelite.layers.contract.layer import Layer
from caffelite.net.graph import Node

#: Wu and He, "Group Normalization", 2018: from here down the error of nets with BatchNorm grows.
_SMALL_BATCH = 8
_TINY_BATCH = 2
#: The most that the first half of a training may count in the average at its end.
_EARLY_SHARE = 0.1


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
    for _, layer in normalizing(graph) if last else ():
        if not isinstance(layer, BatchNorm) or layer.uses_stored:
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
    for scale in dict.fromkeys(scale for node, _ in normalizing(graph) for scale in scales_behind(node)):
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


def _batches(subject: Subject) -> Iterator[tuple[Node, str, int]]:
    """Yield the layers that say how large the batches are that BatchNorm normalizes in training, and where."""
    graph = subject.learning
    if graph is None or all(layer.uses_stored for _, layer in normalizing(graph)):
        return
    for node in graph.nodes:
        batch = _batch(node.layer) if node.layer.facts.source else None
        if batch is not None:
            yield node, *batch
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
