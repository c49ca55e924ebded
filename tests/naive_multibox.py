"""The loss of a single shot detector, one box at a time."""

import math
from typing import Any

import numpy as np
from naive_boxes import decode, overlap, suppress


def encode(box: Any, prior: Any, variance: Any, code: str) -> list[float]:
    width, height = prior[2] - prior[0], prior[3] - prior[1]
    if code == "CENTER_SIZE":
        d = [
            ((box[0] + box[2]) - (prior[0] + prior[2])) / 2 / width,
            ((box[1] + box[3]) - (prior[1] + prior[3])) / 2 / height,
            math.log((box[2] - box[0]) / width),
            math.log((box[3] - box[1]) / height),
        ]
    else:
        d = [(box[i] - prior[i]) / ((width, height)[i % 2] if code == "CORNER_SIZE" else 1) for i in range(4)]
    return [x / v for x, v in zip(d, variance, strict=True)]


def match(
    boxes: Any, truth: Any, threshold: float | None, ignore_outside: bool
) -> tuple[dict[int, int], dict[int, float]]:
    """Return the true box of each box that has one (-2: to be ignored), and each box's largest overlap."""
    pairs = {}
    matches: dict[int, int] = {}
    best = dict.fromkeys(range(len(boxes)), 0.0)
    for i, box in enumerate(boxes):
        if ignore_outside and (min(box) < 0 or max(box) > 1):
            matches[i] = -2
            continue
        for j, other in enumerate(truth):
            share = overlap(box, other)
            if share > 1e-6:
                pairs[i, j] = share
                best[i] = max(best[i], share)
    pool = set(range(len(truth)))
    while pool:
        free = [(-s, i, j) for (i, j), s in pairs.items() if i not in matches and j in pool]
        if not free:
            break
        _, i, j = min(free)
        matches[i] = j
        best[i] = pairs[i, j]
        pool.remove(j)
    if threshold is not None:
        taken = set(matches)
        for i in range(len(boxes)):
            near = [(-s, j) for (k, j), s in pairs.items() if k == i and s >= threshold]
            if i not in taken and near:
                matches[i] = min(near)[1]
    return matches, best


def class_loss(scores: Any, label: int | None, logistic: bool) -> float:
    if logistic:
        return sum(math.log1p(math.exp(s)) - s * (c == label) for c, s in enumerate(scores))
    return math.log(sum(math.exp(s) for s in scores)) - scores[label]


def location_loss(found: Any, wanted: Any, square: bool) -> float:
    total = 0.0
    for a, b in zip(found, wanted, strict=True):
        d = abs(a - b)
        total += d * d / 2 if square or d < 1 else d - 0.5
    return total


def loss(
    locations: np.ndarray,
    scores: np.ndarray,
    priors: np.ndarray,
    truth: np.ndarray,
    variance: Any,
    code: str = "CORNER",
    square: bool = False,
    logistic: bool = False,
    weight: float = 1,
    threshold: float | None = 0.5,
    predicted: bool = False,
    ignore_outside: bool = False,
    difficult: bool = True,
    mining: str = "MAX_NEGATIVE",
    ratio: float = 3,
    neg_overlap: float = 0.5,
    samples: int = 64,
    nms: tuple[float, int] | None = None,
    nms_prior: bool = False,
    inside: bool = False,
    encoded: bool = False,
    agnostic: bool = False,
    mode: str = "VALID",
    moved: np.ndarray | None = None,
    objectness: np.ndarray | None = None,
) -> float:
    """Locations are images × priors × (1 or classes) × 4, scores images × priors × classes, truth rows of 8."""
    images, many, classes = scores.shape
    located = locations.shape[2]
    loc_total = conf_total = 0.0
    matched_total = 0
    coded = np.ones(4) if encoded else variance
    for n in range(images):
        own = moved[n] if moved is not None else priors
        rows = [r for r in truth if int(r[0]) == n and (difficult or not r[7])]
        boxes, labels = (
            [r[3:7] for r in rows],
            [min(int(r[1]), 1) if agnostic or classes == 2 else int(r[1]) for r in rows],
        )
        by_place: dict[int, dict[int, int]] = {}
        best: dict[int, float] = {}
        if rows and not predicted:
            found, best = match(own, boxes, threshold, ignore_outside)
            if located == 1:
                by_place[0] = found
            else:
                for c in range(1, classes):
                    by_place[c] = {i: j for i, j in found.items() if j >= 0 and labels[j] == c}
        elif rows:
            for c in [0] if located == 1 else range(1, classes):
                chosen = [j for j in range(len(rows)) if located == 1 or labels[j] == c]
                guesses = [decode(locations[n, p, c], priors[p], coded, code) for p in range(many)]
                found, best = match(guesses, [boxes[j] for j in chosen], threshold, ignore_outside)
                by_place[c] = {i: (chosen[j] if j >= 0 else j) for i, j in found.items()}
        row_labels: list[int | None] = [0 if mining != "NONE" or not logistic else None] * many
        loc_losses = {}
        for c, found in by_place.items():
            for p, j in found.items():
                if j < 0:
                    continue
                row_labels[p] = labels[j]
                wanted = encode(boxes[j], own[p], coded, code)
                got = [float(x) for x in locations[n, p, c]]
                if inside:
                    box = decode(got, own[p], coded, code) if predicted else own[p]
                    got = [w if b < 0 or b > 1 else g for g, w, b in zip(got, wanted, box, strict=True)]
                if encoded:
                    got, wanted = list(np.array(got) / variance), list(np.array(wanted) / variance)
                loc_losses[p, c] = location_loss(got, wanted, square)
        conf = [class_loss(scores[n, p].astype(float), row_labels[p], logistic) for p in range(many)]
        if mining == "NONE":
            used = set(range(many))
        elif not rows:
            used = set()
        else:
            found = by_place[0]
            positive = {p for p, j in found.items() if j >= 0}
            if mining == "MAX_NEGATIVE":
                able = [p for p in range(many) if p not in found and best[p] < neg_overlap]
                most = int(len(positive) * ratio)
                value = conf
            else:
                able, most = list(range(many)), samples
                value = [conf[p] + loc_losses.get((p, 0), 0.0) for p in range(many)]
            if objectness is not None:
                able = [p for p in able if objectness[n, p] >= 0.01]
            order = sorted(able, key=lambda p: (-value[p], p))  # noqa: B023
            if nms:
                guesses = (
                    priors if nms_prior else [decode(locations[n, p, 0], priors[p], coded, code) for p in range(many)]
                )
                order = order[: nms[1]]
                order = [p for p in order if overlap([-9, -9, 9, 9], guesses[p]) * 18 * 18 >= 1e-5]
                order = suppress(guesses, order, nms[0])
            taken = set(order[:most])
            if mining == "HARD_EXAMPLE":
                positive &= taken
                loc_losses = {k: v for k, v in loc_losses.items() if k[0] in positive}
            used = positive | {p for p in taken if p not in found}
        loc_total += sum(loc_losses.values())
        matched_total += len(loc_losses)
        conf_total += sum(conf[p] for p in used)
    divisor = {"VALID": matched_total, "FULL": images * many, "BATCH_SIZE": images, "NONE": 1}[mode]
    return (weight * loc_total + conf_total) / max(divisor, 1)
