"""Winograd's method for filters of 3 x 3 and 5 x 5: what a convolution is there, forward and back to its data.

``y = A^T [sum over c of (G g G^T) * (B^T x B)] A`` for each tile of 6 x 6 pixels (the matrices, and the sources, stand
in :mod:`.winograd_tile`): filters g and tiles x are taken to 36 frequencies, where a convolution is a product of
matrices for each frequency, filters times tiles, and the results are taken back (Lavin and Gray, "Fast Algorithms for
Convolutional Neural Networks", 2016, section 4). 3 x 3 filters take 36 products for 16 pixels in place of 144, 5 x 5
ones 36 for 4 in place of 100. The plain loop it replaces is ``convolution`` in ``tests/naive.py``.

The lanes of all vectors are tiles (:class:`.winograd_tiling.Tiling`). A task is a block of tiles of one group, of
several images or a band of one, for all output channels or a part of them: it deals the rows of an input channel out,
takes its tiles to frequencies, multiplies, for some panels of output channels at a time, and takes those results back.
What it computes on the way stays in the second cache.
"""

from collections.abc import Callable
from typing import NamedTuple

from numba.extending import register_jitable

from caffelite.kernels import elementwise
from caffelite.kernels.convolution.winograd_tile import FREQUENCIES, TILE, from_tiles
from caffelite.kernels.convolution.winograd_tiling import map_raiser
from caffelite.kernels.engine.compiling import specialised
from caffelite.kernels.tiles.tile import spread
from caffelite.kernels.tiles.vectors import WIDTH


class Winograd(NamedTuple):
    """The geometry of a convolution at Winograd's frequencies, as its kernels read it; :mod:`.winograd` computes it.

    Attributes
    ----------
    images, groups : int
    channels, outputs : int
        Input and output channels of a group.
    height, width : int
        Pixels of an input map.
    top : int
        Rows of zeros above it. (Those left of it are in the tables of the tiling.)
    out_height, out_width : int
        Pixels of an output map.
    panels : int
        Panels of output channels of a group: as many channels as the register tile has.
    parts, at_once : int
        Parts that the panels are cut into, and panels of a part whose results are held at a time.
    """

    images: int
    groups: int
    channels: int
    outputs: int
    height: int
    width: int
    top: int
    out_height: int
    out_width: int
    panels: int
    parts: int
    at_once: int


@specialised
def filters(size: int) -> Callable[..., None]:
    """The kernel that takes filters of ``size`` x ``size`` to frequencies: ``G g G^T``."""
    taps = size * size

    def to_frequencies(begin, end, worker, g, w, table, group_step, output_step, channel_step, per_panel, packed, room):
        """A task is a panel of a group: the frequencies of ``per_panel`` outputs.

        Parameters
        ----------
        g : Winograd
        w : ndarray
            Filters; from one group, output and input channel to the next it is ``group_step``, ``output_step`` and
            ``channel_step``.
        table : ndarray, [taps][FREQUENCIES]
            :func:`.winograd_tile.spectrum`.
        packed : ndarray, [groups][frequencies][panels][1 + channels][per_panel]
            Before the channels are zeros: what the sums begin with.
        room : ndarray, [threads][per_panel][FREQUENCIES]
        """
        values = room[worker]
        length = (g.channels + 1) * per_panel
        for task in range(begin, end):
            group, panel = task // g.panels, task % g.panels
            filled = min(per_panel, g.outputs - panel * per_panel)
            for c in range(g.channels):
                source = group * group_step + panel * per_panel * output_step + c * channel_step
                place = (group * FREQUENCIES * g.panels + panel) * length + (c + 1) * per_panel
                for m in range(filled):
                    for f in range(FREQUENCIES):
                        total = w[source] * table[0, f]
                        for t in range(1, taps):
                            total += w[source + t] * table[t, f]
                        values[m, f] = total
                    source += output_step
                for f in range(FREQUENCIES):
                    for m in range(filled):
                        packed[place + f * g.panels * length + m] = values[m, f]

    return to_frequencies


