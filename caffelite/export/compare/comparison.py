"""Two sides run on the same input, and where they part."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from caffelite.errors import DataError
from caffelite.export.compare.causes import Cause, FirstDifference, causes
from caffelite.export.compare.matching import TOLERANCE, Pair, match, squeezed
from caffelite.export.compare.patterns import Pattern, patterns
from caffelite.export.compare.sides import Blobs, Side
from caffelite.words import Shape


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came out.

    Attributes
    ----------
    pairs : list of Pair
        The blobs that both sides have.
    shapes : (dict of str to tuple of int, dict of str to tuple of int)
        Of the blobs of each side.
    alone : (list of str, list of str)
        Blobs that only one side has.
    first : Pair or None
        The first one that differs; None where none does.
    patterns : list of Pattern
        How it differs.
    causes : list of Cause
        What makes it, the surest first.
    """

    pairs: list[Pair]
    shapes: tuple[dict[str, Shape], dict[str, Shape]]
    alone: tuple[list[str], list[str]]
    first: Pair | None
    patterns: list[Pattern]
    causes: list[Cause]


def compare(
    sides: tuple[Side, Side],
    feeds: tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]],
    tolerance: float = TOLERANCE,
) -> Comparison:
    """Run two sides and hold their blobs against each other.

    Parameters
    ----------
    sides : (Side, Side)
    feeds : (mapping, mapping)
        Their inputs, from :func:`caffelite.export.compare.feeding.feed`.
    tolerance : float, optional
        The largest difference of blobs that are equal, by the largest value.

    Raises
    ------
    DataError
        There is no blob that both have.
    """
    a, b = (side.run(fed) for side, fed in zip(sides, feeds, strict=True))
    # Blobs come in the order in which they are computed, which a file that was saved need not have.
    turned = not sides[0].inputs and bool(sides[1].inputs)
    pairs = match(b, a, tolerance) if turned else match(a, b, tolerance)
    if turned:
        pairs = [Pair(p.b, p.a, p.by, p.difference, p.place, p.values[::-1]) for p in pairs]
    inputs = {*sides[0].inputs, *sides[1].inputs}
    if not any(pair.a not in inputs for pair in pairs):
        first, last = (side.name for side in sides)
        raise DataError(f"{first} and {last} have no blob in common but inputs: no name, and no order of shapes")
    matched = {pair.a for pair in pairs}, {pair.b for pair in pairs}
    alone = [name for name in a if name not in matched[0]], [name for name in b if name not in matched[1]]
    shapes = {name: x.shape for name, x in a.items()}, {name: x.shape for name, x in b.items()}
    number = next((i for i, pair in enumerate(pairs) if pair.difference > tolerance), None)
    if number is None:
        return Comparison(pairs, shapes, alone, None, [], [])
    first_pair = pairs[number]
    told, why = _explained(sides, (a, b), pairs, number, tolerance)
    return Comparison(pairs, shapes, alone, first_pair, told, why)


def _explained(
    sides: tuple[Side, Side], blobs: tuple[Blobs, Blobs], pairs: list[Pair], number: int, tolerance: float
) -> tuple[list[Pattern], list[Cause]]:
    pair = pairs[number]
    x = blobs[0][pair.a]
    y = squeezed(x, blobs[1][pair.b])
    told = patterns(x, y, tolerance)
    agreed = [other for other in pairs if other.difference <= tolerance]
    behind = any(other.difference <= tolerance for other in pairs[number + 1 :])
    is_input = pair.a in sides[0].inputs or pair.b in sides[1].inputs
    first = FirstDifference(pair, x, y, agreed, behind, is_input)
    return told, causes(sides, first, told, tolerance)
