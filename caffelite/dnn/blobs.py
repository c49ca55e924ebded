"""Images as the blobs that nets take, and back: ``blobFromImage`` and its kin, with OpenCV's numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from caffelite.data.resizing import resize
from caffelite.dnn.constants import (
    CV_8U,
    CV_32F,
    DNN_LAYOUT_NCHW,
    DNN_LAYOUT_NHWC,
    DNN_PMODE_CROP_CENTER,
    DNN_PMODE_LETTERBOX,
    DNN_PMODE_NULL,
)
from caffelite.errors import DataError
from caffelite.words import text_of

#: What OpenCV calls a Scalar: four numbers, those left out are 0.
Scalar = float | Sequence[float] | np.ndarray


def scalar(value: Scalar, what: str) -> np.ndarray:
    """Return four numbers, as OpenCV reads a number or up to four of them."""
    numbers = np.asarray(value, np.float64).reshape(-1)
    if numbers.size > 4:
        raise DataError(f"{what} has {numbers.size} numbers, expected at most 4: one a channel")
    return np.concatenate([numbers, np.zeros(4 - numbers.size)])


@dataclass
class Image2BlobParams:
    """How :func:`blobFromImageWithParams` makes an image a blob.

    Attributes
    ----------
    scalefactor : number or up to 4 of them
        What each channel is multiplied by, after ``mean`` was subtracted. A number is the factor of the first channel
        and 0 that of the others, as OpenCV reads it.
    size : (int, int)
        Width and height; (0, 0) leaves the image its own.
    mean : number or up to 4 of them
        In the order of the blob's channels.
    swapRB : bool
        Whether first and third channel change places.
    ddepth : int
        ``cv2.CV_32F`` or ``cv2.CV_8U``.
    datalayout : int
        ``DNN_LAYOUT_NCHW`` or ``DNN_LAYOUT_NHWC``.
    paddingmode : int
        ``DNN_PMODE_NULL`` stretches the image to its size, ``DNN_PMODE_CROP_CENTER`` cuts off what is too much on two
        sides, ``DNN_PMODE_LETTERBOX`` fills what is missing with ``borderValue``.
    borderValue : number or up to 4 of them
    """

    scalefactor: Scalar = (1.0, 1.0, 1.0, 1.0)
    size: tuple[int, int] = (0, 0)
    mean: Scalar = (0.0, 0.0, 0.0, 0.0)
    swapRB: bool = False
    ddepth: int = CV_32F
    datalayout: int = DNN_LAYOUT_NCHW
    paddingmode: int = DNN_PMODE_NULL
    borderValue: Scalar = (0.0, 0.0, 0.0, 0.0)


def blobFromImage(
    image: np.ndarray,
    scalefactor: float = 1.0,
    size: tuple[int, int] = (0, 0),
    mean: Scalar = (),
    swapRB: bool = False,
    crop: bool = False,
    ddepth: int = CV_32F,
) -> np.ndarray:
    """Return an image as a blob.

    Parameters
    ----------
    image : ndarray, H x W or H x W x 1, 3 or 4
        As ``cv2.imread`` gives it.
    scalefactor : float, optional
        What values are multiplied by, after ``mean`` was subtracted.
    size : (int, int), optional
        Width and height; (0, 0) leaves the image its own.
    mean : number or up to 4 of them, optional
        In the order of the blob's channels.
    swapRB : bool, optional
        Whether first and third channel change places.
    crop : bool, optional
        The image is resized so that it covers ``size``, and what is too much on two sides is cut off; otherwise it is
        stretched.
    ddepth : int, optional
        ``cv2.CV_32F`` or ``cv2.CV_8U``, which allows no factor and no mean.

    Returns
    -------
    ndarray of float32 or uint8, 1 x C x H x W

    Raises
    ------
    DataError
    """
    return blobFromImages([image], scalefactor, size, mean, swapRB, crop, ddepth)


def blobFromImages(
    images: Sequence[np.ndarray],
    scalefactor: float = 1.0,
    size: tuple[int, int] = (0, 0),
    mean: Scalar = (),
    swapRB: bool = False,
    crop: bool = False,
    ddepth: int = CV_32F,
) -> np.ndarray:
    """Return images as one blob, N x C x H x W, by default in the size of the first; see :func:`blobFromImage`."""
    mode = DNN_PMODE_CROP_CENTER if crop else DNN_PMODE_NULL
    params = Image2BlobParams((scalefactor,) * 4, size, mean, swapRB, ddepth, DNN_LAYOUT_NCHW, mode)
    return blobFromImagesWithParams(images, params)


def blobFromImageWithParams(image: np.ndarray, param: Image2BlobParams | None = None) -> np.ndarray:
    """Return an image as a blob; see :class:`Image2BlobParams`."""
    return blobFromImagesWithParams([image], param)


def blobFromImagesWithParams(images: Sequence[np.ndarray], param: Image2BlobParams | None = None) -> np.ndarray:
    """Return images as one blob; see :class:`Image2BlobParams`.

    Raises
    ------
    DataError
    """
    param = param or Image2BlobParams()
    if not len(images):
        raise DataError("there is no image to make a blob of")
    if param.ddepth not in (CV_8U, CV_32F):
        raise DataError(f"ddepth is {param.ddepth}, expected CV_32F (5) or CV_8U (0)")
    if param.datalayout not in (DNN_LAYOUT_NCHW, DNN_LAYOUT_NHWC):
        raise DataError(f"datalayout is {param.datalayout}, expected DNN_LAYOUT_NCHW (2) or DNN_LAYOUT_NHWC (4)")
    factor, mean = scalar(param.scalefactor, "scalefactor"), scalar(param.mean, "mean")
    if param.ddepth == CV_8U and (np.any(factor != 1) or mean.any()):
        raise DataError("a blob of CV_8U takes no scalefactor and no mean")
    width, height = (int(n) for n in param.size)
    planes = []
    for number, image in enumerate(images):
        plane = _planes(image, number)
        if (width, height) == (0, 0):
            height, width = plane.shape[1:]
        planes.append(_fitted(plane, height, width, param))
        if len(planes[-1]) != len(planes[0]):
            raise DataError(f"image {number} has {len(planes[-1])} channels, image 0 has {len(planes[0])}")
    blob = np.stack(planes)
    channels = blob.shape[1]
    if param.swapRB and channels > 1:
        blob = blob[:, [2, 1, 0, *range(3, channels)]]
    if param.ddepth == CV_8U:
        blob = blob.astype(np.uint8)
    else:
        blob = blob.astype(np.float32, copy=False)
        precision = np.float32 if param.datalayout == DNN_LAYOUT_NCHW else np.float64
        blob = _scaled(blob, mean[:channels].astype(precision), factor[:channels].astype(precision))
    return np.ascontiguousarray(blob.transpose(0, 2, 3, 1)) if param.datalayout == DNN_LAYOUT_NHWC else blob


def imagesFromBlob(blob_: np.ndarray, images_: Any = None) -> tuple[np.ndarray, ...]:
    """Return the images of a blob, each H x W x C, or H x W where it has one channel.

    Parameters
    ----------
    blob_ : ndarray of float32, N x C x H x W
    images_ : optional
        Not used: an argument of OpenCV's.

    Raises
    ------
    DataError
    """
    if blob_.ndim != 4 or blob_.dtype != np.float32:
        raise DataError(f"a blob has 4 axes of float32, this one {blob_.ndim} of {blob_.dtype}")
    images = (np.ascontiguousarray(image.transpose(1, 2, 0)) for image in blob_)
    return tuple(image[:, :, 0] if image.shape[2] == 1 else image for image in images)


def _planes(image: Any, number: int) -> np.ndarray:
    """Return an image as channels x height x width, of uint8 or float32."""
    if not isinstance(image, np.ndarray) or image.size == 0:
        raise DataError(f"image {number} is no array of pixels: was there a file to read it from?")
    planes = image[None] if image.ndim == 2 else image.transpose(2, 0, 1) if image.ndim == 3 else image
    if image.ndim not in (2, 3) or len(planes) not in (1, 3, 4):
        raise DataError(f"image {number} is {text_of(image.shape)}, expected H×W, or H×W with 1, 3 or 4 channels")
    return np.ascontiguousarray(planes, None if image.dtype == np.uint8 else np.float32)


def _fitted(planes: np.ndarray, height: int, width: int, param: Image2BlobParams) -> np.ndarray:
    """Return an image in the size of the blob."""
    h, w = planes.shape[1:]
    if (h, w) == (height, width):
        return planes
    if param.paddingmode == DNN_PMODE_NULL:
        return resize(planes, height, width)
    ratios = np.float32(width) / np.float32(w), np.float32(height) / np.float32(h)
    if param.paddingmode == DNN_PMODE_CROP_CENTER:
        ratio = float(max(ratios))
        covering = resize(planes, round(h * ratio), round(w * ratio), 1 / ratio)
        top, left = int(0.5 * (covering.shape[1] - height)), int(0.5 * (covering.shape[2] - width))
        return covering[:, top : top + height, left : left + width]
    if param.paddingmode != DNN_PMODE_LETTERBOX:
        raise DataError(f"paddingmode is {param.paddingmode}, expected one of DNN_PMODE_NULL, _CROP_CENTER, _LETTERBOX")
    smaller = min(ratios)
    inner = resize(planes, int(np.float32(h) * smaller), int(np.float32(w) * smaller))
    border = scalar(param.borderValue, "borderValue")[: len(planes), None, None]
    framed = np.empty((len(planes), height, width), planes.dtype)
    framed[:] = np.clip(np.rint(border), 0, 255) if planes.dtype == np.uint8 else border
    top, left = (height - inner.shape[1]) // 2, (width - inner.shape[2]) // 2
    framed[:, top : top + inner.shape[1], left : left + inner.shape[2]] = inner
    return framed


def _scaled(blob: np.ndarray, mean: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Return (blob - mean) · factor, by channel, computed in the precision of the two and kept in float32."""
    if mean.any():
        blob = (blob - mean[:, None, None]).astype(np.float32, copy=False)
    return (blob * factor[:, None, None]).astype(np.float32, copy=False) if np.any(factor != 1) else blob


__all__ = [
    "Image2BlobParams",
    "blobFromImage",
    "blobFromImageWithParams",
    "blobFromImages",
    "blobFromImagesWithParams",
    "imagesFromBlob",
]
