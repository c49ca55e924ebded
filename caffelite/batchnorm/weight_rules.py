"""The rules of ``caffelite bn check`` that look into the weights."""

from collections.abc import Iterator

import numpy as np

from caffelite.batchnorm.difference import Difference, difference
from caffelite.batchnorm.rules import Finding, finding, rule
from caffelite.batchnorm.statistics import normalizing
from caffelite.batchnorm.subject import Subject
from caffelite.layers.shared.normalizing import (
    CAFFE,
    NVCAFFE,
    NVCAFFE_BEFORE_016,
    PSPNET,
    SEGNET,
    Normalizing,
    Statistics,
    layout_of,
)
from caffelite.net.graph import Node
from caffelite.words import close_names, quoted

#: Means this many standard deviations off, on average, or variances this many times too large or small.
_FAR_MEAN, _FAR_VARIANCE = 0.2, 2.0
_RECALIBRATE = "measure them anew over the training data (caffelite bn recalibrate)"


@rule("fork-layout")
def fork_layout(subject: Subject) -> Iterator[Finding]:
    """The blobs in the weights are those of another fork's layer."""
    for node, layer in _with_weights(subject):
        weights = subject.weights[node.name]
        problem, mend = _layout_problem(layer, weights.blobs)
        if problem:
            sizes = ", ".join(str(blob.size) for blob in weights.blobs)
            yield finding(layer, "type", f"{_files(subject)}: blobs of {sizes} values: {problem}", mend)


@rule("no-statistics")
def no_statistics(subject: Subject) -> Iterator[Finding]:
    """The weights hold no statistics: the factor they are divided by is 0."""
    if not subject.weights:
        return
    for node, layer in _layers(subject):
        if node.name not in subject.weights:
            near = close_names(node.name, subject.weights)
            hint = f"; the nearest is {quoted(near[0])}" if near else ""
            yield finding(
                layer,
                "name",
                f"{_files(subject)}: no layer has this name{hint}, so its statistics are 0 in TEST",
                "give the layer the name it was trained under, or take the weights of this net",
            )
            continue
        stored = subject.stored(node.name)
        if stored is not None and stored.factor is not None and stored.factor <= 0:
            yield finding(
                layer,
                None,
                f"{_files(subject)}: the factor (blob 2) is {stored.factor:g}, so "
                + ("nothing was ever stored" if stored.factor == 0 else "mean and variance change their signs")
                + ": in TEST values are divided by sqrt(eps)",
                "train with use_global_stats left out, or measure the statistics over the training data; where a "
                "converter wrote mean and variance themselves, the factor is 1",
            )


@rule("not-a-number")
def not_a_number(subject: Subject) -> Iterator[Finding]:
    """The stored statistics hold NaN or infinity."""
    for node, layer in _with_weights(subject):
        blobs = subject.weights[node.name].blobs
        bad = [(j, int((~np.isfinite(blob)).sum()), blob.size) for j, blob in enumerate(blobs)]
        bad = [entry for entry in bad if entry[1]]
        if bad:
            counts = ", ".join(f"blob {j}: {n} of {size}" for j, n, size in bad)
            yield finding(
                layer,
                None,
                f"{_files(subject)}: values that are not finite ({counts}): every output of the channel is NaN",
                "take an earlier snapshot; the training diverged, so go on with a smaller learning rate",
            )


@rule("negative-variance")
def negative_variance(subject: Subject) -> Iterator[Finding]:
    """A stored variance is below 0."""
    for node, layer in _with_weights(subject):
        stored = subject.stored(node.name)
        if stored is None or not _usable(stored):
            continue
        below = np.flatnonzero(stored.variance < 0)
        if below.size:
            yield finding(
                layer,
                None,
                f"{_files(subject)}: the variance is below 0 in {below.size} of {stored.variance.size} channels "
                f"(channel {below[0]}: {stored.variance[below[0]]:.3g}); the root of that is NaN",
                f"{_RECALIBRATE}; where a converter wrote the file, its order of blobs is another",
            )


@rule("far-statistics")
def far_statistics(subject: Subject) -> Iterator[Finding]:
    """The stored statistics are far from those of the data."""
    for node, layer in _with_weights(subject):
        stored, measured = subject.stored(node.name), subject.measured.get(node.name)
        if stored is None or measured is None or not _usable(stored) or stored.mean.shape != measured.mean.shape:
            continue
        far = difference(stored, measured, layer.eps)
        if _is_far(far):
            yield finding(
                layer,
                None,
                f"{_files(subject)}: the stored means are {far.mean:.2g} standard deviations from those of the data "
                f"on average, the stored variances {far.variance_ratio:.2g} times those (channel "
                f"{far.worst_channel} is furthest)",
                f"{_RECALIBRATE}; a learning rate that falls towards the end keeps them near while training",
            )


def _usable(stored: Statistics) -> bool:
    """Whether statistics were stored at all."""
    return stored.factor is None or stored.factor > 0


def _is_far(distance: Difference) -> bool:
    ratio = distance.variance_ratio
    # Also where one of them is not a number.
    return not (distance.mean <= _FAR_MEAN and 1 / _FAR_VARIANCE <= ratio <= _FAR_VARIANCE)


def _layers(subject: Subject) -> list[tuple[Node, Normalizing]]:
    """Return the normalizing layers, one of each name; those of TEST if it has any."""
    graphs = subject.tests or subject.graphs
    return list({node.name: (node, layer) for graph in graphs for node, layer in normalizing(graph)}.values())


def _with_weights(subject: Subject) -> list[tuple[Node, Normalizing]]:
    return [(node, layer) for node, layer in _layers(subject) if node.name in subject.weights]


def _files(subject: Subject) -> str:
    return ", ".join(subject.weight_files)


def _layout_problem(layer: Normalizing, blobs: list[np.ndarray]) -> tuple[str, str]:
    """Return what is the matter with the layout of blobs for this layer, and the cure; empty where nothing is."""
    if layer.takes(blobs):
        return "", ""
    layout = layout_of(blobs)
    if layout in (NVCAFFE, NVCAFFE_BEFORE_016) and not layer.scales:
        since = "NVCaffe from 0.16 on" if layout is NVCAFFE else layout.name
        order = ", ".join(layout.blobs)
        return f"the layout of {since} ({order}), with a scale and a bias inside that this layer does not have", (
            "write batch_norm_param { scale_bias: true }, and leave out the Scale layer behind it"
        )
    if layout is PSPNET:
        return "the layout of PSPNet's BN (scale, shift, mean, variance)", (
            'write type: "BN" with bn_param { momentum: 0.9 }, and leave out the Scale layer behind it'
        )
    if layout is SEGNET:
        return "the layout of SegNet's BN (scale and shift, into which the statistics are worked)", (
            'write type: "BN" with bn_param { bn_mode: INFERENCE }, and leave out the Scale layer behind it'
        )
    if layout is CAFFE:
        return "the layout of Caffe's BatchNorm (mean, variance, factor)", (
            'write type: "BatchNorm", with a Scale layer behind it if the weights have one'
        )
    return "a layout that is no known fork's", "look up in the program that wrote the weights what they mean"
