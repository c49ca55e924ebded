"""Passes over some of the layers of a net, one by one."""

import warnings

from caffelite.net import Net
from caffelite.pycaffe.compiling import told
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
        with told():
            self._net.fit(start, end)
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
        with told():
            net.fit(0, start)
        if start == len(net.layers) - 1:
            for step in net.plan.seeds.values():
                step()
        else:
            self._clear_shared(start)
        for i in range(start, end - 1, -1):
            net.backward_unit(i)

    def _clear_shared(self, start: int) -> None:
        """Let layers behind ``start`` count as nothing where a gradient is the sum of theirs and of others'.

        The last reader of a blob begins the sum, and the others add to it.
        """
        for node in self._net.graph.nodes[:start]:
            for version in node.tops:
                readers = {reader.index for reader, j in version.readers if reader.backward and reader.propagate[j]}
                if readers and min(readers) <= start < max(readers):
                    diff = self._net.plan.blob(version).diff
                    if diff is not None:
                        diff.fill(0)
