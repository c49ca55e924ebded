"""Images as scripts for pycaffe have them: height x width x channels, float32 in 0..1, red first."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from caffelite.data.images import opened_image
from caffelite.errors import DataError, Error, MissingExtraError, ShapeError
from caffelite.words import text_of

#: Of red, green and blue in a grey: scikit-image's, which pycaffe read images with.
_LUMINANCE = np.array([0.2125, 0.7154, 0.0721])
#: Heights and widths.
Dims = Sequence[int] | np.ndarray
#: By order of interpolation, how far the pixels that make a new one lie from the one before its place.
_NEIGHBOURS = {0: np.array([0]), 1: np.array([0, 1]), 3: np.array([-1, 0, 1, 2])}


def load_image(filename: str | Path, color: bool = True) -> np.ndarray:
    """Read an image file.

    Parameters
    ----------
    filename : path
    color : bool, optional
        As red, green and blue, or as grey. What is grey in the file is three times the same in colour; what is
        transparent in it is not looked at.

    Returns
    -------
    ndarray of float32
        H x W x 3, or H x W x 1, in 0..1.

    Raises
    ------
    DataError
        There is no such file, or it is not an image.
    MissingExtraError
        Pillow is not installed.
    """
    what = str(filename)
    with opened_image(filename, what) as image:
        plain = image.mode in ("L", "RGB", "I", "F") or image.mode.startswith("I;16")
        pixels = np.asarray(image if plain else image.convert("L" if image.mode == "1" else "RGB"))
    largest = _largest(pixels)
    # Without a float64 copy of a large photograph: each quotient is rounded once either way.
    values = np.divide(pixels, largest, dtype=np.float32 if color or pixels.ndim == 2 else np.float64)
    if values.size and not (-1 <= values.min() and values.max() <= 1):
        raise DataError(f"{what}: it has pixels that are not in 0..{largest}")
    if values.ndim == 3 and not color:
        values = values @ _LUMINANCE
    if values.ndim == 2:
        values = np.repeat(values[:, :, None], 3 if color else 1, axis=2)
    return values.astype(np.float32, copy=False)


def _largest(pixels: np.ndarray) -> int:
    """Return the number that is white: of whole numbers 255 or, in images of more than 8 bits, 65535."""
    if pixels.dtype.kind == "f":
        return 1
    return 255 if pixels.dtype == np.uint8 else 65535


def resize_image(im: Any, new_dims: Dims, interp_order: int = 1) -> np.ndarray:
    """Return an image in another size.

    Parameters
    ----------
    im : array
        H x W x K.
    new_dims : (int, int)
        Height and width.
    interp_order : int, optional
        0 nearest, 1 linear, 3 cubic; 2, 4 and 5 are splines.

    Returns
    -------
    ndarray of float32
        new_dims[0] x new_dims[1] x K

    Raises
    ------
    ShapeError
        It is not such an image, or these are not two positive numbers.
    MissingExtraError
        Splines, or other numbers of channels in an order above 1, need SciPy.

    Notes
    -----
    The numbers are those of pycaffe with scikit-image 0.9 to 0.13. Images of one or three channels are sampled at the
    centres of the new pixels; what lies beyond the edge counts as the least value of the image, so that edges of
    enlarged images are darker; nothing is smoothed before an image is made smaller. Others are sampled by SciPy's rule:
    the outer pixels' centres stay where they are.
    """
    image = _floats(im)
    size = _dims(new_dims)
    _check_image(image)
    if image.shape[2] not in (1, 3):
        if interp_order in (0, 1):
            return _sampled(image, size, interp_order, corners=True).astype(np.float32)
        return _splines(image, size, interp_order).astype(np.float32)
    low, high = image.min(), image.max()
    if not high > low:
        return np.full((*size, image.shape[2]), low, np.float32)
    ones = (image - low) / (high - low)
    return (_photograph(ones, size, interp_order) * np.float64(high - low) + np.float64(low)).astype(np.float32)


def resize(
    image: Any, output_shape: Sequence[int], order: int = 1, mode: str = "constant", cval: float = 0
) -> np.ndarray:
    """Return an image in another size as scikit-image did, whose function is ``caffe.io.resize`` in pycaffe.

    Parameters
    ----------
    image : array
        H x W or H x W x K. Whole numbers become 0..1 first.
    output_shape : (int, int) or (int, int, int)
        Height, width, and channels, which stay as they are.
    order : int, optional
        As for :func:`resize_image`.
    mode : {"constant"}
    cval : {0}
        What lies beyond the edge.

    Returns
    -------
    ndarray of float64

    Raises
    ------
    ShapeError
        It is not such an image, or not such a shape.
    Error
        Another ``mode`` or ``cval``.
    MissingExtraError
        Orders 2, 4 and 5 need SciPy.
    """
    if (mode, cval) != ("constant", 0):
        raise Error(
            f"caffe.io.resize has 0 beyond the edge, not mode={mode!r} with cval={cval!r}; "
            "skimage.transform.resize has other modes"
        )
    pixels = np.asarray(image)
    values = pixels / np.float64(_largest(pixels))
    flat = values.ndim == 2
    values = values[:, :, None] if flat else values
    _check_image(values)
    if tuple(output_shape[2:]) not in ((), values.shape[2:]):
        raise ShapeError(
            f"caffe.io.resize changes height and width, not the {values.shape[2]} channels of an image: "
            f"{text_of(tuple(output_shape))} is asked for"
        )
    resized = _photograph(values, _dims(output_shape[:2]), order)
    return resized[:, :, 0] if flat and len(output_shape) == 2 else resized


def oversample(images: Any, crop_dims: Dims) -> np.ndarray:
    """Cut ten crops from each image: the corners, the centre, and all five mirrored.

    Parameters
    ----------
    images : array, or sequence of arrays
        N times H x W x K.
    crop_dims : (int, int)
        Height and width of a crop.

    Returns
    -------
    ndarray of float32
        10 N x crop_dims[0] x crop_dims[1] x K. The ten of an image follow each other: upper left, upper right, lower
        left, lower right, centre, and the same mirrored.

    Raises
    ------
    ShapeError
        The images are not of one shape, or smaller than a crop.
    """
    stack = stacked(images)
    height, width = _dims(crop_dims)
    rows, columns = centre(stack.shape[1:3], (height, width))
    bottom, right = stack.shape[1] - height, stack.shape[2] - width
    crops = np.empty((len(stack), 10, height, width, stack.shape[3]), np.float32)
    places = [(0, 0), (0, right), (bottom, 0), (bottom, right), (rows.start, columns.start)]
    for i, (y, x) in enumerate(places):
        crops[:, i] = stack[:, y : y + height, x : x + width]
    crops[:, 5:] = crops[:, :5, :, ::-1]
    return crops.reshape(-1, *crops.shape[2:])


def stacked(images: Any) -> np.ndarray:
    """Return images of one shape as one array, N x H x W x K; raise ShapeError where they are not."""
    arrays = [np.asarray(image) for image in images]
    shapes = list(dict.fromkeys(array.shape for array in arrays))
    if len(shapes) != 1 or len(shapes[0]) != 3:
        names = " and ".join(map(text_of, shapes[:2])) or "none"
        raise ShapeError(f"images of one shape, height x width x channels, are needed, not {names}")
    return np.stack(arrays)


def centre(dims: Dims, crop_dims: Dims) -> tuple[slice, slice]:
    """Return the rows and columns of the crop in the middle of an image; raise ShapeError where it is too small."""
    (height, width), (crop_height, crop_width) = _dims(dims), _dims(crop_dims)
    if crop_height > height or crop_width > width:
        raise ShapeError(f"a crop of {crop_height}×{crop_width} does not fit into an image of {height}×{width}")
    top, left = (height - crop_height) // 2, (width - crop_width) // 2
    return slice(top, top + crop_height), slice(left, left + crop_width)


def _floats(image: Any) -> np.ndarray:
    values = np.asarray(image)
    return values if values.dtype == np.float32 else values.astype(np.float64)


def _check_image(image: np.ndarray) -> None:
    if image.ndim != 3 or not image.size:
        raise ShapeError(f"an image is height x width x channels, not {text_of(image.shape)}")


def _dims(dims: Dims) -> tuple[int, int]:
    sizes = [int(n) for n in dims]
    if len(sizes) != 2 or min(sizes) < 1:
        raise ShapeError(f"the size of an image is a height and a width, not {text_of(tuple(sizes))}")
    return sizes[0], sizes[1]


def _photograph(values: np.ndarray, size: tuple[int, int], order: int) -> np.ndarray:
    """Resize as scikit-image 0.11 to 0.13 do: 0 is beyond the edge, but no value is outside the image's own range."""
    if order in _NEIGHBOURS:
        resized = _sampled(values, size, order, corners=False)
    else:
        resized = _splines(values.astype(np.float64), size, order, mode="grid-constant", grid_mode=True)
    return np.clip(resized, values.min(), values.max()) if order else resized


