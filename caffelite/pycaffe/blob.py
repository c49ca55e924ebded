"""A blob as pycaffe shows it: live views of its values and its gradient."""

import operator
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from caffelite.errors import ShapeError
from caffelite.layers.contract import blobs
from caffelite.user_code.classes import Sized
from caffelite.words import Shape, quoted, text_of


class Blob(Sized):
    """An array and its gradient.

    Parameters
    ----------
    find : callable
        Returns the blob of the net that this one shows; asked each time, as reshaping a net makes new ones.
    refused : str, optional
        Why it cannot be reshaped, the end of an error's sentence; empty where it can.

    Notes
    -----
    ``data`` and ``diff`` are views: what is written into them is what the net computes with. A view that was
    taken before the net is reshaped belongs to the old shape; take it anew.
    """

    def __init__(self, find: Callable[[], blobs.Blob], refused: str = "") -> None:
        self._find = find
        self._refused = refused
        #: The shape asked for and the values written since, until the net takes them up.
        self._asked: np.ndarray | None = None
        self._no_gradient: np.ndarray | None = None

    @property
    def data(self) -> np.ndarray:
        """The values, float32."""
        return self._find().data if self._asked is None else self._asked

    @property
    def diff(self) -> np.ndarray:
        """The gradient, float32, of the shape of ``data``; zeros where the net computes none."""
        diff = self._find().diff if self._asked is None else None
        if diff is not None:
            return diff
        if self._no_gradient is None or self._no_gradient.shape != self.data.shape:
            self._no_gradient = np.zeros_like(self.data)
        return self._no_gradient

    @property
    def _gpu_data_ptr(self) -> int:
        self._no_pointer("_gpu_data_ptr")

    @property
    def _gpu_diff_ptr(self) -> int:
        self._no_pointer("_gpu_diff_ptr")

    def _no_pointer(self, name: str) -> NoReturn:
        raise AttributeError(
            f"blob {quoted(self.label)} has no {name}: blobs are in the machine's memory, where data and diff show them"
        )

    @property
    def label(self) -> str:
        return self._find().name

    def reshape(self, *dims: Any) -> None:
        """Ask for another shape; the net takes it up with ``Net.reshape`` or the next ``forward``.

        Until then ``data`` is an array of the new shape whose values go into the net with it.

        Raises
        ------
        ShapeError
            It is not an input of a net, or a dimension is not a positive whole number.
        """
        name = self.label
        if self._refused:
            raise ShapeError(f"blob {quoted(name)} cannot be reshaped: {self._refused}")
        try:
            shape = tuple(operator.index(n) for n in dims)
        except TypeError:
            raise ShapeError(
                f"blob {quoted(name)}: reshape takes whole numbers, one a dimension, not {dims!r}"
            ) from None
        if not shape or min(shape) < 1:
            raise ShapeError(f"blob {quoted(name)}: {text_of(shape)} is not a shape, every dimension is 1 or more")
        if shape != self.shape:
            self._asked = np.zeros(shape, np.float32)

    def taken_up(self) -> None:
        """Show the net's own array again: it has the shape that was asked for now."""
        self._asked = None

    @property
    def asked_shape(self) -> Shape | None:
        """The shape that was asked for and that the net does not have yet."""
        return None if self._asked is None else self._asked.shape
