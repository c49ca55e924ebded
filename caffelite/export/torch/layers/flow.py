"""Layers of optical flow: Correlation, FlowWarp, Resample, and what stands around them in FlowNet2."""

from collections.abc import Sequence

import numpy as np

from caffelite.export.torch.layers import refuses, writes
from caffelite.export.torch.text import ModuleText, number
from caffelite.layers.forks.flow.accum import Accum
from caffelite.layers.forks.flow.correlation import Correlation
from caffelite.layers.forks.flow.flow_warp import NOT_A_NUMBER
from caffelite.layers.forks.flow.mean import ADD, Mean
from caffelite.layers.forks.flow.resample import CUBIC, NEAREST
from caffelite.net.graph import Node


@writes("Correlation", "Correlation1D")
def _correlation(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    layer = node.layer
    assert isinstance(layer, Correlation)
    p = layer.settings
    moves = [f"range({along[0]}, {along[-1] + 1}, {p.stride_2})" for along in layer.displacements()]
    settings = [*moves, *map(str, layer.margins())]
    settings += [f"kernel_size={p.kernel_size}"] if p.kernel_size > 1 else []
    settings += [f"stride={p.stride_1}"] if p.stride_1 > 1 else []
    settings += ["subtract=True"] if p.correlation_type else []
    return [f"{m.form('correlation')}({x[0]}, {x[1]}, {', '.join(settings)})"]


@writes("FlowWarp")
def _flow_warp(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    fill = ", fill=torch.nan" if node.layer.param.flow_warp_param.fill_value == NOT_A_NUMBER else ""
    return [f"{m.form('flow_warp')}({x[0]}, {x[1]}{fill})"]


@writes("Resample")
def _resample(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    p = node.layer.param.resample_param
    settings = [f"*{x[1]}.shape[-2:]" if len(x) > 1 else f"{p.height}, {p.width}"]
    settings += {NEAREST: ['"nearest"'], CUBIC: ['"cubic"']}.get(p.type, [])
    settings += [] if p.antialias or p.type == NEAREST else ["antialias=False"]
    return [f"{m.form('resample')}({x[0]}, {', '.join(settings)})"]


@writes("ChannelNorm")
def _channel_norm(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    return [f"torch.linalg.vector_norm({x[0]}, dim=1, keepdim=True)"]


@writes("Mean")
def _mean(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    """The bottoms times a number, and the mean, which is repeated over the channels."""
    layer = node.layer
    assert isinstance(layer, Mean)
    p = layer.settings
    sign = 1 if p.operation == ADD else -1
    mean = m.buffer(node, (layer.mean * (sign * p.mean_scale * p.output_scale)).astype(np.float32))
    factor = p.input_scale * p.output_scale
    tops = []
    for bottom, version in zip(x, node.bottoms, strict=True):
        times = version.shape[1] // len(layer.mean) if len(layer.mean) > 1 else 1
        scaled = bottom if factor == 1 else f"{number(factor)} * {bottom}"
        tops.append(f"{scaled} + {mean}{f'.repeat({times}, 1, 1)' if times > 1 else ''}")
    return tops


@writes("Accum")
def _accum(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    """The bottoms in the size of the last one, or in that which the file gives, one behind the other."""
    layer = node.layer
    assert isinstance(layer, Accum)
    size = f"{x[-1]}.shape[-2:]" if layer.settings.have_reference else str(tuple(node.tops[0].shape[2:]))
    parts = [f"{m.form('interp')}({bottom}, size={size})" for bottom in x[: layer.joined]]
    return [f"torch.cat(({', '.join(parts)}), 1)" if len(parts) > 1 else parts[0]]


refuses("a filter that leaves out what is NaN has no form in PyTorch here", "Downsample")
