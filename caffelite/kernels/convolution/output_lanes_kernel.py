"""Correlation by direct sums with output channels as lanes.

What is computed is what :mod:`.correlation_kernel` computes, the loops are the other way round: the tile is
:data:`caffelite.kernels.tiles.tile.tile`, whose vectors hold the weights of output channels that lie side by side (a
*panel*), and each pixel is read as one number that all of them are multiplied by. So no lane is empty where a map is
not a multiple of a vector, pixels may begin anywhere, and nothing is packed: with many channels, what a tile reads of
each is less than a line of the cache, and the lanes of several vectors of pixels, each from a page of its own, would
cost more than the products. The price is that results are made pixel by pixel: those of a panel are transposed in
scratch memory on the way to their maps.

A result map is made of *lines*, a task is a band of lines of one group of one image, for all panels or a part of them.
Where there is one tap and no padding, pixels are read from the image itself; without a stride the map is one line, and
a band is a run of its pixels. Else the rows of input that a band needs are copied as in :mod:`.correlation_kernel`.
"""

from collections.abc import Callable
from typing import NamedTuple

from numba.extending import register_jitable

from caffelite.kernels import elementwise
from caffelite.kernels.convolution.padding import dealer
from caffelite.kernels.engine.compiling import specialised
from caffelite.kernels.tiles.tile import tile, transpose
from caffelite.kernels.tiles.vectors import WIDTH


class OutputLanesExtent(NamedTuple):
    """The geometry of one correlation, as its kernel reads it; :mod:`.output_lanes` computes it.

    Attributes
    ----------
    groups : int
    channels, outputs : int
        Input and output channels of a group.
    height, width : int
        Pixels of an input map.
    top, left : int
        Zeros before the map, in pixels; negative: pixels left out.
    pitch : int
        Floats of one horizontal phase of a row of the band.
    rows : int
        Rows of input in a band.
    bands, parts : int
        Bands that the lines of a map are cut into, parts that the panels of a group are cut into.
    lines, line : int
        Lines of a result map, results of a line.
    line_step : int
        From what one line reads to what the next one does, in the band or the image.
    joined : int
        Whether lines lie one behind the other in the image: then a band is one long line.
    panels : int
        Panels of a group.
    out_plane : int
        Results of an output map.
    blocks : int
        Blocks that the products of a result are cut into, so that the weights of two stay in the second cache.
    pixels : int
        Of the largest band, and some more: from one output channel to the next in the scratch memory for transposed
        results.
    """

    groups: int
    channels: int
    outputs: int
    height: int
    width: int
    top: int
    left: int
    pitch: int
    rows: int
    bands: int
    parts: int
    lines: int
    line: int
    line_step: int
    joined: int
    panels: int
    out_plane: int
    blocks: int
    pixels: int


def _multiplier(rows: int, columns: int, vectors: int, step: int) -> Callable[..., None]:
    """Return the function that computes the products of some k for a panel, in all pixels of a band.

    ``multiply(source, base, line_step, k_offsets, r_offsets, w, weights, ahead, fetched, lines, line, sums, to)``: what
    pixels read begins at ``base`` in ``source``, ``step`` apart, and from line to line ``line_step``; the weights of
    these k begin at ``weights`` in ``w``, and at ``ahead`` those that come next, of which ``fetched`` vectors of each k
    are brought nearer; the band has ``lines`` lines of ``line`` pixels. Results go to ``sums``, from ``to`` on.
    """
    lanes = vectors * WIDTH
    shape = (rows, columns, vectors, step, WIDTH, 0, 1)

    def multiply(source, base, line_step, k_offsets, r_offsets, w, weights, ahead, fetched, lines, line, sums, to):
        for y in range(0, lines, rows):
            # The last ones are moved back to fill the tile.
            top = min(y, lines - rows)
            for place in range(0, line, columns):
                column = min(place, line - columns)
                read, write = base + top * line_step + column * step, to + (top * line + column) * lanes
                # Where there is no more to be brought, what is read now stays near.
                near = ahead if fetched > 0 else weights
                tile(source, read, k_offsets, len(k_offsets), r_offsets, w, weights, near, sums, write, shape)
                ahead, fetched = ahead + WIDTH, fetched - 1

    return register_jitable(multiply)


