"""Layers that scale: BatchNorm, Scale, Bias, LRN, MVN, and their like in forks."""

from collections.abc import Sequence

import numpy as np

from caffelite.export.torch.layers import writes
from caffelite.export.torch.text import ModuleText, number
from caffelite.layers.batchnorm import BatchNorm
from caffelite.layers.contract.blobs import Blob
from caffelite.layers.forks.normalization.bn import BN
from caffelite.layers.forks.normalization.normalize import Normalize
from caffelite.layers.shared.broadcast import Broadcast
from caffelite.net.graph import Node

_ACROSS = 0
_WITHIN = "LocalResponseNormWithinChannel"


@writes("BatchNorm")
def _batch_norm(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    """BatchNorm with the stored statistics and the share of the new ones; a learned Scale behind it is a part of it."""
    layer = node.layer
    assert isinstance(layer, BatchNorm)
    mean, variance, factor = (blob.data for blob in layer.blobs[:3])
    scale = _scale_behind(node) if not layer.scales else None
    affine = scale.layer.blobs if scale is not None else layer.blobs[3:]
    simple = layer.fraction == 1
    settings = [str(mean.size), f"eps={number(layer.eps)}"]
    settings += ["momentum=None" if simple else f"momentum={_share(layer.fraction)}"]
    settings += [] if affine else ["affine=False"]
    if not layer.uses_stored:
        return [_by_batch(m, node, settings, affine, x, scale)]
    seen = float(factor[0])
    for sums in (mean, variance):
        sums[...] = sums / np.float64(seen) if seen else 0
    factor[...] = 1
    m.net.changed()
    made = m.module(
        node,
        f"{_class(node)}({', '.join(settings)})",
        scale,
        **dict(zip(("weight", "bias"), affine, strict=False)),
        running_mean=mean,
        running_var=variance,
        num_batches_tracked=np.array(round(seen) if simple else 0, np.int64),
    )
    return [f"{made}({x[0]})"]


def _share(kept: float) -> str:
    """Return the share of new statistics, from what is kept of the old ones, in as few digits as that had."""
    return number(1 - float(number(kept)))


def _by_batch(
    m: ModuleText, node: Node, settings: Sequence[str], affine: Sequence[Blob], x: list[str], also: Node | None = None
) -> str:
    """Return what normalises by the statistics of each batch, always."""
    text = ", ".join([*settings, "track_running_stats=False"])
    arrays = {name: blob.data.reshape(-1) for name, blob in zip(("weight", "bias"), affine, strict=False)}
    return f"{m.module(node, f'{_class(node)}({text})', also, **arrays)}({x[0]})"


def _scale_behind(node: Node) -> Node | None:
    """Return the Scale that alone reads what a layer makes, with a factor and an offset a channel, right behind it."""
    readers = node.tops[0].readers
    if len(readers) != 1:
        return None
    reader = readers[0][0]
    p = reader.layer.param
    plain = p.type == "Scale" and len(p.bottom) == 1 and p.scale_param.axis == 1 == p.scale_param.num_axes
    return reader if plain and len(reader.layer.blobs) == 2 and reader.index == node.index + 1 else None


def _class(node: Node) -> str:
    axes = len(node.bottoms[0].shape)
    if not 2 <= axes <= 5:
        node.layer.error(f"PyTorch normalises batches of 2 to 5 axes, not of {axes}", "bottom", 0)
    return f"nn.BatchNorm{max(axes - 2, 1)}d"


@writes("BN")
def _bn(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    """The batch normalization of older forks: with statistics, or SegNet's, worked into its two blobs."""
    layer = node.layer
    assert isinstance(layer, BN)
    if len(node.tops) > 1:
        layer.error("its tops for mean and variance have no form in PyTorch", "top", 1)
    arrays = [blob.data.reshape(-1) for blob in layer.blobs]
    channels = arrays[0].size
    if layer.only_scales:
        made = m.module(node, f"{m.form('Scale')}(({channels},))", weight=arrays[0], bias=arrays[1])
        return [f"{made}({x[0]})"]
    settings = [str(channels), f"eps={number(layer.eps)}"]
    if not layer.stored:
        return [_by_batch(m, node, settings, layer.blobs[:2], x)]
    names = ("weight", "bias", "running_mean", "running_var")
    made = m.module(
        node,
        f"{_class(node)}({', '.join([*settings, f'momentum={_share(layer.keep)}'])})",
        **dict(zip(names, arrays, strict=True)),
        num_batches_tracked=np.array(0, np.int64),
    )
    return [f"{made}({x[0]})"]


@writes("Scale", "Bias")
def _scale(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    """A module where it is learned, else two tensors multiplied or added."""
    layer, shape = node.layer, node.bottoms[0].shape
    assert isinstance(layer, Broadcast)
    is_scale = layer.param.type == "Scale"
    axis = layer.axis((layer.param.scale_param if is_scale else layer.param.bias_param).axis, shape) if shape else 0
    y = x[0]
    if not layer.learned:
        small = node.bottoms[1].shape
        behind = len(shape) - axis - len(small)
        other = f"{x[1]}[{', '.join([':'] * len(small) + ['None'] * behind)}]" if behind and small else x[1]
        y = f"{y} {'*' if is_scale else '+'} {other}"
    if not layer.blobs:
        return [y]
    names = [*(["weight"] if is_scale and layer.learned else []), "bias"]
    parameters = dict(zip(names, layer.blobs, strict=False))
    settings = [str(tuple(layer.blobs[0].shape)), *([f"axis={axis}"] if axis != 1 else [])]
    settings += [f"{key}=False" for key, name in (("factor", "weight"), ("bias", "bias")) if name not in parameters]
    made = m.module(node, f"{m.form('Scale')}({', '.join(settings)})", **parameters)
    return [f"{made}({y})"]


@writes("EltwiseAffine")
def _eltwise_affine(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    slope, bias = node.layer.blobs
    made = m.module(node, f"{m.form('Scale')}({tuple(slope.shape)})", weight=slope, bias=bias)
    return [f"{made}({x[0]})"]


@writes("LRN")
def _lrn(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    p = node.layer.param.lrn_param
    settings = f"{p.local_size}, alpha={number(p.alpha)}, beta={number(p.beta)}"
    if p.norm_region == _ACROSS:
        return [f"{m.module(node, f'nn.LocalResponseNorm({settings}, k={number(p.k)})')}({x[0]})"]
    return [f"{m.module(node, f'{m.form(_WITHIN)}({settings})')}({x[0]})"]


@writes("MVN")
def _mvn(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    p, axes = node.layer.param.mvn_param, len(node.bottoms[0].shape)
    settings = f"{1 if p.across_channels else 2}, {p.normalize_variance}, {number(p.eps)}"
    more = f"[{', '.join(['...'] + ['None'] * (4 - axes))}]" if axes < 4 else ""
    made = m.module(node, f"{m.form('MVN')}({settings})")
    return [f"{made}({x[0]}){more}"]


@writes("Normalize")
def _normalize(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    layer = node.layer
    assert isinstance(layer, Normalize)
    if layer.plain:
        layer.error("normalize_param of happynear's fork has no form in PyTorch here", "normalize_param")
    p, scale = layer.settings, layer.blobs[0].data.reshape(-1)
    settings = f"{scale.size}, across_spatial={p.across_spatial}, eps={number(p.eps)}"
    made = m.module(node, f"{m.form('Normalize')}({settings})", weight=scale)
    return [f"{made}({x[0]})"]


@writes("Axpy")
def _axpy(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    behind = len(node.bottoms[1].shape) - 2
    factor = x[0] if len(node.bottoms[0].shape) == behind + 2 else f"{x[0]}[:, :{', None' * behind}]"
    return [f"{factor} * {x[1]} + {x[2]}"]
