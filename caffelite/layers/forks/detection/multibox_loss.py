"""MultiBoxLoss: what a single shot detector learns from."""

from collections.abc import Sequence

import numpy as np

from caffelite.errors import DataError
from caffelite.kernels import boxes as kernels
from caffelite.kernels.engine.calls import call
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.registry import layer
from caffelite.layers.forks.detection import class_losses
from caffelite.layers.forks.detection.detection_output import check_predictions
from caffelite.layers.forks.detection.matching import NOTHING, Matches, Truth, match
from caffelite.layers.shared.loss import VALID, Loss
from caffelite.words import Shape, count, text_of

_F = np.float32
_L2, _LOGISTIC, _PER_PREDICTION = 0, 1, 1
_NO_MINING, _HARD_EXAMPLE = 0, 2
#: A smaller box is none.
_LEAST_AREA = 1e-5


@layer("MultiBoxLoss")
class MultiBoxLoss(Loss):
    """A location loss of the priors that are matched to a true box, and a class loss of these and of hard negatives.

    Bottoms: locations (N × 4PL), scores (N × PC) and priors (1 × 2 × 4P) as DetectionOutput has them; true boxes
    (1 × 1 × G × 8): image (-1: no box), label, an unused number, xmin, ymin, xmax, ymax, difficult. RefineDet's second
    stage adds the scores (N × 2P) and locations (N × 4P) of the first: a prior whose second score is below
    ``objectness_score`` (0.01) is no negative, and the locations move the priors. With two classes,
    the first being the background, every label from 2 on counts as 1 (RefineDet's first stage).

    The loss is ``(loc_weight * location loss + class loss) / matches``, or what ``loss_param`` says (FULL: N · P).
    ``propagate_down`` false for locations or scores leaves their part out.

    *Matching.* Each true box gets the prior that overlaps it most; then (``match_type`` PER_PREDICTION) each other
    prior the true box it overlaps most, if by ``overlap_threshold`` (0.5). ``use_prior_for_matching: false`` takes the
    predicted boxes; ``ignore_cross_boundary_bbox`` leaves out those that reach beyond the image;
    ``use_difficult_gt: false`` difficult true boxes.

    *Location loss.* ``loc_loss_type`` SMOOTH_L1 or L2, of the difference to the location that encodes the true box;
    ``code_type`` and ``encode_variance_in_target`` must be those of DetectionOutput; ``bp_inside`` leaves out
    coordinates beyond the image. With ``share_location: false`` each class has locations of its own.

    *Class loss.* ``conf_loss_type`` SOFTMAX, or LOGISTIC (the background is class 0 then). ``mining_type``
    MAX_NEGATIVE: of the priors that are not matched and overlap true boxes by less than ``neg_overlap`` (0.5), those
    with the largest loss, ``neg_pos_ratio`` (3) times the matches; HARD_EXAMPLE: of all priors the ``sample_size`` (64)
    with the largest sum of both losses; NONE: all. With ``nms_param`` mining passes over boxes that overlap one of
    larger loss (``use_prior_for_nms``: priors, else predictions). ``map_object_to_agnostic`` needs two classes.

    As in SSD: an image without true boxes has no negatives; ``nms_param`` without ``top_k`` selects nothing; with
    ``encode_variance_in_target`` the gradient is that to location / variance.

    From the SSD and RefineDet forks; Liu et al., "SSD: Single Shot MultiBox Detector", 2016; Zhang et al.,
    "Single-Shot Refinement Neural Network for Object Detection", 2018.

    It has many attributes, because a pass has many steps, which are bound once: each is what one of them leaves for
    those behind it and for the gradient (boxes, matches, slopes, labels, losses), or a setting that several read.
    """

    facts = Loss.facts.but(
        images_meet="its true boxes name images by their numbers in the batch",
        bottoms=(4, 6),
        tops=(0, 1),
        backward_reads=frozenset({"bottom"}),
        without_gradient=(2, 3, 4, 5),
        settings=("loss_param", "multibox_loss_param"),
    )

    def setup(self) -> None:
        p = self.settings = self.param.multibox_loss_param
        if p.num_classes < 1:
            self.error("multibox_loss_param needs num_classes", "num_classes")
        self.mines = p.mining_type != _NO_MINING
        if p.HasField("do_neg_mining") and p.do_neg_mining != self.mines:
            self.error("do_neg_mining and mining_type contradict each other", "do_neg_mining")
        if self.mines and not p.share_location:
            self.error("mining needs share_location: true", "mining_type")
        if p.mining_type == _HARD_EXAMPLE and p.sample_size < 1:
            self.error(f"sample_size is {p.sample_size}, expected at least 1", "sample_size")
        self.logistic = p.conf_loss_type == _LOGISTIC
        if self.logistic and p.background_label_id != 0:
            self.error(
                f"conf_loss_type LOGISTIC takes class 0 as background, not {p.background_label_id}",
                "background_label_id",
            )
        if p.background_label_id >= p.num_classes:
            self.error(
                f"background_label_id {p.background_label_id} is not one of {p.num_classes} classes",
                "background_label_id",
            )
        if p.map_object_to_agnostic and (p.num_classes, p.background_label_id) != (2, 0):
            self.error(
                f"map_object_to_agnostic needs 2 classes, the background being 0; there are {p.num_classes}, and it is "
                f"{p.background_label_id}",
                "map_object_to_agnostic",
            )
        if len(self.param.bottom) > 5 and not p.use_prior_for_matching:
            self.error("the second stage of RefineDet needs use_prior_for_matching: true", "use_prior_for_matching")
        self.located = 1 if p.share_location else p.num_classes
        asked = list(self.param.propagate_down)
        self.counts_locations = not asked or asked[0]
        self.counts_scores = len(asked) < 2 or asked[1]

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        images, priors = check_predictions(self, bottoms, self.located, self.settings.num_classes)
        truth = bottoms[3]
        if not truth or truth[-1] != 8:
            self.shape_error(f"takes true boxes of 8 numbers, not {text_of(truth)}", "bottom", 3)
        for j, each in enumerate((2, 4)[: len(bottoms) - 4], 4):
            if not bottoms[j] or bottoms[j][0] != images or count(bottoms[j]) != images * priors * each:
                self.shape_error(
                    f"{priors} priors need {priors * each} numbers an image of the first stage, not "
                    f"{text_of(bottoms[j])}",
                    "bottom",
                    j,
                )
        return [()]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        p, images = self.settings, bottoms[0].shape[0]
        priors, self.variances = bottoms[2].data.reshape(2, -1, 4)
        number, scores = len(priors), bottoms[1].data
        self.locations = bottoms[0].data.reshape(images, number, self.located, 4)
        self.true_boxes = bottoms[3].data.reshape(-1, 8)
        self.scaled = not p.encode_variance_in_target
        steps: list[Step] = []
        #: Those of the net, and those that are matched: in RefineDet each image has its own.
        self.given_priors, self.priors = priors, np.broadcast_to(priors, (images, number, 4))
        self.objectness = bottoms[4].data.reshape(images, number, 2)[:, :, 1] if len(bottoms) > 4 else None
        if len(bottoms) > 5:
            self.priors = np.zeros((images, number, 4), scores.dtype)
            first = bottoms[5].data.reshape(images, number, 1, 4)
            steps.append(kernels.decode(first, priors, self.variances, self.priors, p.code_type, self.scaled))
        if self.mines and p.HasField("nms_param") and not p.use_prior_for_nms or not p.use_prior_for_matching:
            self.predicted = np.zeros_like(self.locations)
            steps.append(
                kernels.decode(self.locations, priors, self.variances, self.predicted, p.code_type, self.scaled)
            )
        self.labels = np.zeros((images, number), np.int64)
        self.used = np.zeros((images, number), np.bool_)
        self.losses = np.zeros((images, number), scores.dtype)
        self.targets = np.zeros((images, number, p.num_classes) if self.logistic else 0, scores.dtype)
        target = self.targets.reshape(-1) if self.logistic else self.labels.reshape(-1)
        losses = call(
            class_losses.logistic_losses if self.logistic else class_losses.softmax_losses,
            images * number,
            scores.reshape(-1),
            target,
            self.losses.reshape(-1),
            p.num_classes,
            work=20 * scores.size,
        )
        out, mode = tops[0].flat, self.normalization(VALID)

        def finish() -> None:
            located = self._mine()
            self.divided_by = self.divisor(mode, images, number, len(self.matches.image))
            total = p.loc_weight * located if self.counts_locations else 0.0
            if self.counts_scores:
                total += self.losses[self.used].sum(dtype=np.float64)
            out[0] = total / self.divided_by

        return [*steps, self._match, losses, finish]

    def _read_truth(self) -> list[Truth]:
        """Return the true boxes of each image; raise DataError where they name no image or no class."""
        p, rows = self.settings, self.true_boxes
        place = self.where("bottom", 3)
        image, label = np.trunc(rows[:, 0]), np.trunc(rows[:, 1])
        images = len(self.locations)
        # Written so that NaN is wrong too.
        for i in np.flatnonzero(~((image >= -1) & (image < images))):
            raise DataError(f"{place}: row {i} names image {rows[i, 0]:g}, but there are {images} (from 0; -1: no box)")
        given = image >= 0
        binary = (p.num_classes, p.background_label_id) == (2, 0)
        classes = np.inf if binary else p.num_classes
        for i in np.flatnonzero(given & ~((label >= 0) & (label < classes) & (label != p.background_label_id))):
            raise DataError(
                f"{place}: row {i} has label {rows[i, 1]:g}, which is not one of the {p.num_classes} classes "
                f"(0 to {p.num_classes - 1}) other than the background, {p.background_label_id}"
            )
        if not p.use_difficult_gt:
            given &= rows[:, 7].astype(np.int64) == 0
        if binary:
            label = np.minimum(label, 1)
        mine = [given & (image == n) for n in range(images)]
        return [Truth(np.ascontiguousarray(rows[m, 3:7]), label[m].astype(np.int64)) for m in mine]

    def _match(self) -> None:
        p = self.settings
        self.truth = self._read_truth()
        self.labels.fill(p.background_label_id)
        self.targets.fill(0)
        if self.logistic and self.mines:
            self.targets[:, :, 0] = 1
        pairs = []
        #: For each image, what each prior is matched to and its largest overlap; mining reads them.
        self.matched: list[tuple[np.ndarray, np.ndarray] | None] = []
        for n, truth in enumerate(self.truth):
            per_place = self._matches_of(n, truth) if len(truth.labels) else []
            self.matched.append(per_place[0][1:] if per_place else None)
            for place, matches, _ in per_place:
                prior = np.flatnonzero(matches >= 0)
                to = matches[prior]
                pairs.append((np.full(len(prior), n), prior, np.full(len(prior), place), to))
                self.labels[n, prior] = truth.labels[to]
                if self.logistic:
                    self.targets[n, prior, 0] = 0
                    self.targets[n, prior, truth.labels[to]] = 1
        joined = [np.concatenate(column) for column in zip(*pairs, strict=True)] or [np.zeros(0, np.int64)] * 4
        self.matches = Matches(*joined)

    def _matches_of(self, n: int, truth: Truth) -> list[tuple[int, np.ndarray, np.ndarray]]:
        """Return, for each place a location is predicted at, the matches and the largest overlaps of its priors."""
        p = self.settings
        places = [0] if self.located == 1 else [c for c in range(p.num_classes) if c != p.background_label_id]
        if p.use_prior_for_matching:
            matches, best = self._fit(self.priors[n], truth.boxes)
            if self.located == 1:
                return [(0, matches, best)]
            label = np.where(matches >= 0, truth.labels[matches], NOTHING)
            return [(c, np.where(label == c, matches, NOTHING), best) for c in places]
        result = []
        for c in places:
            mine = np.arange(len(truth.labels)) if self.located == 1 else np.flatnonzero(truth.labels == c)
            if len(mine):
                matches, best = self._fit(self.predicted[n, :, c], truth.boxes[mine])
                result.append((c, np.where(matches >= 0, mine[matches], matches), best))
        return result

    def _fit(self, boxes: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        p = self.settings
        boxes, truth = np.ascontiguousarray(boxes), np.ascontiguousarray(truth)
        overlaps = np.zeros((len(boxes), len(truth)), boxes.dtype)
        kernels.overlaps(boxes, truth, overlaps)()
        outside = np.any((boxes < 0) | (boxes > 1), axis=1) & p.ignore_cross_boundary_bbox
        return match(overlaps, outside, p.overlap_threshold if p.match_type == _PER_PREDICTION else None)

    def _mine(self) -> float:
        """Choose the rows that count, compute the slopes of the matched locations, and return the location loss."""
        parts, self.slopes = self._location_losses()
        if not self.mines:
            self.used.fill(True)
            return float(parts.sum(dtype=np.float64))
        m, hard = self.matches, self.settings.mining_type == _HARD_EXAMPLE
        losses = self.losses.copy() if hard else self.losses
        if hard:
            losses[m.image, m.prior] += parts
        self.used.fill(False)
        self.used[m.image, m.prior] = True
        for n, matched in enumerate(self.matched):
            if matched is None:
                continue
            chosen = self._chosen(n, *matched, losses[n])
            if hard:
                self.used[n] &= chosen
            self.used[n] |= chosen & (matched[0] == NOTHING)
        kept = self.used[m.image, m.prior]
        self.matches = Matches(m.image[kept], m.prior[kept], m.place[kept], m.truth[kept])
        self.slopes = self.slopes[kept]
        return float(parts[kept].sum(dtype=np.float64))

    def _chosen(self, n: int, matches: np.ndarray, best: np.ndarray, losses: np.ndarray) -> np.ndarray:
        """Return which priors of an image mining takes."""
        p = self.settings
        if p.mining_type == _HARD_EXAMPLE:
            able, most = np.ones(len(matches), np.bool_), p.sample_size
        else:
            able = (matches == NOTHING) & (best < _F(p.neg_overlap))
            most = int(_F((matches >= 0).sum()) * _F(p.neg_pos_ratio))
        if self.objectness is not None:
            able &= self.objectness[n] >= p.objectness_score
        candidates = np.flatnonzero(able)
        order = candidates[kernels.ranked(losses[candidates])]
        if p.HasField("nms_param") and p.nms_param.nms_threshold > 0:
            order = self._apart(n, order)
        chosen = np.zeros(len(matches), np.bool_)
        chosen[order[:most]] = True
        return chosen

    def _apart(self, n: int, order: np.ndarray) -> np.ndarray:
        """Return the first of ``order`` without boxes that overlap one before."""
        nms = self.settings.nms_param
        boxes = np.ascontiguousarray(self.given_priors if self.settings.use_prior_for_nms else self.predicted[n, :, 0])
        room = nms.top_k if nms.top_k >= 0 else len(order)
        order = order[:room]
        size = (boxes[order, 2:] - boxes[order, :2]).clip(0).prod(axis=1)
        order = order[size >= _LEAST_AREA]
        suppression = kernels.Suppression(boxes, 1, len(order), len(order), nms.nms_threshold)
        suppression.fill(0, order)
        suppression()
        return suppression.kept[0, : suppression.kept_counts[0]]

    def _location_losses(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the location loss of each match, and its slopes with respect to the four numbers."""
        p, m = self.settings, self.matches
        if not len(m.image):
            return np.zeros(0, self.locations.dtype), np.zeros((0, 4), self.locations.dtype)
        start = np.cumsum([0, *(len(truth.labels) for truth in self.truth)])
        truth = np.concatenate([truth.boxes for truth in self.truth])[start[m.image] + m.truth]
        priors, variances = self.priors[m.image, m.prior], self.variances[m.prior]
        predicted = self.locations[m.image, m.prior, m.place]
        with np.errstate(divide="ignore", invalid="ignore"):
            difference = predicted - kernels.encode(truth, priors, variances, p.code_type, self.scaled)
        if p.bp_inside:
            boxes = priors if p.use_prior_for_matching else self.predicted[m.image, m.prior, m.place]
            difference[(boxes < 0) | (boxes > 1)] = 0
        if p.encode_variance_in_target:
            difference /= variances
        if p.loc_loss_type == _L2:
            return (difference * difference).sum(axis=1) / 2, difference
        size = np.abs(difference)
        return np.where(size < 1, size * size / 2, size - _F(0.5)).sum(axis=1), np.clip(difference, -1, 1)

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        p, weight = self.settings, tops[0].flat_diff
        steps: list[Step] = []
        if bottoms[0].diff is not None:
            dx = bottoms[0].diff.reshape(self.locations.shape)

            def locations() -> None:
                m = self.matches
                dx.fill(0)
                dx[m.image, m.prior, m.place] = self.slopes * (weight[0] * p.loc_weight / self.divided_by)

            steps.append(locations)
        if bottoms[1].diff is not None:
            scale = np.zeros(1, bottoms[1].data.dtype)

            def prepare() -> None:
                scale[0] = weight[0] / self.divided_by

            target = self.targets.reshape(-1) if self.logistic else self.labels.reshape(-1)
            steps += [
                prepare,
                call(
                    class_losses.logistic_gradient if self.logistic else class_losses.softmax_gradient,
                    self.used.size,
                    bottoms[1].flat,
                    target,
                    self.used.reshape(-1),
                    bottoms[1].flat_diff,
                    scale,
                    p.num_classes,
                    work=20 * bottoms[1].data.size,
                ),
            ]
        return steps
