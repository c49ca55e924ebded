"""Passes over some of the layers of a net, one by one."""

import warnings

from caffelite.net import Net
from caffelite.pycaffe.in_place import InPlaceBlobs
from caffelite.words import quoted


class Passes:
    """Runs layers by number.

    Parameters
    ----------
    net : Net
        Planned with ``keep``: nothing is fused, so its units are its layers.
    """

    def __init__(self, net: Net) -> None:
        self._net = net
        self._in_place = InPlaceBlobs(net)

    def forward(self, start: int, end: int) -> float:
        """Run layers ``start`` to ``end``, both included; return the net's loss."""
        self._in_place.before(start)
        for i in range(start, end + 1):
            self._net.forward_unit(i)
        self._in_place.after(end)
        return self._net.loss()

    def backward(self, start: int, end: int) -> None:
        """Run layers ``start`` down to ``end`` backward, both included."""
        net = self._net
        if not any(node.backward for node in net.graph.nodes):
            warnings.warn(
                f"net {quoted(net.name)} computes no gradients: nothing in it that learns leads to a loss; "
                "force_backward: true in its prototxt makes it compute them all",
                stacklevel=4,  # where the user's program called backward
            )
        if start == len(net.layers) - 1:
            for step in net.plan.seeds.values():
                step()
        for i in range(start, end - 1, -1):
            net.backward_unit(i)
