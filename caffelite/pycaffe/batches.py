"""Values on their way into a net: as one batch, or as many as there are."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from caffelite.errors import NetError, ShapeError
from caffelite.layers.memory_data import MemoryData
from caffelite.net import Net
from caffelite.net.caller import Caller, one_thread
from caffelite.pycaffe.blob import Blob
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


class Results:
    """What the batches give, one after the other, without what fills up the last one."""

    def __init__(self) -> None:
        self._parts: dict[str, list[np.ndarray]] = {}

    def add(self, values: Mapping[str, np.ndarray], count: int | None) -> None:
        """Copy what a batch gave, of which so many are asked for; all of it for None."""
        for name, array in values.items():
            # A loss is one value for the whole batch.
            part = array[:count].copy() if array.ndim else array.copy()[None]
            self._parts.setdefault(name, []).append(part)

    def joined(self) -> dict[str, np.ndarray]:
        """Return all of it, an array for each name."""
        return {name: np.concatenate(parts) for name, parts in self._parts.items()}


class Batches:
    """A net's passes over any number of inputs, a batch at a time; the last one is filled up with zeros."""

    _net: Net
    caller: Caller
    blobs: Mapping[str, Blob]
    inputs: list[str]
    outputs: list[str]
    forward: Callable[..., dict[str, np.ndarray]]
    backward: Callable[..., dict[str, np.ndarray]]

    @one_thread
    def forward_all(self, blobs: Iterable[str] | None = None, **inputs: Any) -> dict[str, np.ndarray]:
        """Run the net over any number of inputs.

        Parameters
        ----------
        blobs : list of str, optional
            As for :meth:`forward`.
        **inputs : array
            Values for all inputs of the net, equally many for each.

        Returns
        -------
        dict of str to ndarray
            What :meth:`forward` returns, for all inputs one after the other: copies.
        """
        results = Results()
        for batch, count in batches(inputs, self._batch_size):
            results.add(self.forward(blobs, **batch), count)
        return results.joined()

    @one_thread
    def forward_backward_all(
        self, blobs: Iterable[str] | None = None, diffs: Iterable[str] | None = None, **arrays: Any
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Run the net forward and backward over any number of inputs.

        Parameters
        ----------
        blobs, diffs : list of str, optional
            As for :meth:`forward` and :meth:`backward`.
        **arrays : array
            Values for all inputs of the net, and gradients for all its outputs, or for one of the two; equally many
            for each.

        Returns
        -------
        blobs, diffs : dict of str to ndarray
            What :meth:`forward` and :meth:`backward` return, for all of them one after the other: copies.
        """
        unknown = next((name for name in arrays if name not in {*self.inputs, *self.outputs}), None)
        if unknown is not None:
            raise NetError(f"{quoted(unknown)} is neither an input nor an output of net {quoted(self._net.name)}")
        results, gradients = Results(), Results()
        for batch, count in batches(arrays, self._batch_size) if arrays else [({}, None)]:
            given = [{name: batch[name] for name in names if name in batch} for names in (self.inputs, self.outputs)]
            results.add(self.forward(blobs, **given[0]), count)
            gradients.add(self.backward(diffs, **given[1]), count)
        return results.joined(), gradients.joined()

    def _batch(self, blobs: dict[str, Any]) -> Iterator[dict[str, np.ndarray]]:
        """Cut values into batches; the last one is filled up with zeros."""
        return (batch for batch, _ in batches(blobs, self._batch_size))

    @property
    def _batch_size(self) -> int:
        return next((blob.shape[0] for blob in self.blobs.values() if blob.shape), 1)

    @one_thread
    def set_input_arrays(self, data: np.ndarray, labels: np.ndarray) -> None:
        """Give the MemoryData layer that the net begins with its data; it goes through it a batch at a time.

        Parameters
        ----------
        data : ndarray of float32
            N x channels x height x width, N a number of whole batches. It is used where it is.
        labels : ndarray of float32
            N numbers, or N x 1 x 1 x 1.

        Raises
        ------
        NetError
            The first layer is of another type, or these are not such arrays.
        """
        first = self._net.layers[0]
        if not isinstance(first, MemoryData):
            raise NetError(
                f"net {quoted(self._net.name)} begins with a layer of type {first.param.type}; set_input_arrays is for "
                "nets that begin with MemoryData"
            )
        if first.param.HasField("transform_param"):
            # Where the user's program called it.
            warnings.warn(f"layer {quoted(first.name)} does not transform the arrays it is given", stacklevel=3)
        if isinstance(labels, np.ndarray) and labels.ndim == 1:
            labels = np.ascontiguousarray(labels[:, None, None, None])
        first.set_arrays(data, labels)

    _set_input_arrays = set_input_arrays
