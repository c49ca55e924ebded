"""What PyTorch computes for a net of caffelite, layer after layer, in float64: a second opinion on whole nets.

It knows the layers of the published nets that OpenCV does not read, in the TEST phase.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from caffelite.layers.contract.layer import Layer
from caffelite.net import Net

Tensors = list[torch.Tensor]


class UnknownLayerError(Exception):
    pass


def against_torch(net: Net) -> float:
    """Return the largest difference to PyTorch, over the largest value of the blob.

    Compared are the outputs and what goes into a softmax. ``net`` is of float64, keeps its blobs and has run.
    """
    blobs = {name: torch.from_numpy(net.blobs[name].data) for name in net.inputs}
    with torch.no_grad():
        for layer in net.layers:
            if layer.type == "Input":
                continue
            if layer.type not in LAYERS:
                raise UnknownLayerError(layer.type)
            parameters = [torch.from_numpy(blob.data) for blob in layer.blobs]
            tops = LAYERS[layer.type](layer, [blobs[name] for name in layer.param.bottom], parameters)
            blobs |= zip(layer.param.top, tops, strict=False)
    names = [*net.outputs, *(layer.param.bottom[0] for layer in net.layers if layer.type == "Softmax")]
    return max(_difference(net.blobs[name].data, blobs[name].numpy()) for name in names)


def _difference(mine: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.abs(mine - theirs).max() / np.abs(mine).max()) if mine.shape == theirs.shape else np.inf


def _pair(values: Sequence[int], height: int, width: int, default: int) -> tuple[int, int]:
    if height or width:
        return height, width
    return (values[0], values[-1]) if values else (default, default)


def _geometry(layer: Layer) -> dict[str, Any]:
    settings = layer.param.convolution_param
    return {
        "stride": _pair(settings.stride, settings.stride_h, settings.stride_w, 1),
        "padding": _pair(settings.pad, settings.pad_h, settings.pad_w, 0),
        "dilation": _pair(settings.dilation, 0, 0, 1),
        "groups": settings.group,
    }


def convolution(layer: Layer, x: Tensors, w: Tensors) -> Tensors:
    return [F.conv2d(x[0], *w, **_geometry(layer))]


def deconvolution(layer: Layer, x: Tensors, w: Tensors) -> Tensors:
    return [F.conv_transpose2d(x[0], *w, **_geometry(layer))]


def inner_product(layer: Layer, x: Tensors, w: Tensors) -> Tensors:
    return [F.linear(x[0].flatten(layer.param.inner_product_param.axis), *w)]


def batch_norm(layer: Layer, x: Tensors, w: Tensors) -> Tensors:
    mean, variance = w[0] / w[2], w[1] / w[2]
    return [F.batch_norm(x[0], mean, variance, eps=layer.param.batch_norm_param.eps)]


def bn(layer: Layer, x: Tensors, w: Tensors) -> Tensors:
    """PSPNet's, with statistics, or SegNet's, where they are merged into the two parameters."""
    if len(w) == 2:
        return scale(layer, x, [p.flatten() for p in w])
    slope, bias, mean, variance = (p.flatten() for p in w)
    return [F.batch_norm(x[0], mean, variance, slope, bias, eps=layer.param.bn_param.eps)]


def scale(layer: Layer, x: Tensors, w: Tensors) -> Tensors:
    y = x[0] * w[0].reshape(1, -1, 1, 1)
    return [y + w[1].reshape(1, -1, 1, 1) if len(w) > 1 else y]


def pooling(layer: Layer, x: Tensors, w: Tensors) -> Tensors:
    settings = layer.param.pooling_param
    if settings.global_pooling:
        return [x[0].mean((2, 3), keepdim=True) if settings.pool else x[0].amax((2, 3), keepdim=True)]
    window = (settings.kernel_size, settings.stride, settings.pad)
    if settings.pool:
        return [F.avg_pool2d(x[0], *window, ceil_mode=True)]
    return list(F.max_pool2d(x[0], *window, ceil_mode=True, return_indices=True))


def upsample(layer: Layer, x: Tensors, w: Tensors) -> Tensors:
    settings = layer.param.upsample_param
    size = [settings.upsample_h, settings.upsample_w]
    size = [given or n * settings.scale for given, n in zip(size, x[0].shape[2:], strict=True)]
    return [F.max_unpool2d(x[0], x[1].long(), 2, 2, output_size=size)]


def interp(layer: Layer, x: Tensors, w: Tensors) -> Tensors:
    settings = layer.param.interp_param
    size = [settings.height, settings.width]
    if not any(size):
        size = [(n - 1) // settings.shrink_factor + 1 for n in x[0].shape[2:]]
        size = [n + (n - 1) * (settings.zoom_factor - 1) for n in size]
    return [F.interpolate(x[0], size=size, mode="bilinear", align_corners=True)]


def lrn(layer: Layer, x: Tensors, w: Tensors) -> Tensors:
    settings = layer.param.lrn_param
    return [F.local_response_norm(x[0], settings.local_size, settings.alpha, settings.beta, settings.k)]


def lstm(layer: Layer, x: Tensors, w: Tensors) -> Tensors:
    """Four gates in the order i, f, o, g; cont is 0 where a sequence begins."""
    (steps, streams), size = x[1].shape, layer.param.recurrent_param.num_output
    always = w[1] + (x[2].flatten(1) @ w[2].T if len(x) > 2 else 0)
    h = c = torch.zeros(streams, size, dtype=x[0].dtype)
    tops = []
    for t in range(steps):
        goes_on = x[1][t][:, None]
        i, f, o, g = (x[0][t].flatten(1) @ w[0].T + always + (goes_on * h) @ w[-1].T).chunk(4, 1)
        c = goes_on * f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        tops.append(h)
    return [torch.stack(tops)]


#: What a layer makes of its bottoms and its parameters.
LAYERS: dict[str, Callable[[Layer, Tensors, Tensors], Tensors]] = {
    "ArgMax": lambda layer, x, w: [x[0].argmax(1, keepdim=True).to(x[0])],
    "Axpy": lambda layer, x, w: [x[0].reshape(*x[1].shape[:2], 1, 1) * x[1] + x[2]],
    "BN": bn,
    "BatchNorm": batch_norm,
    "Concat": lambda layer, x, w: [torch.cat(x, 1)],
    "Convolution": convolution,
    "Deconvolution": deconvolution,
    "DepthwiseConvolution": convolution,
    "Dropout": lambda layer, x, w: x,
    "Eltwise": lambda layer, x, w: [torch.stack(x).sum(0)],
    "Embed": lambda layer, x, w: [w[0][x[0].long()]],
    "InnerProduct": inner_product,
    "Interp": interp,
    "LRN": lrn,
    "LSTM": lstm,
    "PReLU": lambda layer, x, w: [F.prelu(x[0], w[0].flatten())],
    "Pooling": pooling,
    # In the published nets: dropout.
    "Python": lambda layer, x, w: x,
    "ReLU": lambda layer, x, w: [F.leaky_relu(x[0], layer.param.relu_param.negative_slope)],
    "Reshape": lambda layer, x, w: [x[0].reshape(*layer.param.reshape_param.shape.dim)],
    "Scale": scale,
    "Sigmoid": lambda layer, x, w: [x[0].sigmoid()],
    "Softmax": lambda layer, x, w: [x[0].softmax(layer.param.softmax_param.axis)],
    "Upsample": upsample,
}
