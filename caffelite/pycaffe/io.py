"""``caffe.io``: arrays as Caffe's messages and back, images, and what prepares them for a net."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from caffelite.data.images import decode_image
from caffelite.errors import DataError, ShapeError
from caffelite.pycaffe import proto
from caffelite.pycaffe.images import load_image, oversample, resize, resize_image
from caffelite.pycaffe.transformer import Transformer
from caffelite.schema.blobs import read_blob
from caffelite.words import count, text_of

__all__ = [
    "Transformer",
    "array_to_blobproto",
    "array_to_datum",
    "arraylist_to_blobprotovector_str",
    "blobproto_to_array",
    "blobprotovector_str_to_arraylist",
    "datum_to_array",
    "load_image",
    "oversample",
    "read_mean",
    "resize",
    "resize_image",
]


def __getattr__(name: str) -> Any:
    """Return what pycaffe imports into its module and scripts take from there."""
    try:
        if name == "caffe_pb2":  # that of the package in place: caffelite's, or a fork's
            return proto.caffe_pb2
        if name == "skimage":
            import skimage.io

            return skimage
    except ImportError as error:
        raise AttributeError(f"caffe.io has no {name} here: {error}") from error
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def blobproto_to_array(blob: Any, return_diff: bool = False) -> np.ndarray:
    """Return the values of a BlobProto.

    Parameters
    ----------
    blob : BlobProto
        Of any module that was made from a ``caffe.proto``.
    return_diff : bool, optional
        The gradient in place of the values.

    Returns
    -------
    ndarray of float64
        Of its shape; num x channels x height x width where it has one of these fields. A message without a shape
        that holds one value is a number.

    Raises
    ------
    ShapeError
        The shape is not for as many values.
    """
    single, double = (blob.diff, blob.double_diff) if return_diff else (blob.data, blob.double_data)
    values = np.array(single or double, np.float64)
    legacy = ("num", "channels", "height", "width")
    if any(blob.HasField(name) for name in legacy):
        shape = tuple(getattr(blob, name) for name in legacy)
    else:
        shape = tuple(blob.shape.dim)
    if min(shape, default=1) < 0 or count(shape) != values.size:
        raise ShapeError(f"a BlobProto of shape {text_of(shape)} does not hold the {values.size} values that are in it")
    return values.reshape(shape)


def array_to_blobproto(arr: Any, diff: Any = None) -> Any:
    """Return the BlobProto of an array and, where it is given, of its gradient; values become float32.

    Raises
    ------
    ShapeError
        The gradient has another shape.
    """
    values = np.asarray(arr, np.float32)
    blob = proto.caffe_pb2.BlobProto()
    blob.shape.dim.extend(values.shape)
    blob.data.extend(values.ravel())
    if diff is not None:
        gradient = np.asarray(diff, np.float32)
        if gradient.shape != values.shape:
            raise ShapeError(f"the gradient is {text_of(gradient.shape)}, the array {text_of(values.shape)}")
        blob.diff.extend(gradient.ravel())
    return blob


def arraylist_to_blobprotovector_str(arraylist: Iterable[Any]) -> bytes:
    """Return arrays as the bytes of a BlobProtoVector."""
    return proto.caffe_pb2.BlobProtoVector(blobs=map(array_to_blobproto, arraylist)).SerializeToString()


def blobprotovector_str_to_arraylist(str: bytes) -> list[np.ndarray]:  # noqa: A002 (pycaffe's name)
    """Return the arrays of a BlobProtoVector's bytes.

    Raises
    ------
    DataError
        These bytes are none.
    """
    vector = proto.caffe_pb2.BlobProtoVector()
    try:
        vector.ParseFromString(str)
    except DecodeError:
        raise DataError("these bytes are not a BlobProtoVector") from None
    return [blobproto_to_array(blob) for blob in vector.blobs]


def array_to_datum(arr: Any, label: int | None = None) -> Any:
    """Return the Datum of an image.

    Parameters
    ----------
    arr : array
        C x H x W; of uint8 it becomes ``data``, else ``float_data``.
    label : int, optional

    Raises
    ------
    ShapeError
        It has not three axes.
    """
    values = np.asarray(arr)
    if values.ndim != 3:
        raise ShapeError(f"a Datum is channels x height x width, not {text_of(values.shape)}")
    datum = proto.caffe_pb2.Datum()
    datum.channels, datum.height, datum.width = values.shape
    if values.dtype == np.uint8:
        datum.data = values.tobytes()
    else:
        datum.float_data.extend(values.astype(np.float32).ravel())
    if label is not None:
        datum.label = label
    return datum


def datum_to_array(datum: Any) -> np.ndarray:
    """Return the image of a Datum.

    Parameters
    ----------
    datum : Datum
        Of any module that was made from a ``caffe.proto``. An encoded one is decoded.

    Returns
    -------
    ndarray
        C x H x W: uint8 of ``data``, float64 of ``float_data``.

    Raises
    ------
    ShapeError
        The shape is not for as many values.
    DataError
        It is encoded, and not an image.
    """
    if datum.encoded:
        return decode_image(datum.data, "the Datum")
    values = np.frombuffer(datum.data, np.uint8).copy() if datum.data else np.array(datum.float_data, np.float64)
    shape = (datum.channels, datum.height, datum.width)
    if min(shape) < 0 or count(shape) != values.size:
        raise ShapeError(f"a Datum of shape {text_of(shape)} does not hold the {values.size} values that are in it")
    return values.reshape(shape)


def read_mean(filename: str | Path) -> np.ndarray:
    """Return the mean of each channel, from a mean image in a file.

    Parameters
    ----------
    filename : path
        A ``.binaryproto``, as ``compute_image_mean`` writes it, or an ``.npy`` of C x H x W.

    Returns
    -------
    ndarray of float
        As many numbers as there are channels, in the file's order: what ``Transformer.set_mean`` takes.

    Raises
    ------
    DataError, WeightsError
        It cannot be read.
    ShapeError
        It has other axes.
    """
    path = Path(filename)
    if path.suffix == ".npy":
        try:
            mean = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{filename}: the mean cannot be read: {error}") from None
    elif path.suffix == ".binaryproto":
        mean = read_blob(path)
    else:
        raise DataError(f"{filename}: a mean is a .binaryproto or an .npy")
    image = mean[0] if mean.ndim == 4 and len(mean) == 1 else mean
    if image.ndim != 3:
        raise ShapeError(f"{filename}: a mean image is channels x height x width, not {text_of(mean.shape)}")
    return image.mean((1, 2))
