"""Functions of one number."""

from collections.abc import Sequence

from caffelite.export.onnx.graph import OnnxGraph
from caffelite.export.onnx.operators import converts
from caffelite.layers.forks.activation.rrelu import RReLU
from caffelite.net.graph import Node


@converts("RReLU", "Insanity")
def _random_relu(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """LeakyRelu with the slope of the TEST phase."""
    assert isinstance(node.layer, RReLU)
    return [g.add("LeakyRelu", x[0], alpha=1 / node.layer.bounds[0])]


@converts("SeLu")
def _selu(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    settings = node.layer.param.selu_param
    return [g.add("Selu", x[0], alpha=settings.alpha, gamma=getattr(settings, "lambda"))]


@converts("SeLuDropout")
def _selu_dropout(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    return x