def _sampled(values: np.ndarray, size: tuple[int, int], order: int, corners: bool) -> np.ndarray:
    """Return float64 values at the places of new pixels; those are sums of neighbours, by rows and by columns."""
    rows, down = _taps(values.shape[0], size[0], order, corners)
    columns, across = _taps(values.shape[1], size[1], order, corners)
    between = sum(values[row] * weight[:, None, None] for row, weight in zip(rows, down, strict=True))
    return sum(between[:, column] * weight[:, None] for column, weight in zip(columns, across, strict=True))


def _taps(old: int, new: int, order: int, corners: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return which old pixels make each new one along an axis, and their weights: (neighbours, new) each.

    ``corners``: the first and the last pixel stay where they are, else the axis' ends do.
    """
    pixels = np.arange(new)
    place = pixels * ((old - 1) / max(new - 1, 1)) if corners else (pixels + 0.5) * (old / new) - 0.5
    if order == 0:
        place = np.floor(place + 0.5)
    first = np.floor(place)
    taps = first.astype(np.intp) + _NEIGHBOURS[order][:, None]
    weights = np.stack(_weights(place - first, order))
    weights[(taps < 0) | (taps >= old)] = 0
    return np.clip(taps, 0, old - 1), weights


def _weights(x: np.ndarray, order: int) -> list[np.ndarray]:
    if order == 0:
        return [np.ones_like(x)]
    if order == 1:
        return [1 - x, x]
    # Catmull and Rom's; Keys, "Cubic convolution interpolation for digital image processing", 1981.
    return [
        x * (-1 + x * (2 - x)) / 2,
        1 + x * x * (3 * x - 5) / 2,
        x * (1 + x * (4 - 3 * x)) / 2,
        x * x * (x - 1) / 2,
    ]


def _splines(values: np.ndarray, size: tuple[int, int], order: int, **how: Any) -> np.ndarray:
    if order not in range(6):
        raise Error(f"the order of an interpolation is 0, 1, 2, 3, 4 or 5, not {order!r}")
    try:
        from scipy.ndimage import zoom
    except ImportError:
        raise MissingExtraError(
            f"interpolation of order {order} of {values.shape[2]} channels needs SciPy: pip install scipy; "
            "orders 0 and 1 (nearest and linear) need nothing"
        ) from None
    factors = (size[0] / values.shape[0], size[1] / values.shape[1], 1)
    return zoom(values, factors, order=order, **how)
