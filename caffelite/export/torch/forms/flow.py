"""FlowNet's layers: Correlation, FlowWarp, Resample."""

import torch
import torch.nn.functional as F
from torch import Tensor


def correlation(
    a: Tensor,
    b: Tensor,
    down: range,
    across: range,
    padding: tuple[int, int],
    margin: tuple[int, int],
    kernel_size: int = 1,
    stride: int = 1,
    subtract: bool = False,
) -> Tensor:
    """For each displacement between the maps, the mean of products (or of ``|a - b|``) over a neighbourhood."""
    (high, wide), (top, left) = padding, margin
    # Correlation1D may look further to the left than the padding is wide.
    beyond = max(0, -min(across) - left)
    a = F.pad(a, (wide, wide, high, high))
    b = F.pad(b, (wide + beyond, wide, high, high))
    height, width = a.shape[2] - 2 * top, a.shape[3] - 2 * left
    a = a[:, :, top : top + height, left : left + width]
    maps = []
    for i in (top + v for v in down):
        for j in (left + beyond + u for u in across):
            other = b[:, :, i : i + height, j : j + width]
            maps.append(((a - other).abs() if subtract else a * other).mean(1))
    return F.avg_pool2d(torch.stack(maps, 1), kernel_size, stride)


def flow_warp(x: Tensor, flow: Tensor, fill: float = 0.0) -> Tensor:
    """Fetch each pixel from where the flow says it came from, between four pixels; from outside comes ``fill``."""
    channels, height, width = x.shape[1:]
    across = torch.arange(width, device=x.device) + flow[:, 0]
    down = torch.arange(height, device=x.device)[:, None] + flow[:, 1]
    inside = (across >= 0) & (across < width) & (down >= 0) & (down < height)
    across, down = (place.where(inside, torch.zeros_like(place)).unsqueeze(1) for place in (across, down))
    left, top = across.floor(), down.floor()
    right, bottom = (left + 1).clamp(max=width - 1), (top + 1).clamp(max=height - 1)

    def pixels(row: Tensor, column: Tensor) -> Tensor:
        places = (row * width + column).long().flatten(2).expand(-1, channels, -1)
        return x.flatten(2).gather(2, places).reshape(x.shape)

    b, d = across - left, down - top
    upper = pixels(top, left) * (1 - b) + pixels(top, right) * b
    lower = pixels(bottom, left) * (1 - b) + pixels(bottom, right) * b
    return (upper * (1 - d) + lower * d).masked_fill(~inside.unsqueeze(1), fill)


def resample(x: Tensor, height: int, width: int, filter: str = "linear", antialias: bool = True) -> Tensor:
    """Resize maps as FlowNet2 does: the shift of one axis is computed with the scale of the other one."""
    scales = [x.shape[-2] / height, x.shape[-1] / width]
    axes = []
    for size, number, scale, other in zip(x.shape[-2:], (height, width), scales, scales[::-1], strict=True):
        at = torch.arange(number, dtype=torch.float32, device=x.device) * scale + other / 2 - 0.5
        if filter == "nearest":
            axes.append((at + at.sign() * 0.5).trunc().clamp(0, size - 1).long())
            continue
        away = (at[:, None] - torch.arange(size, device=x.device)).abs()
        if antialias and max(scales) > 1:
            away = away / scale
        weights = (1 - away).clamp(min=0)
        if filter == "cubic":
            inner, outer = away**2 * (1.5 * away - 2.5) + 1, away * (away * (-0.5 * away + 2.5) - 4) + 2
            weights = torch.where(away <= 1, inner, torch.where(away < 2, outer, 0.0))
        total = weights.sum(1, keepdim=True)
        axes.append((weights / total.where(total != 0, torch.ones_like(total))).to(x.dtype))
    down, across = axes
    return x[..., down, :][..., across] if filter == "nearest" else down @ x @ across.T
