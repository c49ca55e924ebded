"""Which blob of one side is which of the other, and how far they are apart."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from caffelite.export.compare.sides import Blobs
from caffelite.words import Shape

#: The largest difference, by the largest value of the blob, of blobs that are equal.
TOLERANCE = 1e-4
#: So many values of two blobs are looked at before all are.
_SAMPLE = 64


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
    with np.errstate(invalid="ignore"):
        far = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0, np.abs(a - b))
    place = np.unravel_index(int(np.argmax(np.nan_to_num(far, nan=np.inf))), far.shape)
    if not np.isfinite(far[place]):
        return np.inf, tuple(map(int, place))
    return float(far[place]) / max(largest(a), largest(b), 1e-30), tuple(map(int, place))


def largest(a: np.ndarray) -> float:
    """Return the largest absolute value that is a number; 0 where there is none."""
    return float(np.abs(a, where=np.isfinite(a), out=np.zeros_like(a)).max(initial=0))


def pair_of(a: str, b: str, by: str, x: np.ndarray, y: np.ndarray) -> Pair:
    """Hold two blobs against each other."""
    y = squeezed(x, y)
    difference, place = apart(x, y)
    values = (float(x[place]), float(y[place])) if place or x.shape == y.shape == () else (np.nan, np.nan)
    return Pair(a, b, by, difference, place, values)


def match(a: Blobs, b: Blobs, tolerance: float = TOLERANCE) -> list[Pair]:
    """Return the blobs that both sides have, in the order of the first: by name, else by order, shape and values.

    A guess (blobs that are not equal, and have nothing but their order in common) is none where something behind it is
    equal: the other side computes that in another way.
    """
    pairs = {name: pair_of(name, name, "name", a[name], b[name]) for name in a if name in b}
    rest = [name for name in b if name not in a]
    equal = _equal_pairs([name for name in a if name not in b], rest, a, b, tolerance)
    pairs |= {x: pair_of(x, y, "order", a[x], b[y]) for x, y in equal.items()}
    guessed = _guesses([name for name in a if name not in b], rest, equal, a, b)
    order = list(a)
    last = max((order.index(name) for name, pair in pairs.items() if pair.difference <= tolerance), default=-1)
    for x, y in guessed.items():
        if order.index(x) > last:
            pairs[x] = pair_of(x, y, "order", a[x], b[y])
    return [pairs[name] for name in a if name in pairs]


def _equal_pairs(names: Sequence[str], others: Sequence[str], a: Blobs, b: Blobs, tolerance: float) -> dict[str, str]:
    """Return those with equal values; neither order is left."""
    found: dict[str, str] = {}
    begin = 0
    for name in names:
        for j in range(begin, len(others)):
            x, y = a[name], squeezed(a[name], b[others[j]])
            if x.shape == y.shape and x.size and _near(x, y, tolerance) and apart(x, y)[0] <= tolerance:
                found[name] = others[j]
                begin = j + 1
                break
    return found


def _near(x: np.ndarray, y: np.ndarray, tolerance: float) -> bool:
    """Whether two blobs can be equal, by some of their values."""
    step = max(x.size // _SAMPLE, 1)
    some, same = x.reshape(-1)[::step], y.reshape(-1)[::step]
    with np.errstate(invalid="ignore"):
        return not (np.abs(some - same) > 2 * tolerance * max(largest(x), largest(y))).any()


def _guesses(names: Sequence[str], others: Sequence[str], equal: dict[str, str], a: Blobs, b: Blobs) -> dict[str, str]:
    """Pair what is left between equal ones: where as many are of a shape on both sides, and what comes last."""
    guessed: dict[str, str] = {}
    for ours, theirs in _between(names, others, equal):
        for shape_of in (lambda array: array.shape, lambda array: (array.ndim, array.shape[:2])):
            _in_order(ours, theirs, guessed, a, b, shape_of)
        last = ours[-1:], theirs[-1:]
        if all(last) and ours[-1] not in guessed and theirs[-1] not in guessed.values():
            if a[ours[-1]].shape == squeezed(a[ours[-1]], b[theirs[-1]]).shape:
                guessed[ours[-1]] = theirs[-1]
    return guessed


def _in_order(
    ours: Sequence[str],
    theirs: Sequence[str],
    guessed: dict[str, str],
    a: Blobs,
    b: Blobs,
    shape_of: Callable[[np.ndarray], object],
) -> None:
    free = [name for name in ours if name not in guessed]
    left = [name for name in theirs if name not in guessed.values()]
    for shape in {shape_of(a[name]) for name in free}:
        one = [name for name in free if shape_of(a[name]) == shape]
        other = [name for name in left if shape_of(b[name]) == shape]
        if len(one) == len(other):
            guessed.update(zip(one, other, strict=True))


def _between(
    names: Sequence[str], others: Sequence[str], equal: dict[str, str]
) -> list[tuple[Sequence[str], Sequence[str]]]:
    """Return what is left of both sides, cut where two are equal."""
    parts, i, j = [], 0, 0
    for x, y in equal.items():
        parts.append((names[i : names.index(x)], others[j : others.index(y)]))
        i, j = names.index(x) + 1, others.index(y) + 1
    return [*parts, (names[i:], others[j:])]
