"""How the tiles of images become lanes of vectors, and how the rows they are read from lie in scratch memory."""

from collections.abc import Callable, Iterator
from functools import cache
from math import gcd
from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable

from caffelite.kernels.convolution.winograd_tile import FREQUENCIES, TILE, to_tiles
from caffelite.kernels.tiles.lanes import deal
from caffelite.kernels.tiles.vectors import WIDTH


class Tiling(NamedTuple):
    """How the tiles of images become lanes; :func:`tiling` chooses it, kernels read its numbers.

    A *block* is what a task works on: several images, or a band of lines of one. Each line of tiles is cut into pieces,
    whose tiles lie side by side in a vector; the last piece may reach beyond the map. Rows of input are dealt out:
    pixel i of a row lies in the row's horizontal *phase* ``i % step``, so that what the tiles of a piece read at one
    place lies side by side.

    Attributes
    ----------
    step : int
        Output pixels of a tile, vertically and horizontally: 7 less the size of a filter.
    lines : int
        Lines of tiles of an image.
    piece, pieces : int
        Tiles of a piece, pieces of a line.
    together : int
        Images of a block; 1 where there are several bands. There may be fewer than that.
    bands, tall : int
        Blocks an image is cut into; lines of each (there may be fewer in the last one).
    lanes : int
        Tiles of a block: a number of whole vectors.
    lead, pitch : int
        Zeros before, and pixels of, one horizontal phase of a row of input.
    slot : int
        Floats of one horizontal phase of a row; up to a vector behind it is written over.
    rows : int
        Rows of input of a block's image.
    image_step : int
        Floats of one channel of a block's image, dealt out.
    """

    step: int
    lines: int
    piece: int
    pieces: int
    together: int
    bands: int
    tall: int
    lanes: int
    lead: int
    pitch: int
    slot: int
    rows: int
    image_step: int

    def starts(self) -> np.ndarray:
        """Return where each piece of a block begins in its dealt rows."""
        image, line = np.divmod(np.arange(self.together * self.tall), self.tall)
        row = image * self.image_step + line * self.step * self.step * self.slot + self.lead
        return (row[:, None] + np.arange(self.pieces) * self.piece).reshape(-1).astype(np.int64)

    def taps(self, across: int, left: int = 0) -> np.ndarray:
        """Return where the ``across`` x ``across`` pixels of a tile lie, which begins ``left`` pixels further left."""
        down, right = np.divmod(np.arange(across * across, dtype=np.int64), across)
        return (down * self.step + (right - left) % self.step) * self.slot + (right - left) // self.step


def tiling(images: int, size: int, width: int, left: int, result: tuple[int, int], most: int) -> Tiling:
    """Choose the tiling of maps of ``result`` pixels, with about ``most`` lanes a block: the one with the fewest lanes.

    The input is ``width`` pixels wide, with ``left`` zeros before it.
    """
    step = TILE - size + 1
    lines, across = (-(-n // step) for n in result)

    def tiling_of(piece: int, pieces: int, together: int, bands: int, tall: int, pitch: int) -> Tiling:
        lead = -(-left // step)
        slot, rows = lead + pitch + WIDTH, tall * step + TILE - step
        lanes, image_step = together * tall * pieces * piece, rows * step * slot
        return Tiling(step, lines, piece, pieces, together, bands, tall, lanes, lead, pitch, slot, rows, image_step)

    def cuts() -> Iterator[Tiling]:
        for piece in (WIDTH, WIDTH // 2, WIDTH // 4):
            if piece < min(4, WIDTH):
                continue
            length = -(-across // piece) * piece
            whole = WIDTH // gcd(WIDTH, length)  # lines that fill vectors
            # What is dealt is followed by a zero at least.
            pitch = max(length + (TILE - 1) // step, -(-width // step)) + 1
            for tall in range(whole, lines, whole):
                if tall == whole or 2 * tall * length <= 3 * most:
                    yield tiling_of(piece, length // piece, 1, -(-lines // tall), tall, pitch)
            # Images beyond the last one are zero.
            fill = whole // gcd(whole, lines)
            for together in range(fill, max(fill, min(images + fill - 1, most // (lines * length))) + 1, fill):
                yield tiling_of(piece, length // piece, together, 1, lines, pitch)

    def time(t: Tiling) -> float:
        # Few lanes mean that filters are read more often.
        return (t.lanes + WIDTH / 4) * t.bands / min(t.together, images)

    choices = list(cuts())
    # A line may be longer than a block should be.
    return min([t for t in choices if 2 * t.lanes <= 3 * most] or [min(choices, key=lambda t: t.lanes)], key=time)


@cache
def row_dealer(step: int) -> Callable[..., None]:
    """Return ``deal_rows(t, x, plane, height, width, first, rows, band, base)``, for tilings ``t`` of this step.

    It copies the rows ``first`` to ``first + rows - 1`` of a map that begins at ``x[plane]`` to ``band[base:]``, zero
    where there are none: [rows][phases][slot].
    """

    def deal_rows(t, x, plane, height, width, first, rows, band, base):
        for r in range(rows):
            y = first + r
            inside = y >= 0 and y < height
            start, many = plane + y * width if inside else 0, width if inside else 0
            deal(x, start, many, band, base + r * step * t.slot + t.lead, t.slot, t.pitch, 0, step)

    return register_jitable(deal_rows)


@cache
def map_raiser(kind: str, size: int) -> Callable[..., None]:
    """Return the function that takes one channel of a block to frequencies: of ``kind`` "input" or "gradient".

    ``raise_maps(raiser, t, x, map_size, plane, plane_step, images, first_row, taps, starts, band, target, to)``: the
    block's maps of ``map_size`` (rows, columns) pixels are number ``plane``, ``plane + plane_step`` … of ``x``,
    ``images`` of them, read from ``first_row`` on. They go through ``band``, and frequency f of the block's tiles to
    ``target[f][to:]``; ``taps`` and ``starts`` are those of the tiling, ``raiser`` is from
    :func:`.winograd_tile.raiser` for its pieces.
    """
    step = TILE - size + 1
    deal_rows, transform = row_dealer(step), to_tiles(kind, size)
    of_input = kind == "input"

    def raise_maps(raiser, t, x, map_size, plane, plane_step, images, first_row, taps, starts, band, target, to):
        height, width = map_size
        rows = t.rows if of_input else t.tall * step
        # Tiles beyond the last image have no gradient; what they have of the input does not matter then.
        for n in range(images if of_input else t.together):
            here = (plane + n * plane_step) * height * width
            deal_rows(t, x, here, height if n < images else 0, width, first_row, rows, band, n * t.image_step)
        transform(raiser, band, taps, starts, t.piece, target, to, len(target) // FREQUENCIES, t.lanes)

    return register_jitable(raise_maps)
