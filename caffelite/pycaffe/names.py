"""Names that users give, and which of those there are they may have meant."""

from collections.abc import Iterable, Sequence
from typing import NoReturn

from caffelite.errors import NetError
from caffelite.words import did_you_mean, quoted


def index_of(layer: str, layers: Sequence[str], net: str) -> int:
    """Return the number of a layer; raise NetError where the net has none of this name."""
    if layer not in layers:
        _unknown("layer", layer, layers, net)
    return layers.index(layer)


def known_blobs(names: Iterable[str] | None, blobs: Sequence[str], net: str) -> list[str]:
    """Return the names as they are, no names for None; raise NetError for one that the net has not."""
    given = list(names or ())
    for name in given:
        if name not in blobs:
            _unknown("blob", name, blobs, net)
    return given


def _unknown(what: str, name: str, known: Sequence[str], net: str) -> NoReturn:
    raise NetError(f"net {quoted(net)} has no {what} {quoted(name)}{did_you_mean(name, known)}")
