"""The plan: which layers run as one kernel, in which order, in which memory.

Buffers are assigned by lifetime: forward and backward are one row of moments, each array lives from the moment it is
first written to the moment it is last read, and arrays that do not live at the same time share memory. A net that is
to be looked into is planned with ``keep``: every blob has memory of its own and nothing is fused.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile

import numpy as np
from numpy.typing import DTypeLike

from caffelite.kernels.engine import arrays
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.shared.elementwise import ElementWise, fused_backward, fused_forward
from caffelite.net.graph import Graph, Node, Version
from caffelite.words import Shape, count

_FOREVER = 1 << 60


@dataclass(eq=False, slots=True)
class Storage:
    """Memory for ``size`` floats, and the moments between which it is in use; it may be a part of another."""

    size: int
    first: int = _FOREVER
    last: int = -1
    array: np.ndarray = field(default_factory=lambda: np.empty(0))
    whole: "Storage | None" = None
    offset: int = 0

    def use(self, moment: int) -> None:
        self.first = min(self.first, moment)
        self.last = max(self.last, moment)

    def keep(self) -> None:
        self.first, self.last = -1, _FOREVER

    def view(self, shape: Shape) -> np.ndarray:
        return self.array[: count(shape)].reshape(shape)

    def resize(self, size: int) -> None:
        if size != self.size:
            self.size = size
            self.array = arrays.zeros(size, self.array.dtype)


@dataclass(eq=False, slots=True)
class Unit:
    """One layer, or several that run as one: element-wise layers, or a layer that absorbs what is behind it.

    Attributes
    ----------
    nodes : list of Node
    prepare : list of callable
        The steps to run before the first forward, and again when parameters have changed.
    ready : bool
        Whether they have run.
    forward, backward : list of callable
        The steps to run, in order.
    """

    nodes: list[Node]
    prepare: list[Step] = field(default_factory=list)
    ready: bool = False
    forward: list[Step] = field(default_factory=list)
    backward: list[Step] = field(default_factory=list)

    @property
    def bottoms(self) -> list[Version]:
        return self.nodes[0].bottoms

    @property
    def tops(self) -> list[Version]:
        return self.nodes[-1].tops

    @property
    def backward_reads(self) -> frozenset[str]:
        return self.nodes[0].layer.facts.backward_reads if len(self.nodes) == 1 else frozenset({"bottom"})

    @property
    def is_view(self) -> bool:
        return self.nodes[0].layer.facts.view

    def gradients(self) -> Iterator[tuple[int, Version]]:
        """Yield the bottoms that get a share of their gradient here."""
        for j, wanted in enumerate(self.nodes[0].propagate):
            if wanted:
                yield j, self.bottoms[j]


class Plan:
    """Memory and steps for a graph whose shapes and gradients are known.

    Parameters
    ----------
    graph : Graph
    keep : bool
        Every blob keeps its memory, nothing is fused.
    dtype : dtype, optional
        Of blobs and their gradients.

    Attributes
    ----------
    units : list of Unit
        In forward order.
    blobs : dict of str to Blob
        With ``keep`` the last version of each blob; without, those that hold values between calls: the tops of
        source layers, and the net's outputs.
    bytes : int
        Memory taken for blobs and their gradients.
    """

    def __init__(self, graph: Graph, keep: bool = False, dtype: DTypeLike = np.float32) -> None:
        self._dtype = np.dtype(dtype)
        self.keep = keep
        self.units = list(_units(graph, keep))
        self._graph = graph
        self._behind_dynamic = graph.behind_dynamic()
        # A net that is looked into may have its parameters changed at any time.
        self._learns = keep or any(node.backward for node in graph.nodes)
        #: What sets the gradients of blobs that count as losses, before anything is added to them.
        self.seeds: dict[Version, Step] = {}
        self._data: dict[Version, Storage] = {}
        self._diff: dict[Version, Storage] = {}
        # What a unit writes its share of a bottom's gradient to, and what has to be added up afterwards.
        self._share: dict[tuple[Unit, int], Storage] = {}
        self._sums: dict[Unit, list[tuple[Storage, Storage, bool]]] = {unit: [] for unit in self.units}
        outputs = {graph.names[name] for name in graph.outputs}
        # Those whose bottoms are written where they belong in the top.
        self._joined: set[Unit] = set()
        self._assign_data(outputs)
        self._assign_diff()
        self.bytes = self._allocate()
        waiting = graph.waiting()
        for unit in self.units:
            if not waiting.intersection(unit.nodes):
                self._bind(unit)
        self.blobs = {
            name: self.blob(version)
            for name, version in graph.names.items()
            if keep or version in outputs or version.producer.layer.facts.source
        }

    def _backward_moment(self, position: int) -> int:
        return 2 * len(self.units) - 1 - position

    def _assign_data(self, outputs: set[Version]) -> None:
        for now, unit in enumerate(self.units):
            reads = unit.backward_reads if unit.nodes[0].backward else frozenset()
            for j, version in enumerate(unit.tops):
                if unit.is_view and j == 0:
                    self._data[version] = self._data[unit.bottoms[0]]
                else:
                    self._data[version] = Storage(count(version.shape))
                storage = self._data[version]
                storage.use(now)
                if self.keep or unit.nodes[0].layer.facts.source or unit.nodes[0] in self._behind_dynamic:
                    storage.keep()
                if version in outputs:
                    storage.last = _FOREVER
                if "top" in reads:
                    storage.use(self._backward_moment(now))
            for version in unit.bottoms:
                self._data[version].use(now)
                if "bottom" in reads:
                    self._data[version].use(self._backward_moment(now))
        for now, unit in enumerate(self.units):
            if not self.keep and unit.nodes[0].layer.facts.in_place and unit.bottoms:
                self._merge(self._data, self._data[unit.bottoms[0]], self._data[unit.tops[0]], now)
        for now, unit in enumerate(self.units):
            self._join(unit, now)

    def _join(self, unit: Unit, now: int) -> None:
        """Make the bottoms parts of the top, where that is what the layer computes and nobody reads them later."""
        parts = [self._data[version] for version in unit.bottoms]
        top = self._data[unit.tops[0]] if unit.tops else None
        if (
            top is None
            or top.first != now
            or not unit.nodes[0].layer.side_by_side(*(version.shape for version in unit.bottoms))
            or len({id(part) for part in parts}) < len(parts)
            or any(part.last != now or part.first < 0 or part.whole for part in parts)
        ):
            return
        offset = 0
        for part in parts:
            part.whole, part.offset = top, offset
            offset += part.size
            top.first = min(top.first, part.first)
        self._joined.add(unit)

    @staticmethod
    def _merge(table: dict[Version, Storage], old: Storage, new: Storage, now: int) -> None:
        """Let ``new``, first written at this moment, take over ``old``, last read at it."""
        if old is not new and old.last == now == new.first and old.size == new.size:
            old.last = new.last
            for version, storage in table.items():
                if storage is new:
                    table[version] = old

    def _assign_diff(self) -> None:
        readers: dict[Version, list[tuple[int, Unit, int]]] = {}
        for position in reversed(range(len(self.units))):
            unit = self.units[position]
            for j, version in unit.gradients():
                readers.setdefault(version, []).append((position, unit, j))
        for position in reversed(range(len(self.units))):
            for version in self.units[position].tops:
                if version.gradient:
                    self._assign_version_diff(version, position, readers.get(version, []))
        for position in reversed(range(len(self.units))):
            self._share_in_place(self.units[position], self._backward_moment(position))

    def _assign_version_diff(self, version: Version, position: int, readers: list[tuple[int, Unit, int]]) -> None:
        # Readers come in the order in which they run backward: the first writes, the others are added.
        external = bool(version.loss_weight) or not readers
        only = readers[0][1] if len(readers) == 1 and not external else None
        if only is not None and only.is_view:
            storage = self._diff[only.tops[0]]
            self._share[only, readers[0][2]] = storage
        else:
            storage = Storage(count(version.shape))
            for i, (reader_position, unit, j) in enumerate(readers):
                self._take_share(storage, unit, j, first=i == 0 and not external)
                storage.use(self._backward_moment(reader_position))
                self._share[unit, j].use(self._backward_moment(reader_position))
        self._diff[version] = storage
        storage.use(self._backward_moment(position))
        if external or self.keep or version.producer in self._behind_dynamic:
            storage.keep()

    def _take_share(self, total: Storage, unit: Unit, j: int, first: bool) -> None:
        if unit.is_view:
            self._share[unit, j] = self._diff[unit.tops[0]]
            self._sums[unit].append((self._share[unit, j], total, first))
        elif first:
            self._share[unit, j] = total
        else:
            self._share[unit, j] = Storage(total.size)
            if unit.nodes[0] in self._behind_dynamic:
                self._share[unit, j].keep()
            self._sums[unit].append((self._share[unit, j], total, False))

    def _share_in_place(self, unit: Unit, now: int) -> None:
        node = unit.nodes[0]
        if not (node.layer.facts.in_place and node.backward and node.propagate[0] and unit.tops[0] in self._diff):
            return
        share, top = self._share[unit, 0], self._diff[unit.tops[0]]
        bottom = unit.bottoms[0]
        if share is not self._diff[bottom] or share is top or share.size != top.size:
            return
        if self.keep:
            # As in Caffe, a blob written in place has one gradient, which each layer overwrites on the way back.
            mergeable = bottom.name == unit.tops[0].name and not unit.tops[0].loss_weight
        else:
            mergeable = top.last == now == share.first
        if mergeable:
            top.use(share.last)
            for version, storage in self._diff.items():
                if storage is share:
                    self._diff[version] = top
            for key, storage in self._share.items():
                if storage is share:
                    self._share[key] = top
            for sums in self._sums.values():
                sums[:] = [(top if a is share else a, top if b is share else b, c) for a, b, c in sums]

    def _allocate(self) -> int:
        storages = {id(s): s for table in (self._data, self._diff, self._share) for s in table.values()}
        arenas: list[tuple[list[Storage], int, int]] = []  # storages, size, last moment
        for storage in sorted((s for s in storages.values() if not s.whole), key=lambda s: (s.first, -s.size)):
            free = [i for i, (_, _, last) in enumerate(arenas) if last < storage.first]
            if free:
                # The smallest that is large enough, else the largest, which grows.
                best = min(free, key=lambda i: (arenas[i][1] < storage.size, abs(arenas[i][1] - storage.size)))
                members, size, _ = arenas[best]
                arenas[best] = ([*members, storage], max(size, storage.size), storage.last)
            else:
                arenas.append(([storage], storage.size, storage.last))
        for members, size, _ in arenas:
            memory = arrays.zeros(size, self._dtype)
            for storage in members:
                storage.array = memory
        for storage in storages.values():
            offset, whole = 0, storage
            while whole.whole:
                offset, whole = offset + whole.offset, whole.whole
            storage.array = whole.array[offset : offset + storage.size]
        return self._dtype.itemsize * sum(size for _, size, _ in arenas)

    def blob(self, version: Version) -> Blob:
        """Return a version as layers see it."""
        diff = self._diff[version].view(version.shape) if version in self._diff else None
        return Blob(version.name, self._data[version].view(version.shape), diff)

    def resize(self, position: int) -> None:
        """Give blobs whose shape has changed behind a dynamic layer memory of their size, and bind their units anew."""
        changed = [unit for unit in self.units[position:] if unit.nodes[0] in self._behind_dynamic]
        for unit in changed:
            for version in unit.tops:
                for table in (self._data, self._diff):
                    if version in table:
                        table[version].resize(count(version.shape))
            for j, version in unit.gradients():
                self._share[unit, j].resize(count(version.shape))
        waiting = self._graph.waiting()
        for unit in changed:
            unit.forward.clear()
            unit.backward.clear()
            if not waiting.intersection(unit.nodes):
                self._bind(unit)
        for name, blob in self.blobs.items():
            fresh = self.blob(self._graph.names[name])
            blob.data, blob.diff = fresh.data, fresh.diff

    def _bind(self, unit: Unit) -> None:
        bottoms = [self.blob(version) for version in unit.bottoms]
        tops = [self.blob(version) for version in unit.tops]
        for j, blob in enumerate(bottoms):
            share = self._share.get((unit, j))
            blob.diff = None if share is None else share.view(blob.shape)
        for version, blob in zip(unit.tops, tops, strict=True):
            if version.loss_weight and blob.diff is not None:
                blob.diff.fill(version.loss_weight)
                if any(reader.backward and reader.propagate[j] for reader, j in version.readers):
                    # Its readers add to the weight, so it has to be set anew each time, before any of them runs.
                    self.seeds[version] = partial(blob.diff.fill, version.loss_weight)
        layers = [node.layer for node in unit.nodes]
        facts = layers[0].facts
        absorbs = len(layers) > 1 and (facts.absorbs or facts.absorbs_affine or facts.absorbs_activation)
        if absorbs:
            unit.forward += layers[0].forward_with(layers[1:], bottoms, tops)
        elif len(layers) > 1:
            unit.forward += fused_forward(layers, bottoms[0], tops[0])
        elif not unit.is_view and unit not in self._joined:
            unit.forward += layers[0].forward(bottoms, tops)
        if not self._learns:
            # Only the first ones: what comes behind another step may depend on that.
            unit.prepare = list(takewhile(lambda step: getattr(step, "once", False), unit.forward))
            unit.forward = unit.forward[len(unit.prepare) :]
            unit.ready = not unit.prepare
        if not unit.nodes[0].backward:
            return
        if absorbs:
            unit.backward += layers[0].backward_with(layers[1:], bottoms, tops)
        elif len(layers) > 1:
            unit.backward += fused_backward(layers, bottoms[0], tops[0])
        elif not unit.is_view:
            unit.backward += layers[0].backward(bottoms, tops)
        for share, total, first in self._sums[unit]:
            unit.backward.append(
                (arrays.copy if first else arrays.accumulate)(share.array[: share.size], total.array[: total.size])
            )


def _units(graph: Graph, keep: bool) -> Iterator[Unit]:
    chain: list[Node] = []
    for node in graph.nodes:
        if chain and not keep and _continues(chain, node):
            chain.append(node)
            continue
        if chain:
            yield Unit(chain)
        chain = [node]
    if chain:
        yield Unit(chain)


def _continues(chain: list[Node], node: Node) -> bool:
    """Whether ``node`` can run as one with ``chain``, and is the only one to read what that makes."""
    first, before = chain[0], chain[-1]
    if len(before.tops) != 1 or before.tops[0].readers != [(node, 0)] or before.tops[0].loss_weight:
        return False
    if first.layer.facts.absorbs:
        affine = node.layer.facts.affine and (len(chain) == 1 or before.layer.facts.affine)
        fits = affine or isinstance(node.layer, ElementWise)
        return fits and not first.backward and not node.backward and len(first.bottoms) == 1
    if before.backward != node.backward or before.propagate != node.propagate:
        return False
    if first.layer.facts.absorbs_affine and len(chain) == 1 and node.layer.learned_affine() is not None:
        return True
    if first.layer.facts.absorbs_affine or first.layer.facts.absorbs_activation:
        return (
            first.layer.facts.absorbs_activation
            and before.layer.facts.activation is None
            and node.layer.facts.activation is not None
        )
    return isinstance(before.layer, ElementWise) and isinstance(node.layer, ElementWise)
