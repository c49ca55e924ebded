"""The plan: every layer of a graph, bound to its memory, as the steps of a pass.

Which layers run as one is decided in :mod:`caffelite.net.fusion`, which memory they have in
:mod:`caffelite.net.memory`. Here each unit is asked for its steps, once.
"""

from functools import partial
from itertools import takewhile

import numpy as np
from numpy.typing import DTypeLike

from caffelite.kernels.engine import arrays
from caffelite.kernels.engine.calls import in_rows
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.input import Input
from caffelite.net.fusion import Unit, units_of
from caffelite.net.graph import Graph, Version
from caffelite.net.memory import Memory
from caffelite.net.parameters import check_parameters
from caffelite.words import Shape, quoted


class Plan:
    """Memory and steps for a graph whose shapes and gradients are known.

    Parameters
    ----------
    graph : Graph
    keep : bool, optional
        For a net that is to be looked into: every blob has memory of its own, nothing is fused.
    dtype : dtype, optional
        Of blobs and their gradients.
    beside : int, optional
        Bytes that the parameters take; together it must not be more than the machine has.

    Attributes
    ----------
    units : list of Unit
        In forward order.
    blobs : dict of str to Blob
        With ``keep`` the last version of each blob; without, those that hold values between calls: the tops of
        source layers, and the net's outputs.
    losses : list of (float, Blob)
        Those of ``blobs`` that count in the net's loss, with their weights in this process's part of it.
    seeds : dict of Version to callable
        What sets the gradients of blobs that count as losses, before anything is added to them.
    forward, backward : list of callable
        The steps of a whole pass, without ``seeds`` and what units ``prepare``; empty where shapes depend on the data,
        or have changed since: the steps of a unit may be others in the next pass.
    bytes : int
        Memory taken for blobs and their gradients.
    """

    def __init__(self, graph: Graph, keep: bool = False, dtype: DTypeLike = np.float32, beside: int = 0) -> None:
        self.units = units_of(graph, keep)
        self._graph = graph
        # A net that is looked into may have its parameters changed at any time.
        self._may_prepare = not (keep or any(node.backward for node in graph.nodes))
        self._memory = Memory(graph, self.units, keep, np.dtype(dtype), beside)
        self.bytes = self._memory.bytes
        self.seeds: dict[Version, Step] = {}
        for unit in self.units:
            if graph.stale.isdisjoint(unit.nodes):
                self._bind(unit)
        self.blobs = {
            name: self.blob(version)
            for name, version in graph.names.items()
            if keep or name in graph.outputs or version.producer.layer.facts.source
        }
        self.losses = [
            (version.own_weight, self.blobs[version.name])
            for node in graph.nodes
            for version in node.tops
            if version.loss_weight and graph.names[version.name] is version and version.name in self.blobs
        ]
        self.forward: list[Step] = []
        self.backward: list[Step] = []
        if not any(node.layer.facts.dynamic for node in graph.nodes):
            self.forward = in_rows(step for unit in self.units for step in unit.forward)
            self.backward = in_rows(step for unit in reversed(self.units) for step in unit.backward)

    def blob(self, version: Version) -> Blob:
        """Return a version as layers see it."""
        memory = self._memory
        diff = memory.gradients[version].view(version.shape) if version in memory.gradients else None
        return Blob(version.name, memory.values[version].view(version.shape), diff)

    def fit(self, unit: Unit) -> None:
        """Ask the layers of a unit for their shapes and bind them anew, where what they are bound to has changed."""
        if self._graph.stale.isdisjoint(unit.nodes):
            return
        for node in unit.nodes:
            for j, version in enumerate(node.bottoms):
                if not self._memory.holds(version):
                    node.layer.error(
                        f"bottom {quoted(version.name)} has the memory of a blob that was given another shape; run "
                        f"layer {quoted(version.producer.name)}, which makes it, first",
                        "bottom",
                        j,
                    )
            shapes = node.layer.shapes(*[version.shape for version in node.bottoms])
            check_parameters(node)
            self._graph.set_shapes(node, shapes)
        self._bind_anew(unit)

    def settle(self, unit: Unit) -> None:
        """Give the tops of a unit that is a dynamic layer the shapes that they have for the data of this pass."""
        shapes = [tuple(shape) for shape in unit.first.layer.resize([self.blob(v) for v in unit.bottoms])]
        if shapes != [version.shape for version in unit.tops]:
            self._graph.set_shapes(unit.first, shapes)
            self._bind_anew(unit)

    def reshape(self, name: str, shape: Shape) -> None:
        """Give a blob another shape, until a layer that makes it is asked for its shapes again."""
        for node in self._graph.nodes:
            for j, version in enumerate(node.tops):
                if version.name != name:
                    continue
                if isinstance(node.layer, Input):
                    node.layer.top_shapes[j] = shape
                self._graph.stale.add(node)
                self._graph.set_shape(version, shape)
                self._resize(version)

    def _bind_anew(self, unit: Unit) -> None:
        """Fit memory and steps of a unit to the shapes that its versions have now."""
        for version in unit.tops:
            self._resize(version)
        self._memory.resize_shares(unit)
        unit.forward.clear()
        unit.backward.clear()
        self._bind(unit)
        self._graph.stale.difference_update(unit.nodes)

    def _resize(self, version: Version) -> None:
        """Give a version memory for the shape that it has now; what is bound to the memory it had is stale then."""
        self._graph.stale.update(self._memory.resize(version))
        if version.name in self.blobs and self._graph.names[version.name] is version:
            blob, fresh = self.blobs[version.name], self.blob(version)
            blob.data, blob.diff = fresh.data, fresh.diff
        # The rows of whole passes are bound to what units had.
        self.forward, self.backward = [], []

    def values(self, version: Version) -> np.ndarray:
        """Return the values of a version, one after the other."""
        storage = self._memory.values[version]
        return storage.array[: storage.size]

    def _bind(self, unit: Unit) -> None:
        """Ask the layers of a unit for their steps."""
        try:
            self._bind_steps(unit)
        except MemoryError:
            unit.first.layer.error("there is not enough memory for what it computes with, beside its blobs")

    def _bind_steps(self, unit: Unit) -> None:
        bottoms, tops = self.bottoms(unit), [self.blob(version) for version in unit.tops]
        self._seed(unit, tops)
        layer, *followers = [node.layer for node in unit.nodes]
        if followers:
            unit.forward += layer.forward_with(followers, bottoms, tops)
        elif not unit.is_view and unit not in self._memory.joined:
            unit.forward += layer.forward(bottoms, tops)
        if self._may_prepare:
            # Only the first ones: what comes behind another step may depend on that.
            unit.prepare = list(takewhile(lambda step: getattr(step, "once", False), unit.forward))
            unit.forward = unit.forward[len(unit.prepare) :]
            unit.ready = not unit.prepare
        if not unit.first.backward:
            return
        if followers:
            unit.backward += layer.backward_with(followers, bottoms, tops)
        elif not unit.is_view:
            unit.backward += layer.backward(bottoms, tops)
        for share, total, first in self._memory.addends[unit]:
            combine = arrays.copy if first else arrays.accumulate
            unit.backward.append(combine(share.array[: share.size], total.array[: total.size]))

    def bottoms(self, unit: Unit) -> list[Blob]:
        """Return the bottoms of a unit with what it computes of their gradients."""
        blobs = [self.blob(version) for version in unit.bottoms]
        for j, blob in enumerate(blobs):
            share = self._memory.shares.get((unit, j))
            blob.diff = None if share is None else share.view(blob.shape)
        return blobs

    def _seed(self, unit: Unit, tops: list[Blob]) -> None:
        """Set the gradients of the tops that are losses to their weights."""
        for version, blob in zip(unit.tops, tops, strict=True):
            if version.loss_weight and blob.diff is not None:
                blob.diff.fill(version.own_weight)
                if any(reader.backward and reader.propagate[j] for reader, j in version.readers):
                    # Its readers add to the weight, so it has to be set anew each time, before any of them runs.
                    self.seeds[version] = partial(blob.diff.fill, version.own_weight)
