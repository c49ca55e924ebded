"""Why two blobs differ: what makes one side compute the other's values, what the files differ in, what is usual."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from caffelite.errors import Error
from caffelite.export.compare.cut import Cut, CutLayer, cut
from caffelite.export.compare.matching import Pair, apart, squeezed
from caffelite.export.compare.patterns import Pattern, patterns
from caffelite.export.compare.sides import NetSide, Side
from caffelite.export.compare.variations import Variation, eps_of, variations
from caffelite.words import quoted

#: Of more layers between blobs that agree and the one that differs, not every change is tried.
MOST_LAYERS = 24
#: So much of the difference may be left where a change explains it.
_LEFT = 0.1
#: Weights differ from so much on, by the largest one.
_WEIGHTS = 1e-6
#: What usually makes such a difference, by its kind: of an input, and of another blob.
_USUAL_OF_INPUTS = {
    "reversed": ("bgr", "one side has the channels of the image as BGR, the other as RGB"),
    "offset": ("mean", "one side has subtracted a mean, the other has not, or another one"),
    "channel offset": ("mean", "one side has subtracted a mean, the other has not, or another one"),
    "scale": ("scale", "one side has multiplied the image (by 1/255, say), the other has not"),
    "channel scale": ("scale", "one side has divided each channel by a deviation, the other has not"),
    "channel scale and offset": ("mean", "mean and scale of the image are not the same"),
}
_USUAL = {
    "shape": ("pooling", "Caffe's pooling rounds sizes up, most other programs round down (ceil_mode)"),
    "border": ("divisor", "what is beyond the border: padding, a mean over it (count_include_pad), rounding of sizes"),
    "reversed": ("bgr", "the order of channels: BGR or RGB"),
    "axes": ("layout", "the layout: channels last or channels first"),
    "scale": ("factor", "a factor: a BatchNorm whose sums are not divided by the factor blob, a scale, a coefficient"),
    "offset": ("missing", "a bias that one side has not"),
    "channel offset": ("missing", "a bias or a Bias layer that one side has not, or a mean of a BatchNorm"),
    "channel scale": ("missing", "a Scale layer that one side has not, or an eps or a factor blob of a BatchNorm"),
    "channel scale and offset": ("missing", "a Scale or a BatchNorm that one side has not, or an eps"),
    "nan": ("nan", "a variance below 0, an eps of 0, or values too large for float32"),
}


@dataclass(frozen=True, slots=True)
class Cause:
    """What makes a difference.

    Attributes
    ----------
    kind : str
        "eps", "factor", "pooling", "divisor", "bgr", "mean", "missing", "order", "in-place", "settings", "weights"; of
        what is only usual also "scale", "layout", "nan".
    text : str
    proven : bool
        Whether one side, changed like that, gives the values of the other.
    """

    kind: str
    text: str
    proven: bool


@dataclass(frozen=True, slots=True)
class FirstDifference:
    """The first blob that differs.

    Attributes
    ----------
    pair : Pair
    a, b : ndarray
        Its values.
    agreed : list of Pair
        Those that do not differ.
    agrees_behind : bool
        Whether one of these is behind it.
    is_input : bool
    """

    pair: Pair
    a: np.ndarray
    b: np.ndarray
    agreed: list[Pair]
    agrees_behind: bool
    is_input: bool


def causes(sides: tuple[Side, Side], first: FirstDifference, told: list[Pattern], tolerance: float) -> list[Cause]:
    """Return what makes the first difference, as far as it is known here.

    Parameters
    ----------
    sides : (Side, Side)
        Which have been run.
    first : FirstDifference
    told : list of Pattern
        How it differs.
    tolerance : float
    """
    usual = _USUAL_OF_INPUTS if first.is_input else _USUAL
    guesses = [Cause(*usual[pattern.kind], proven=False) for pattern in told if pattern.kind in usual]
    if first.is_input:
        return guesses
    cuts = [_cut(side, first, i) for i, side in enumerate(sides)]
    proven = _proven(sides, cuts, first, tolerance)
    seen = list(_files(sides, cuts[0], cuts[1])) if cuts[0] and cuts[1] else []
    return [*([proven] if proven else []), *seen] or guesses


def _cut(side: Side, first: FirstDifference, i: int) -> Cut | None:
    if not isinstance(side, NetSide):
        return None
    agreed = [(pair.a, pair.b)[i] for pair in first.agreed]
    return cut(side, (first.pair.a, first.pair.b)[i], [*agreed, *side.inputs])


def _proven(sides: tuple[Side, Side], cuts: list[Cut | None], first: FirstDifference, tolerance: float) -> Cause | None:
    # What is just beyond the tolerance comes below it by many a change that has nothing to do with it.
    limit = min(tolerance, _LEFT * first.pair.difference)
    for i, part in enumerate(cuts):
        if part is None or len(part.layers) > MOST_LAYERS:
            continue
        other = cuts[1 - i]
        own, theirs = sides[i].name, sides[1 - i].name
        expected = (first.b, first.a)[i]
        eps = [] if other is None else [value for layer in other.layers if (value := eps_of(layer)) is not None]
        fits: list[tuple[float, Variation]] = []
        for variation in variations(part, expected, eps):
            # The usual values of eps lie so close that the best of them counts.
            if fits and variation.cause != fits[0][1].cause:
                break
            distance = _tried(part, variation, expected)
            if distance <= limit:
                fits.append((distance, variation))
        if fits:
            best = min(fits, key=lambda fit: fit[0])[1]
            text = f"{theirs} is what {own} computes with {best.text}"
            if best.written_over and first.agrees_behind:
                return Cause(
                    "in-place", f"{text}: {theirs} has the blob from before that is done in place", proven=True
                )
            return Cause(best.cause, text, proven=True)
    return None


def _tried(part: Cut, variation: Variation, expected: np.ndarray) -> float:
    """Return how far a changed net is from the other side's values; infinitely where it cannot be run."""
    changed = part.copy()
    with suppress(Error):
        variation.edit(changed)
        values = changed.run()
        return apart(values, squeezed(values, expected))[0]
    return np.inf


