"""Blobs that layers write in place, as Caffe's single memory of each would have them."""

from itertools import pairwise

from caffelite.net import Net
from caffelite.net.graph import Version


class InPlaceBlobs:
    """Carries values between the versions of the blobs that are written in place.

    Each write of a blob is a version with memory of its own, and the last one is shown by the blob's name. In
    Caffe all of them are one memory. The difference is seen by a pass over some of the layers, and by values
    that are written into an input before a layer changes it in place.

    Parameters
    ----------
    net : Net
        Planned with ``keep``.
    """

    def __init__(self, net: Net) -> None:
        self._net = net
        versions: dict[str, list[Version]] = {}
        for node in net.graph.nodes:
            for version in node.tops:
                versions.setdefault(version.name, []).append(version)
        self._versions = [same for same in versions.values() if len(same) > 1]

    def before(self, start: int) -> None:
        """Bring what is shown to the versions that layers from number ``start`` on read."""
        for same in self._versions:
            read = [v for v in same if v.producer.index < start or v.producer.layer.facts.net_input]
            self._copy(same[-1], read)

    def after(self, end: int) -> None:
        """Show what layers up to number ``end`` have written."""
        for same in self._versions:
            for before, version in pairwise(same):
                # What is shown takes the shape of what was written.
                node = version.producer
                if node.index > end and node.bottoms == [before] and before.producer not in self._net.graph.stale:
                    self._net.fit(node.index, node.index)
            written = [v for v in same if v.producer.index <= end]
            self._copy(same[-1], written, back=True)

    def _copy(self, shown: Version, others: list[Version], back: bool = False) -> None:
        if not others or others[-1] is shown:
            return
        source, target = self._net.plan.values(shown), self._net.plan.values(others[-1])
        if back:
            source, target = target, source
        # A layer that reshapes in place, such as Slice, need not keep the number of values.
        if source.size == target.size:
            target[...] = source
