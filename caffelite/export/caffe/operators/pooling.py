"""Pooling: Caffe rounds up where ONNX rounds down, and divides by other numbers."""

from typing import Any

import numpy as np

from caffelite.export.caffe.graph import CaffeGraph, Padding
from caffelite.export.caffe.operators import converts
from caffelite.export.caffe.reading import OnnxNode
from caffelite.export.caffe.sliding import Sliding, set_pair, sliding
from caffelite.words import text_of

_MAX, _AVE = 0, 1
_FLOOR = 1
#: What is below stands for no value at all.
_LOWEST = -3e38
#: Operators whose results are not below 0, so that a padding with 0 does not change the largest.
_NOT_NEGATIVE = ("Relu", "Sigmoid")


@converts("GlobalMaxPool", "GlobalAveragePool")
def _global(g: CaffeGraph, node: OnnxNode) -> None:
    if len(g.shape(node.inputs[0])) != 4:
        g.refuse(node, "it does not pool maps of height and width, which Pooling does")
    _add_global(g, node, _MAX if node.operator == "GlobalMaxPool" else _AVE, g.bottom(node))


@converts("ReduceMean", "ReduceMax")
def _reduce(g: CaffeGraph, node: OnnxNode) -> None:
    """Pooling over whole maps, and Flatten where height and width are gone."""
    shape, axes = g.shape(node.inputs[0]), g.integers(node, "axes", 1)
    if len(shape) != 4 or axes is None or sorted(axis % 4 for axis in axes) != [2, 3]:
        g.refuse(node, "it reduces other axes than height and width, which Pooling does")
    pool = _MAX if node.operator == "ReduceMax" else _AVE
    if node.attributes.get("keepdims", 1):
        _add_global(g, node, pool, g.bottom(node))
        return
    maps = g.between(node, "pool")
    _add_global(g, node, pool, g.bottom(node), maps)
    g.reshape(node, maps, (*shape[:2], 1, 1), shape[:2])


def _add_global(g: CaffeGraph, node: OnnxNode, pool: int, bottom: str, top: str = "") -> None:
    p = g.add(node, "Pooling", bottom, tops=[top] if top else ()).pooling_param
    p.pool = pool
    p.global_pooling = True


def _exceeds(s: Sliding) -> bool:
    """Whether there is one window which is larger than the map, as no kernel of Caffe's can be."""
    whole = all(k >= n for k, n in zip(s.kernel, s.size, strict=True))
    return whole and s.kernel != s.size and s.out == (1, 1) and s.begins == (0, 0)


@converts("MaxPool")
def _max_pool(g: CaffeGraph, node: OnnxNode) -> None:
    """Pooling; padding at the end makes no difference to the largest value, but to how many windows there are."""
    if any(node.outputs[1:]):
        g.refuse(node, "it gives the places of the largest values, which are other numbers in Caffe")
    s = sliding(g, node, node.attributes["kernel_shape"])
    if s.pad_value is not None and s.pad_value > _LOWEST and not (s.pad_value == 0 and _not_negative(g, node)):
        g.refuse(node, f"its input is padded with {s.pad_value:g}, which may be the largest value")
    if _exceeds(s):
        _add_global(g, node, _MAX, s.bottom)
    else:
        _add_pooling(g, node, s, _MAX)


def _not_negative(g: CaffeGraph, node: OnnxNode) -> bool:
    padded = g.paddings[node.inputs[0]].tensor
    return any(padded in other.outputs and other.operator in _NOT_NEGATIVE for other in g.source.nodes)


