"""Windows and sizes as Caffe has them: pooling, Interp, Upsample, Reorg."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class WidePadMaxPool2d(nn.Module):
    """MAX pooling with a pad of more than half the window, which nn.MaxPool2d does not take."""

    def __init__(self, kernel_size: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding

    def forward(self, x: Tensor) -> Tensor:
        pads = caffe_pads(x, self.kernel_size, self.stride, self.padding)
        return F.max_pool2d(F.pad(x, pads, value=-torch.inf), self.kernel_size, self.stride)


class WidePadAvgPool2d(nn.Module):
    """AVE pooling with a pad of more than half the window, which nn.AvgPool2d does not take."""

    def __init__(self, kernel_size: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding

    def forward(self, x: Tensor) -> Tensor:
        pads = caffe_pads(x, self.kernel_size, self.stride, self.padding)
        # What counts in a window: the map and the padding that was asked for.
        area = F.pad(x.new_ones(1, 1, *x.shape[2:]), [p for q in self.padding[::-1] for p in (q, q)], value=1.0)
        rest = [max(pads[i] - self.padding[1 - i // 2], 0) if i % 2 else 0 for i in range(4)]
        count = F.avg_pool2d(F.pad(area, rest), self.kernel_size, self.stride)
        total = F.avg_pool2d(F.pad(x, pads), self.kernel_size, self.stride)
        return total / count[:, :, : total.shape[2], : total.shape[3]]


def caffe_pads(x: Tensor, kernel_size: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]) -> list[int]:
    """Return the padding left, right, above and below of Caffe's windows: their number is rounded up."""
    pads: list[int] = []
    for i in (1, 0):
        size, k, s, p = x.shape[2 + i], kernel_size[i], stride[i], padding[i]
        windows = -((size + 2 * p - k) // -s) + 1
        if any(padding) and (windows - 1) * s >= size + p:
            windows -= 1
        pads += [p, (windows - 1) * s + k - size - p]
    return pads


def spatial_pyramid(x: Tensor, levels: int, average: bool) -> Tensor:
    """Pool the whole map into 1, 4, 16 … windows; join the levels."""
    parts = []
    for bins in (2**level for level in range(levels)):
        height, width = (-(size // -bins) for size in x.shape[2:])
        padding = ((height * bins - x.shape[2] + 1) // 2, (width * bins - x.shape[3] + 1) // 2)
        pads = caffe_pads(x, (height, width), (height, width), padding)
        if average:
            part = F.avg_pool2d(F.pad(x, pads), (height, width))
        else:
            part = F.max_pool2d(F.pad(x, pads, value=-torch.inf), (height, width))
        parts.append(part.flatten(1))
    return torch.cat(parts, 1)


def interp(
    x: Tensor, size: tuple[int, int] | None = None, shrink: int = 1, zoom: int = 1, pads: tuple[int, int] = (0, 0)
) -> Tensor:
    """Resize a map so that its corners stay where they are; ``pads`` cut off so much at either end first."""
    begin, end = -pads[0], -pads[1]
    x = x[..., begin : x.shape[-2] - end, begin : x.shape[-1] - end]
    if size is None:
        shrunk = [(n - 1) // shrink + 1 for n in x.shape[-2:]]
        size = ((shrunk[0] - 1) * zoom + 1, (shrunk[1] - 1) * zoom + 1)
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


def unpool(x: Tensor, places: Tensor, height: int, width: int) -> Tensor:
    """Put each value at its place of a map of zeros."""
    maps = x.new_zeros(*x.shape[:-2], height * width)
    maps = maps.scatter(-1, places.long().flatten(-2), x.flatten(-2))
    return maps.reshape(*x.shape[:-2], height, width)


def reorg(x: Tensor, stride: int, reverse: bool = False) -> Tensor:
    """Move values between the places of a map and its channels, in Darknet's order."""
    images, channels, height, width = x.shape
    deep = channels // stride**2
    if reverse:
        x = x.reshape(images, stride, stride, deep, height, width).permute(0, 3, 4, 1, 5, 2)
        return x.reshape(images, deep, height * stride, width * stride)
    x = x.reshape(images, deep, height, stride, width, stride).permute(0, 3, 5, 1, 2, 4)
    return x.reshape(images, channels * stride**2, height // stride, width // stride)
