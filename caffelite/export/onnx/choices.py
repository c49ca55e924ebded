"""Layers that choose: boxes by their scores, images by a flag, the place of the largest value.

Of values that are nearly equal, rounding may make either the higher one; what is chosen differs then in number. So such
a layer is held against a model on the values that the model has.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np

from caffelite.net import Net
from caffelite.net.graph import Node, Version

#: What becomes of a layer that makes detections: operators that make the same ones; nothing, and what it reads are
#: outputs; one node that ONNX does not have and OpenCV reads.
DETECTIONS = ("nms", "raw", "opencv")


def chosen_from(net: Net) -> list[Version]:
    """Return the blobs that such layers read, but inputs."""
    choosing = filter(_chooses, net.graph.nodes)
    read = (version for node in choosing for version in node.bottoms)
    return [version for version in dict.fromkeys(read) if not version.producer.layer.facts.net_input]


def _chooses(node: Node) -> bool:
    places = node.layer.param.type == "ArgMax" or node.layer.param.type == "Pooling" and len(node.tops) > 1
    return node.layer.facts.dynamic or places


@contextmanager
def choosing_from(net: Net, values: Mapping[Version, np.ndarray]) -> Iterator[None]:
    """Let such layers read these values while the block runs the net; the blobs keep what the net has computed."""
    computed: dict[Version, np.ndarray] = {}

    def give(position: int) -> None:
        node = net.plan.units[position].first
        for version in node.bottoms if _chooses(node) else ():
            blob = net.plan.blob(version)
            if version in values and values[version].shape == blob.shape:
                computed[version] = blob.data.copy()
                blob.data[...] = values[version]

    def take_back(position: int) -> None:
        for version, data in computed.items():
            net.plan.blob(version).data[...] = data
        computed.clear()

    before = net.hooks
    net.hooks = {"before_forward": [give], "after_forward": [take_back]}
    try:
        yield
    finally:
        net.hooks = before
