"""Layers of weights: Convolution, Deconvolution, InnerProduct."""

import math
from collections.abc import Sequence

from caffelite.export.onnx.graph import ANY, OnnxGraph
from caffelite.export.onnx.operators import converts
from caffelite.layers.convolution import Convolution
from caffelite.layers.inner_product import InnerProduct
from caffelite.net.graph import Node


def _weights(g: OnnxGraph, node: Node) -> list[str]:
    return [g.constant(b.data, name=name) for b, name in zip(node.layer.blobs, ("weight", "bias"), strict=False)]


@converts("Convolution", "DepthwiseConvolution", "ConvolutionDepthwise", "Deconvolution")
def _convolution(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """Conv or ConvTranspose, one for each bottom."""
    layer = node.layer
    assert isinstance(layer, Convolution)
    parameters, tops = _weights(g, node), []
    for bottom, version in zip(x, node.bottoms, strict=True):
        axis = layer.axis(layer.settings.axis, version.shape)
        if axis != 1:
            layer.error(f"ONNX has channels on axis 1, this layer on axis {axis}", "axis")
        _, channels, (_, kernel, stride, pad, dilation) = layer.sizes(version.shape)
        _, group = layer.counts(channels)
        tops.append(
            g.add(
                "ConvTranspose" if layer.param.type == "Deconvolution" else "Conv",
                bottom,
                *parameters,
                group=group,
                kernel_shape=kernel,
                strides=stride,
                pads=[*pad, *pad],
                dilations=dilation,
            )
        )
    return tops


@converts("InnerProduct")
def _inner_product(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """Gemm of rows, which Reshape makes and unmakes where the bottom has other axes."""
    layer = node.layer
    assert isinstance(layer, InnerProduct)
    shape = g.shape(node.bottoms[0])
    axis = layer.axis(layer.settings.axis, node.bottoms[0].shape)
    rows = x[0]
    if len(shape) != 2 or axis != 1:
        inner = math.prod(node.bottoms[0].shape[axis:])
        rows = g.reshape(rows, [ANY if ANY in shape[:axis] else math.prod(shape[:axis]), inner])
    y = g.add("Gemm", rows, *_weights(g, node), transB=int(not layer.settings.transpose))
    return [y if axis == 1 else g.reshape(y, g.shape(node.tops[0]))]
