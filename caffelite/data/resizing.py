"""Images in another size, by the arithmetic of OpenCV's ``INTER_LINEAR``: Caffe's tools and layers resize with it.

Each pixel is a mean of four, in whole numbers: weights are 1/2048, a row of the result lies between two rows that have
been resized across. Where an image is made much smaller, most of its pixels have no part in that.
"""

import threading
from functools import lru_cache

import numpy as np

from caffelite.kernels import pixels as kernels

#: OpenCV's weights are whole numbers of 1/2048.
_ONE = 2048
#: Kernels are compiled and bound by one thread at a time.
_lock = threading.Lock()


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return an image (channels x height x width, uint8) in another size; of the same size it is the same one."""
    if image.shape[1:] == (height, width):
        return image
    return _resized(np.ascontiguousarray(image), image.shape, 1, height, width)


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


def _resized(pixels: np.ndarray, shape: tuple[int, ...], step: int, height: int, width: int) -> np.ndarray:
    """Resize pixels that lie channel by channel (step 1), or together, red, green, blue (step 3 or 4)."""
    channels, h, w = shape
    starts = np.arange(channels) * (h * w) if step == 1 else np.array([2, 1, 0])
    out = np.empty((channels, height, width), np.uint8)
    columns, weights = _neighbours(w, width, True)
    with _lock:
        across, down = (columns * step, weights), _neighbours(h, height, False)
        run = kernels.resize(pixels.reshape(-1), starts, step * w, across, down, out)
    run()
    return out


@lru_cache(64)
def _neighbours(old: int, new: int, columns: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return for each new pixel the two old ones between which it lies, [2][new], and their weights."""
    place = ((np.arange(new) + 0.5) * (old / new) - 0.5).astype(np.float32)
    first = np.floor(place).astype(np.int64)
    part = place - first.astype(np.float32)
    if columns:  # beyond the edge OpenCV has one neighbour in a row, and twice the same one in a column
        part[(first < 0) | (first >= old - 1)] = 0
    weights = np.rint(np.stack([np.float32(1) - part, part]) * np.float32(_ONE)).astype(np.int32)
    return np.clip(np.stack([first, first + 1]), 0, old - 1), weights
