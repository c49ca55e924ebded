"""The classes that users' code is made of, by Caffe's names: a layer, its blobs, the phase."""

import operator
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Any

import numpy as np

from caffelite import words
from caffelite.errors import NetError, ShapeError
from caffelite.schema.blobs import LARGEST_BLOB
from caffelite.words import Shape, count, quoted, text_of


class Phase(IntEnum):
    """The phase as layers see it: the number that Caffe 1.0 has, the name that older ones print."""

    TRAIN = words.TRAIN
    TEST = words.TEST

    def __str__(self) -> str:
        return self.name


class Sized:
    """What pycaffe tells of the size of a blob."""

    @property
    def data(self) -> np.ndarray:
        """The values."""
        raise NotImplementedError

    @property
    def label(self) -> str:
        """What it is called in errors."""
        raise NotImplementedError

    @property
    def shape(self) -> Shape:
        """Its dimensions."""
        return self.data.shape

    @property
    def count(self) -> int:
        """The number of values."""
        return self.data.size

    @property
    def num(self) -> int:
        """The first of four dimensions, those of old Caffe."""
        return self._legacy(0)

    @property
    def channels(self) -> int:
        """The second of four dimensions."""
        return self._legacy(1)

    @property
    def height(self) -> int:
        """The third of four dimensions."""
        return self._legacy(2)

    @property
    def width(self) -> int:
        """The last of four dimensions."""
        return self._legacy(3)

    def _legacy(self, axis: int) -> int:
        if len(self.shape) > 4:
            raise ShapeError(
                f"blob {quoted(self.label)} has shape {text_of(self.shape)}; num, channels, height "
                "and width speak of four axes at most"
            )
        return int((self.shape + (1, 1, 1))[axis]) if axis < len(self.shape) else 1


class LayerBlob(Sized):
    """A bottom, top or parameter as a layer written in Python sees it.

    Parameters
    ----------
    label : str
    refused : str, optional
        Why it cannot be reshaped, the end of an error's sentence; empty where it can.
    """

    def __init__(self, label: str, refused: str = "") -> None:
        self._label, self._refused = label, refused
        self._data = np.zeros((), np.float32)
        self._diff: np.ndarray | None = None

    @property
    def label(self) -> str:
        return self._label

    @property
    def data(self) -> np.ndarray:
        return self._data

    @property
    def diff(self) -> np.ndarray:
        """The gradient, of the shape of ``data``; what is written where none is wanted is dropped."""
        if self._diff is None:
            self._diff = np.zeros_like(self._data)
        return self._diff

    def reshape(self, *dims: Any) -> None:
        """Give it another shape; the values are zeros then."""
        shape = _shape_of(dims)
        if shape == self._data.shape:
            return
        if self._refused:
            raise ShapeError(f"{self._refused} cannot be reshaped by the layer")
        self.bind(np.zeros(shape, self._data.dtype), None)

    @property
    def written_diff(self) -> np.ndarray | None:
        """The gradient, if it is not the net's and somebody has asked for it."""
        return self._diff

    def bind(self, data: np.ndarray, diff: np.ndarray | None) -> None:
        """Show these arrays."""
        self._data, self._diff = data, diff

    def move(self, data: np.ndarray, diff: np.ndarray | None) -> None:
        """Show these arrays, with the values there were before."""
        if data is not self._data:
            data[...] = self._data
            self.bind(data, diff)


def _shape_of(dims: tuple[Any, ...]) -> Shape:
    """Return a shape that a layer asks for; raise ShapeError where it is none."""
    try:
        shape = tuple(operator.index(n) for n in dims)
    except TypeError:
        raise ShapeError(f"a shape is given as whole numbers, one a dimension, not {dims!r}") from None
    if min(shape, default=0) < 0 or count(shape) > LARGEST_BLOB:
        raise ShapeError(f"{text_of(shape)} is not the shape of a blob")
    return shape


class BlobVec(list[Any]):
    """Blobs in a row, such as the parameters of a layer.

    Parameters
    ----------
    blobs : iterable, optional
    net_layer : str, optional
        The layer of a net whose parameters they are. Not a class of its own: scripts ask whether the type of
        ``net.params[name]`` is BlobVec.
    """

    def __init__(self, blobs: Iterable[Any] = (), net_layer: str | None = None) -> None:
        super().__init__(blobs)
        self._net_layer = net_layer

    def add_blob(self, *dims: Any) -> None:
        """Add a blob of this shape; what a layer writes into it in ``setup`` is how its parameter starts.

        Raises
        ------
        NetError
            The layer is in a net, which was planned with the parameters that it has.
        """
        if self._net_layer is not None:
            raise NetError(f"layer {quoted(self._net_layer)} is in a net, which has its parameters; none can be added")
        blob = LayerBlob(str(len(self)), "a parameter")
        blob.bind(np.zeros(_shape_of(dims), np.float32), None)
        self.append(blob)


class Layer:
    """Base of the layers that users write in Python.

    Attributes
    ----------
    name, type : str
    blobs : BlobVec
        Parameters, made with ``self.blobs.add_blob(*shape)`` in ``setup``.
    param_str : str
        From the prototxt.
    phase : int
        TRAIN or TEST; ``str`` of it is the name.
    """

    type = "Python"
    name: str
    blobs: Any
    param_str: str
    phase: int

    def __init__(self, param: Any = None) -> None:
        pass

    @property
    def param_str_(self) -> str:
        """``param_str``, as older versions of Caffe called it."""
        return self.param_str

    def setup(self, bottom: Sequence[LayerBlob], top: Sequence[LayerBlob]) -> None:
        """Called once, when the net is built."""

    def reshape(self, bottom: Sequence[LayerBlob], top: Sequence[LayerBlob]) -> None:
        """Give the tops their shapes; called before each ``forward``."""

    def forward(self, bottom: Sequence[LayerBlob], top: Sequence[LayerBlob]) -> None:
        """Write the data of the tops."""
        raise NotImplementedError

    def backward(self, top: Sequence[LayerBlob], propagate_down: Sequence[bool], bottom: Sequence[LayerBlob]) -> None:
        """Write the gradients of the bottoms for which ``propagate_down`` is true."""
        raise NotImplementedError
