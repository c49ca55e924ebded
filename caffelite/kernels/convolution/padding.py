"""A band of rows of an image, copied with the zeros around it, so that a convolution needs no case for the edge."""

from collections.abc import Callable

import numpy as np
from numba.extending import register_jitable

from caffelite.kernels.tiles.tile import move
from caffelite.kernels.tiles.vectors import WIDTH


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


def dealer(step: int) -> Callable[..., None]:
    """Return the function that copies a band and deals each row out: element i to row i % step, for the phases asked.

    ``deal(source, base, channels, height, width, first_row, rows, row_used, left, phases, pitch, band)``: as
    :func:`copy_band`, but ``band`` is [channels][rows][phases][pitch], and row r is copied only where
    ``row_used[r % len(row_used)]``. Up to a vector is written behind the band.
    """

    def deal(source, base, channels, height, width, first_row, rows, row_used, left, phases, pitch, band):
        many = len(phases)
        for channel in range(channels):
            plane = base + channel * height * width
            for r in range(rows):
                if not row_used[r % len(row_used)]:
                    continue
                row = first_row + r
                for p in range(many):
                    place = ((channel * rows + r) * many + p) * pitch
                    if row < 0 or row >= height:
                        for i in range(pitch):
                            band[place + i] = np.float32(0)
                        continue
                    # The columns of this phase that lie in the image.
                    shift = phases[p] - left
                    begin = min(max((step - 1 - shift) // step, 0), pitch)
                    end = max(min((width - 1 - shift) // step + 1, pitch), begin)
                    for i in range(begin):
                        band[place + i] = np.float32(0)
                    line = plane + row * width + shift
                    i = begin
                    # A last vector may go on into what is written next.
                    while i < end and line + (i + WIDTH) * step <= len(source):
                        move(source, line + i * step, band, place + i, step, WIDTH)
                        i += WIDTH
                    while i < end:
                        band[place + i] = source[line + i * step]
                        i += 1
                    for i in range(end, pitch):
                        band[place + i] = np.float32(0)

    return register_jitable(deal)
