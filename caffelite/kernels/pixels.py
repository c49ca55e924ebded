"""Images in another size, in whole numbers, without Python's lock."""

import numpy as np

from caffelite.kernels.engine.calls import Call
from caffelite.kernels.engine.compiling import kernel


@kernel
def _resize(begin, end, worker, pixels, starts, row_step, columns, weights, lines, shares, scratch, out):
    """out = the image in another size; a task is a channel.

    Parameters
    ----------
    pixels : ndarray of uint8, flat
        Where row y of channel c begins is ``starts[c] + y · row_step``.
    starts : ndarray of int64, [channels]
    row_step : int
    columns : ndarray of int64, [2][width]
        For each pixel of the result where in a row the two lie that it is between.
    lines : ndarray of int64, [2][height]
        For each row of the result the two that it lies between, one below the other.
    weights, shares : ndarray of int32, [2][width] and [2][height]
        Of these, in 1/2048.
    scratch : ndarray of int32, [2][width]
        Rows of even and of odd numbers, resized across.
    out : ndarray of uint8, [channels][height][width]
    """
    height, width = lines.shape[1], columns.shape[1]
    for channel in range(begin, end):
        even, odd = -1, -1
        for y in range(height):
            for k in range(2):
                line = lines[k, y]
                if line == (odd if line & 1 else even):
                    continue
                row, place = scratch[line & 1], starts[channel] + line * row_step
                for x in range(width):
                    left = np.int32(pixels[place + columns[0, x]]) * weights[0, x]
                    right = np.int32(pixels[place + columns[1, x]]) * weights[1, x]
                    row[x] = (left + right) >> 4
                if line & 1:
                    odd = line
                else:
                    even = line
            upper, lower = scratch[lines[0, y] & 1], scratch[lines[1, y] & 1]
            above, below = shares[0, y], shares[1, y]
            for x in range(width):
                out[channel, y, x] = ((upper[x] * above >> 16) + (lower[x] * below >> 16) + 2) >> 2


def resize(
    pixels: np.ndarray,
    starts: np.ndarray,
    row_step: int,
    across: tuple[np.ndarray, np.ndarray],
    down: tuple[np.ndarray, np.ndarray],
    out: np.ndarray,
) -> Call:
    """Return the call that resizes an image, on the thread that runs it.

    Parameters
    ----------
    pixels : ndarray of uint8, flat
    starts : ndarray of int64, [channels]
        Where each channel begins.
    row_step : int
        From a row to the next one.
    across, down : (ndarray of int64, ndarray of int32), [2][width] and [2][height]
        Where in a row the two pixels are that each lies between, the numbers of the two rows, and weights in 1/2048.
    out : ndarray of uint8, [channels][height][width]
        Is set.
    """
    scratch = np.empty((2, out.shape[2]), np.int32)
    return Call(_resize, len(starts), (pixels, starts, row_step, *across, *down, scratch, out), 1)
