"""Holding an ONNX model against the net it was made of, in ONNX Runtime."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime

from caffelite.export.onnx.convert import Converted
from caffelite.layers.input import Input
from caffelite.net import Net
from caffelite.net.graph import Version
from caffelite.words import Shape

#: The largest difference of a blob, by the largest of its values.
TOLERANCE = 1e-4
#: Inputs of a random net are drawn so often.
_DRAWS = 2
_OTHER_BATCH = 3


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a model and a net are furthest apart.

    Attributes
    ----------
    blob : str
    value : float
        The largest difference, by the largest value of the blob.
    theirs, ours : float
        What the model and the net have there.
    place : tuple of int
    """

    blob: str
    value: float
    theirs: float
    ours: float
    place: Shape


def compare(net: Net, converted: Converted, seed: int = 1) -> list[Difference]:
    """Run both on the same random inputs; return how far each blob is apart at most, in the order of the net.

    Parameters
    ----------
    net : Net
        Of the same layers as that which the model was made of, with the same weights, planned with ``keep``; its inputs
        are reshaped.
    converted : Converted
        Where it takes batches of any size, it is run with another one too.
    seed : int, optional
        Of the inputs.
    """
    tensors = {version.name: tensor for version, tensor in converted.tensors.items()}
    versions = [v for v in net.graph.names.values() if v.name in tensors]
    session = _session(converted.model, [tensors[v.name] for v in versions])
    rng = np.random.default_rng(seed)
    worst: dict[str, Difference] = {}
    sizes = [None] if converted.fixed else [None, _OTHER_BATCH]
    for size in [size for size in sizes for _ in range(_DRAWS)]:
        _resize(net, size)
        feeds = _drawn(net, rng)
        # A model knows nothing of the run before.
        net.load_state({key: np.zeros_like(array) for key, array in net.state().items()})
        net.forward()
        for version, theirs in zip(versions, session.run(None, feeds), strict=True):
            found = _difference(version, net.plan.blob(version).data, theirs)
            if version.name not in worst or not found.value <= worst[version.name].value:
                worst[version.name] = found
    return list(worst.values())


def _session(model: onnx.ModelProto, names: Sequence[str]) -> Any:
    """Return a session that gives all these tensors."""
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    del whole.graph.output[:]
    whole.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(whole.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _resize(net: Net, size: int | None) -> None:
    if size is None:
        return
    for layer in net.layers:
        if isinstance(layer, Input):
            layer.top_shapes = [(size, *shape[1:]) if len(shape) > 1 else shape for shape in layer.top_shapes]
    net.reshape()


def _drawn(net: Net, rng: np.random.Generator) -> Mapping[str, np.ndarray]:
    feeds = {}
    for name in net.inputs:
        values = net.blobs[name].data
        values[...] = rng.standard_normal(values.shape)
        feeds[name] = values.copy()
    return feeds


def _difference(version: Version, ours: np.ndarray, theirs: np.ndarray) -> Difference:
    if ours.shape != theirs.shape:
        return Difference(version.name, np.inf, np.nan, np.nan, theirs.shape)
    with np.errstate(invalid="ignore"):
        apart = np.where((ours == theirs) | (np.isnan(ours) & np.isnan(theirs)), 0, np.abs(ours - theirs))
    if not apart.size:
        return Difference(version.name, 0.0, 0.0, 0.0, ())
    place = np.unravel_index(int(np.argmax(np.nan_to_num(apart, nan=np.inf))), apart.shape)
    largest = float(np.abs(ours, where=np.isfinite(ours), out=np.zeros_like(ours)).max())
    value = float(apart[place]) / max(largest, 1e-30)
    return Difference(version.name, value, float(theirs[place]), float(ours[place]), tuple(int(i) for i in place))
