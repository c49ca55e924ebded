"""Layers of weights: Convolution, Deconvolution, Im2col, InnerProduct, Embed."""

import math
from collections.abc import Sequence

import numpy as np
from onnx import TensorProto

from caffelite.export.onnx.graph import ANY, OnnxGraph
from caffelite.export.onnx.operators import converts
from caffelite.layers.convolution import Convolution
from caffelite.layers.inner_product import InnerProduct
from caffelite.net.graph import Node


def _weights(g: OnnxGraph, node: Node) -> list[str]:
    return [g.constant(b.data, name=name) for b, name in zip(node.layer.blobs, ("weight", "bias"), strict=False)]


@converts("Convolution", "DepthwiseConvolution", "ConvolutionDepthwise")
def _convolution(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    return [_filtered(g, node, "Conv", one, j, _weights(g, node)) for j, one in enumerate(x)]


@converts("Deconvolution")
def _deconvolution(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    return [_filtered(g, node, "ConvTranspose", one, j, _weights(g, node)) for j, one in enumerate(x)]


@converts("Im2col")
def _im2col(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """Conv with a filter for each channel and tap, which is 1 at that tap."""
    assert isinstance(node.layer, Convolution)
    if g.shape(node.bottoms[0])[node.layer.axis(node.layer.settings.axis, node.bottoms[0].shape)] == ANY:
        node.layer.error("its channels are the batch, whose size must be known: give it with --batch", "axis")
    _, channels, (_, kernel, *_) = node.layer.sizes(node.bottoms[0].shape)
    taps = np.eye(math.prod(kernel)).reshape(-1, 1, *kernel)
    filters = np.tile(taps, (channels, *[1] * (taps.ndim - 1)))
    return [_filtered(g, node, "Conv", x[0], 0, [g.constant(filters, name="taps")], channels)]


def _filtered(
    g: OnnxGraph, node: Node, operator: str, x: str, bottom: int, parameters: Sequence[str], group: int | None = None
) -> str:
    """Slide filters over a bottom; what comes before the channel axis is one axis of images for ONNX."""
    layer, version = node.layer, node.bottoms[bottom]
    assert isinstance(layer, Convolution)
    axis = layer.axis(layer.settings.axis, version.shape)
    _, channels, (_, kernel, stride, pad, dilation) = layer.sizes(version.shape)
    if axis != 1:
        shape = g.shape(version)
        images = ANY if ANY in shape[:axis] else math.prod(shape[:axis])
        x = g.reshape(x, [images, *shape[axis:]])
    y = g.add(
        operator,
        x,
        *parameters,
        group=group or layer.counts(channels)[1],
        kernel_shape=kernel,
        strides=stride,
        pads=[*pad, *pad],
        dilations=dilation,
    )
    return y if axis == 1 else g.reshape(y, g.shape(node.tops[bottom]))


@converts("InnerProduct")
def _inner_product(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """Gemm of rows, which Flatten makes and Reshape unmakes where the bottom has other axes."""
    layer = node.layer
    assert isinstance(layer, InnerProduct)
    shape = node.bottoms[0].shape
    axis = layer.axis(layer.settings.axis, shape)
    rows = x[0] if len(shape) == 2 and axis == 1 else g.add("Flatten", x[0], axis=axis)
    y = g.add("Gemm", rows, *_weights(g, node), transB=int(not layer.settings.transpose))
    return [y if axis == 1 else g.reshape(y, g.shape(node.tops[0]))]


@converts("Embed")
def _embed(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """Gather of rows of the weights."""
    weights, *bias = _weights(g, node)
    y = g.add("Gather", weights, g.add("Cast", x[0], to=TensorProto.INT64), axis=0)
    return [g.add("Add", y, *bias) if bias else y]
