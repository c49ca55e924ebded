"""Results as people read them, and as programs do."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from caffelite.net import Net
from caffelite.solvers.logs import Output

#: An output of more values is counted, not printed, where a line is for people.
_FEW = 4
#: So many layers are named where a line is for people.
_MOST_LAYERS = 8


def accuracies(nets: Iterable[Net]) -> set[str]:
    """Return the names of the blobs that are shares of right answers."""
    return {node.tops[0].name for net in nets for node in net.graph.nodes if node.layer.facts.share}


def summary(outputs: Sequence[Output], shares: set[str]) -> str:
    """Write outputs in words: ``accuracy 54.3%, loss 1.3``.

    Parameters
    ----------
    outputs : sequence of Output
    shares : set of str
        The names of those that are percentages.
    """
    parts = []
    for name, values in by_name(outputs).items():
        if len(values) > _FEW:
            parts.append(f"{name} ({len(values)} values)")
        else:
            texts = [f"{100 * value:.4g}%" if name in shares else f"{value:.4g}" for value in values]
            parts.append(f"{name} {' '.join(texts)}")
    return ", ".join(parts)


def untrained(layers: Sequence[str]) -> str:
    """Say which layers began untrained."""
    shown = list(layers[:_MOST_LAYERS])
    if len(layers) > len(shown):
        shown.append(f"{len(layers) - len(shown)} more")
    listed = " and ".join(filter(None, [", ".join(shown[:-1]), *shown[-1:]]))
    return f"{listed} began untrained" if layers else "nothing began untrained"


def not_a_number(losses: Iterable[float]) -> str:
    """Say that one of these losses is NaN or infinite; return an empty text where none is."""
    bad = [loss for loss in losses if not math.isfinite(loss)]
    return f"the loss is not a number ({bad[0]:g})" if bad else ""


def by_name(outputs: Sequence[Output]) -> dict[str, list[float]]:
    """Return the values of each output."""
    values: dict[str, list[float]] = {}
    for output in outputs:
        values.setdefault(output.name, []).append(output.value)
    return values


def plain(value: Any) -> Any:
    """Return a value as JSON can have it: a list of one is that one, what is not a number is null."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return plain(value[0]) if len(value) == 1 else [plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def duration(seconds: float) -> str:
    """Write a time: ``8.1 s``, ``4 min 12 s``, ``2 h 5 min``."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
