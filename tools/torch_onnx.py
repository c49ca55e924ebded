"""A net in ONNX, as ``caffelite convert --keep-bn`` writes it, run by PyTorch's own operators."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch.nn import functional as F  # noqa: N812 - the name it has everywhere

Tensor = torch.Tensor


def _padded(x: Tensor, pads: list[int], value: float) -> Tensor:
    top, left, bottom, right = pads
    return F.pad(x, (left, right, top, bottom), value=value) if any(pads) else x


def _conv(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    *,
    pads: Any = (0,) * 4,
    strides: Any = (1, 1),
    dilations: Any = (1, 1),
    group: int = 1,
    kernel_shape: Any = None,
) -> Tensor:
    if list(pads[:2]) == list(pads[2:]):
        return F.conv2d(x, w, b, strides, list(pads[:2]), dilations, group)
    return F.conv2d(_padded(x, pads, 0.0), w, b, strides, 0, dilations, group)


def _max(x: Tensor, *, kernel_shape: Any, pads: Any = (0,) * 4, strides: Any = (1, 1)) -> Tensor:
    return F.max_pool2d(_padded(x, list(pads), float("-inf")), kernel_shape, strides)


def _average(x: Tensor, *, kernel_shape: Any, pads: Any = (0,) * 4, strides: Any = (1, 1)) -> Tensor:
    # Padding is only behind the map there, for windows that reach beyond it and count what they have.
    return F.avg_pool2d(x, kernel_shape, strides, ceil_mode=any(pads), count_include_pad=False)


def _norm(x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    return F.batch_norm(x, mean, variance, scale, bias, eps=epsilon)


def _gemm(x: Tensor, w: Tensor, b: Tensor | None = None, *, transB: int = 0) -> Tensor:  # noqa: N803 - ONNX's name
    return F.linear(x, w if transB else w.T, b)


_OPERATORS: dict[str, Callable[..., Tensor]] = {
    "Add": torch.add,
    "AveragePool": _average,
    "BatchNormalization": _norm,
    "Concat": lambda *x, axis: torch.cat(x, axis),
    "Conv": _conv,
    "Flatten": lambda x, axis=1: torch.flatten(x, axis),
    "Gemm": _gemm,
    "GlobalAveragePool": lambda x: x.mean((2, 3), keepdim=True),
    "Identity": lambda x: x,
    "LRN": lambda x, *, size, alpha, beta, bias=1.0: F.local_response_norm(x, size, alpha, beta, bias),
    "MaxPool": _max,
    "Mul": torch.mul,
    "Pad": lambda x, pads: _padded(x, pads[[2, 3, 6, 7]].tolist(), 0.0),
    "Relu": torch.relu,
    "Softmax": lambda x, axis=-1: torch.softmax(x, axis),
    "Sum": lambda *x: sum(x[1:], x[0]),
}


def load(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Return what takes images to the net's output.

    Raises
    ------
    KeyError
        For an operator that is not one of those above.
    """
    graph = onnx.load(path).graph
    values = {item.name: torch.from_numpy(numpy_helper.to_array(item).copy()) for item in graph.initializer}
    nodes = [
        (
            _OPERATORS[node.op_type],
            list(node.input),
            node.output[0],
            {item.name: helper.get_attribute_value(item) for item in node.attribute},
        )
        for node in graph.node
    ]
    result = graph.output[0].name
    last = {name: i for i, (_, inputs, _, _) in enumerate(nodes) for name in inputs if name not in values}
    (start,) = [item.name for item in graph.input if item.name not in values]
    # The file's own copy of the weights is let go.
    del graph

    def run(images: np.ndarray) -> np.ndarray:
        held = {start: torch.from_numpy(images)}
        with torch.inference_mode():
            for i, (operator, inputs, output, attributes) in enumerate(nodes):
                held[output] = operator(*(held[n] if n in held else values[n] for n in inputs), **attributes)
                # What nobody reads any more is let go, as in a model written by hand.
                for name in inputs:
                    if last.get(name) == i:
                        held.pop(name, None)
        return held[result].numpy()

    return run
