"""Layers that find regions, and that pool them."""

from collections.abc import Sequence

import numpy as np

from caffelite.export.torch.layers import refuses, writes
from caffelite.export.torch.text import ModuleText, number
from caffelite.layers.forks.detection.proposal import Proposal
from caffelite.layers.forks.detection.psroi_pooling import PSROIPooling
from caffelite.layers.forks.detection.roi_pooling import ROIPooling
from caffelite.net.graph import Node


@writes("Proposal")
def _proposal(m: ModuleText, node: Node, x: list[str]) -> str:
    layer = node.layer
    assert isinstance(layer, Proposal)
    if len(node.tops) > 1 and len(node.tops[1].shape) > 1:
        layer.error("its second top has no form in PyTorch", "top", 1)
    anchors = m.buffer(node, layer.anchors.astype(np.float32))
    settings = [number(layer.stride), f"looked={layer.looked}", f"kept={layer.kept}"]
    settings += [f"threshold={number(layer.threshold)}", f"least={number(layer.min_size)}"]
    settings += ["score_of_small=-torch.inf"] if layer.drops_small else []
    made = f"{m.form('proposals')}({x[0]}, {x[1]}, {x[2]}, {anchors}, {', '.join(settings)})"
    return made if len(node.tops) > 1 else f"{made}[0]"


@writes("ROIPooling")
def _roi_pooling(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    layer = node.layer
    assert isinstance(layer, ROIPooling)
    settings = f"{layer.pooled}, scale={number(layer.scale)}{f', pad={number(layer.pad)}' if layer.pad else ''}"
    return [f"{m.form('roi_pool')}({x[0]}, {x[1]}, {settings})"]


@writes("PSROIPooling")
def _psroi_pooling(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    layer = node.layer
    assert isinstance(layer, PSROIPooling)
    return [f"{m.form('psroi_pool')}({x[0]}, {x[1]}, {layer.pooled[0]}, scale={number(layer.scale)})"]


refuses(
    "it reads between the values of a map at places of its own, and nothing in PyTorch itself does so as it does",
    "DeformableConvolution",
    "DeformablePSROIPooling",
    "PSROIAlign",
    "ROIAlign",
)
