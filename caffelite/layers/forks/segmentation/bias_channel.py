"""BiasChannel and AdaptiveBiasChannel: raise the scores of the classes that an image is known to have."""

from collections.abc import Sequence

import numpy as np

from caffelite.errors import DataError
from caffelite.kernels.engine import arrays
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.words import Shape, text_of

_PIXEL = 2


class _Biased(Layer):
    """A layer that changes scores (``N × C × H × W``) by the labels in its second bottom."""

    facts = Facts(bottoms=2, without_gradient=(1,), labels=(1,), backward_reads=frozenset())
    #: Labels that do not count.
    ignored: tuple[int, ...] = (-1,)

    def _check_scores(self, x: Shape) -> None:
        if len(x) != 4:
            self.shape_error(f"takes scores of 4 axes (images × classes × height × width), not {text_of(x)}")

    def _check_list(self, x: Shape, labels: Shape) -> None:
        if len(labels) < 2 or labels[0] != x[0] or not labels[1] or any(n != 1 for n in labels[2:]):
            self.shape_error(
                f"takes a list of labels for each of {x[0]} images ({x[0]} × labels × 1 × 1), not {text_of(labels)}",
                "bottom",
                1,
            )

    def _classes(self, labels: np.ndarray, classes: int) -> np.ndarray:
        """Return the labels as whole numbers, -1 for those that do not count."""
        with np.errstate(invalid="ignore"):  # NaN becomes a number that is no class
            numbers = labels.astype(np.int64)
        numbers[np.isin(numbers, self.ignored)] = -1
        outside = (numbers < -1) | (numbers >= classes)
        if outside.any():
            raise DataError(
                f"{self.where('bottom', 1)}: label {labels[outside][0]:g} is not one of its {classes} classes "
                f"(0 to {classes - 1})"
            )
        return numbers


@layer("BiasChannel")
class BiasChannel(_Biased):
    """Add a number to the scores of the classes that are given: ``fg_bias``, or ``bg_bias`` for the background.

    Bottoms: scores (``N × C × H × W``); labels, of each image (``label_type: IMAGE``, the default: ``N × any number × 1
    × 1``) or of each place (``PIXEL``: ``N × 1 × H × W``). A label of -1 or one of ``ignore_label`` does not count.
    ``bias_channel_param``: ``bg_bias`` (1), ``fg_bias`` (2), ``background_label`` (0).

    With IMAGE the background is label 0 and is raised where it is listed. With PIXEL, if ``bg_bias`` or
    ``background_label`` is given, the background is raised at every place with a label; else there is no background.

    DeepLab and PSPNet. Papandreou et al., "Weakly- and Semi-Supervised Learning of a DCNN for Semantic Image
    Segmentation", 2015.
    """

    facts = _Biased.facts.but(in_place=True, settings=("bias_channel_param",))

    def setup(self) -> None:
        p = self.settings = self.param.bias_channel_param
        for name in ("bg_bias", "fg_bias"):
            if not getattr(p, name) >= 0:
                self.error(f"{name} is {getattr(p, name):g}, expected 0 or more", name)
        self.ignored = (-1, *p.ignore_label)
        self.by_place = p.label_type == _PIXEL
        self.has_background = p.HasField("background_label") or p.HasField("bg_bias")

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        x, labels = bottoms
        self._check_scores(x)
        if not self.by_place:
            self._check_list(x, labels)
        elif labels != (x[0], 1, *x[2:]):
            self.shape_error(
                f"takes one label a place: {text_of((x[0], 1, *x[2:]))}, not {text_of(labels)}", "bottom", 1
            )
        elif self.has_background and not 0 <= self.settings.background_label < x[1]:
            self.error(
                f"background_label is {self.settings.background_label}, but there are {x[1]} classes",
                "background_label",
            )
        return bottoms[:1]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, labels, y = bottoms[0].data, bottoms[1].data, tops[0].data
        p = self.settings
        images, classes = x.shape[:2]

        def raise_listed() -> None:
            numbers = self._classes(labels.reshape(images, -1), classes)
            np.copyto(y, x)
            for n, row in enumerate(numbers):
                # A class that is listed twice is raised twice.
                for label in row[row >= 0]:
                    y[n, label] += p.fg_bias if label else p.bg_bias

        def raise_placed() -> None:
            numbers = self._classes(labels[:, 0], classes)
            np.copyto(y, x)
            places = np.nonzero(numbers >= 0)
            own = numbers[places]
            if self.has_background:
                y[places[0], p.background_label, places[1], places[2]] += p.bg_bias
                other = own != p.background_label
                places, own = tuple(place[other] for place in places), own[other]
            y[places[0], own, places[1], places[2]] += p.fg_bias

        return [raise_placed if self.by_place else raise_listed]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        dx, dy = bottoms[0].diff, tops[0].diff
        return [] if dx is None or dy is None or np.shares_memory(dx, dy) else [arrays.copy(dy, dx)]


