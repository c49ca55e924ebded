"""Operators with weights: Convolution, Deconvolution, InnerProduct, BatchNorm."""

import numpy as np

from caffelite.export.caffe.graph import CaffeGraph
from caffelite.export.caffe.operators import converts
from caffelite.export.caffe.reading import OnnxNode
from caffelite.export.caffe.sliding import Sliding, set_pair, sliding


@converts("Conv")
def _conv(g: CaffeGraph, node: OnnxNode) -> None:
    """Convolution, which pads both sides alike: where the node does not, zeros in the kernel read the padding more."""
    weights = g.weight(node, 1)
    s = sliding(g, node, weights.shape[2:])
    if s.pad_value:
        g.refuse(node, f"its input is padded with {s.pad_value:g}, and Convolution pads with 0")
    for axis, (p, q, d) in enumerate(zip(s.begins, s.ends, s.dilation, strict=True), 2):
        if (q - p) % d:
            g.refuse(node, f"it pads {p} before and {q} behind the map, and Convolution pads both alike")
        zeros = [(0, 0)] * 4
        zeros[axis] = (max(q - p, 0) // d, max(p - q, 0) // d)
        weights = np.pad(weights, zeros)
    both = tuple(max(pair) for pair in zip(s.begins, s.ends, strict=True))
    s = s._replace(kernel=weights.shape[2:], begins=both, ends=both)
    _add_convolution(g, node, "Convolution", s, weights, len(weights))


@converts("ConvTranspose")
def _conv_transpose(g: CaffeGraph, node: OnnxNode) -> None:
    weights = g.weight(node, 1)
    s = sliding(g, node, weights.shape[2:], transposed=True)
    for n, k, step, d, p, q, m in zip(s.size, s.kernel, s.stride, s.dilation, s.begins, s.ends, s.out, strict=True):
        if p != q or m != (n - 1) * step + (k - 1) * d + 1 - 2 * p:
            g.refuse(node, "it cuts more at one side, or adds output_padding, which Deconvolution does not")
    _add_convolution(g, node, "Deconvolution", s, weights, weights.shape[1] * node.attributes.get("group", 1))


def _add_convolution(g: CaffeGraph, node: OnnxNode, kind: str, s: Sliding, weights: np.ndarray, outputs: int) -> None:
    blobs = [weights]
    if len(node.inputs) > 2 and node.inputs[2]:
        blobs.append(g.weight(node, 2))
    p = g.add(node, kind, s.bottom, weights=blobs).convolution_param
    p.num_output = outputs
    if len(blobs) == 1:
        p.bias_term = False
    set_pair(p, "kernel_size", s.kernel, "kernel")
    set_pair(p, "stride", s.stride, default=1)
    set_pair(p, "pad", s.begins, default=0)
    if s.dilation != (1, 1):
        p.dilation.extend(s.dilation if s.dilation[0] != s.dilation[1] else s.dilation[:1])
    if node.attributes.get("group", 1) != 1:
        p.group = node.attributes["group"]


@converts("Gemm")
def _gemm(g: CaffeGraph, node: OnnxNode) -> None:
    """InnerProduct, with what the product and the bias are multiplied by in the weights."""
    a = node.attributes
    if a.get("transA", 0):
        g.refuse(node, "its first input is transposed, which InnerProduct does not do")
    weights = g.weight(node, 1) * np.float32(a.get("alpha", 1.0))
    weights = weights if a.get("transB", 0) else weights.T
    blobs = [weights]
    if len(node.inputs) > 2 and node.inputs[2]:
        bias = g.weight(node, 2) * np.float32(a.get("beta", 1.0))
        if bias.size not in (1, len(weights)):
            g.refuse(node, "its third input is another one for each row, and InnerProduct adds the same to each")
        blobs.append(np.broadcast_to(bias.reshape(-1), len(weights)))
    _add_product(g, node, blobs, 1)


@converts("MatMul")
def _matmul(g: CaffeGraph, node: OnnxNode) -> None:
    weights = g.weight(node, 1)
    if weights.ndim != 2:
        g.refuse(node, "its second input is no matrix, and InnerProduct has one")
    _add_product(g, node, [weights.T], len(g.shape(node.inputs[0])) - 1)


def _add_product(g: CaffeGraph, node: OnnxNode, blobs: list[np.ndarray], axis: int) -> None:
    p = g.add(node, "InnerProduct", g.bottom(node), weights=blobs).inner_product_param
    p.num_output = len(blobs[0])
    if len(blobs) == 1:
        p.bias_term = False
    if axis != 1:
        p.axis = axis


@converts("BatchNormalization")
def _batch_normalization(g: CaffeGraph, node: OnnxNode) -> None:
    """BatchNorm, whose factor is 1, and Scale in place."""
    if node.attributes.get("training_mode", 0):
        g.refuse(node, "it normalises by the statistics of each batch")
    factor, offset, mean, variance = (g.weight(node, i) for i in range(1, 5))
    one = np.ones(1, np.float32)
    p = g.add(node, "BatchNorm", g.bottom(node), weights=[mean, variance, one]).batch_norm_param
    p.use_global_stats = True
    p.eps = node.attributes.get("epsilon", 1e-5)
    g.add(node, "Scale", node.outputs[0], weights=[factor, offset]).scale_param.bias_term = True