@register_jitable
def _add_blocks(sums, blocks, size, used):
    """Add the results of all blocks of k, ``size`` apart, to those of the first: ``used`` of each."""
    for block in range(1, blocks):
        for i in range(used):
            sums[i] += sums[block * size + i]


@specialised
def output_lanes(rows: int, columns: int, vectors: int, step: int, copied: bool, *chain: str) -> Callable[..., None]:
    """The kernel of a correlation.

    Its tile has ``rows`` times ``columns`` pixels for ``vectors`` vectors of output channels; of more than one row it
    takes whole lines. ``step`` is the horizontal stride; rows of input are ``copied`` or read where they are; ``chain``
    names the element-wise functions of the results.
    """
    deal, multiply = dealer(step), _multiplier(rows, columns, vectors, 1 if copied else step)
    value = elementwise.of_result(chain)
    lanes = vectors * WIDTH

    def correlate(
        begin, end, worker, g, x, w, out, k_offsets, r_offsets, phases, row_used, band, sums, turned, p, other
    ):
        """A task is a part of the panels, for a band of lines of one group of one image.

        Parameters
        ----------
        g : OutputLanesExtent
        x : ndarray, [images][groups * channels][height][width]
        w : ndarray, [groups][panels][1 + k][lanes]
            Packed by :func:`.correlation_kernel.pack`.
        out : ndarray, [images][groups * outputs][out_plane]
        k_offsets : ndarray of int64, [channels * taps]
            Where what a pixel reads lies, from its place in the band (or in the image) on.
        r_offsets : ndarray of int64, [rows]
            Where the lines of a tile begin, from the first one on.
        phases, row_used : ndarrays of int64; band : ndarray, [threads][channels][rows][phases][pitch]
            As in :func:`caffelite.kernels.convolution.padding.dealer`.
        sums : ndarray, [threads][blocks][pixels][lanes]
        turned : ndarray, [threads][lanes][pixels]
        p, other : ndarrays
            Constants of the chain of element-wise functions, which runs over the results at the end, and what it adds
            to them: like ``out``, or empty.
        """
        count = len(k_offsets)
        made, across = sums[worker], turned[worker]
        for task in range(begin, end):
            image_group, number, part = task // g.parts // g.bands, task // g.parts % g.bands, task % g.parts
            y_first, y_end = number * g.lines // g.bands, (number + 1) * g.lines // g.bands
            first, last = y_first * g.line, min(y_end * g.line, g.out_plane)
            image = image_group * g.channels * g.height * g.width
            source, base = x, image + y_first * g.line_step
            if copied:
                if task % g.parts == 0 or task == begin:
                    deal(g, x, image, y_first * len(row_used) - g.top, row_used, phases, band[worker])
                source, base = band[worker], 0
            lines, line = (1, last - first) if g.joined else (y_end - y_first, g.line)
            panel_end = (part + 1) * g.panels // g.parts
            for panel in range(part * g.panels // g.parts, panel_end):
                bias = (image_group % g.groups * g.panels + panel) * (count + 1) * lanes
                for block in range(g.blocks):
                    k, k_end = block * count // g.blocks, (block + 1) * count // g.blocks
                    weights, ahead = bias + (1 + k) * lanes, bias + (1 + k_end) * lanes
                    fetched = vectors
                    if block == g.blocks - 1:
                        # The bias of the next panel lies between.
                        ahead, fetched = ahead + lanes, vectors if panel + 1 < panel_end else 0
                    multiply(
                        source,
                        base,
                        g.line_step,
                        k_offsets[k:k_end],
                        r_offsets,
                        w,
                        weights,
                        ahead,
                        fetched,
                        lines,
                        line,
                        made,
                        block * g.pixels * lanes,
                    )
                _add_blocks(made, g.blocks, g.pixels * lanes, (last - first) * lanes)
                for i in range(0, last - first, WIDTH):
                    for lane in range(0, lanes, WIDTH):
                        transpose(made, i * lanes + lane, lanes, across, lane * g.pixels + i, g.pixels, WIDTH)
                for lane in range(min(lanes, g.outputs - panel * lanes)):
                    to = (image_group * g.outputs + panel * lanes + lane) * g.out_plane + first
                    start = w[bias + lane]
                    for i in range(last - first):
                        out[to + i] = value(across[lane * g.pixels + i] + start, p, other, to + i)

    return correlate
