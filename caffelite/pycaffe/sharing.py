"""Two nets with the same parameters."""

from collections.abc import Callable

import numpy as np

from caffelite.layers.memory_data import MemoryData
from caffelite.net import Net


def shares(net: Net, other: Net) -> bool:
    """Whether layers of the same name have the same memory for their parameters already."""
    mine, theirs = net.params, other.params
    return all(
        np.shares_memory(blob.data, own.data)
        for name in mine.keys() & theirs.keys()
        for blob, own in zip(mine[name], theirs[name], strict=False)
    )


def shared(net: Net, other: Net, make: Callable[..., Net]) -> Net:
    """Return a net like ``net`` whose layers use the parameters of the layers of the same name in ``other``.

    Parameters
    ----------
    net, other : Net
    make : callable
        ``make(share=other)`` builds such a net anew; what else ``net`` holds is brought over.
    """
    new = make(share=other)
    for name, parameters in new.params.items():
        if name not in other.params:
            for blob, own in zip(parameters, net.params[name], strict=True):
                blob.data[...] = own.data
    for before, after in zip(net.layers, new.layers, strict=True):
        if isinstance(before, MemoryData) and isinstance(after, MemoryData):
            after.arrays = before.arrays
    return new
