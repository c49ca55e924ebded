"""What Caffe has and PyTorch has not, as it is written into the files that need it.

This file is never imported: the text of a class or function goes into the written file, with those that it names.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Scale(nn.Module):
    """A factor and an offset, learned, for the axes from ``axis`` on."""

    def __init__(self, shape: tuple[int, ...], axis: int = 1, factor: bool = True, bias: bool = True) -> None:
        super().__init__()
        self.axis = axis
        self.weight = nn.Parameter(torch.ones(shape)) if factor else None
        self.bias = nn.Parameter(torch.zeros(shape)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        if self.weight is not None:
            x = x * spread(self.weight, self.axis, x)
        return x if self.bias is None else x + spread(self.bias, self.axis, x)


def spread(small: Tensor, axis: int, x: Tensor) -> Tensor:
    """Put axes of one element behind those of a small tensor, so that its first is axis ``axis`` of x."""
    return small.reshape(small.shape + (1,) * (x.dim() - axis - small.dim()))


class Normalize(nn.Module):
    """Length one for each place, or for the whole image (``across_spatial``), times a learned scale."""

    def __init__(self, channels: int, across_spatial: bool, eps: float) -> None:
        super().__init__()
        self.across_spatial, self.eps = across_spatial, eps
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        axes = tuple(range(1, x.dim())) if self.across_spatial else (1,)
        norm = (x.square().sum(axes, keepdim=True) + self.eps).sqrt()
        return x / norm * self.weight.reshape((-1,) + (1,) * (x.dim() - 2))


class LocalResponseNormWithinChannel(nn.Module):
    """LRN over places instead of channels."""

    def __init__(self, size: int, alpha: float, beta: float) -> None:
        super().__init__()
        self.size, self.alpha, self.beta = size, alpha, beta

    def forward(self, x: Tensor) -> Tensor:
        mean = F.avg_pool2d(x.square(), self.size, 1, (self.size - 1) // 2)
        return x * (1 + self.alpha * mean) ** -self.beta


class MVN(nn.Module):
    """Mean 0, and deviation 1 where ``normalize_variance``, over all axes from ``axis`` on."""

    def __init__(self, axis: int, normalize_variance: bool, eps: float) -> None:
        super().__init__()
        self.axis, self.normalize_variance, self.eps = axis, normalize_variance, eps

    def forward(self, x: Tensor) -> Tensor:
        axes = tuple(range(self.axis, x.dim()))
        centred = x - x.mean(axes, keepdim=True)
        if not self.normalize_variance:
            return centred
        return centred / (centred.square().mean(axes, keepdim=True).sqrt() + self.eps)


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


class Embed(nn.Module):
    """A row of a table for each number, and an offset."""

    def __init__(self, rows: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(rows, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight[x.long()] + self.bias


class LSTM(nn.Module):
    """Caffe's LSTM: x is ``T × N × …``, cont ``T × N``, 0 where a sequence begins; gates in the order i, f, o, g.

    It begins anew with each call, as with a cont of 0 in the first step, unless it is given h and c.
    """

    def __init__(self, inputs: int, outputs: int, static: int = 0) -> None:
        super().__init__()
        self.weight_x = nn.Parameter(torch.zeros(4 * outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(4 * outputs))
        self.weight_static = nn.Parameter(torch.zeros(4 * outputs, static)) if static else None
        self.weight_h = nn.Parameter(torch.zeros(4 * outputs, outputs))

    def forward(
        self,
        x: Tensor,
        cont: Tensor,
        static: Tensor | None = None,
        h: Tensor | None = None,
        c: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        gates = F.linear(x.flatten(2), self.weight_x, self.bias)
        if static is not None and self.weight_static is not None:
            gates = gates + F.linear(static.flatten(1), self.weight_static)
        start = x.new_zeros(x.shape[1], self.weight_h.shape[1])
        # No gradient goes to the values that it begins with, as in Caffe.
        h = start if h is None else h[0].detach()
        c = start if c is None else c[0].detach()
        steps = []
        for t in range(x.shape[0]):
            goes_on = cont[t].unsqueeze(1)
            i, f, o, g = (gates[t] + F.linear(goes_on * h, self.weight_h)).chunk(4, 1)
            c = goes_on * f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            steps.append(h)
        return torch.stack(steps), h.unsqueeze(0), c.unsqueeze(0)


class RNN(nn.Module):
    """Caffe's RNN: ``h = tanh(Wx x + b + Ws static + Wh (cont h))``, ``y = tanh(Wo h + bo)``; see LSTM."""

    def __init__(self, inputs: int, outputs: int, static: int = 0) -> None:
        super().__init__()
        self.weight_x = nn.Parameter(torch.zeros(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.weight_static = nn.Parameter(torch.zeros(outputs, static)) if static else None
        self.weight_h = nn.Parameter(torch.zeros(outputs, outputs))
        self.weight_out = nn.Parameter(torch.zeros(outputs, outputs))
        self.bias_out = nn.Parameter(torch.zeros(outputs))

    def forward(
        self, x: Tensor, cont: Tensor, static: Tensor | None = None, h: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        sums = F.linear(x.flatten(2), self.weight_x, self.bias)
        if static is not None and self.weight_static is not None:
            sums = sums + F.linear(static.flatten(1), self.weight_static)
        h = x.new_zeros(x.shape[1], self.weight_h.shape[1]) if h is None else h[0].detach()
        steps = []
        for t in range(x.shape[0]):
            h = (sums[t] + F.linear(cont[t].unsqueeze(1) * h, self.weight_h)).tanh()
            steps.append(F.linear(h, self.weight_out, self.bias_out).tanh())
        return torch.stack(steps), h.unsqueeze(0)
