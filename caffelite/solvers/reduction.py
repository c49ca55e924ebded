"""The gradients of a net, added up over all processes while its backward pass goes on.

They lie in one flat array, in the order of the layers. It is cut into *buckets*, ranges of it whose sum begins as soon
as the last layer that adds to them is done; backward begins with the last layer, and so with the end of the array. The
update waits for all of them: whether it is made at all depends on every gradient (``clip_gradients`` and what is not
finite), and it is a single pass over memory, a small part of an iteration.

Source: Li et al., "PyTorch Distributed: Experiences on Accelerating Data Parallel Training", 2020, section 3.2.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from caffelite.layers.contract.group import Group, Sum
from caffelite.net import Net

#: A bucket is full from here on: 0.8 ms of a line of 10 Gbit/s, many times what it takes to begin a sum, and little
#: beside the layers that the sums of a large net hide behind. A small net has one bucket.
BUCKET_BYTES = 1 << 20
#: What lies between two gradients and has none, as the statistics of BatchNorm, is sent along up to here: a bucket of
#: its own behind it would take longer.
_GAP_BYTES = 1 << 14


@dataclass(slots=True)
class Bucket:
    """A range of the gradients that is added up at once.

    Attributes
    ----------
    begin, end : int
        Where in ``net.diff``.
    unit : int
        The unit of the plan with which backward is done with it.
    bytes : int
    waited : float
        Seconds that this process has waited for its sums, when backward was over.
    """

    begin: int
    end: int
    unit: int
    bytes: int = 0
    waited: float = 0.0


def buckets_of(net: Net, size: int = BUCKET_BYTES) -> list[Bucket]:
    """Return the buckets of a net in the order in which backward is done with them; ``size`` in bytes."""
    width, start = net.diff.itemsize, net.diff.__array_interface__["data"][0]
    done: dict[tuple[int, int], int] = {}
    for position, unit in reversed([*enumerate(net.plan.units)]):
        for blob in (blob for node in unit.nodes for blob in node.layer.blobs):
            if blob.diff is not None and np.may_share_memory(blob.diff, net.diff):
                begin = (blob.diff.__array_interface__["data"][0] - start) // width
                # A shared parameter is done with the first layer that uses it, the last one in backward.
                done[begin, begin + blob.diff.size] = position
    buckets: list[Bucket] = []
    for (begin, end), position in sorted(done.items(), reverse=True):
        last = buckets[-1] if buckets else None
        if last and (last.end - last.begin) * width < size and (last.begin - end) * width <= _GAP_BYTES:
            last.begin, last.unit = begin, min(last.unit, position)
        else:
            buckets.append(Bucket(begin, end, position))
    for bucket in buckets:
        bucket.bytes = (bucket.end - bucket.begin) * width
    return sorted(buckets, key=lambda bucket: -bucket.unit)


class Reduction:
    """Adds up the gradients of a net over a group.

    Parameters
    ----------
    net : Net
    group : Group
    size : int, optional
        Bytes of a bucket.

    Attributes
    ----------
    buckets : list of Bucket
        Those of the last pass; empty before the first.
    """

    def __init__(self, net: Net, group: Group, size: int = BUCKET_BYTES) -> None:
        self.net, self.group, self._size = net, group, size
        self.buckets: list[Bucket] = []
        self._plan: object = None
        self._next = 0
        self._going: deque[tuple[Bucket, Sum]] = deque()

    def backward(self, unit_done: Callable[[int], Any] = lambda position: None) -> None:
        """Run the net backward; return with the sums of all gradients in ``net.diff``.

        Parameters
        ----------
        unit_done : callable, optional
            Is given the position of each unit when its gradients are there and their sums have begun.
        """

        def done(position: int) -> None:
            self._unit_done(position)
            unit_done(position)

        self._begin()
        self.net.backward(done)
        self._end()

    def add_up(self) -> None:
        """Add up gradients that are there already."""
        self._begin()
        self._unit_done(0)
        self._end()

    def _begin(self) -> None:
        if self._plan is not self.net.plan:
            # Which layers run as one may be different in a net that was planned again.
            self._plan, self.buckets = self.net.plan, buckets_of(self.net, self._size)
        self._next = 0

    def _unit_done(self, position: int) -> None:
        """Begin the sums of what is complete now, and move on those that have begun."""
        while self._next < len(self.buckets) and self.buckets[self._next].unit >= position:
            bucket = self.buckets[self._next]
            self._going.append((bucket, self.group.start_sum(self.net.diff[bucket.begin : bucket.end])))
            self._next += 1
        while self._going and self._going[0][1].done():
            self._going.popleft()

    def _end(self) -> None:
        begun = perf_counter()
        while self._going:
            bucket, total = self._going.popleft()
            total.wait()
            now = perf_counter()
            bucket.waited += now - begun
            begun = now
