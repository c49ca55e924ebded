"""How two blobs differ: what there is of one in the other, and where."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from caffelite.export.compare.matching import apart
from caffelite.export.difference import largest
from caffelite.words import text_of

#: A line through so many values of a channel says something.
_VALUES = 4
#: So many channels or images are named.
_NAMED = 6

_Close = Callable[[np.ndarray, np.ndarray], bool]


@dataclass(frozen=True, slots=True)
class Pattern:
    """One thing that is true of a difference.

    Attributes
    ----------
    kind : str
        "shape", "nan", "axes", "reversed", "channels permuted", "scale", "offset", "channel scale",
        "channel offset", "channel scale and offset", "images", "channels", "border" or "everywhere".
    text : str
        Said of the second one, as in: it is 2 times the first one.
    """

    kind: str
    text: str


def patterns(a: np.ndarray, b: np.ndarray, tolerance: float) -> list[Pattern]:
    """Return what is true of the difference of two blobs that are not equal; the first one tells most."""

    def close(x: np.ndarray, y: np.ndarray) -> bool:
        return apart(x, y)[0] <= tolerance

    axes = list(_axes(a, b, close))
    if a.shape != b.shape:
        return [*axes, Pattern("shape", f"it is {text_of(b.shape)} in place of {text_of(a.shape)}")]
    wrong = np.isnan(a) != np.isnan(b)
    wrong |= np.isinf(a) != np.isinf(b)
    if wrong.any():
        side = "first" if not np.isfinite(a[wrong]).any() else "second"
        return [Pattern("nan", f"{int(wrong.sum())} of {a.size} values are no finite numbers in the {side} alone")]
    with np.errstate(invalid="ignore"):
        places = np.abs(a - b) > tolerance * max(largest(a), largest(b))
    rules = (_permuted_channels, _scale, _offset, _by_channel)
    told = next((pattern for rule in rules for pattern in rule(a, b, close)), None)
    if a.size == 1:
        return [Pattern("everywhere", f"it is {b.item():.6g} in place of {a.item():.6g}")]
    return [*([told] if told else []), *axes, *_where(places)] or [
        Pattern("everywhere", f"{int(places.sum())} of {a.size} values differ, without a pattern that is known here")
    ]


def _axes(a: np.ndarray, b: np.ndarray, close: _Close) -> Iterator[Pattern]:
    for order in permutations(range(a.ndim)) if 2 <= a.ndim <= 4 else ():
        turned = a.transpose(order)
        # A turn that moves only axes of 1 changes no values, and sorting of equal ones is none.
        if list(order) != sorted(order) and turned.shape == b.shape and close(turned, b) and not _same(a, b, close):
            name = " (height, width, channels)" if order == (0, 2, 3, 1) else ""
            yield Pattern("axes", f"its axes are those of the first in the order {', '.join(map(str, order))}{name}")
            return


def _same(a: np.ndarray, b: np.ndarray, close: _Close) -> bool:
    return a.shape == b.shape and close(a, b)


def _permuted_channels(a: np.ndarray, b: np.ndarray, close: _Close) -> Iterator[Pattern]:
    if a.ndim < 2 or a.shape[1] < 2:
        return
    if close(a[:, ::-1], b):
        yield Pattern("reversed", "its channels are in reverse order" + (" (BGR, RGB)" if a.shape[1] == 3 else ""))
        return
    x, y = (np.moveaxis(array, 1, 0).reshape(a.shape[1], -1).astype(np.float64) for array in (a, b))
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return
    marks = [np.stack([v.mean(1), np.square(v).mean(1), v[:, 0], v[:, v.shape[1] // 2], v[:, -1]], 1) for v in (x, y)]
    order = [int(np.square(marks[0] - mark).sum(1).argmin()) for mark in marks[1]]
    if sorted(order) == list(range(len(order))) and order != sorted(order) and close(a[:, order], b):
        shown = ", ".join(map(str, order[:_NAMED])) + (", …" if len(order) > _NAMED else "")
        yield Pattern("channels permuted", f"its channels are those of the first in the order {shown}")


def _scale(a: np.ndarray, b: np.ndarray, close: _Close) -> Iterator[Pattern]:
    x = a.astype(np.float64)
    square = float(np.square(x).sum())
    factor = float((x * b).sum()) / square if square else 0.0
    if a.size > 1 and factor and close(a * np.float32(factor), b):
        yield Pattern("scale", f"it is {factor:.6g} times the first")


def _offset(a: np.ndarray, b: np.ndarray, close: _Close) -> Iterator[Pattern]:
    shift = float(np.mean(b.astype(np.float64) - a))
    if a.size > 1 and close(a + np.float32(shift), b):
        yield Pattern("offset", f"it is the first {'-' if shift < 0 else '+'} {abs(shift):.6g}")


def _by_channel(a: np.ndarray, b: np.ndarray, close: _Close) -> Iterator[Pattern]:
    """A factor, a shift, or both, for each channel."""
    if a.ndim < 2 or a.shape[1] < 2 or a.size < _VALUES * a.shape[1]:
        return
    x, y = (np.moveaxis(array, 1, 0).reshape(a.shape[1], -1).astype(np.float64) for array in (a, b))
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return
    ones = np.ones(len(x))
    squares, means, others = np.square(x).sum(1), x.mean(1), y.mean(1)
    spread = np.square(x - means[:, None]).sum(1)
    factors = np.divide((x * y).sum(1), squares, out=ones.copy(), where=squares > 0)
    slopes = np.divide(((x - means[:, None]) * y).sum(1), spread, out=ones.copy(), where=spread > 0)
    forms = (
        ("channel scale", factors, 0 * ones, f"each channel is the first's times a number, {_range(factors)}"),
        (
            "channel offset",
            ones,
            others - means,
            f"each channel is the first's plus a number, {_range(others - means)}",
        ),
        (
            "channel scale and offset",
            slopes,
            others - slopes * means,
            f"each channel is the first's times a number, {_range(slopes)}, plus another",
        ),
    )
    for kind, scale, shift, text in forms:
        if close((x * scale[:, None] + shift[:, None]).astype(np.float32), y.astype(np.float32)):
            yield Pattern(kind, text)
            return


def _range(values: np.ndarray) -> str:
    if len(values) <= 3:
        return ", ".join(f"{value:.6g}" for value in values)
    return f"{values.min():.6g} to {values.max():.6g}"


def _where(places: np.ndarray) -> Iterator[Pattern]:
    """Yield where the difference is, if it is not everywhere."""
    for axis, word in ((0, "image"), (1, "channel")):
        if places.ndim > axis + 1 and places.shape[axis] > 1:
            others = tuple(i for i in range(places.ndim) if i != axis)
            hit = np.flatnonzero(places.any(axis=others))
            if hit.size < places.shape[axis]:
                yield Pattern(f"{word}s", f"it differs in {_numbers(hit, word)} of {places.shape[axis]} alone")
    if places.ndim == 4:
        yield from _border(np.asarray(places.any(axis=(0, 1))))


def _numbers(hit: np.ndarray, word: str) -> str:
    if hit.size > _NAMED:
        return f"{hit.size} {word}s"
    return f"{word}{'s' if hit.size > 1 else ''} {', '.join(map(str, hit))}"


def _border(hit: np.ndarray) -> Iterator[Pattern]:
    height, width = hit.shape
    for depth in range(1, (min(height, width) + 1) // 3 + 1):
        inner = slice(depth, height - depth), slice(depth, width - depth)
        if not hit[inner].size or hit[inner].any():
            continue
        parts = {
            "top": hit[:depth, inner[1]],
            "bottom": hit[height - depth :, inner[1]],
            "left": hit[inner[0], :depth],
            "right": hit[inner[0], width - depth :],
        }
        sides: Sequence[str] = [side for side, part in parts.items() if part.any()] or ["corners"]
        pixels = "pixel" if depth == 1 else f"{depth} pixels"
        yield Pattern("border", f"it differs in the outermost {pixels} alone: {', '.join(sides)}")
        return
