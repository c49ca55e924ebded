"""Preprocessing as ONNX operators."""

from onnx import TensorProto

from caffelite.export.onnx.graph import OnnxGraph
from caffelite.export.preprocessing import Preprocessing
from caffelite.words import Shape


def add_preprocessing(graph: OnnxGraph, preprocessing: Preprocessing, image: str, shape: Shape) -> str:
    """Add the operators; return the tensor that the net reads.

    Parameters
    ----------
    graph : OnnxGraph
    preprocessing : Preprocessing
    image : str
        uint8, images x height x width x channels.
    shape : (int, int, int)
        Channels, height and width.
    """
    x = image
    # As bytes they are a fourth of the memory to go through.
    if preprocessing.reverses(shape[0]):
        x = graph.add("Gather", x, graph.integers([2, 1, 0], "order"), axis=3)
    x = graph.add("Cast", graph.add("Transpose", x, perm=[0, 3, 1, 2]), to=TensorProto.FLOAT)
    mean, scale = preprocessing.mean(shape), preprocessing.param.scale
    if mean.any():
        x = graph.add("Sub", x, graph.constant(mean[None], name="mean"))
    return graph.add("Mul", x, graph.constant(scale, name="scale")) if scale != 1 else x
