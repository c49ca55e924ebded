"""Pictures of stored weights: how their values are spread, or what they are channel by channel."""

import base64
from pathlib import Path
from typing import Any

import numpy as np

from caffelite.errors import Error
from caffelite.layers.contract.registry import registry
from caffelite.layers.shared.normalizing import Normalizing, layout_of
from caffelite.schema.documents import NetDocument
from caffelite.schema.weights import LayerWeights, read_weights
from caffelite.words import text_of

_BINS = 40
#: Steps between the least and the largest of the values of a chart of channels: a page holds a byte for each.
_STEPS = 255


def weight_charts(document: NetDocument, weights: str | Path) -> dict[str, list[dict[str, Any]]]:
    """Return the charts of the layers of a net, by name.

    A chart has ``title``, ``told`` (mean, deviation, least and largest in words), ``low`` and ``high``, and either
    ``counts`` (of values, in equal steps from ``low`` to ``high``) or ``bytes`` (a value a channel, in 255 steps, in
    base64).

    Raises
    ------
    WeightsError, MissingExtraError
        As :func:`caffelite.schema.weights.read_weights`.
    Error
        The file has no weights of any layer of the net.
    """
    types = {layer.name: layer.type for layer in document.message.layer}
    named: dict[str, list[dict[str, Any]]] = {}
    for stored in read_weights(weights):
        if stored.name in types and stored.blobs:
            named[stored.name] = _charts(stored, types[stored.name])
            stored.release()
    if not named:
        raise Error(f"{weights}: it has no weights of a layer of {document.filename}")
    return named


def scale_behind(document: NetDocument, index: int) -> int | None:
    """Return which layer multiplies and shifts what a layer that only normalizes makes; None for any other layer."""
    layers = document.message.layer
    if not _normalizes(layers[index].type):
        return None
    behind = (i for i in range(index + 1, len(layers)) if list(layers[index].top) == list(layers[i].bottom))
    first = next(behind, None)
    return first if first is not None and _is_scale(layers[first].type) else None


def _normalizes(type_name: str) -> bool:
    known = registry().get(type_name)
    return known is not None and issubclass(known, Normalizing)


def _is_scale(type_name: str) -> bool:
    known = registry().get(type_name)
    return known is not None and known.facts.kind == "normalization" and not issubclass(known, Normalizing)


def _charts(stored: LayerWeights, type_name: str) -> list[dict[str, Any]]:
    layout = layout_of(stored.blobs) if _normalizes(type_name) else None
    statistics = layout.statistics(stored.blobs) if layout is not None else None
    if layout is not None and statistics is not None:
        learned = [(f"{name} by channel", blob) for name, blob in zip(layout.blobs, stored.blobs, strict=True)]
        apart = ("mean", "variance", layout.factor, "reserved")
        named = [("stored mean by channel", statistics.mean), ("stored variance by channel", statistics.variance)]
        named += [one for one in learned if one[0].split()[0] not in apart]
    else:
        named = [(f"parameters {j}, {text_of(blob.shape)}", blob) for j, blob in enumerate(stored.blobs)]
    return [_chart(title, np.asarray(values)) for title, values in named if values.size]


def _chart(title: str, values: np.ndarray) -> dict[str, Any]:
    by_channel = values.size == max(values.shape, default=1) and values.size > 1
    flat = values.reshape(-1)
    finite = flat[np.isfinite(flat)].astype(np.float64)
    if not finite.size:
        return {"title": title, "told": "no value is finite", "low": 0.0, "high": 0.0, "counts": []}
    low, high = float(finite.min()), float(finite.max())
    told = f"mean {finite.mean():.3g}, deviation {finite.std():.3g}, from {low:.3g} to {high:.3g}"
    if finite.size < flat.size:
        told += f", {flat.size - finite.size:,} not finite"
    chart: dict[str, Any] = {"title": title, "told": told, "low": low, "high": high}
    if by_channel:
        whole = np.nan_to_num(flat.astype(np.float64), nan=low, posinf=high, neginf=low)
        steps = np.round((whole - low) * (_STEPS / ((high - low) or 1.0))).astype(np.uint8)
        return {**chart, "bytes": base64.b64encode(steps.tobytes()).decode()}
    return {**chart, "counts": np.histogram(finite, _BINS, (low, high))[0].tolist()}
