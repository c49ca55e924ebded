"""What layers work on: arrays with their gradients, the parameters they ask for, and the steps of a pass."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from caffelite.schema.messages import FillerParameter
from caffelite.words import Shape

#: One thing to do in a pass: a bound kernel call, or any callable.
Step = Callable[[], None]


@dataclass(slots=True)
class Blob:
    """An array and its gradient, as a layer sees them.

    Attributes
    ----------
    name : str
        The name in the prototxt; for a parameter, the layer's name and the index.
    data : ndarray of float32
        The values, C-contiguous; scalars have shape ``()``.
    diff : ndarray of float32 or None
        The gradient, of the same shape; None where none is wanted.
    """

    name: str
    data: np.ndarray
    diff: np.ndarray | None = None

    @property
    def shape(self) -> Shape:
        return self.data.shape

    @property
    def flat(self) -> np.ndarray:
        """``data`` as one row (a view)."""
        return self.data.reshape(-1)

    @property
    def flat_diff(self) -> np.ndarray:
        """``diff`` as one row (a view); only where a gradient is wanted."""
        assert self.diff is not None
        return self.diff.reshape(-1)


@dataclass(frozen=True, slots=True)
class Once:
    """A step that depends on parameters alone: where they stay as they are, running it once is enough."""

    step: Step
    once: ClassVar[bool] = True

    def __call__(self) -> None:
        self.step()


@dataclass(slots=True)
class Parameter:
    """A parameter blob that a layer asks for.

    Attributes
    ----------
    shape : tuple of int
    filler : FillerParameter or None
        How it starts; None is zero.
    learned : bool
        False for what the layer keeps itself (statistics): never touched by a solver, no gradient.
    values : ndarray, optional
        What it starts with, in place of a filler.
    """

    shape: Shape
    filler: FillerParameter | None = None
    learned: bool = True
    values: np.ndarray | None = None


def with_gradient(*blobs: Blob) -> int:
    """Return of how many of these blobs a gradient is wanted."""
    return sum(blob.diff is not None for blob in blobs)
