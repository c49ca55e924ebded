"""CtcLoss and LabelsequenceAccuracy: labels in order, without saying where in the sequence each of them is."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from caffelite.kernels import ctc
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.loss import Loss
from caffelite.words import Shape, count, text_of


@layer("CtcLoss")
class CtcLoss(Loss):
    """``-log p(labels)``, mean over the streams: p is the sum over all ways to spread the labels over the time steps.

    In a way each step has a label or the blank; the same label in neighbouring steps counts once, blanks not at all.

    Bottoms: scores (``T × N × alphabet_size``; their softmax is taken here), labels (``N × L``, filled up with
    blanks). ``ctc_loss_param``: ``alphabet_size`` (labels and blank together); ``time_step`` (the steps that count,
    T or less); ``blank_label`` (0). ``loss_param`` has no effect.

    As in jolibrain's fork, whose layer this is (over warp-ctc): the gradient is that of the sum over the streams, not
    of their mean; a stream with too few time steps for its labels has loss 0 and no gradient.

    Graves et al., "Connectionist Temporal Classification", 2006.
    """

    facts = Loss.facts.but(
        images_meet="axis 0 of its scores is time",
        bottoms=2,
        tops=(0, 1),
        without_gradient=(1,),
        backward_reads=frozenset(),
        settings=("ctc_loss_param",),
    )

    def setup(self) -> None:
        self.settings = self.param.ctc_loss_param
        for name in ("alphabet_size", "time_step"):
            if getattr(self.settings, name) < 1:
                self.error(f"ctc_loss_param needs {name} of at least 1", name)
        size, blank = self.settings.alphabet_size, self.settings.blank_label
        if not 0 <= blank < size:
            self.error(f"blank_label is {blank}, expected 0 to {size - 1} (alphabet_size is {size})", "blank_label")

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        scores, labels = bottoms
        size, time = self.settings.alphabet_size, self.settings.time_step
        if len(scores) < 3 or count(scores[2:]) != size or not count(scores):
            self.shape_error(f"takes scores of time steps × streams × {size}, not {text_of(scores)}", "bottom", 0)
        if time > scores[0]:
            self.shape_error(f"time_step is {time}, but {text_of(scores)} has {scores[0]} time steps", "time_step")
        if len(labels) < 2 or labels[0] != scores[1] or not count(labels):
            self.shape_error(
                f"takes labels for each of {scores[1]} streams, {scores[1]} × labels, not {text_of(labels)}",
                "bottom",
                1,
            )
        return [()]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        scores, labels = bottoms
        size, blank, time = self.settings.alphabet_size, self.settings.blank_label, self.settings.time_step
        streams = scores.shape[1]
        rows = labels.data.reshape(streams, -1)
        self.work = work = ctc.Work(time, streams, size, rows.shape[1])
        out = tops[0].flat

        def read_labels() -> None:
            whole = rows.astype(np.int64)
            work.states.fill(blank)
            for n, row in enumerate(whole):
                sequence = row[row != blank]
                work.lengths[n] = len(sequence)
                # Between two labels that are the same there has to be a blank.
                work.fits[n] = len(sequence) + (np.diff(sequence) == 0).sum() <= time
                work.states[n, 1 : 2 * len(sequence) : 2] = sequence

        def finish() -> None:
            out[0] = work.cost.sum() / streams

        return [self.class_checker(labels.flat, size), read_labels, *ctc.forward(scores.flat, work), finish]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        dx = bottoms[0].diff
        if dx is None:
            return []
        rest = dx[self.settings.time_step :]
        return [partial(rest.fill, 0), ctc.backward(self.work, tops[0].flat_diff, dx.reshape(-1))]


@layer("LabelsequenceAccuracy")
class LabelsequenceAccuracy(Layer):
    """The share of streams whose labels are all found, in order; no gradient.

    The highest score of each step is its label; the same label in neighbouring steps counts once, blanks not at all.
    A stream with a score that is NaN is wrong.

    Bottoms: scores (``N × T × alphabet``), labels (``N × L``, filled up with blanks).
    ``labelsequence_accuracy_param { blank_label: 0 }``. In jolibrain's fork.
    """

    facts = Facts(bottoms=2, differentiable=False, kind="measure", settings=("labelsequence_accuracy_param",))

    def setup(self) -> None:
        self.blank = self.param.labelsequence_accuracy_param.blank_label

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        scores, labels = bottoms
        if len(scores) != 3 or not count(scores):
            self.shape_error(f"takes scores of streams × time steps × labels, not {text_of(scores)}", "bottom", 0)
        if len(labels) < 2 or labels[0] != scores[0] or not count(labels):
            self.shape_error(
                f"takes labels for each of {scores[0]} streams, {scores[0]} × labels, not {text_of(labels)}",
                "bottom",
                1,
            )
        return [()]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        scores = bottoms[0].data
        labels, out = bottoms[1].data.reshape(len(scores), -1), tops[0].flat

        def judge() -> None:
            right = 0
            known = ~np.isnan(scores).any(axis=(1, 2))
            for best, truth in zip(scores[known].argmax(axis=2), labels[known], strict=True):
                changes = np.diff(best, prepend=self.blank) != 0
                read = best[changes & (best != self.blank)]
                right += np.array_equal(read, truth[truth != self.blank])
            out[0] = right / len(scores)

        return [judge]