def _multiplier(per_panel: int, vectors: int) -> Callable[..., None]:
    """Return the function that multiplies the tiles of a block with some panels, at all frequencies.

    ``multiply(g, t, tiles, along, at, packed, group, first, end, sums)``: panels ``first`` to ``end - 1`` of a group;
    the results go to ``sums``, arrays as in :func:`convolution`, of one thread.
    """
    shape = (per_panel, vectors, WIDTH, WIDTH)

    def multiply(g, t, tiles, along, at, packed, group, first, end, sums):
        tile_step, sum_step = len(tiles) // FREQUENCIES, len(sums) // FREQUENCIES
        length, last = (g.channels + 1) * per_panel, t.lanes // WIDTH
        for f in range(FREQUENCIES):
            for panel in range(first, end):
                weights = ((group * FREQUENCIES + f) * g.panels + panel) * length
                to = f * sum_step + (panel - first) * per_panel * t.lanes
                v = 0
                while v < last:
                    # The last ones are moved back to fill the tile.
                    v = min(v, last - vectors)
                    spread(
                        tiles, f * tile_step, along, g.channels, at, v, packed, weights, sums, to, t.lanes, at, shape
                    )
                    v += vectors

    return register_jitable(multiply)


def _placer(step: int, chain: tuple[str, ...]) -> Callable[..., None]:
    """Return the function that writes the results of a block's tiles, for one output channel.

    ``put(g, t, results, bias, plane, images, line, out, p, other)``: the maps are number ``plane``, and every
    ``groups * outputs`` from there, of ``out``; ``bias`` is the channel's.
    """
    value = elementwise.of_result(chain)

    def put(g, t, results, bias, plane, images, line, out, p, other):
        for n in range(images):
            for number in range(min(t.tall, t.lines - line)):
                source = (n * t.tall + number) * t.pieces * t.piece * step
                y = (line + number) * step
                for i in range(min(step, g.out_height - y)):
                    goal = ((plane + n * g.groups * g.outputs) * g.out_height + y + i) * g.out_width
                    row = source + i * t.lanes * step
                    for k in range(g.out_width):
                        out[goal + k] = value(results[row + k] + bias, p, other, goal + k)

    return register_jitable(put)


@specialised
def convolution(size: int, piece: int, per_panel: int, vectors: int, *chain: str) -> Callable[..., None]:
    """The kernel for filters of ``size`` x ``size``, pieces of ``piece`` tiles and register tiles of such a size."""
    step = TILE - size + 1
    raise_maps, multiply, put = map_raiser("input", size, piece), _multiplier(per_panel, vectors), _placer(step, chain)
    back = from_tiles(size)

    def convolve(begin, end, worker, g, t, x, packed, bias, out, tables, band, tiles, sums, results, p, other):
        """A task is a part of the output channels, for a block of one group.

        Parameters
        ----------
        g : Winograd; t : Tiling
        x, out : ndarrays, [images][groups * channels or outputs][height][width]; packed : by :func:`filters`
        bias : ndarray, [groups * outputs], or empty
        tables : ndarray of int64, [4][…]
            Where the pixels of a tile lie, where the pieces of a block begin, where channels and vectors of lanes lie.
        band : ndarray, [threads][images of a block][rows][phases][slot]; one channel
        tiles : ndarray, [threads][frequencies][channels][lanes], frequencies WIDTH floats further apart
        sums : ndarray, [threads][frequencies][output channels of ``at_once`` panels][lanes], likewise
        results : ndarray, [threads][rows of a tile's results][lanes][columns of them]; one output channel
        p, other : ndarrays
            Constants of the chain of element-wise functions that runs over the results, and what it adds to them: like
            ``out``, or empty.
        """
        taps, starts, along, at = tables[0], tables[1], tables[2], tables[3]
        map_size, here, sum_step = (g.height, g.width), band[worker], len(sums[worker]) // FREQUENCIES
        for task in range(begin, end):
            part, group, block = task % g.parts, task // g.parts % g.groups, task // g.parts // g.groups
            image, line = block // t.bands * t.together, block % t.bands * t.tall
            images, top = min(t.together, g.images - image), line * step - g.top
            if part == 0 or task == begin:
                for c in range(g.channels):
                    plane, to = (image * g.groups + group) * g.channels + c, c * t.lanes
                    raise_maps(
                        t, x, map_size, plane, g.groups * g.channels, images, top, taps, starts, here, tiles[worker], to
                    )
            panel_end = (part + 1) * g.panels // g.parts
            for first in range(part * g.panels // g.parts, panel_end, g.at_once):
                after = min(first + g.at_once, panel_end)
                multiply(g, t, tiles[worker], along, at, packed, group, first, after, sums[worker])
                for output in range(first * per_panel, min(after * per_panel, g.outputs)):
                    for v in range(t.lanes // WIDTH):
                        place = (output - first * per_panel) * t.lanes + v * WIDTH
                        back(sums[worker], place, sum_step, results[worker], v * WIDTH * step, t.lanes * step)
                    added = bias[group * g.outputs + output] if len(bias) else x.dtype.type(0)
                    plane = (image * g.groups + group) * g.outputs + output
                    put(g, t, results[worker], added, plane, images, line, out, p, other)

    return convolve
