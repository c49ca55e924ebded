"""Layers that make maps smaller and larger: Pooling, also of volumes, SPP, Interp, Upsample."""

from collections.abc import Sequence

from caffelite.export.torch.layers import writes
from caffelite.export.torch.text import ModuleText, axes_of
from caffelite.layers.forks.filters.pooling_3d import Volumes
from caffelite.layers.forks.segmentation.interp import Interp
from caffelite.layers.forks.segmentation.upsample import Upsample
from caffelite.layers.pooling import Pooling
from caffelite.net.graph import Node

_MAX, _AVE, _STOCHASTIC = 0, 1, 2
_CEIL = 0
_NEAREST = 3


@writes("Pooling")
def _pooling(m: ModuleText, node: Node, x: list[str]) -> str:
    """MaxPool2d or AvgPool2d: with ``ceil_mode`` their windows and divisors are Caffe's."""
    layer = node.layer
    assert isinstance(layer, Pooling)
    p, w = layer.settings, layer.windows(node.bottoms[0].shape)
    if p.pool == _STOCHASTIC:
        layer.error("PyTorch has no pooling that draws the element of a window", "pool")
    kind = "Avg" if layer.averages else "Max"
    if p.global_pooling and len(node.tops) == 1:
        return f"{m.module(node, f'nn.Adaptive{kind}Pool2d(1)')}({x[0]})"
    if p.global_pooling:
        layer.error("the places that pooling of the whole map takes values from have no form in PyTorch", "top", 1)
    ends = zip((w.out_h, w.out_w), layer.stride, node.bottoms[0].shape[2:], layer.pad, strict=True)
    if any((windows - 1) * stride >= size + pad for windows, stride, size, pad in ends):
        layer.error("its last window lies beyond the map, of which PyTorch makes nothing", "stride")
    rounds_up = p.ceil_mode if p.HasField("ceil_mode") else p.round_mode == _CEIL
    if any(2 * pad > kernel for pad, kernel in zip(layer.pad, layer.kernel, strict=True)):
        return _wide_pad(m, node, x[0], rounds_up)
    settings = [axes_of(layer.kernel), axes_of(layer.stride)]
    settings += [axes_of(layer.pad)] if any(layer.pad) else []
    settings += ["ceil_mode=True"] if rounds_up else []
    settings += ["count_include_pad=False"] if layer.averages and any(layer.pad) and not w.counts_padding else []
    settings += ["return_indices=True"] if len(node.tops) > 1 else []
    made = m.module(node, f"nn.{kind}Pool2d({', '.join(settings)})")
    return f"{made}({x[0]})"


def _wide_pad(m: ModuleText, node: Node, x: str, rounds_up: bool) -> str:
    layer = node.layer
    assert isinstance(layer, Pooling)
    if len(node.tops) > 1 or not rounds_up or layer.settings.pool not in (_MAX, _AVE):
        layer.error("a pad of more than half the window has no form in PyTorch for these settings", "pad")
    form = m.form("WidePadAvgPool2d" if layer.averages else "WidePadMaxPool2d")
    return f"{m.module(node, f'{form}({layer.kernel}, {layer.stride}, {layer.pad})')}({x})"


@writes("Pooling3D", "NdPooling")
def _volumes(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    layer, sizes = node.layer, node.bottoms[0].shape[2:]
    assert isinstance(layer, Volumes)
    kind = f"{'Avg' if layer.pool == _AVE else 'Max'}Pool{len(sizes)}d"
    if not layer.kernel:
        return [f"{m.module(node, f'nn.Adaptive{kind}(1)')}({x[0]})"]
    for size, windows, kernel, stride, pad in zip(
        sizes, node.tops[0].shape[2:], layer.kernel, layer.stride, layer.pad, strict=True
    ):
        if 2 * pad > kernel:
            layer.error("a pad of more than half the window has no form in PyTorch for volumes", "pad")
        rounded_up = -((size + 2 * pad - kernel) // -stride) + 1
        if windows != rounded_up - ((rounded_up - 1) * stride >= size + pad):
            layer.error("its last window begins in the padding or behind it, and PyTorch leaves it out", "stride")
    settings = [axes_of(layer.kernel), axes_of(layer.stride), *([axes_of(layer.pad)] if any(layer.pad) else [])]
    made = m.module(node, f"nn.{kind}({', '.join(settings)}, ceil_mode=True)")
    return [f"{made}({x[0]})"]


@writes("SPP")
def _spp(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    p = node.layer.param.spp_param
    if p.pool == _STOCHASTIC:
        node.layer.error("PyTorch has no pooling that draws the element of a window", "pool")
    return [f"{m.form('spatial_pyramid')}({x[0]}, {p.pyramid_height}, average={p.pool == _AVE})"]


@writes("Interp")
def _interp(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    layer = node.layer
    assert isinstance(layer, Interp)
    p = layer.settings
    if p.mode == _NEAREST:
        layer.error("PyTorch has no nearest values with corners that stay where they are", "mode")
    settings = []
    zoom, shrink = p.HasField("zoom_factor"), p.HasField("shrink_factor")
    if len(x) == 2:
        settings.append(f"size={x[1]}.shape[-2:]")
    elif zoom == shrink and p.HasField("height") and p.HasField("width"):
        settings.append(f"size=({p.height}, {p.width})")
    else:
        settings += [f"shrink={p.shrink_factor}"] if shrink else []
        settings += [f"zoom={p.zoom_factor}"] if zoom else []
    settings += [f"pads=({p.pad_beg}, {p.pad_end})"] if p.pad_beg or p.pad_end else []
    return [f"{m.form('interp')}({x[0]}, {', '.join(settings)})"]


@writes("Upsample")
def _upsample(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    layer = node.layer
    assert isinstance(layer, Upsample)
    if not layer.unpools:
        scale = axes_of([int(s) for s in layer.scale])
        return [f"{m.module(node, f'nn.Upsample(scale_factor={scale})')}({x[0]})"]
    if layer.size is not None:
        height, width = map(str, layer.size)
    else:
        height, width = (
            f"{scale} * {x[0]}.shape[{axis}]{' - 1' if pad else ''}"
            for axis, scale, pad in zip((-2, -1), layer.scale, layer.pad_out, strict=True)
        )
    return [f"{m.form('unpool')}({x[0]}, {x[1]}, {height}, {width})"]
