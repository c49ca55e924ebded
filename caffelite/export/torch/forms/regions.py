"""ROIPooling, PSROIPooling and Proposal."""

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
    # There may be no region.
    return torch.stack([nothing, *values])[1:].reshape(-1, *pooled, x.shape[1]).permute(0, 3, 1, 2)


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
    # There may be no region.
    return torch.stack([nothing, *values])[1:].reshape(-1, group, group, x.shape[1]).permute(0, 3, 1, 2)


def bin_edges(start: Tensor, length: Tensor, offset: Tensor, number: int, size: int) -> list[list[list[int]]]:
    """Return where the bins of each region begin and end along an axis; ``offset`` is added after rounding."""
    edges = torch.arange(number + 1, dtype=length.dtype, device=length.device) * length[:, None] + start[:, None]
    both = torch.stack([edges[:, :-1].floor(), edges[:, 1:].ceil()], 2) + offset[:, None, None]
    return both.clamp(0, size).long().tolist()


def round_as_c(x: Tensor) -> Tensor:
    """Round to whole numbers, halves away from zero."""
    whole = x.trunc()
    return whole + x.sign() * ((x - whole).abs() >= 0.5)


def proposals(
    scores: Tensor,
    offsets: Tensor,
    sizes: Tensor,
    anchors: Tensor,
    stride: float,
    looked: int,
    kept: int,
    threshold: float,
    least: float,
    score_of_small: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Return the best regions (image, left, top, right, bottom) that overlap no better one, and their scores."""
    across, down = (torch.arange(n, device=scores.device) * stride for n in (scores.shape[3], scores.shape[2]))
    down, across = torch.meshgrid(down, across, indexing="ij")
    places = (anchors + torch.stack([across, down, across, down], 2).unsqueeze(2)).reshape(-1, 4).to(scores.dtype)
    extent = places[:, 2:] - places[:, :2] + 1
    sizes = sizes.reshape(sizes.shape[0], -1).expand(scores.shape[0], -1)
    regions, best = [], []
    for n in range(scores.shape[0]):
        moves = offsets[n].permute(1, 2, 0).reshape(-1, 4)
        centre = moves[:, :2] * extent + (places[:, :2] + 0.5 * extent)
        reach = 0.5 * (moves[:, 2:].clamp(max=80).exp() * extent)
        limit = sizes[n, :2].flip(0) - 1
        boxes = torch.cat([(centre - reach).minimum(limit), (centre + reach).minimum(limit)], 1).clamp(min=0)
        score = scores[n, anchors.shape[0] :].permute(1, 2, 0).flatten()
        factors = sizes[n, [3, 2]] if sizes.shape[1] == 4 else sizes[n, 2]
        small = (boxes[:, 2:] - boxes[:, :2] + 1 < least * factors).any(1)
        score, order = score.masked_fill(small, score_of_small).sort(descending=True, stable=True)
        order = order[: min(looked, int((score > -torch.inf).sum()))]
        first = alone(boxes[order], threshold)[:kept]
        best.append(score[first])
        boxes = boxes[order[first]]
        regions.append(torch.cat([torch.full_like(boxes[:, :1], n), boxes], 1))
    return torch.cat(regions), torch.cat(best)


def alone(boxes: Tensor, threshold: float) -> Tensor:
    """Return the numbers of the boxes, which name their last pixel, that overlap none before them that is returned."""
    numbers, rest = [], torch.arange(boxes.shape[0], device=boxes.device)
    areas = (boxes[:, 2:] - boxes[:, :2] + 1).prod(1)
    while len(rest):
        first, rest = rest[0], rest[1:]
        numbers.append(first)
        shared = boxes[rest, 2:].minimum(boxes[first, 2:]) - boxes[rest, :2].maximum(boxes[first, :2]) + 1
        shared = shared.clamp(min=0).prod(1)
        rest = rest[shared / (areas[rest] + areas[first] - shared) <= threshold]
    return torch.stack(numbers) if numbers else rest
