"""Embed, LSTM and RNN."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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
