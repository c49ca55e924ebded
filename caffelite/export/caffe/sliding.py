"""How a kernel slides over a map, as a node of ONNX says it, and as a message of Caffe's does."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from caffelite.export.caffe.graph import CaffeGraph
from caffelite.export.caffe.reading import OnnxNode
from caffelite.words import Shape


class Sliding(NamedTuple):
    """A kernel over a map; pairs are vertical, horizontal.

    Attributes
    ----------
    bottom : str
        The blob of the map, not padded.
    size, kernel, stride, dilation : pair of int
    begins, ends : pair of int
        The padding of the node and of a Pad node before it.
    out : pair of int
        The size of the result.
    pad_value : float or None
        What a Pad node before it has put there; None without one.
    """

    bottom: str
    size: Shape
    kernel: Shape
    stride: Shape
    dilation: Shape
    begins: Shape
    ends: Shape
    out: Shape
    pad_value: float | None


def sliding(g: CaffeGraph, node: OnnxNode, kernel: Sequence[int], transposed: bool = False) -> Sliding:
    """Return how the kernel of a node slides over its first input; refuse what does not slide over maps."""
    if len(kernel) != 2 or len(g.shape(node.inputs[0])) != 4:
        g.refuse(node, f"it slides along {len(kernel)} axes, and layers of Caffe's slide along two")
    a = node.attributes
    stride, dilation = tuple(a.get("strides", (1, 1))), tuple(a.get("dilations", (1, 1)))
    size, out = g.shape(node.inputs[0])[2:], g.shape(node.outputs[0])[2:]
    pads = tuple(a.get("pads", (0, 0, 0, 0)))
    automatic = a.get("auto_pad", "NOTSET")
    if automatic == "VALID":
        pads = (0, 0, 0, 0)
    elif automatic.startswith("SAME"):
        small, large = (out, size) if not transposed else (size, out)
        pads = _same(small, large, kernel, stride, dilation, automatic == "SAME_UPPER")
    begins, ends = pads[:2], pads[2:]
    padding = g.paddings.get(node.inputs[0])
    if padding is None:
        return Sliding(g.bottom(node), size, tuple(kernel), stride, dilation, begins, ends, out, None)
    if transposed or any(pads) and padding.value != 0:
        g.refuse(node, "its input is padded, which it cannot do by itself")
    bottom, size = g.unpadded(padding.tensor), g.shape(padding.tensor)[2:]
    begins = tuple(p + q for p, q in zip(begins, padding.begins, strict=True))
    ends = tuple(p + q for p, q in zip(ends, padding.ends, strict=True))
    return Sliding(bottom, size, tuple(kernel), stride, dilation, begins, ends, out, padding.value)


def _same(
    small: Shape, large: Shape, kernel: Sequence[int], stride: Shape, dilation: Shape, more_at_end: bool
) -> Shape:
    """Return the pads of SAME: what the windows take beyond the map, half of it before the map."""
    begins, ends = [], []
    for n, m, k, s, d in zip(small, large, kernel, stride, dilation, strict=True):
        total = max((n - 1) * s + (k - 1) * d + 1 - m, 0)
        less, more = total // 2, total - total // 2
        begins.append(less if more_at_end else more)
        ends.append(more if more_at_end else less)
    return (*begins, *ends)


def set_pair(settings: Any, name: str, pair: Shape, stem: str = "", default: int | None = None) -> None:
    """Set one number where both are the same, else ``stem_h`` and ``stem_w``; nothing where it is the default."""
    if pair == (default, default):
        return
    if pair[0] != pair[1]:
        setattr(settings, f"{stem or name}_h", pair[0])
        setattr(settings, f"{stem or name}_w", pair[1])
    elif hasattr(getattr(settings, name), "append"):
        getattr(settings, name).append(pair[0])
    else:
        setattr(settings, name, pair[0])
