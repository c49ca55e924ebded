"""Embed: rows of a table, chosen by number."""

from collections.abc import Sequence

from caffelite.kernels import scale as broadcast
from caffelite.kernels.rows import gather, scatter
from caffelite.layers.contract.blobs import Blob, Parameter, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.rows import row_checker
from caffelite.words import Shape


@layer("Embed")
class Embed(Layer):
    """``y[i] = w[x[i]] + b``: a row of the weights for each whole number of the bottom.

    ``embed_param``: ``num_output``, ``input_dim`` (the number of rows), ``bias_term`` (true), ``weight_filler``,
    ``bias_filler``. The top has one axis more than the bottom. Blobs: weights, ``input_dim × num_output``; bias.

    A number outside 0 … ``input_dim`` - 1 is an error (Caffe reads other memory there).
    """

    facts = Facts(
        without_gradient=(0,), backward_reads=frozenset({"bottom"}), kind="weights", settings=("embed_param",)
    )

    def setup(self) -> None:
        self.settings = self.param.embed_param
        for name in ("num_output", "input_dim"):
            if getattr(self.settings, name) < 1:
                self.error(f"embed_param needs {name} of at least 1", name)

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        return [(*bottoms[0], self.settings.num_output)]

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        outputs = self.settings.num_output
        parameters = [Parameter((self.settings.input_dim, outputs), self.settings.weight_filler)]
        if self.settings.bias_term:
            parameters.append(Parameter((outputs,), self.settings.bias_filler))
        return parameters

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        index, y = bottoms[0].flat, tops[0].flat
        steps: list[Step] = [
            row_checker(self, 0, index, self.settings.input_dim),
            gather(self.blobs[0].data, index, tops[0].data),
        ]
        if len(self.blobs) > 1:
            steps.append(broadcast.forward(y, y, None, self.blobs[1].data, self.settings.num_output, 1))
        return steps

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        dy = tops[0].flat_diff
        steps: list[Step] = []
        if self.blobs[0].diff is not None:
            steps.append(scatter(dy, bottoms[0].flat, self.blobs[0].diff))
        if len(self.blobs) > 1 and self.blobs[1].diff is not None:
            steps.append(broadcast.sums(dy, self.settings.num_output, 1, self.blobs[1].diff, add=True))
        return steps
