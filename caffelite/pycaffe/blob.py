"""A blob as pycaffe shows it: live views of its values and its gradient."""

import operator
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from caffelite.errors import ShapeError
from caffelite.layers.contract import blobs
from caffelite.schema.blobs import LARGEST_BLOB
from caffelite.user_code.classes import Sized
from caffelite.words import Shape, count, quoted, text_of


class Blob(Sized):
    """An array and its gradient.

    Parameters
    ----------
    find : callable
        Returns the blob of the net that this one shows; asked each time, as reshaping a net makes new ones.
    take_shape : callable
        ``take_shape(shape)`` gives that blob another shape.

    Notes
    -----
    ``data`` and ``diff`` are views: what is written into them is what the net computes with. A view that was
    taken before the net is reshaped belongs to the old shape; take it anew.
    """

    def __init__(self, find: Callable[[], blobs.Blob], take_shape: Callable[[Shape], None]) -> None:
        self._find = find
        self._take_shape = take_shape
        self._no_gradient: np.ndarray | None = None

    @property
    def data(self) -> np.ndarray:
        """The values, float32."""
        return self._find().data

    @property
    def diff(self) -> np.ndarray:
        """The gradient, float32, of the shape of ``data``; zeros where the net computes none."""
        diff = self._find().diff
        return self._zeros() if diff is None else diff

    def _zeros(self) -> np.ndarray:
        """Return the gradient where the net has none of this shape."""
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
        """Give it another shape. As many values as before stay as they are; otherwise they are zeros then.

        The layers that read the blob are fitted to it with ``Net.reshape`` or when they run. A blob that is no input of
        the net has the shape that its layer gives it again when that one runs.

        Raises
        ------
        ShapeError
            A dimension is not a positive whole number.
        """
        try:
            shape = tuple(operator.index(n) for n in dims)
        except TypeError:
            raise ShapeError(
                f"blob {quoted(self.label)}: reshape takes whole numbers, one a dimension, not {dims!r}"
            ) from None
        if min(shape, default=1) < 1 or count(shape) > LARGEST_BLOB:
            raise ShapeError(
                f"blob {quoted(self.label)}: {text_of(shape)} is not a shape: every dimension is 1 or more, and there "
                f"are at most {LARGEST_BLOB:,} values"
            )
        if shape != self.shape:
            self._take_shape(shape)


class ParameterBlob(Blob):
    """A parameter: its shape may be another one than its layer computes with, as it is seen and saved.

    Parameters
    ----------
    find : callable
        As for :class:`Blob`.
    """

    def __init__(self, find: Callable[[], blobs.Blob]) -> None:
        super().__init__(find, self._keep_shape)
        self._shape: Shape | None = None
        #: The values, where they are not as many as the layer's.
        self._own: np.ndarray | None = None

    @property
    def data(self) -> np.ndarray:
        if self._own is not None:
            return self._own
        data = super().data
        return data if self._shape is None else data.reshape(self._shape)

    @property
    def diff(self) -> np.ndarray:
        diff = self._find().diff
        if self._own is not None or diff is None:
            return self._zeros()
        return diff if self._shape is None else diff.reshape(self._shape)

    @property
    def reshaped(self) -> bool:
        """Whether it may have another shape than the layer's."""
        return self._shape is not None

    def _keep_shape(self, shape: Shape) -> None:
        self._shape = shape
        self._own = None if count(shape) == self._find().data.size else np.zeros(shape, np.float32)

    def check(self, layer: str) -> None:
        """Raise ShapeError where a layer, with this name, cannot compute with it."""
        if self._own is not None:
            raise ShapeError(
                f"layer {quoted(layer)}: its parameter {quoted(self.label)} was given the shape "
                f"{text_of(self.shape)}, but the layer computes with {text_of(self._find().shape)}; such a parameter "
                "can be saved, and is for a net whose prototxt has these sizes"
            )
