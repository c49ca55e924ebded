"""Scale, Normalize, MVN, and LRN within channels."""

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
