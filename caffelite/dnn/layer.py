"""A layer as OpenCV shows it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from caffelite.dnn.constants import DNN_TARGET_CPU
from caffelite.dnn.names import INPUT, Names
from caffelite.dnn.planned import Planned
from caffelite.errors import ShapeError
from caffelite.words import count, quoted, text_of


class Layer:
    """A layer of a net, from ``Net.getLayer``.

    Attributes
    ----------
    name, type : str
        ``type`` is the file's, but that of a ConvolutionDepthwise is Convolution.
    preferableTarget : int
        ``DNN_TARGET_CPU``.
    """

    preferableTarget = DNN_TARGET_CPU

    def __init__(self, planned: Planned, names: Names, layer: str | int) -> None:
        self._planned = planned
        self._node = None if names.number(layer) == 0 else names.node(layer)
        if self._node is None:
            self.name, self.type = INPUT, ""
            self._inputs = planned.inputs
        else:
            self.name = names.names[names.nodes.index(self._node)]
            kind = self._node.layer.param.type
            self.type = "Convolution" if kind == "ConvolutionDepthwise" else kind
            self._inputs = list(self._node.layer.param.top)

    def outputNameToIndex(self, outputName: str) -> int:
        """Return which output of the layer a blob is; -1 where it is none."""
        return self._inputs.index(outputName) if outputName in self._inputs else -1

    @property
    def blobs(self) -> tuple[np.ndarray, ...]:
        """Copies of the parameters, with two axes where Caffe has one.

        What is assigned is set: an array for each. Of two, the bias may be left out, and becomes 0.

        Raises
        ------
        ShapeError
            On assigning: there are more or fewer, or one has another size.
        """
        if self._node is None:
            return ()
        flat = (1, -1) if self.type == "InnerProduct" else (-1, 1)
        own = [blob.data.copy() for blob in self._planned.layer(self._node).blobs]
        return tuple(values if values.ndim > 1 else values.reshape(flat) for values in own)

    @blobs.setter
    def blobs(self, values: Sequence[Any]) -> None:
        own = [] if self._node is None else self._planned.layer(self._node).blobs
        given = [np.asarray(value, np.float32) for value in values]
        if len(given) != len(own) and (len(given), len(own)) != (1, 2):
            raise ShapeError(f"layer {quoted(self.name)} has {len(own)} blobs, not {len(given)}")
        for index, (blob, value) in enumerate(zip(own, given, strict=False)):
            if value.size != count(blob.shape):
                raise ShapeError(
                    f"layer {quoted(self.name)}: blob {index} has shape {text_of(blob.shape)}, which "
                    f"{text_of(value.shape)} does not fit"
                )
        for blob, value in zip(own, [*given, *[np.zeros(1, np.float32)] * (len(own) - len(given))], strict=True):
            blob.data[...] = value.reshape(blob.shape) if value.size == count(blob.shape) else value
        if self._node is not None:
            self._planned.set_by_hand(self._node)