def _files(sides: tuple[Side, Side], one: Cut, other: Cut) -> Iterator[Cause]:
    """Yield what two nets differ in, between blobs that agree and the first one that does not."""
    names = tuple(side.name for side in sides)
    theirs = {layer.node.name: layer for layer in other.layers}
    for layer in one.layers:
        twin = theirs.pop(layer.node.name, None)
        if twin is None:
            yield Cause("settings", f"{names[1]} has no layer {quoted(layer.node.name)} there", proven=False)
            continue
        a, b = (_settings(item) for item in (layer, twin))
        if a != b:
            texts = [
                f"{', '.join(sorted(lines))} in {name}"
                for lines, name in zip((a - b, b - a), names, strict=True)
                if lines
            ]
            text = f"{quoted(layer.node.name)} has {' and '.join(texts)}{'' if len(texts) == 2 else ' alone'}"
            yield Cause("settings", text, proven=False)
        yield from _weights(layer, twin, names)
    for name in theirs:
        yield Cause("settings", f"{names[0]} has no layer {quoted(name)} there", proven=False)


def _settings(layer: CutLayer) -> set[str]:
    param = type(layer.param)()
    param.CopyFrom(layer.param)
    for field in ("name", "bottom", "top"):
        param.ClearField(field)
    return {" ".join(line.split()) for line in str(param).splitlines() if not line.rstrip().endswith(("{", "}"))}


def _weights(one: CutLayer, other: CutLayer, names: tuple[str, ...]) -> Iterator[Cause]:
    for j, (a, b) in enumerate(zip(one.blobs, other.blobs, strict=False)):
        b = squeezed(a, b)
        if apart(a, b)[0] > _WEIGHTS:
            how = patterns(a, b, _WEIGHTS)[0].text
            text = f"blob {j} of {quoted(one.node.name)} differs: of {names[1]}, {how}"
            yield Cause("weights", text, proven=False)
