"""Images in another size, by the arithmetic of OpenCV's ``INTER_LINEAR``: Caffe's tools and layers resize with it.

Each pixel of uint8 is a mean of four, in whole numbers: weights are 1/2048, a row of the result lies between two rows
that have been resized across. Where an image is made much smaller, most of its pixels have no part in that. Images of
float32 lie between two and two numbers, as on x86-64 OpenCV's do.
"""

import threading
from functools import lru_cache

import numpy as np

from caffelite.kernels import pixels as kernels

#: OpenCV's weights are whole numbers of 1/2048.
_ONE = 2048
#: Kernels are compiled and bound by one thread at a time.
_lock = threading.Lock()


def resize(image: np.ndarray, height: int, width: int, step: float | None = None) -> np.ndarray:
    """Return an image in another size; of the same size it is the same one.

    Parameters
    ----------
    image : ndarray of uint8 or float32, channels x height x width
    height, width : int
    step : float, optional
        How far apart pixels of the result lie in the image, down and across; by default what the two sizes give. It is
        what OpenCV goes by where it is told a factor and no size.
    """
    if image.shape[1:] == (height, width):
        return image
    if image.dtype == np.float32:
        return _resized_floats(image, height, width, step)
    return _resized(np.ascontiguousarray(image), image.shape, 1, height, width, step)


def _resized_floats(image: np.ndarray, height: int, width: int, step: float | None) -> np.ndarray:
    """Resize numbers across, then down, each between two with one rounding: double holds the product of two floats."""
    left, right, part = _between(image.shape[2], width, step)
    rows = _lerp(image[:, :, left], image[:, :, right], part)
    upper, lower, part = _between(image.shape[1], height, step)
    return _lerp(rows[:, upper], rows[:, lower], part[:, None])


def _lerp(a: np.ndarray, b: np.ndarray, part: np.ndarray) -> np.ndarray:
    return (a + (b - a).astype(np.float64) * part).astype(np.float32)


@lru_cache(64)
def _between(old: int, new: int, step: float | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for each new number the two old ones between which it lies, and how far it is from the first."""
    place = (np.arange(new) + 0.5) * (step or old / new) - 0.5
    first = np.floor(place)
    part = (place - first).astype(np.float32)
    at = first.astype(np.int64)
    return np.clip(at, 0, old - 1), np.clip(at + 1, 0, old - 1), part


def planes(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return a picture as channels x height x width, in a size.

    Parameters
    ----------
    picture : ndarray of uint8, H x W x 3, H x W x 4 or H x W
        Red, green, blue, and what is not looked at; or grey.
    height, width : int

    Returns
    -------
    ndarray of uint8
        Blue, green, red, or grey.
    """
    if picture.ndim == 2:
        return resize(picture[None], height, width)
    if picture.shape[:2] == (height, width):
        return np.ascontiguousarray(picture[:, :, 2::-1].transpose(2, 0, 1))
    return _resized(np.ascontiguousarray(picture), (3, *picture.shape[:2]), picture.shape[2], height, width)


def _resized(
    pixels: np.ndarray, shape: tuple[int, ...], stride: int, height: int, width: int, step: float | None = None
) -> np.ndarray:
    """Resize pixels that lie channel by channel (stride 1), or together, red, green, blue (stride 3 or 4)."""
    channels, h, w = shape
    starts = np.arange(channels) * (h * w) if stride == 1 else np.array([2, 1, 0])
    out = np.empty((channels, height, width), np.uint8)
    columns, weights = _neighbours(w, width, True, step)
    with _lock:
        across, down = (columns * stride, weights), _neighbours(h, height, False, step)
        run = kernels.resize(pixels.reshape(-1), starts, stride * w, across, down, out)
    run()
    return out


@lru_cache(64)
def _neighbours(old: int, new: int, columns: bool, step: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Return for each new pixel the two old ones between which it lies, [2][new], and their weights."""
    place = ((np.arange(new) + 0.5) * (step or old / new) - 0.5).astype(np.float32)
    first = np.floor(place).astype(np.int64)
    part = place - first.astype(np.float32)
    if columns:  # beyond the edge OpenCV has one neighbour in a row, and twice the same one in a column
        part[(first < 0) | (first >= old - 1)] = 0
    weights = np.rint(np.stack([np.float32(1) - part, part]) * np.float32(_ONE)).astype(np.int32)
    return np.clip(np.stack([first, first + 1]), 0, old - 1), weights
