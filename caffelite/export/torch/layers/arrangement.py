"""Layers that arrange, join, cut, combine and choose."""

from collections.abc import Sequence

from caffelite.export.torch.layers import refuses, writes
from caffelite.export.torch.text import ModuleText, number
from caffelite.net.graph import Node

_PROD, _SUM, _MAX = 0, 1, 2
_REDUCED = {1: "sum", 2: "abs().sum", 3: "square().sum", 4: "mean"}


@writes("Concat")
def _concat(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    p = node.layer.param.concat_param
    axis = node.layer.axis(p.concat_dim if p.HasField("concat_dim") else p.axis, node.bottoms[0].shape)
    return [f"torch.cat(({', '.join(x)}), {axis})"] if len(x) > 1 else x


@writes("Slice")
def _slice(m: ModuleText, node: Node, x: list[str]) -> str | Sequence[str]:
    p = node.layer.param.slice_param
    axis = node.layer.axis(p.slice_dim if p.HasField("slice_dim") else p.axis, node.bottoms[0].shape)
    if len(node.tops) == 1:
        return x
    return f"{x[0]}.tensor_split({tuple(p.slice_point) or len(node.tops)}, {axis})"


@writes("Eltwise")
def _eltwise(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    p = node.layer.param.eltwise_param
    if p.operation == _MAX:
        y = x[0]
        for other in x[1:]:
            y = f"torch.maximum({y}, {other})"
        return [y]
    if p.operation == _PROD:
        return [" * ".join(x)]
    terms = ""
    for name, c in zip(x, list(p.coeff) or [1.0] * len(x), strict=True):
        sign = "-" if c < 0 else "+"
        term = name if abs(c) == 1 else f"{number(abs(c))} * {name}"
        terms += f" {sign} {term}" if terms else f"{sign.strip('+')}{term}"
    return [terms]


@writes("Flatten")
def _flatten(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    p, shape = node.layer.param.flatten_param, node.bottoms[0].shape
    first, last = node.layer.axis(p.axis, shape), node.layer.axis(p.end_axis, shape)
    return [f"{x[0]}.flatten({first})" if last == len(shape) - 1 else f"{x[0]}.flatten({first}, {last})"]


@writes("Reshape")
def _reshape(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    """Reshape as the file says it: what is copied from the bottom is read when it runs."""
    p, axes = node.layer.param.reshape_param, len(node.bottoms[0].shape)
    first = p.axis if p.axis >= 0 else axes + p.axis + 1
    last = axes if p.num_axes == -1 else first + p.num_axes
    dims = [f"{x[0]}.shape[{i}]" for i in range(first)]
    dims += [str(n) if n else f"{x[0]}.shape[{first + i}]" for i, n in enumerate(p.shape.dim)]
    dims += [f"{x[0]}.shape[{i}]" for i in range(last, axes)]
    return [f"{x[0]}.reshape({', '.join(dims) or '()'})"]


@writes("Permute", "Transpose")
def _permute(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    param = node.layer.param
    order = list(param.permute_param.order if param.type == "Permute" else param.transpose_param.dim)
    order += [i for i in range(len(node.bottoms[0].shape)) if i not in order]
    return [f"{x[0]}.permute({', '.join(map(str, order))})"]


@writes("Crop")
def _crop(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    p, axes = node.layer.param.crop_param, len(node.bottoms[0].shape)
    first = node.layer.axis(p.axis, node.bottoms[0].shape)
    offsets = list(p.offset) or [0]
    offsets = offsets * (axes - first) if len(offsets) == 1 else offsets
    parts = [":"] * first
    for axis, offset in zip(range(first, axes), offsets, strict=True):
        size = f"{x[1]}.shape[{axis}]"
        parts.append(f"{offset} : {offset} + {size}" if offset else f": {size}")
    return [f"{x[0]}[{', '.join(parts)}]"]


@writes("Tile")
def _tile(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    p, axes = node.layer.param.tile_param, len(node.bottoms[0].shape)
    axis = node.layer.axis(p.axis, node.bottoms[0].shape)
    return [f"{x[0]}.repeat({', '.join(str(p.tiles if i == axis else 1) for i in range(axes))})"]


@writes("Reduction")
def _reduction(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    p = node.layer.param.reduction_param
    axis = node.layer.axis(p.axis, node.bottoms[0].shape)
    y = f"{x[0]}.flatten({axis}).{_REDUCED[p.operation]}(-1)"
    return [y if p.coeff == 1 else f"{number(p.coeff)} * {y}"]


@writes("ArgMax")
def _argmax(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    """The places of the largest values, as numbers of the net's type; of equal values any."""
    p = node.layer.param.argmax_param
    if p.HasField("axis"):
        axis = node.layer.axis(p.axis, node.bottoms[0].shape)
        if p.top_k == 1 and not p.out_max_val:
            return [f"{x[0]}.argmax({axis}, keepdim=True).to({x[0]}.dtype)"]
        found = f"{x[0]}.topk({p.top_k}, {axis})"
        return [f"{found}.values" if p.out_max_val else f"{found}.indices.to({x[0]}.dtype)"]
    rows = f"{x[0]}.flatten(1).unsqueeze(1).topk({p.top_k})"
    places = f"{rows}.indices.to({x[0]}.dtype)"
    return [f"torch.cat(({places}, {rows}.values), 1)" if p.out_max_val else places]


@writes("ShuffleChannel")
def _shuffle(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    return [f"{m.module(node, f'nn.ChannelShuffle({node.layer.param.shuffle_channel_param.group})')}({x[0]})"]


@writes("Reorg")
def _reorg(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    p = node.layer.param.reorg_param
    return [f"{m.form('reorg')}({x[0]}, {p.stride}{', reverse=True' if p.reverse else ''})"]


@writes("Flip", "Reverse")
def _flip(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    param = node.layer.param
    if param.type == "Reverse":
        return [f"{x[0]}.flip({node.layer.axis(param.reverse_param.axis, node.bottoms[0].shape)})"]
    axes = [axis for axis, on in ((2, param.flip_param.flip_height), (3, param.flip_param.flip_width)) if on]
    return [f"{x[0]}.flip({tuple(axes)})"] if axes else x


@writes("BatchReindex")
def _batch_reindex(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    return [f"{x[0]}[{x[1]}.flatten().long()]"]


@writes("Filter")
def _filter(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    return [f"{data}[{x[-1]}.flatten() != 0]" for data in x[:-1]]


@writes("ChannelScale")
def _channel_scale(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    if len(node.tops) > 1:
        node.layer.error("its second top has no form in PyTorch", "top", 1)
    return [f"{x[0]} * {x[1]}.reshape({x[0]}.shape[0], 1, *{x[0]}.shape[2:])"]


@writes("PriorBox")
def _prior_box(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    """Boxes that are made of the sizes of maps and images alone: kept as they are for those of the file."""
    return [m.buffer(node, m.value(node.tops[0]))]


refuses("the code of a Python layer cannot be written again", "Python")
refuses("boxes that are picked inside a net have no form in PyTorch", "DetectionEvaluate")