@layer("AdaptiveBiasChannel")
class AdaptiveBiasChannel(_Biased):
    """Raise the scores of the classes of an image until each is the highest at a share of the places.

    Bottoms: scores (``N × C × H × W``), labels of each image (``N × any number × 1 × 1``, -1 does not count).
    ``adaptive_bias_channel_param``: ``bg_portion`` (0.2; the share, of label 0), ``fg_portion`` (0.2; of the others);
    ``num_iter`` (1): rounds, in each of which the classes come in random order, but label 0 first;
    ``suppress_others`` (true): first, scores of other classes that are above the lowest of those listed are set
    ``margin_others`` (1e-5) below it. At the end all scores are shifted by one number, so that the mean of the highest
    (of the classes listed) is what it was. An image without labels stays as it is.

    The order depends on the seed and the number of the pass alone. No gradient. DeepLab and PSPNet, as BiasChannel.
    """

    facts = _Biased.facts.but(
        images_meet="what it draws for an image depends on the labels of those before it",
        differentiable=False,
        settings=("adaptive_bias_channel_param",),
    )

    def setup(self) -> None:
        p = self.settings = self.param.adaptive_bias_channel_param
        if p.num_iter < 1:
            self.error(f"num_iter is {p.num_iter}, expected at least 1", "num_iter")
        for name in ("bg_portion", "fg_portion"):
            if not 0 <= getattr(p, name) <= 1:
                self.error(f"{name} is {getattr(p, name):g}, expected 0 to 1", name)
        if not p.margin_others >= 0:
            self.error(f"margin_others is {p.margin_others:g}, expected 0 or more", "margin_others")
        self.state["passes"] = np.zeros(1, np.int64)

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        self._check_scores(bottoms[0])
        self._check_list(*bottoms)
        return bottoms[:1]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, labels, y = bottoms[0].data, bottoms[1].data, tops[0].data
        images, classes = x.shape[:2]
        passes = self.state["passes"]

        def raise_all() -> None:
            numbers = self._classes(labels.reshape(images, -1), classes)
            rng = np.random.default_rng([self.seed, int(passes[0])])
            passes[0] += 1
            np.copyto(y, x)
            for n, row in enumerate(numbers):
                listed = np.sort(row[row >= 0])
                if len(listed):
                    self._raise(y[n].reshape(classes, -1), listed, rng)

        return [raise_all]

    def _raise(self, scores: np.ndarray, listed: np.ndarray, rng: np.random.Generator) -> None:
        """Raise the listed classes of one image, ``[classes][places]``."""
        p, places = self.settings, scores.shape[1]
        if p.suppress_others:
            lowest = scores[listed].min(0)
            others = np.setdiff1d(np.arange(len(scores)), listed)
            scores[others] = np.where(scores[others] > lowest, lowest - p.margin_others, scores[others])
        highest = scores[listed].max(0)
        before = highest.mean(dtype=np.float64)
        first = listed[listed == 0][:1]
        for _ in range(p.num_iter):
            for label in (*first, *rng.permutation(listed[len(first) :])):
                # As a product of float32, which can reach a whole number that one of float64 misses.
                place = int(np.float32(p.fg_portion if label else p.bg_portion) * np.float32(places))
                place = min(place, places - 1)
                scores[label] += np.partition(highest - scores[label], place)[place]
                np.maximum(highest, scores[label], out=highest)
        scores += before - highest.mean(dtype=np.float64)
