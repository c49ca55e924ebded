"""New shapes of a net's inputs, taken up by the net."""

from collections.abc import Mapping

from caffelite.errors import ShapeError
from caffelite.layers.input import Input
from caffelite.net import Net
from caffelite.pycaffe.blob import Blob


def take_shapes(net: Net, inputs: Mapping[str, Blob]) -> None:
    """Plan a net for the shapes that were asked for with ``reshape``; what the inputs hold is kept.

    Parameters
    ----------
    net : Net
    inputs : mapping of str to Blob
        All inputs of the net.

    Raises
    ------
    ShapeError
        The layers do not fit these shapes; the net stays as it was.
    """
    if all(blob.asked_shape is None for blob in inputs.values()):
        return
    layers = [layer for layer in net.layers if isinstance(layer, Input)]
    before = [layer.top_shapes for layer in layers]
    for layer in layers:
        layer.top_shapes = [
            inputs[name].asked_shape or shape for name, shape in zip(layer.param.top, layer.top_shapes, strict=True)
        ]
    values = {name: blob.data for name, blob in inputs.items()}
    try:
        net.reshape()
    except ShapeError:
        for layer, shapes in zip(layers, before, strict=True):
            layer.top_shapes = shapes
        net.graph.infer_shapes()
        raise
    for name, blob in inputs.items():
        blob.taken_up()
        blob.data.reshape(-1)[...] = values[name].reshape(-1)
