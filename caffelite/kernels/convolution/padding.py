"""A band of rows of an image, copied with the zeros around it, so that a convolution needs no case for the edge."""

from collections.abc import Callable
from functools import cache

import numpy as np
from numba.extending import register_jitable

from caffelite.kernels.tiles.tile import move
from caffelite.kernels.tiles.vectors import WIDTH


@register_jitable
def copy_band(g, source, base, first_row, band):
    """Copy rows ``first_row`` to ``first_row + g.rows - 1`` of every channel, zero where there is no image.

    Parameters
    ----------
    g : record
        Of its numbers ``channels, height, width`` (of the image), ``rows, pitch`` (of the band; the length of a row of
        it) and ``left`` (zeros left of the image; negative: columns left out) are read.
    source : ndarray, one axis
        The image begins at ``base``: [channels][height][width].
    first_row : int
        May be negative, and rows beyond the image are zero.
    band : ndarray, [channels][rows][pitch], one axis
    """
    begin = max(0, -g.left)
    end = min(g.width, g.pitch - g.left)
    for channel in range(g.channels):
        plane = base + channel * g.height * g.width
        for r in range(g.rows):
            row = first_row + r
            place = (channel * g.rows + r) * g.pitch
            if row < 0 or row >= g.height:
                for i in range(g.pitch):
                    band[place + i] = np.float32(0)
                continue
            for i in range(g.left):
                band[place + i] = np.float32(0)
            line = plane + row * g.width
            for i in range(begin, end):
                band[place + g.left + i] = source[line + i]
            for i in range(max(g.left + g.width, 0), g.pitch):
                band[place + i] = np.float32(0)


@cache
def dealer(step: int) -> Callable[..., None]:
    """Return the function that copies a band and deals each row out: element i to row i % step, for the phases asked.

    ``deal(g, source, base, first_row, row_used, phases, band)``: as :func:`copy_band`, but ``band`` is
    [channels][rows][phases][pitch], ``phases`` (an array) has the i % step that are kept, and row r is copied only
    where ``row_used[r % len(row_used)]`` (an array of 0 and 1). Up to a vector is written behind the band.
    """

    def deal(g, source, base, first_row, row_used, phases, band):
        for channel in range(g.channels):
            plane = base + channel * g.height * g.width
            for r in range(g.rows):
                if not row_used[r % len(row_used)]:
                    continue
                row = first_row + r
                for p in range(len(phases)):
                    place = ((channel * g.rows + r) * len(phases) + p) * g.pitch
                    if row < 0 or row >= g.height:
                        for i in range(g.pitch):
                            band[place + i] = np.float32(0)
                        continue
                    # The columns of this phase that lie in the image.
                    shift = phases[p] - g.left
                    begin = min(max((step - 1 - shift) // step, 0), g.pitch)
                    end = max(min((g.width - 1 - shift) // step + 1, g.pitch), begin)
                    for i in range(begin):
                        band[place + i] = np.float32(0)
                    line = plane + row * g.width + shift
                    i = begin
                    # A last vector may go on into what is written next.
                    while i < end and line + (i + WIDTH) * step <= len(source):
                        move(source, line + i * step, band, place + i, step, WIDTH)
                        i += WIDTH
                    while i < end:
                        band[place + i] = source[line + i * step]
                        i += 1
                    for i in range(end, g.pitch):
                        band[place + i] = np.float32(0)

    return register_jitable(deal)
