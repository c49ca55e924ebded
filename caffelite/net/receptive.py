"""How much of the data a value of a blob depends on, and how far the data of its neighbours is from its own."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from caffelite.layers.contract.layer import Layer
from caffelite.words import Shape

#: Axes of images and channels, which are no places.
_BEFORE_PLACES = 2


class Field(NamedTuple):
    """A receptive field, in values of the data along each spatial axis.

    Attributes
    ----------
    size : tuple of int
        It can be larger than the data: what lies in the padding counts.
    jump : tuple of Fraction
        From the field of one place to that of the next.
    """

    size: Shape
    jump: tuple[Fraction, ...]


def field_of(layer: Layer, bottoms: Sequence[tuple[Shape, Field | None]], top: Shape) -> Field | None:
    """Return the receptive field of the values of a layer's top.

    A window of k values widens the field by k - 1 jumps, and its stride multiplies the jump (Araujo et al., "Computing
    Receptive Fields of Convolutional Neural Networks", 2019). Of several bottoms the widest counts.

    Parameters
    ----------
    layer : Layer
    bottoms : sequence of (tuple of int, Field or None)
        Shapes and fields.
    top : tuple of int
        Its shape.

    Returns
    -------
    Field or None
        None where the layer slides no window and its top has other places than its bottom, so that what a place
        depends on is not known.
    """
    places = top[_BEFORE_PLACES:]
    if not bottoms:
        return Field((1,) * len(places), (Fraction(1),) * len(places))
    if not places:
        return Field((), ())
    fields = [(shape, field) for shape, field in bottoms if field is not None and len(field.size) == len(places)]
    if not fields or any(field is None for _, field in bottoms):
        return None
    shape, first = fields[0]
    size = tuple(max(sizes) for sizes in zip(*(field.size for _, field in fields), strict=True))
    window = layer.window(shape)
    if window is None:
        return Field(size, first.jump) if all(shape[_BEFORE_PLACES:] == places for shape, _ in fields) else None
    if len(window) != len(places):
        return None
    steps = list(zip(size, first.jump, window, strict=True))
    return Field(
        tuple(math.ceil(n + (kernel - 1) * jump) for n, jump, (kernel, _) in steps),
        tuple(jump * stride for _, jump, (_, stride) in steps),
    )
