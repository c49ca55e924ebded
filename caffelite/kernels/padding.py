"""A band of rows of an image, copied with the zeros around it, so that a convolution needs no case for the edge."""

import numpy as np
from numba.extending import register_jitable


@register_jitable
def copy_band(source, base, channels, height, width, first_row, rows, left, pitch, band, target):
    """Copy rows ``first_row`` to ``first_row + rows - 1`` of every channel, zero where there is no image.

    Parameters
    ----------
    source : ndarray of float32, one axis
        The image begins at ``base``: [channels][height][width].
    first_row, rows : int
        ``first_row`` may be negative, and rows beyond the image are zero.
    left : int
        Zeros left of the image; negative: columns left out.
    pitch : int
        Length of a row of the band.
    band : ndarray of float32, one axis
        [channels][rows][pitch], from ``target``.
    """
    begin = max(0, -left)
    end = min(width, pitch - left)
    for channel in range(channels):
        plane = base + channel * height * width
        for r in range(rows):
            row = first_row + r
            place = target + (channel * rows + r) * pitch
            if row < 0 or row >= height:
                for i in range(pitch):
                    band[place + i] = np.float32(0)
                continue
            for i in range(left):
                band[place + i] = np.float32(0)
            line = plane + row * width
            for i in range(begin, end):
                band[place + left + i] = source[line + i]
            for i in range(max(left + width, 0), pitch):
                band[place + i] = np.float32(0)
