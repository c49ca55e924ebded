"""What can stand on a side of a comparison: a net, or blobs that another program or machine has saved."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from caffelite.export.inputs import inputs_of, random_input
from caffelite.export.trained import forward_afresh
from caffelite.layers.input import Input
from caffelite.net import Net
from caffelite.words import Shape

#: Blobs by name, in the order in which they are computed.
Blobs = dict[str, np.ndarray]


class Side(Protocol):
    """What has blobs, or computes them.

    Attributes
    ----------
    name : str
        As the user gave it.
    inputs : mapping of str to tuple of int
        What it is to be fed, with the shapes: -1 for a size that may be any. Empty where nothing is computed.
    reshapes : bool
        Whether it can take other shapes.
    """

    name: str
    reshapes: bool

    @property
    def inputs(self) -> Mapping[str, Shape]: ...

    def draw(self, shapes: Mapping[str, Shape], rng: np.random.Generator) -> Blobs:
        """Return random inputs that it can make sense of."""

    def run(self, feeds: Mapping[str, np.ndarray]) -> Blobs:
        """Return the inputs and every blob."""


class NetSide:
    """A net that is run here: planned with ``keep``, its data made Input layers."""

    reshapes = True

    def __init__(self, name: str, net: Net) -> None:
        self.name, self.net = name, net
        self.feeds: Blobs = {}

    @property
    def inputs(self) -> dict[str, Shape]:
        return {version.name: version.shape for version in inputs_of(self.net)}

    def draw(self, shapes: Mapping[str, Shape], rng: np.random.Generator) -> Blobs:
        return {v.name: random_input(v, shapes[v.name], rng).astype(np.float32) for v in inputs_of(self.net)}

    def run(self, feeds: Mapping[str, np.ndarray]) -> Blobs:
        self.feeds = dict(feeds)
        for layer in self.net.layers:
            if isinstance(layer, Input):
                layer.top_shapes = [feeds[name].shape for name in layer.param.top]
        self.net.reshape()
        for version in inputs_of(self.net):
            self.net.plan.blob(version).data[...] = feeds[version.name]
        forward_afresh(self.net)
        blobs = {name: self.net.plan.blob(v).data for name, v in self.net.graph.names.items()}
        return self.feeds | {name: values.copy() for name, values in blobs.items() if name not in self.feeds}


class SavedSide:
    """Blobs that were saved; nothing is run."""

    reshapes = True

    def __init__(self, name: str, blobs: Blobs) -> None:
        self.name, self.blobs = name, blobs
        self.inputs: dict[str, Shape] = {}

    def draw(self, shapes: Mapping[str, Shape], rng: np.random.Generator) -> Blobs:
        return {}

    def run(self, feeds: Mapping[str, np.ndarray]) -> Blobs:
        return self.blobs
