"""InnerProduct: every output sees every input."""

import math
from collections.abc import Sequence

import numpy as np

from caffelite.kernels.bias import add_rows
from caffelite.kernels.inner_product import product
from caffelite.layers.contract.blobs import Blob, Parameter, Step, with_gradient
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.linear import Linear
from caffelite.schema.messages import LayerParameter
from caffelite.words import Shape, count, text_of


@layer("InnerProduct")
class InnerProduct(Linear):
    """A full matrix: ``y = x Wᵀ + b`` for each row x of the bottom.

    ``inner_product_param``: ``num_output``; ``bias_term``; ``axis`` (from it on, all axes are one row; 1 by default);
    ``transpose`` (the weights are stored ``inputs × num_output``); ``weight_filler``, ``bias_filler``.

    Blobs: weights, ``num_output × inputs``; bias, ``num_output``.
    """

    facts = Facts(
        backward_reads=frozenset({"bottom"}),
        kind="weights",
        settings=("inner_product_param",),
        folds=frozenset({"before", "behind"}),
    )
    message = "inner_product_param"

    @classmethod
    def summary(cls, param: LayerParameter) -> list[str]:
        return [f"→ {param.inner_product_param.num_output}"]

    def setup(self) -> None:
        self.settings = self.param.inner_product_param
        if not self.settings.num_output:
            self.error("inner_product_param needs num_output of at least 1", "num_output")

    def specific_facts(self) -> Facts:
        return self.facts if self.settings.axis == 1 else self.facts.but(folds=frozenset())

    def _size(self, x: Shape) -> tuple[int, int, int]:
        axis = self.axis(self.settings.axis, x)
        if count(x[axis:]) == 0:
            self.shape_error(f"its bottom is empty: {text_of(x)}")
        return count(x[:axis]), self.settings.num_output, count(x[axis:])

    def images_meet(self, *bottoms: Shape) -> str:
        return self.along_images(self.settings.axis, bottoms[0])

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        axis = self.axis(self.settings.axis, bottoms[0])
        return [(*bottoms[0][:axis], self.settings.num_output)]

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        _, outputs, inputs = self._size(bottoms[0])
        shape = (inputs, outputs) if self.settings.transpose else (outputs, inputs)
        parameters = [Parameter(shape, self.settings.weight_filler)]
        if self.settings.bias_term:
            parameters.append(Parameter((outputs,), self.settings.bias_filler))
        return parameters

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        rows, outputs, inputs = self._size(bottoms[0].shape)
        if not rows:
            return []
        w = (outputs, 1) if self.settings.transpose else (1, inputs)
        bias = self.blobs[1].data if len(self.blobs) > 1 else None
        return [
            *product(bottoms[0].data, (inputs, 1), self.blobs[0].data, w, tops[0].data, (rows, outputs, inputs), bias)
        ]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, dy = bottoms[0], tops[0].diff
        assert dy is not None
        rows, outputs, inputs = self._size(x.shape)
        steps: list[Step] = []
        if not rows:
            return steps
        dw = self.blobs[0].diff
        if dw is not None and self.settings.transpose:
            steps += product(x.data, (1, inputs), dy, (outputs, 1), dw, (inputs, outputs, rows), add=True)
        elif dw is not None:
            steps += product(dy, (1, outputs), x.data, (inputs, 1), dw, (outputs, inputs, rows), add=True)
        if len(self.blobs) > 1 and self.blobs[1].diff is not None:
            steps.append(add_rows(dy, outputs, self.blobs[1].diff))
        if x.diff is not None:
            w = (1, outputs) if self.settings.transpose else (inputs, 1)
            steps += product(dy, (outputs, 1), self.blobs[0].data, w, x.diff, (rows, inputs, outputs))
        return steps

    def scale_outputs(self, weights: np.ndarray, factor: np.ndarray) -> np.ndarray:
        return weights * (factor if self.settings.transpose else factor[:, None])

    def scale_inputs(
        self, weights: np.ndarray, factor: np.ndarray, offset: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray] | None:
        by_input = weights if self.settings.transpose else weights.T
        # Each channel of a map is as many inputs as it has pixels.
        factor, offset = (np.repeat(values, len(by_input) // values.size) for values in (factor, offset))
        scaled = by_input * factor[:, None]
        return scaled if self.settings.transpose else np.ascontiguousarray(scaled.T), offset @ by_input

    def multiply_adds(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> tuple[int, int]:
        products = math.prod(self._size(bottoms[0].shape))
        return products, products * with_gradient(bottoms[0], self.blobs[0])