@converts("AveragePool")
def _average_pool(g: CaffeGraph, node: OnnxNode) -> None:
    """Pooling with the divisor that Caffe has, or with that of ``avg_include_pad: false``."""
    s = sliding(g, node, node.attributes["kernel_shape"])
    if s.pad_value:
        g.refuse(node, f"its input is padded with {s.pad_value:g}, and Pooling pads with 0")
    counted = bool(node.attributes.get("count_include_pad", 0))
    if s.pad_value is not None and not counted and any(node.attributes.get("pads", ())):
        g.refuse(node, "of its padding one part counts and another does not")
    divisors = _divisors(s, s.ends, counted or s.pad_value is not None)
    if _exceeds(s) and _same(divisors, [np.array([n]) for n in s.size]):
        _add_global(g, node, _AVE, s.bottom)
        return
    p = _add_pooling(g, node, s, _AVE)
    if _same(divisors, _divisors(s, s.begins, True)):
        return
    if not _same(divisors, _divisors(s, s.begins, False)):
        g.refuse(node, "it divides by other numbers than Pooling does")
    p.avg_include_pad = False


def _divisors(s: Sliding, ends: tuple[int, ...], counts_padding: bool) -> list[np.ndarray]:
    """Return for each axis how many elements of each window count."""
    told = []
    for n, k, step, p, q, windows in zip(s.size, s.kernel, s.stride, s.begins, ends, s.out, strict=True):
        starts = np.arange(windows) * step - p
        stops = starts + k
        if not counts_padding:
            starts, p, q = np.maximum(starts, 0), 0, 0
        told.append(np.minimum(stops, n + q) - starts)
    return told


def _same(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def _add_pooling(g: CaffeGraph, node: OnnxNode, s: Sliding, pool: int) -> Any:
    """Add the layer, rounding as it takes to get as many windows; return its settings."""
    if s.dilation != (1, 1):
        g.refuse(node, "it has dilations, which Pooling has not")
    if any(p >= k for p, k in zip(s.begins, s.kernel, strict=True)):
        g.refuse(node, "it pads by as much as its kernel or more, which Pooling does not")
    down, up = (
        tuple(
            _windows(*axis, any(s.begins), rounds_up) for axis in zip(s.size, s.kernel, s.stride, s.begins, strict=True)
        )
        for rounds_up in (False, True)
    )
    if s.out not in (down, up):
        g.refuse(
            node,
            f"it has {text_of(s.out)} windows, and Pooling has {text_of(up)} of them, or {text_of(down)} with "
            "round_mode: FLOOR",
        )
    p = g.add(node, "Pooling", s.bottom).pooling_param
    p.pool = pool
    set_pair(p, "kernel_size", s.kernel, "kernel")
    set_pair(p, "stride", s.stride, default=1)
    set_pair(p, "pad", s.begins, default=0)
    if s.out != up:
        p.round_mode = _FLOOR
    return p


def _windows(size: int, kernel: int, stride: int, pad: int, padded: bool, rounds_up: bool) -> int:
    """Return how many windows Caffe has along an axis; the last one begins before the padding at the end."""
    room = size + 2 * pad - kernel
    windows = (-(-room // stride) if rounds_up else room // stride) + 1
    return windows - 1 if padded and (windows - 1) * stride >= size + pad else windows


@converts("Pad")
def _pad(g: CaffeGraph, node: OnnxNode) -> None:
    """Nothing by itself: it is part of the layer that reads it."""
    pads, shape = g.integers(node, "pads", 1), g.shape(node.inputs[0])
    if node.attributes.get("mode", "constant") != "constant" or pads is None:
        g.refuse(node, "it pads with other values than a constant, which no layer of Caffe's does")
    axes = g.integers(node, "axes", 3)
    if axes is not None:
        every = np.zeros((2, len(shape)), int)
        every[:, axes] = np.reshape(pads, (2, -1))
        pads = every.reshape(-1).tolist()
    if not any(pads):
        g.same(node)
        return
    if len(shape) != 4 or any(pads[axis] for axis in (0, 1, 4, 5)) or min(pads) < 0:
        g.refuse(node, "it pads other axes than height and width, or cuts them")
    value = g.constant(node, 2)
    number = (
        float(node.attributes.get("value", 0.0)) if value is None or not value.size else float(value.reshape(-1)[0])
    )
    g.bottom(node)
    g.paddings[node.outputs[0]] = Padding(node.inputs[0], tuple(pads[2:4]), tuple(pads[6:8]), number)
