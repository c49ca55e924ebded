"""Which blob of one side is which of the other, and how far they are apart."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from caffelite.export.compare.sides import Blobs
from caffelite.export.difference import distances, furthest, largest
from caffelite.words import Shape

#: The largest difference, by the largest value of the blob, of blobs that are equal.
TOLERANCE = 1e-4
#: So many values of two blobs tell whether they can be the same one.
_SAMPLE = 1024
#: Blobs whose distance is at most so much of their length are the same one, computed in another way.
_ALIKE = 0.1


@dataclass(frozen=True, slots=True)
class Pair:
    """A blob of both sides.

    Attributes
    ----------
    a, b : str
        Its names.
    by : str
        "name" or "order": what matches them.
    difference : float
        The largest one, by the largest value; infinite where shapes differ or one has values that are no numbers.
    place : tuple of int
        Where it is.
    values : (float, float)
        What both have there.
    """

    a: str
    b: str
    by: str
    difference: float
    place: Shape
    values: tuple[float, float]


def squeezed(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return ``b`` in the shape of ``a``, where axes of 1 are all that they differ by."""
    shapes = [[n for n in array.shape if n != 1] for array in (a, b)]
    return b.reshape(a.shape) if shapes[0] == shapes[1] else b


def apart(a: np.ndarray, b: np.ndarray) -> tuple[float, Shape]:
    """Return the largest difference of two blobs, by the largest value of both, and where it is."""
    if a.shape != b.shape:
        return np.inf, ()
    if not a.size:
        return 0.0, ()
    far = distances(a, b)
    place = furthest(far)
    if not np.isfinite(far[place]):
        return np.inf, place
    return float(far[place]) / max(largest(a), largest(b), 1e-30), place


def pair_of(a: str, b: str, by: str, x: np.ndarray, y: np.ndarray) -> Pair:
    """Hold two blobs against each other."""
    y = squeezed(x, y)
    difference, place = apart(x, y)
    values = (float(x[place]), float(y[place])) if place or x.shape == y.shape == () else (np.nan, np.nan)
    return Pair(a, b, by, difference, place, values)


def match(a: Blobs, b: Blobs, tolerance: float = TOLERANCE) -> list[Pair]:
    """Return the blobs that both sides have, in the order of the first: by name, else by order, shape and values.

    Of those without a name in common equal ones are matched first; between these, what is nearly equal; then what is in
    the same place of the order. This last is a guess, and none where something behind it is equal: the other side
    computes that in another way.
    """
    pairs = {name: pair_of(name, name, "name", a[name], b[name]) for name in a if name in b}
    ours, theirs = [name for name in a if name not in b], [name for name in b if name not in a]
    order = {name: i for i, name in enumerate(a)}
    sure = _equal(ours, theirs, a, b, tolerance)
    for one, other in _between(ours, theirs, sure):
        sure |= _alike(one, other, a, b)
    pairs |= {x: pair_of(x, y, "order", a[x], b[y]) for x, y in sure.items()}
    last = max((order[name] for name, pair in pairs.items() if pair.difference <= tolerance), default=-1)
    for one, other in _between(ours, theirs, {name: sure[name] for name in ours if name in sure}):
        guessed = {x: y for x, y in _guesses(one, other, a, b).items() if order[x] > last}
        pairs |= {x: pair_of(x, y, "order", a[x], b[y]) for x, y in guessed.items()}
    return [pairs[name] for name in a if name in pairs]


def _equal(ours: Sequence[str], theirs: Sequence[str], a: Blobs, b: Blobs, tolerance: float) -> dict[str, str]:
    """Return those with equal values; neither order is left."""
    matched: dict[str, str] = {}
    begin = 0
    limits = {name: tolerance * largest(a[name]) for name in ours}
    limits |= {name: tolerance * largest(b[name]) for name in theirs}
    for name in ours:
        for j in range(begin, len(theirs)):
            x, y = a[name], squeezed(a[name], b[theirs[j]])
            limit = max(limits[name], limits[theirs[j]])
            if x.shape == y.shape and x.size and _near(x, y, limit) and apart(x, y)[0] <= tolerance:
                matched[name] = theirs[j]
                begin = j + 1
                break
    return matched


def _near(x: np.ndarray, y: np.ndarray, limit: float) -> bool:
    """Whether two blobs can be equal, by some of their values."""
    with np.errstate(invalid="ignore"):
        return not (np.abs(_some(x) - _some(y)) > limit).any()


def _some(values: np.ndarray) -> np.ndarray:
    return values.reshape(-1)[:: max(values.size // _SAMPLE, 1)]


def _alike(ours: Sequence[str], theirs: Sequence[str], a: Blobs, b: Blobs) -> dict[str, str]:
    """Return those whose distance is small by their length, the nearest first in each step; neither order is left."""
    matched: dict[str, str] = {}
    begin = 0
    for name in ours:
        lengths = [_distance(a[name], squeezed(a[name], b[other])) for other in theirs[begin:]]
        if lengths and min(lengths) <= _ALIKE:
            begin += int(np.argmin(lengths)) + 1
            matched[name] = theirs[begin - 1]
    return matched


def _distance(x: np.ndarray, y: np.ndarray) -> float:
    if x.shape != y.shape:
        return np.inf
    some, other = _some(x), _some(y)
    if not (np.isfinite(some).all() and np.isfinite(other).all()):
        return np.inf
    return float(np.linalg.norm(some - other)) / max(float(np.linalg.norm(some)), 1e-30)


def _guesses(ours: Sequence[str], theirs: Sequence[str], a: Blobs, b: Blobs) -> dict[str, str]:
    """Pair what lies between two equal ones: where as many are of a shape on both sides, and what comes last."""
    guessed: dict[str, str] = {}
    for axes in (2, None):  # images and channels, the whole shape
        shapes = {name: (array.ndim, array.shape[:axes]) for side in (a, b) for name, array in side.items()}
        left = [name for name in ours if name not in guessed], [n for n in theirs if n not in guessed.values()]
        for shape in {shapes[name] for name in left[0]}:
            one, other = ([name for name in names if shapes[name] == shape] for names in left)
            if len(one) == len(other):
                guessed.update(zip(one, other, strict=True))
    if ours and theirs and ours[-1] not in guessed and theirs[-1] not in guessed.values():
        if a[ours[-1]].shape == squeezed(a[ours[-1]], b[theirs[-1]]).shape:
            guessed[ours[-1]] = theirs[-1]
    return guessed


def _between(
    ours: Sequence[str], theirs: Sequence[str], matched: dict[str, str]
) -> list[tuple[Sequence[str], Sequence[str]]]:
    """Return what is left of both sides, cut where two are matched."""
    parts, i, j = [], 0, 0
    for x, y in matched.items():
        parts.append((ours[i : ours.index(x)], theirs[j : theirs.index(y)]))
        i, j = ours.index(x) + 1, theirs.index(y) + 1
    return [*parts, (ours[i:], theirs[j:])]
