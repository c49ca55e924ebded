"""What layers keep themselves beside what is learned: statistics, which processes that train together average."""

import numpy as np

from caffelite.layers.contract.group import Group
from caffelite.net.net import Net
from caffelite.net.parameters import parameters_of


def average_statistics(net: Net, group: Group) -> None:
    """Set every blob that is not learned to its mean over all processes, which have the same bits afterwards.

    Where each process normalizes by the statistics of its own images, what it has stored is its own too. A moving
    average is linear, so averaging what was stored is as good as averaging the statistics of every batch. Blobs that
    are equal already stay as they are, bit for bit.

    Parameters
    ----------
    net : Net
        One in TRAIN; those of the other processes have the same layers.
    group : Group
    """
    # A shared blob counts once.
    kept = {
        blob.data.ctypes.data: blob.flat
        for node in net.graph.nodes
        for parameter, blob in zip(parameters_of(node), node.layer.blobs, strict=True)
        if not parameter.learned
    }
    if group.size == 1 or not kept:
        return
    # In float64 a float32 times the number of processes is exact.
    values = np.concatenate(list(kept.values()), dtype=np.float64)
    group.sum(values)
    values /= group.size
    begin = 0
    for blob in kept.values():
        blob[...] = values[begin : begin + blob.size]
        begin += blob.size
    net.changed()
