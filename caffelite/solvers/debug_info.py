"""``debug_info``: the size of every blob and gradient, in the lines of Caffe's log.

What is printed is the mean of the absolute values. Caffe 1.0 has the lines of the update in its source, and does not
print them any more. There are no lines of Split layers, which are not there.

Source: Caffe's ``net.cpp``.
"""

from collections.abc import Sequence

import numpy as np

from caffelite.net import Net
from caffelite.schema.messages import ParamSpec
from caffelite.solvers.logs import DebugLine, number


def forward(net: Net) -> list[DebugLine]:
    """Return the lines of the last forward pass of a net that keeps its blobs."""
    lines = []
    for node in net.graph.nodes:
        start = f"    [Forward] Layer {node.name}"
        for blob in map(net.plan.blob, node.tops):
            lines.append(DebugLine("net.cpp:591", f"{start}, top blob {blob.name} data: {_size(blob.data)}"))
        for name, blob in zip(_names(node.layer.specs(), len(node.layer.blobs)), node.layer.blobs, strict=True):
            lines.append(DebugLine("net.cpp:603", f"{start}, param blob {name} data: {_size(blob.data)}"))
    return lines


def backward(net: Net) -> list[DebugLine]:
    """Run a net that keeps its blobs backward; return the lines."""
    lines = []
    for seed in net.plan.seeds.values():
        seed()
    for position, unit in reversed([*enumerate(net.plan.units)]):
        net.backward_unit(position)
        node = unit.first
        if not node.backward:
            continue
        start = f"    [Backward] Layer {node.name}"
        # A blob that is written in place has one gradient: it is looked at before the next layer writes it.
        for blob in net.plan.bottoms(unit):
            if blob.diff is not None:
                lines.append(DebugLine("net.cpp:619", f"{start}, bottom blob {blob.name} diff: {_size(blob.diff)}"))
        for j, blob in enumerate(node.layer.blobs):
            if blob.diff is not None:
                lines.append(DebugLine("net.cpp:630", f"{start}, param blob {j} diff: {_size(blob.diff)}"))
    data, diff = (array.astype(np.float64) for array in (net.data, net.diff))
    ones, twos = (", ".join(number(float(np.linalg.norm(a, order))) for a in (data, diff)) for order in (1, 2))
    text = f"    [Backward] All net params (data, diff): L1 norm = ({ones}); L2 norm = ({twos})"
    return [*lines, DebugLine("net.cpp:719", text, "E")]


def update(net: Net) -> list[DebugLine]:
    """Return the lines of an update that has been made: parameters as they were before it, and what was subtracted."""
    lines = []
    for own in net.learnable:
        if own.blob.diff is not None:
            layer, _, index = own.names[0].rpartition("/")
            before, step = _size(own.blob.data + own.blob.diff), _size(own.blob.diff)
            text = f"    [Update] Layer {layer}, param {own.share_name or index} data: {before}; diff: {step}"
            lines.append(DebugLine("net.cpp:647", text))
    return lines


def _names(specs: Sequence[ParamSpec], count: int) -> list[str]:
    """Return what Caffe calls the parameters of a layer: by ``param { name }``, else by number."""
    names = [spec.name for spec in specs] + [""] * count
    return [name or str(j) for j, name in enumerate(names[:count])]


def _size(array: np.ndarray) -> str:
    return number(np.abs(array).mean(dtype=np.float64)) if array.size else "nan"
