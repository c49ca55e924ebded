"""What a database is made of: images as they come, with their labels."""

from typing import Any, NamedTuple

import numpy as np

from caffelite.data.images import LARGEST_LABEL
from caffelite.errors import DataError
from caffelite.words import text_of

#: A whole number, or float32 values that become a record of a second database.
Label = int | np.ndarray


class Planes(NamedTuple):
    """Values as they are stored.

    Attributes
    ----------
    values : ndarray of uint8 or float32, channels x height x width
    """

    values: np.ndarray


class Item(NamedTuple):
    """An image and its label.

    Attributes
    ----------
    name : str
        The end of its key, behind its number; may be empty.
    image : str, Path, bytes, ndarray, Planes, tensor or PIL.Image.Image
        The path of a file, what such a file holds, or pixels.
    label : int or ndarray of float32, [labels]
    what : str
        What it is called in errors.
    """

    name: str
    image: Any
    label: Label
    what: str


class Imageset(NamedTuple):
    """Items, and what their labels mean.

    Attributes
    ----------
    items : list of Item
    classes : list of str
        The names of labels 0, 1, 2 …; empty where there are none.
    """

    items: list[Item]
    classes: list[str]


def label_of(value: Any, what: str) -> Label:
    """Return a label as it is stored, from a number or a row of numbers.

    Parameters
    ----------
    value : int, float, bool, or sequence, array or tensor of them
        A whole number stays one; all else become float32 values.
    what : str
        What the image is called in errors.

    Raises
    ------
    DataError
        It is none of these, or does not fit in 32 bits.
    """
    try:
        values = np.asarray(value)
    except (TypeError, ValueError):  # rows of different lengths, or a tensor on a GPU
        values = np.asarray(None)
    if values.dtype.kind not in "iufb" or not values.size:
        raise DataError(f"the label of {what} is neither a number nor a row of numbers")
    if values.ndim or values.dtype.kind == "f":
        return values.astype(np.float32).reshape(-1)
    if abs(int(values)) > LARGEST_LABEL:
        raise DataError(f"the label of {what} is {values}, which does not fit in 32 bits")
    return int(values)


def is_tensor(image: Any) -> bool:
    """Whether an image is a tensor, whose axes are channels, height, width."""
    return not isinstance(image, np.ndarray) and hasattr(image, "detach")


def array_of(image: Any, what: str) -> tuple[np.ndarray, bool]:
    """Return an array, uint8 or float32, and whether it is a picture.

    Parameters
    ----------
    image : ndarray, Planes or tensor
        uint8 arrays H x W, H x W x 1 and H x W x 3 (red, green, blue) are pictures. Others are values, stored as they
        are: channels x height x width, or fewer axes.
    what : str
        What it is called in errors.

    Raises
    ------
    DataError
        It has other axes, or other values.
    """
    if isinstance(image, Planes):
        return image.values, False
    tensor = is_tensor(image)
    array = np.asarray(image.detach().cpu() if tensor else image)
    if array.dtype.kind in "iu" and array.dtype != np.uint8 and array.size and 0 <= array.min() <= array.max() <= 255:
        array = array.astype(np.uint8)
    if array.dtype != np.uint8 and array.dtype.kind not in "fb" or not array.size or not 1 <= array.ndim <= 3:
        raise DataError(
            f"{what} is an array of {array.dtype}, {text_of(array.shape)}; expected are pixels of 0 to 255 or floats, "
            "of one to three axes"
        )
    if array.dtype.kind != "u" or tensor:
        kind = np.float32 if array.dtype.kind == "f" else np.uint8
        # Of fewer axes: values are channels, and a map has one.
        shape = {1: (-1, 1, 1), 2: (1, *array.shape)}.get(array.ndim, array.shape)
        return array.astype(kind).reshape(shape), False
    return _picture(array, what)


def _picture(array: np.ndarray, what: str) -> tuple[np.ndarray, bool]:
    if array.ndim == 3 and array.shape[2] in (2, 4):
        raise DataError(f"{what} is an array of {text_of(array.shape)}: pixels have one channel or three")
    if array.ndim == 3 and array.shape[2] == 1:
        return array[:, :, 0], True
    if array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3):
        return array, True
    return array.reshape(array.shape if array.ndim == 3 else (-1, 1, 1)), False
