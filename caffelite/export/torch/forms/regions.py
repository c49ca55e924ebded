"""ROIPooling and PSROIPooling."""

import torch
from torch import Tensor


def roi_pool(x: Tensor, regions: Tensor, pooled: tuple[int, int], scale: float, pad: float = 0.0) -> Tensor:
    """The largest value of each bin of each region (image, left, top, right, bottom); 0 where a bin is empty."""
    image, left, top, right, bottom = regions.reshape(-1, 5).unbind(1)
    bins = []
    for low, high, number, size in ((top, bottom, pooled[0], x.shape[2]), (left, right, pooled[1], x.shape[3])):
        more = (high - low + 1) * pad
        first, last = round_as_c((low - more) * scale), round_as_c((high + more) * scale)
        length = (last - first + 1).clamp(min=1) / number
        bins.append(bin_edges(torch.zeros_like(length), length, first, number, size))
    nothing = x.new_zeros(x.shape[1])
    values = [
        x[n, :, i:j, k:m].flatten(1).max(1).values if i < j and k < m else nothing
        for n, rows, columns in zip(image.long().tolist(), *bins, strict=True)
        for i, j in rows
        for k, m in columns
    ]
    return torch.stack(values).reshape(-1, *pooled, x.shape[1]).permute(0, 3, 1, 2)


def psroi_pool(x: Tensor, regions: Tensor, group: int, scale: float) -> Tensor:
    """The mean of each bin of each region, bin (h, w) in channels of its own; 0 where a bin is empty."""
    image, left, top, right, bottom = regions.reshape(-1, 5).unbind(1)
    bins = []
    for low, high, size in ((top, bottom, x.shape[2]), (left, right, x.shape[3])):
        first, last = round_as_c(low) * scale, (round_as_c(high) + 1) * scale
        length = (last - first).clamp(min=0.1) / group
        bins.append(bin_edges(first, length, torch.zeros_like(length), group, size))
    x = x.reshape(x.shape[0], -1, group, group, *x.shape[2:])
    nothing = x.new_zeros(x.shape[1])
    values = [
        x[n, :, h, w, i:j, k:m].mean((1, 2)) if i < j and k < m else nothing
        for n, rows, columns in zip(image.long().tolist(), *bins, strict=True)
        for h, (i, j) in enumerate(rows)
        for w, (k, m) in enumerate(columns)
    ]
    return torch.stack(values).reshape(-1, group, group, x.shape[1]).permute(0, 3, 1, 2)


def bin_edges(start: Tensor, length: Tensor, offset: Tensor, number: int, size: int) -> list[list[list[int]]]:
    """Return where the bins of each region begin and end along an axis; ``offset`` is added after rounding."""
    edges = torch.arange(number + 1, dtype=length.dtype, device=length.device) * length[:, None] + start[:, None]
    both = torch.stack([edges[:, :-1].floor(), edges[:, 1:].ceil()], 2) + offset[:, None, None]
    return both.clamp(0, size).long().tolist()


def round_as_c(x: Tensor) -> Tensor:
    """Round to whole numbers, halves away from zero."""
    whole = x.trunc()
    return whole + x.sign() * ((x - whole).abs() >= 0.5)
