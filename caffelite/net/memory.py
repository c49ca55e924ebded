"""Memory: when values and gradients live, and which of them share an array.

Forward and backward are one row of moments: of n units, unit i runs forward at moment i and backward at 2n - 1 - i. An
array lives from the moment it is first written to the moment it is last read, and arrays that do not live at the same
time share memory.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from caffelite.net.fusion import Unit
from caffelite.net.graph import Graph, Node, Version
from caffelite.net.room import check_room
from caffelite.net.storage import FOREVER, Storage, Table, allocate
from caffelite.words import count


class Addend(NamedTuple):
    """A share of a gradient that is in another place than the gradient.

    Attributes
    ----------
    share, total : Storage
    first : bool
        It is copied to ``total``: nothing is there yet. Else it is added.
    """

    share: Storage
    total: Storage
    first: bool


class Memory:
    """Where the values and gradients of a graph are.

    Parameters
    ----------
    graph : Graph
        Shapes are known, and which layers run backward.
    units : sequence of Unit
    keep : bool
        Every version has memory of its own; only the gradients of a blob that is written in place share it.
    dtype : dtype
    beside : int
        Bytes that the parameters take.

    Attributes
    ----------
    values, gradients : dict of Version to Storage
    shares : dict of (Unit, int) to Storage
        Where a unit writes its share of the gradient of its bottom with this number.
    addends : dict of Unit to list of Addend
        What is to be added up after the unit has run backward.
    joined : set of Unit
        Those whose bottoms are written where they belong in the top, so that nothing is left to do.
    bytes : int
        Memory that is taken.
    """

    def __init__(self, graph: Graph, units: Sequence[Unit], keep: bool, dtype: np.dtype, beside: int = 0) -> None:
        self.values: Table[Version] = Table()
        self.gradients: Table[Version] = Table()
        self.shares: Table[tuple[Unit, int]] = Table()
        self.addends: dict[Unit, list[Addend]] = {unit: [] for unit in units}
        self._adding: dict[Storage, set[Unit]] = {}  # the units that have addends of a storage
        self.joined: set[Unit] = set()
        self._units = units
        self._keep = keep
        self._varying: set[Node] = graph.behind_dynamic()
        self._place_values({graph.names[name] for name in graph.outputs})
        for now, unit in enumerate(units):
            if not keep and unit.first.layer.facts.in_place and unit.bottoms:
                self._write_in_place(unit, now)
        for now, unit in enumerate(units):
            self._join(unit, now)
        self._place_gradients()
        for position in reversed(range(len(units))):
            self._write_gradient_in_place(units[position], self._backward_moment(position))
        storages = [*self.values.values(), *self.gradients.values(), *self.shares.values()]
        self._check = partial(check_room, graph.name, beside)
        self.bytes = allocate(storages, dtype, self._check)

    def _backward_moment(self, position: int) -> int:
        return 2 * len(self._units) - 1 - position

    # Values.

    def _place_values(self, outputs: set[Version]) -> None:
        for now, unit in enumerate(self._units):
            reads = unit.backward_reads if unit.first.backward else frozenset()
            for j, version in enumerate(unit.tops):
                is_view = unit.is_view and j == 0
                storage = self.values[unit.bottoms[0]] if is_view else Storage(count(version.shape))
                self.values[version] = storage
                storage.use(now)
                if self._keep or unit.first.layer.facts.source or unit.first in self._varying:
                    storage.keep()
                if version in outputs:
                    storage.last = FOREVER
                if "top" in reads:
                    storage.use(self._backward_moment(now))
            for version in unit.bottoms:
                self.values[version].use(now)
                if "bottom" in reads:
                    self.values[version].use(self._backward_moment(now))

    def _write_in_place(self, unit: Unit, now: int) -> None:
        """Let the top, first written now, take over the memory of the bottom, if that is last read now."""
        bottom, top = self.values[unit.bottoms[0]], self.values[unit.tops[0]]
        if bottom is not top and bottom.last == now == top.first and bottom.size == top.size:
            bottom.last = top.last
            self.values.replace(top, bottom)

    def _join(self, unit: Unit, now: int) -> None:
        """Make the bottoms parts of the top, where that is what the layer computes and nobody reads them later."""
        parts = [self.values[version] for version in unit.bottoms]
        top = self.values[unit.tops[0]] if unit.tops else None
        if (
            top is None
            or top.first != now
            or not unit.first.layer.side_by_side(*(version.shape for version in unit.bottoms))
            or len({id(part) for part in parts}) < len(parts)
            or any(part.last != now or part.first < 0 or part.whole for part in parts)
        ):
            return
        offset = 0
        for part in parts:
            part.whole, part.offset = top, offset
            offset += part.size
            top.first = min(top.first, part.first)
        self.joined.add(unit)

    # Gradients.

    def _place_gradients(self) -> None:
        readers: dict[Version, list[tuple[int, Unit, int]]] = {}
        for position in reversed(range(len(self._units))):
            unit = self._units[position]
            for j, version in unit.gradients():
                readers.setdefault(version, []).append((position, unit, j))
        for position in reversed(range(len(self._units))):
            for version in self._units[position].tops:
                if version.gradient:
                    self._place_gradient(version, position, readers.get(version, []))

    def _place_gradient(self, version: Version, position: int, readers: list[tuple[int, Unit, int]]) -> None:
        # Readers come in the order in which they run backward: the first writes, the others are added.
        external = bool(version.loss_weight) or not readers
        only = readers[0][1] if len(readers) == 1 and not external else None
        if only is not None and only.is_view:
            storage = self.gradients[only.tops[0]]
            self.shares[only, readers[0][2]] = storage
        else:
            storage = Storage(count(version.shape))
            for i, (reader_position, unit, j) in enumerate(readers):
                self._place_share(storage, unit, j, first=i == 0 and not external)
                storage.use(self._backward_moment(reader_position))
                self.shares[unit, j].use(self._backward_moment(reader_position))
        self.gradients[version] = storage
        storage.use(self._backward_moment(position))
        if external or self._keep or version.producer in self._varying:
            storage.keep()

    def _place_share(self, total: Storage, unit: Unit, j: int, first: bool) -> None:
        if unit.is_view:
            self.shares[unit, j] = self.gradients[unit.tops[0]]
            self._add_later(unit, Addend(self.shares[unit, j], total, first))
        elif first:
            self.shares[unit, j] = total
        else:
            self.shares[unit, j] = Storage(total.size)
            if unit.first in self._varying:
                self.shares[unit, j].keep()
            self._add_later(unit, Addend(self.shares[unit, j], total, False))

    def _add_later(self, unit: Unit, addend: Addend) -> None:
        self.addends[unit].append(addend)
        for storage in (addend.share, addend.total):
            self._adding.setdefault(storage, set()).add(unit)

    def _write_gradient_in_place(self, unit: Unit, now: int) -> None:
        """Let the gradient of the bottom, first written now, take over that of the top, if that is last read now."""
        node = unit.first
        if not (node.layer.facts.in_place and node.backward and node.propagate[0] and unit.tops[0] in self.gradients):
            return
        share, top = self.shares[unit, 0], self.gradients[unit.tops[0]]
        bottom = unit.bottoms[0]
        if share is not self.gradients[bottom] or share is top or share.size != top.size:
            return
        if self._keep:
            # As in Caffe, a blob written in place has one gradient, which each layer overwrites on the way back.
            mergeable = bottom.name == unit.tops[0].name and not unit.tops[0].loss_weight
        else:
            mergeable = top.last == now == share.first
        if mergeable:
            top.use(share.last)
            self.gradients.replace(share, top)
            self.shares.replace(share, top)
            for unit in self._adding.pop(share, ()):
                self.addends[unit] = [
                    Addend(top if a.share is share else a.share, top if a.total is share else a.total, a.first)
                    for a in self.addends[unit]
                ]
                self._adding.setdefault(top, set()).add(unit)

    # Shapes that change.

    def holds(self, version: Version) -> bool:
        """Whether a version has as much memory as its shape takes: one that shares it may have been resized since."""
        size = count(version.shape)
        return all(table[version].size == size for table in (self.values, self.gradients) if version in table)

    def resize(self, version: Version) -> set[Node]:
        """Fit memory to the shape that a version has now; return the layers bound to what it replaces."""
        bound: set[Node] = set()
        size = count(version.shape)
        for table in (self.values, self.gradients):
            storage = table.get(version)
            if storage is None or storage.size == size:
                continue
            total = self.bytes + storage.array.itemsize * (size - storage.size)
            self._check(total)
            storage.resize(size)
            self.bytes = total
            for other in table.sharing(storage):
                bound.update([other.producer], (reader for reader, _ in other.readers))
        return bound

    def resize_shares(self, unit: Unit) -> None:
        """Fit the shares of a unit to the shapes that its bottoms have now."""
        for j, version in unit.gradients():
            self.shares[unit, j].resize(count(version.shape))
