"""A net as OpenCV's Python shows it."""

import warnings
from collections.abc import Sequence
from time import perf_counter_ns
from typing import Any

import numpy as np

from caffelite.dnn.blobs import Scalar, scalar
from caffelite.dnn.constants import DNN_BACKEND_DEFAULT, DNN_BACKEND_OPENCV, DNN_TARGET_CPU
from caffelite.dnn.layer import Layer
from caffelite.dnn.names import Names
from caffelite.dnn.planned import Planned
from caffelite.dnn.shapes import arrays_of, bytes_of, dot, flops, infer
from caffelite.errors import NetError, ShapeError
from caffelite.files import atomic_write
from caffelite.net.graph import Node, Version
from caffelite.words import count, did_you_mean, quoted, text_of


class Net:
    """A net that :func:`readNetFromCaffe` has read.

    All names are those of OpenCV's ``cv2.dnn.Net``, which is why it has more methods than a class here should. Layers
    are called by the names that OpenCV gives them, or by those in the file.

    What :meth:`forward` was not asked for is not kept: layers are fused and blobs share memory. A layer that was asked
    for once keeps what it makes from then on.
    """

    def __init__(self, planned: Planned) -> None:
        self._planned = planned
        self._names = Names(planned.graph)
        self._given: dict[str, np.ndarray] = {}
        self._ticks = 0

    def empty(self) -> bool:
        """Whether there are no layers."""
        return not self._names.nodes

    # Running.

    def setInput(self, blob: Any, name: str = "", scalefactor: float = 1.0, mean: Scalar = ()) -> None:
        """Set an input; the net takes the shape that it has.

        Parameters
        ----------
        blob : ndarray
            It is copied, as float32.
        name : str, optional
            By default the first input.
        scalefactor : float, optional
        mean : number or up to 4 of them, optional
            The input is (blob - mean) · scalefactor, mean by channel.

        Raises
        ------
        NetError
            There is no input of this name.
        """
        inputs = self._planned.inputs
        if name and name not in inputs:
            raise NetError(f"there is no input {quoted(name)}{did_you_mean(name, inputs)}")
        values = np.array(blob, np.float32, ndmin=1)
        means = scalar(mean, "mean").astype(np.float32)
        if means.any():
            if values.ndim < 2 or values.shape[1] > 4:
                raise ShapeError(f"a mean is for up to 4 channels, and this blob is {text_of(values.shape)}")
            values -= means[: values.shape[1]].reshape(-1, *[1] * (values.ndim - 2))
        if scalefactor != 1:
            values *= np.float32(scalefactor)
        self._given[name or inputs[0]] = values

    def forward(
        self, outBlobNames: Any = "", outputBlobs: Any = None, *, outputName: str = ""
    ) -> np.ndarray | tuple[np.ndarray, ...]:
        """Run the net as far as the layers that are asked for.

        ``forward()``, ``forward(name)``, ``forward([name, ...])``; OpenCV's ``forward(arrays, name)`` too.

        Parameters
        ----------
        outBlobNames : str or sequence of str, optional
            Layers; by default the last one.
        outputBlobs : optional
            The name where ``outBlobNames`` has arrays, as OpenCV allows; arrays are not used.
        outputName : str, optional
            The same as a name in ``outBlobNames``.

        Returns
        -------
        ndarray of float32, or tuple of ndarray
            Copies: of a layer's first output; one a layer for a sequence of names; all outputs of a layer for
            ``forward(arrays, name)``.

        Raises
        ------
        NetError
            There is no such layer, or an input was not set.
        ShapeError
            A layer does not fit the shapes of the inputs.
        WeightsError
            The weights do not fit the net, or a layer has none.
        """
        arrays = not isinstance(outBlobNames, str) and any(not isinstance(name, str) for name in outBlobNames)
        if arrays:
            return self._run([self._tops(outputName or outputBlobs or "")])[0]
        if isinstance(outBlobNames, str):
            return self._run([self._tops(outBlobNames or outputName)[:1]])[0][0]
        return tuple(first for first, *_ in self._run([self._tops(name)[:1] for name in list(outBlobNames) or [""]]))

    def forwardAndRetrieve(self, outBlobNames: Sequence[str]) -> tuple[tuple[np.ndarray, ...], ...]:
        """Run the net and return all outputs of each of these layers; see :meth:`forward`."""
        return tuple(self._run([self._tops(name) for name in outBlobNames]))

    def _tops(self, name: str) -> Sequence[Version]:
        return self._names.tops(name or self._names.names[-1])

    def _run(self, asked: list[Sequence[Version]]) -> list[tuple[np.ndarray, ...]]:
        planned = self._planned
        missing = [name for name in planned.inputs if name not in self._given]
        if missing:
            raise NetError(f"input {quoted(missing[0])} was not set: setInput(blob, {quoted(missing[0])}) does that")
        versions = [version for tops in asked for version in tops]
        planned.take(self._given, versions)
        start = perf_counter_ns()
        planned.run(versions)
        self._ticks = perf_counter_ns() - start
        return [tuple(planned.values(version) for version in tops) for tops in asked]

    def getPerfProfile(self) -> tuple[int, np.ndarray]:
        """Return how long the last ``forward`` took, and each layer's part of it, in nanoseconds.

        That is what ``cv2.getTickFrequency()`` counts in. The parts are measured once for a plan, in a pass of their
        own; layers that run as one have theirs together, at the first of them.

        Returns
        -------
        int
        ndarray of float64
            For each of :meth:`getLayerNames`.
        """
        parts = self._planned.parts()[[node.index for node in self._names.nodes]]
        return self._ticks, self._ticks * parts / parts.sum()

    # Layers.

    def getLayerNames(self) -> tuple[str, ...]:
        """Return the names of all layers but the input, in their order."""
        return tuple(self._names.names)

    def getLayerId(self, layer: str) -> int:
        """Return the number of a layer; -1 where there is none of this name."""
        return self._names.number(layer)

    def getLayer(self, layerId: str | int) -> Layer:
        """Return a layer by its name or number; the blobs of number 0, the input, are none.

        Raises
        ------
        NetError
            There is none.
        """
        return Layer(self._planned, self._names, layerId)

    def getLayerTypes(self) -> tuple[str, ...]:
        """Return the types of the layers, each once, sorted."""
        return tuple(sorted({node.layer.param.type for node in self._names.nodes}))

    def getLayersCount(self, layerType: str) -> int:
        """Return how many layers have this type."""
        return sum(node.layer.param.type == layerType for node in self._names.nodes)

    def getUnconnectedOutLayers(self) -> np.ndarray:
        """Return the numbers of the layers that no other reads, of int32."""
        ends = [i for i, node in enumerate(self._names.nodes, 1) if not any(top.readers for top in node.tops)]
        return np.array(ends, np.int32)

    def getUnconnectedOutLayersNames(self) -> tuple[str, ...]:
        """Return the names of the layers that no other reads."""
        return tuple(self._names.names[number - 1] for number in self.getUnconnectedOutLayers())

    def getParam(self, layer: str | int, numParam: int = 0) -> np.ndarray:
        """Return a copy of a parameter of a layer.

        Raises
        ------
        NetError
            There is no such layer, or it has no such parameter.
        """
        blobs = self.getLayer(layer).blobs
        self._check_number(layer, numParam, len(blobs))
        return blobs[numParam]

    def setParam(self, layer: str | int, numParam: int, blob: Any) -> None:
        """Set a parameter of a layer.

        Raises
        ------
        NetError
            There is no such layer, or it has no such parameter.
        ShapeError
            The parameter has another size.
        """
        shown = self.getLayer(layer)
        blobs = list(shown.blobs)
        self._check_number(layer, numParam, len(blobs))
        blobs[numParam] = blob
        shown.blobs = blobs

    @staticmethod
    def _check_number(layer: str | int, number: int, count: int) -> None:
        if not 0 <= number < count:
            raise NetError(f"layer {quoted(str(layer))} has {count} parameters, so none of number {number}")

    def input_shape(self) -> tuple[int, ...]:
        """Return the shape that the prototxt gives the first input."""
        return self._planned.input_shape

    # What it would take.

    def getLayersShapes(self, netInputShapes: Any) -> tuple[np.ndarray, tuple[Any, ...], tuple[Any, ...]]:
        """Return the shapes of all layers for these shapes of the inputs.

        Parameters
        ----------
        netInputShapes : sequence of int, or of such sequences
            The shape of the input, or those of all inputs in their order.

        Returns
        -------
        layersIds : ndarray of int32
            The input, 0, and all layers.
        inLayersShapes, outLayersShapes : tuple of tuple of ndarray of int32
            The shapes of their bottoms and tops.

        Raises
        ------
        ShapeError
        """
        graph = self._planned.graph
        infer(graph, netInputShapes)
        inputs = arrays_of([graph_top.shape for graph_top in self._planned.tops_of_inputs()])
        bottoms = [arrays_of([version.shape for version in node.bottoms]) for node in self._names.nodes]
        tops = [arrays_of([version.shape for version in node.tops]) for node in self._names.nodes]
        return np.arange(len(tops) + 1, dtype=np.int32), (inputs, *bottoms), (inputs, *tops)

    def getFLOPS(self, *layerId_netInputShapes: Any) -> int:
        """Return twice the products that are summed in a pass: ``getFLOPS(shapes)``, or ``getFLOPS(layer, shapes)``.

        OpenCV counts additions of biases, comparisons and more besides, differently in each layer.

        Raises
        ------
        ShapeError, NetError
        """
        return sum(flops(node) for node in self._asked(layerId_netInputShapes))

    def getMemoryConsumption(self, *layerId_netInputShapes: Any) -> tuple[int, int]:
        """Return the bytes of parameters, and of all blobs if each had memory of its own; arguments as in getFLOPS.

        Raises
        ------
        ShapeError, NetError
        """
        sizes = [bytes_of(node) for node in self._asked(layerId_netInputShapes)]
        if len(layerId_netInputShapes) == 1:
            sizes.append((0, sum(4 * count(version.shape) for version in self._planned.tops_of_inputs())))
        weights, blobs = zip(*sizes, strict=True)
        return sum(weights), sum(blobs)

    def _asked(self, arguments: Sequence[Any]) -> list[Node]:
        *layer, shapes = arguments
        infer(self._planned.graph, shapes)
        return [self._names.node(layer[0])] if layer else self._names.nodes

    def dump(self) -> str:
        """Return the net as a graph in Graphviz's language."""
        return dot(self._names)

    def dumpToFile(self, path: Any) -> None:
        """Write what :meth:`dump` returns to a file."""
        with atomic_write(path) as temporary:
            temporary.write_text(self.dump(), encoding="utf-8")

    # What is a choice in OpenCV.

    def setPreferableBackend(self, backendId: int) -> None:
        """Take note that the CPU is to be used; for another backend a warning says that it is all the same."""
        if backendId not in (DNN_BACKEND_DEFAULT, DNN_BACKEND_OPENCV):
            warnings.warn(f"backend {backendId} is not there: caffelite.dnn runs on the CPU", stacklevel=2)

    def setPreferableTarget(self, targetId: int) -> None:
        """Take note that the CPU is to be used; for another target a warning says that it is all the same."""
        if targetId != DNN_TARGET_CPU:
            warnings.warn(f"target {targetId} is not there: caffelite.dnn runs on the CPU in float32", stacklevel=2)

    def enableFusion(self, fusion: bool) -> None:
        """Do nothing: what is not asked for is fused, and that changes no result."""

    def enableWinograd(self, useWinograd: bool) -> None:
        """Do nothing: where Winograd's method is faster, it is taken."""
