"""Images from database records: found in the record, cropped, mirrored, and made into numbers.

These run on a thread of their own beside training, without Python's lock.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, register_jitable

from caffelite.kernels.engine.calls import Call, call
from caffelite.kernels.engine.compiling import kernel, specialised
from caffelite.kernels.functions import random32

#: What :func:`parse` reports of a record.
RAW, BROKEN, OTHER_SHAPE, NOT_RAW = 0, 1, 2, 3


def _array_at(element: Any, shape: Any) -> tuple[Any, Callable[..., Any]]:
    """Return what an intrinsic returns that makes an array of what lies at an address, with a tuple of lengths."""
    kind = types.Array(element, shape.count, "C")

    def generate(context, builder, signature, arguments):
        address, lengths = arguments[0], cgutils.unpack_tuple(builder, arguments[1])
        size = ir.Constant(address.type, context.get_abi_sizeof(context.get_value_type(element)))
        # From one element to the next, along each axis: how many there are behind it.
        strides = [size]
        for length in lengths[:0:-1]:
            strides.insert(0, builder.mul(strides[0], length))
        array = context.make_array(kind)(context, builder)
        array.data = builder.inttoptr(address, array.data.type)
        array.shape, array.strides = (cgutils.pack_array(builder, values) for values in (lengths, strides))
        array.itemsize, array.nitems = size, builder.sdiv(builder.mul(strides[0], lengths[0]), size)
        return array._getvalue()

    return kind(types.intp, shape), generate


@intrinsic
def _bytes_at(typing_context, address, shape):
    return _array_at(types.uint8, shape)


@intrinsic
def _floats_at(typing_context, address, shape):
    return _array_at(types.float32, shape)


@register_jitable
def _varint(record, position):
    """Return a number of the wire format and the place after it; place -1 where it is cut off."""
    value = np.uint64(0)
    shift = np.uint64(0)
    while position < len(record) and shift < 70:
        byte = record[position]
        position += 1
        value |= np.uint64(byte & 0x7F) << shift
        if byte < 0x80:
            return np.int64(value), position
        shift += np.uint64(7)
    return np.int64(0), -1


@kernel
def _parse(begin, end, worker, addresses, lengths, channels, height, width, pixels, labels, status):
    """Find the pixels and the label of each Datum, without a copy; a task is a record.

    One long function, as it is one loop over the fields of the wire format, each a few lines.

    Parameters
    ----------
    addresses, lengths : ndarray of int64, [records]
        Where the records lie in memory, in bytes.
    channels, height, width : int
        What a record should have.
    pixels : ndarray of int64, [records]
        Is set to the addresses of the pixels; 0 where there are none.
    labels : ndarray of float32, [records]
    status : ndarray of int64, [records]
        Is set to RAW, BROKEN, OTHER_SHAPE or NOT_RAW.
    """
    for n in range(begin, end):
        record = _bytes_at(addresses[n], (lengths[n],))
        shape = (np.int64(0), np.int64(0), np.int64(0))
        pixels[n] = 0
        size = np.int64(0)
        label = np.int64(0)
        state = RAW
        position = 0
        while position < len(record):
            tag, position = _varint(record, position)
            if position < 0 or tag < 8 or tag >> 32:  # no field has the number 0, or one that large
                position = -1
                break
            number, kind = tag >> 3, tag & 7
            if kind == 0:
                value, position = _varint(record, position)
                if position < 0:
                    break
                if number == 1:
                    shape = (value, shape[1], shape[2])
                elif number == 2:
                    shape = (shape[0], value, shape[2])
                elif number == 3:
                    shape = (shape[0], shape[1], value)
                elif number == 5:
                    label = np.int64(np.int32(value))
                elif number == 7 and value:
                    state = NOT_RAW
            elif kind == 2:
                value, position = _varint(record, position)
                if position < 0 or value < 0 or value > len(record) - position:
                    position = -1
                    break
                if number == 4:
                    pixels[n] = addresses[n] + position
                    size = value
                elif number == 6:
                    state = NOT_RAW
                position += value
            elif kind == 5:
                if number == 6:
                    state = NOT_RAW
                position += 4
            elif kind == 1:
                position += 8
            else:
                position = -1
                break
        if position < 0 or position > len(record):
            state = BROKEN
        elif state == RAW and (shape != (channels, height, width) or size != channels * height * width):
            state = OTHER_SHAPE
        labels[n] = np.float32(label)
        status[n] = state


@specialised
def _transform(kind: str) -> Callable[..., None]:
    """Make the kernel for pixels of a kind, ``"uint8"`` or ``"float32"``."""
    at = _bytes_at if kind == "uint8" else _floats_at

    def transform(begin, end, worker, pixels, mean, out, out_h, out_w, scale, train, mirror, seed, first):
        """out = (pixel - mean) · scale of a crop, mirrored or not; a task is an image.

        Parameters
        ----------
        pixels : ndarray of int64, [images]
            Addresses of [channels][h][w].
        mean : ndarray of float32, [channels][h][w]
        out : ndarray of float32, [images][channels][out_h][out_w]
            Is set.
        out_h, out_w : int
        scale : float
        train, mirror : int
            1: crop anywhere, not in the middle; 1: turn every second image, at random.
        seed : int
        first : ndarray of int64, [1]
            The number of the first image in the run, which chance depends on.
        """
        channels, h, w = mean.shape
        factor = np.float32(scale)
        for n in range(begin, end):
            image = at(pixels[n], (channels, h, w))
            number = first[0] + n
            top, left = (h - out_h) // 2, (w - out_w) // 2
            if train:
                top = int(random32(seed, number, 0) * np.float32(h - out_h + 1))
                left = int(random32(seed, number, 1) * np.float32(w - out_w + 1))
            turned = mirror and random32(seed, number, 2) < np.float32(0.5)
            if out_h == h and out_w == w and not turned:
                # As one row: the rows of small images fill no vectors.
                pixel, offset, start = image.reshape(-1), mean.reshape(-1), n * channels * h * w
                for i in range(channels * h * w):
                    out[start + i] = (np.float32(pixel[i]) - offset[i]) * factor
                continue
            for c in range(channels):
                for y in range(out_h):
                    row = ((n * channels + c) * out_h + y) * out_w
                    if turned:
                        for x in range(out_w):
                            value = np.float32(image[c, top + y, left + x]) - mean[c, top + y, left + x]
                            out[row + out_w - 1 - x] = value * factor
                    else:
                        for x in range(out_w):
                            value = np.float32(image[c, top + y, left + x]) - mean[c, top + y, left + x]
                            out[row + x] = value * factor

    return transform


def parse(
    addresses: np.ndarray,
    lengths: np.ndarray,
    shape: tuple[int, int, int],
    pixels: np.ndarray,
    labels: np.ndarray,
    status: np.ndarray,
) -> Call:
    """Return the call that reads Datum records in place.

    Parameters
    ----------
    addresses, lengths : ndarray of int64
        Where the records lie in memory.
    shape : (int, int, int)
        Channels, height and width they should have.
    pixels : ndarray of int64
        Is set to the addresses of the pixels.
    labels : ndarray of float32
    status : ndarray of int64
        Is set to RAW, BROKEN, OTHER_SHAPE or NOT_RAW.
    """
    return Call(_parse, len(addresses), (addresses, lengths, *shape, pixels, labels, status), 1)


def transform(
    kind: str,
    pixels: np.ndarray,
    mean: np.ndarray,
    out: np.ndarray,
    scale: float,
    random_crop: bool,
    mirror: bool,
    seed: int,
    first: np.ndarray,
) -> Call:
    """Return the call that makes a batch of images from their pixels.

    Parameters
    ----------
    kind : str
        ``"uint8"`` or ``"float32"``: what the pixels are.
    pixels : ndarray of int64
        Addresses of the images, channels x height x width.
    mean : ndarray of float32, channels x height x width
        Is taken off, at the place of the crop.
    out : ndarray of float32, images x channels x crop height x crop width
    scale : float
    random_crop : bool
        Crop anywhere rather than in the middle.
    mirror : bool
        Turn every second image, at random.
    seed : int
    first : ndarray of int64, one value
        Number of the first image in the run: random numbers depend on it and the seed alone.
    """
    arguments = (
        pixels,
        mean,
        out.reshape(-1),
        out.shape[2],
        out.shape[3],
        float(scale),
        int(random_crop),
        int(mirror),
        seed,
        first,
    )
    return call(_transform(kind), len(pixels), *arguments, work=2 * out.size)
