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
from caffelite.net.fusion import Unit, units_of
from caffelite.net.graph import Graph, Version
from caffelite.net.memory import Memory


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
        Those of ``blobs`` that count in the net's loss, with their weights.
    seeds : dict of Version to callable
        What sets the gradients of blobs that count as losses, before anything is added to them.
    forward, backward : list of callable
        The steps of a whole pass, without ``seeds`` and what units ``prepare``; empty where shapes depend on the data,
        as the steps of a unit may be others in the next pass.
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
        waiting = graph.waiting()
        for unit in self.units:
            if not waiting.intersection(unit.nodes):
                self._bind(unit)
        self.blobs = {
            name: self.blob(version)
            for name, version in graph.names.items()
            if keep or name in graph.outputs or version.producer.layer.facts.source
        }
        self.losses = [
            (version.loss_weight, self.blobs[version.name])
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

    def resize(self, position: int) -> None:
        """Fit memory and steps to the shapes that the graph has now, from a dynamic layer on.

        Parameters
        ----------
        position : int
            Of the unit that is the dynamic layer.
        """
        varying = self._graph.behind_dynamic()
        changed = [unit for unit in self.units[position:] if unit.first in varying]
        for unit in changed:
            self._memory.resize(unit)
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
                blob.diff.fill(version.loss_weight)
                if any(reader.backward and reader.propagate[j] for reader, j in version.readers):
                    # Its readers add to the weight, so it has to be set anew each time, before any of them runs.
                    self.seeds[version] = partial(blob.diff.fill, version.loss_weight)
