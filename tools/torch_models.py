"""The example nets once more in PyTorch, layer for layer, to be timed beside caffelite."""

from collections.abc import Callable

import torch
from torch import nn


class _Flatten(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)


def _max(size: int, stride: int) -> nn.Module:
    # Caffe rounds the size of a pooled map up.
    return nn.MaxPool2d(size, stride, ceil_mode=True)


def _ave(size: int, stride: int) -> nn.Module:
    return nn.AvgPool2d(size, stride, ceil_mode=True)


def _cifar10_bn() -> nn.Module:
    def norm(channels: int) -> nn.Module:
        return nn.BatchNorm2d(channels, affine=False, momentum=0.001)

    return nn.Sequential(
        nn.Conv2d(3, 32, 5, padding=2, bias=False),
        _max(3, 2),
        norm(32),
        nn.Sigmoid(),
        nn.Conv2d(32, 32, 5, padding=2, bias=False),
        norm(32),
        nn.Sigmoid(),
        _ave(3, 2),
        nn.Conv2d(32, 64, 5, padding=2, bias=False),
        norm(64),
        nn.Sigmoid(),
        _ave(3, 2),
        _Flatten(),
        nn.Linear(1024, 10),
    )


class _WithinChannel(nn.Module):
    """LRN with norm_region WITHIN_CHANNEL, size 3, alpha 5e-5, beta 0.75."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = nn.functional.avg_pool2d(x * x, 3, stride=1, padding=1)
        return x * (1 + 5e-5 * mean) ** -0.75


def _cifar10_full() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 32, 5, padding=2),
        _max(3, 2),
        nn.ReLU(inplace=True),
        _WithinChannel(),
        nn.Conv2d(32, 32, 5, padding=2),
        nn.ReLU(inplace=True),
        _ave(3, 2),
        _WithinChannel(),
        nn.Conv2d(32, 64, 5, padding=2),
        nn.ReLU(inplace=True),
        _ave(3, 2),
        _Flatten(),
        nn.Linear(1024, 10),
    )


def _cifar10_quick() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 32, 5, padding=2),
        _max(3, 2),
        nn.ReLU(inplace=True),
        nn.Conv2d(32, 32, 5, padding=2),
        nn.ReLU(inplace=True),
        _ave(3, 2),
        nn.Conv2d(32, 64, 5, padding=2),
        nn.ReLU(inplace=True),
        _ave(3, 2),
        _Flatten(),
        nn.Linear(1024, 64),
        nn.Linear(64, 10),
    )


def _lenet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 20, 5),
        _max(2, 2),
        nn.Conv2d(20, 50, 5),
        _max(2, 2),
        _Flatten(),
        nn.Linear(800, 500),
        nn.ReLU(inplace=True),
        nn.Linear(500, 10),
    )


def _mlp(norm: bool) -> nn.Module:
    layers: list[nn.Module] = [_Flatten()]
    for before in (784, 100, 100):
        layers.append(nn.Linear(before, 100, bias=not norm))
        if norm:
            layers.append(nn.BatchNorm1d(100))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers, nn.Linear(100, 10))


#: name -> (model, shape of a batch, standard deviation of its values: pixels as the nets get them)
MODELS = {
    "cifar10_bn": (_cifar10_bn, (100, 3, 32, 32), 60.0),
    "cifar10_full": (_cifar10_full, (100, 3, 32, 32), 60.0),
    "cifar10_quick": (_cifar10_quick, (100, 3, 32, 32), 60.0),
    "lenet": (_lenet, (64, 1, 28, 28), 0.3),
    "mnist_mlp": (lambda: _mlp(False), (60, 1, 28, 28), 0.3),
    "mnist_mlp_bn": (lambda: _mlp(True), (60, 1, 28, 28), 0.3),
}


class Trainer:
    """One model with its optimiser and a batch in memory."""

    def __init__(self, name: str, threads: int, compiled: bool = False) -> None:
        torch.set_num_threads(threads)
        torch.manual_seed(1)
        make, shape, deviation = MODELS[name]
        self.model = make()
        self.model.train()
        self.x = torch.randn(shape) * deviation
        self.y = torch.randint(0, 10, shape[:1])
        self.loss = nn.CrossEntropyLoss()
        self.optimiser = torch.optim.SGD(self.model.parameters(), lr=0.001, momentum=0.9, weight_decay=0.0005)
        self._loss: Callable[[], torch.Tensor] = self._forward
        if compiled:
            self._loss = torch.compile(self._forward)

    def _forward(self) -> torch.Tensor:
        return self.loss(self.model(self.x), self.y)

    def step(self) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        self._loss().backward()
        self.optimiser.step()
