"""Values on their way into a net: as one batch, or as many as there are."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from caffelite.errors import NetError, ShapeError
from caffelite.layers.memory_data import MemoryData
from caffelite.net import Net
from caffelite.words import quoted, text_of


def assign(given: dict[str, Any], arrays: dict[str, np.ndarray], what: str) -> None:
    """Write values into the inputs (or the gradients of the outputs) of a net.

    Parameters
    ----------
    given : dict of str to array
    arrays : dict of str to ndarray
        Where they go; all of them.
    what : str
        What these are, for errors: "input", "output".

    Raises
    ------
    NetError
        A name is unknown or missing.
    ShapeError
        Values have another shape.
    """
    if given.keys() != arrays.keys():
        wrong = next((name for name in given if name not in arrays), None)
        problem = (
            f"{quoted(wrong)} is no {what} of this net"
            if wrong is not None
            else f"values for all {what}s are given together or not at all"
        )
        raise NetError(f"{problem}; its {what}s are {', '.join(map(quoted, arrays)) or 'none'}")
    for name, array in arrays.items():
        values = np.asarray(given[name])
        if array.ndim and values.shape[:1] != array.shape[:1]:
            raise ShapeError(
                f"{what} {quoted(name)} takes {array.shape[0]} in a batch, but values of shape "
                f"{text_of(values.shape)} are given; reshape the blob first"
            )
        try:
            array[...] = values
        except ValueError:
            raise ShapeError(
                f"{what} {quoted(name)} is of shape {text_of(array.shape)}, but values of shape "
                f"{text_of(values.shape)} are given"
            ) from None


def batches(given: dict[str, Any], size: int) -> Iterator[tuple[dict[str, np.ndarray], int]]:
    """Cut values into batches; the last one is filled up with zeros.

    Parameters
    ----------
    given : dict of str to array
        Equally many for each name.
    size : int
        Of a batch.

    Yields
    ------
    batch : dict of str to ndarray
    count : int
        How many of it were given.
    """
    arrays = {name: np.asarray(values) for name, values in given.items()}
    counts = {len(values) for values in arrays.values()}
    if len(counts) != 1:
        numbers = " and ".join(map(str, sorted(counts))) or "none"
        raise ShapeError(f"equally many values are given for every input of a net, not {numbers}")
    total = counts.pop()
    for first in range(0, total, size):
        count = min(size, total - first)
        yield {name: _padded(values[first : first + size], size) for name, values in arrays.items()}, count


def _padded(values: np.ndarray, size: int) -> np.ndarray:
    if len(values) == size:
        return values
    return np.concatenate([values, np.zeros((size - len(values), *values.shape[1:]), values.dtype)])


def forward_all(
    forward: Callable[..., dict[str, np.ndarray]], given: dict[str, Any], size: int
) -> dict[str, np.ndarray]:
    """Run ``forward`` over all batches; return what it gives, one after the other."""
    results: dict[str, list[np.ndarray]] = {}
    for batch, count in batches(given, size):
        for name, values in forward(**batch).items():
            # A loss is one value for the whole batch.
            results.setdefault(name, []).append(values[:count].copy() if values.ndim else values.copy()[None])
    return {name: np.concatenate(parts) for name, parts in results.items()}


def set_arrays(net: Net, data: np.ndarray, labels: np.ndarray) -> None:
    """Give the MemoryData layer that a net begins with its data: see ``Net.set_input_arrays``."""
    first = net.layers[0]
    if not isinstance(first, MemoryData):
        raise NetError(
            f"net {quoted(net.name)} begins with a layer of type {first.param.type}; set_input_arrays is for "
            "nets that begin with MemoryData"
        )
    if first.param.HasField("transform_param"):
        # Where the user's program called it.
        warnings.warn(f"layer {quoted(first.name)} does not transform the arrays it is given", stacklevel=3)
    if isinstance(labels, np.ndarray) and labels.ndim == 1:
        labels = np.ascontiguousarray(labels[:, None, None, None])
    first.set_arrays(data, labels)
