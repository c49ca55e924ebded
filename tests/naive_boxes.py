"""What is done to boxes, one box at a time."""

import math
from typing import Any

import numpy as np


def overlap(a: Any, b: Any, edge: float = 0) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0]) + edge
    height = min(a[3], b[3]) - max(a[1], b[1]) + edge
    if width <= 0 or height <= 0:
        return 0.0
    areas = [0.0 if x[2] < x[0] or x[3] < x[1] else (x[2] - x[0] + edge) * (x[3] - x[1] + edge) for x in (a, b)]
    return width * height / (areas[0] + areas[1] - width * height)


def decode(location: Any, prior: Any, variance: Any, code: str) -> list[float]:
    d = [float(v) * float(x) for v, x in zip(variance, location, strict=True)]
    width, height = prior[2] - prior[0], prior[3] - prior[1]
    if code == "CORNER":
        return [prior[i] + d[i] for i in range(4)]
    if code == "CORNER_SIZE":
        return [prior[i] + d[i] * (width, height)[i % 2] for i in range(4)]
    x, y = d[0] * width + (prior[0] + prior[2]) / 2, d[1] * height + (prior[1] + prior[3]) / 2
    w, h = math.exp(d[2]) * width, math.exp(d[3]) * height
    return [x - w / 2, y - h / 2, x + w / 2, y + h / 2]


def suppress(boxes: Any, order: Any, threshold: float, eta: float = 1, edge: float = 0, room: int = 10**9) -> list[int]:
    kept: list[int] = []
    for i in order:
        if len(kept) < room and all(overlap(boxes[i], boxes[k], edge) <= threshold for k in kept):
            kept.append(int(i))
            if eta < 1 and threshold > 0.5:
                threshold *= eta
    return kept


def random_boxes(rng: np.random.Generator, *shape: int) -> np.ndarray:
    low = rng.uniform(0, 0.7, (*shape, 2))
    return np.concatenate([low, low + rng.uniform(0.05, 0.4, (*shape, 2))], -1).astype(np.float32)


def priors_blob(boxes: np.ndarray, variances: Any) -> np.ndarray:
    return np.stack([boxes.reshape(-1), np.broadcast_to(np.float32(variances), boxes.shape).reshape(-1)])[None]
