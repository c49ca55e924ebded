"""What layers of weights and a bias share: what multiplies and shifts channels beside them can go into the weights."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from caffelite.layers.contract.layer import Layer


class Linear(Layer):
    """A layer whose top is sums of products of its bottom with weights, and a bias for each channel (axis 1).

    Blobs: weights, in the type's own order; bias, if the settings say ``bias_term``. ``facts.folds`` says which of
    :meth:`fold_before` and :meth:`fold_behind` a layer has. Neither changes the layer: both return new blobs.
    """

    #: The name of its settings.
    message: ClassVar[str]

    def fold_behind(self, blobs: Sequence[np.ndarray], factor: np.ndarray, offset: np.ndarray) -> list[np.ndarray]:
        """Return the blobs that compute ``factor * y + offset`` of each channel, where those given compute y.

        Parameters
        ----------
        blobs : sequence of ndarray
            Weights, and the bias if there is one, in the order of the layer's own.
        factor, offset : ndarray, shape (channels of the top,)

        Returns
        -------
        list of ndarray
            Weights and bias, of the blobs' type.
        """
        weights, *bias = blobs
        return [self.scale_outputs(weights, factor), (bias[0] if bias else 0) * factor + offset]

    def fold_before(
        self, blobs: Sequence[np.ndarray], factor: np.ndarray, offset: np.ndarray
    ) -> list[np.ndarray] | None:
        """Return the blobs that compute of x what those given compute of ``factor * x + offset`` of each channel.

        Parameters
        ----------
        blobs : sequence of ndarray
            Weights, and the bias if there is one, in the order of the layer's own.
        factor, offset : ndarray, shape (channels of the bottom,)

        Returns
        -------
        list of ndarray or None
            Weights and bias; None where no weights can compute that.
        """
        weights, *bias = blobs
        behind = self.scale_inputs(weights, factor, offset)
        return None if behind is None else [behind[0], (bias[0] if bias else 0) + behind[1]]

    def scale_outputs(self, weights: np.ndarray, factor: np.ndarray) -> np.ndarray:
        """Return the weights for outputs that are multiplied by a factor a channel; asked where it folds "behind"."""
        raise NotImplementedError

    def scale_inputs(
        self, weights: np.ndarray, factor: np.ndarray, offset: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the weights for inputs that are multiplied, and what shifting them adds to each output.

        Asked where it folds "before"; None where the shift is not the same all over the output.
        """
        raise NotImplementedError
