"""Correlation by direct sums on the register tile: what a convolution is, forward and back to its data.

``out[o, y, x] = bias[o] + sum over c, t of in[c, y * stride + down[t], x * stride + across[t]] * w[o, c, t]``, where
taps t beyond the map read zeros. The lanes of the vectors are output pixels that lie side by side, so results are
stored where they belong. The tile is :data:`caffelite.kernels.tiles.tile.spread`: a few output channels (a *panel*) for
a few vectors of pixels, all sums in registers while a loop goes over k, the pairs of channel and tap (Georganas et al.,
"High-Performance Deep Learning via a Single Building Block", 2019).

A result map is made of *lines*; each is cut into *pieces* of as many pixels as lie side by side in a vector. A task is
a band of lines of one group of one image, for all panels or a part of them. The rows of input that a band needs are
copied with their padding into scratch memory that stays in the cache, each row dealt out by the horizontal stride, so
that what the pixels of a vector read lies side by side too. A correlation with one tap and no stride reads the image
itself: there a line is a vector of the whole map, whatever its rows are.
"""

from collections.abc import Callable
from typing import NamedTuple

from numba.extending import register_jitable

from caffelite.kernels import elementwise
from caffelite.kernels.convolution.padding import dealer
from caffelite.kernels.engine.compiling import kernel, specialised
from caffelite.kernels.tiles.tile import spread
from caffelite.kernels.tiles.vectors import WIDTH


class CorrelationExtent(NamedTuple):
    """The geometry of one correlation, as its kernel reads it; :mod:`.correlation` computes it.

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
    lines, pieces : int
        Lines of a result map, pieces of a line.
    panels, at_once : int
        Panels of a group; how many of them a tile's pixels meet one after the other: their weights stay in the cache.
    out_plane, first : int
        Floats of an output map, and where in it the first result goes.
    row_step, x_step : int
        From one line of results to the next, from one result of a line to the next, in the output map.
    piece_width : int
        Results of a piece: less than its pixels where a line is shorter.
    scratch_step : int
        From one output channel to the next in the scratch memory for results.
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
    pieces: int
    panels: int
    at_once: int
    out_plane: int
    first: int
    row_step: int
    x_step: int
    piece_width: int
    scratch_step: int


@kernel
def pack(begin, end, worker, w, offsets, bias, group_step, output_step, outputs, panels, per_panel, packed):
    """packed[panel][0] = bias, packed[panel][1 + k] = w[offsets[k]], of per_panel outputs; a task is a panel.

    Parameters
    ----------
    w, offsets, bias, group_step, output_step
        As in :class:`.correlation.Filters`.
    outputs, panels, per_panel : int
        Output channels of a group; panels that hold them; output channels of a panel, the last ones zero.
    packed : ndarray, [groups][panels][1 + k][per_panel]
    """
    count = len(offsets)
    for task in range(begin, end):
        base = task * (count + 1) * per_panel
        group = task // panels
        first = task % panels * per_panel
        filled = min(per_panel, outputs - first)
        source = group * group_step + first * output_step
        for m in range(filled):
            packed[base + m] = bias[group * outputs + first + m] if len(bias) else 0
        # Along what lies side by side.
        if count > 1 and output_step > offsets[1]:
            for m in range(filled):
                for k in range(count):
                    packed[base + (k + 1) * per_panel + m] = w[source + m * output_step + offsets[k]]
        else:
            for k in range(count):
                for m in range(filled):
                    packed[base + (k + 1) * per_panel + m] = w[source + m * output_step + offsets[k]]
        for k in range(count + 1):
            for m in range(filled, per_panel):
                packed[base + k * per_panel + m] = 0


def _multiplier(per_panel: int, vectors: int, piece: int, through: bool) -> Callable[..., None]:
    """Return the function that computes some panels for the pieces ``start`` to ``last - 1``.

    ``multiply(g, source, base, k_offsets, places, start, last, w, group, first, end, out, out_base, sums)``: panels
    ``first`` to ``end - 1`` of a group, whose results begin at ``out_base`` in ``out``; other arrays as in
    :func:`correlation`, ``sums`` of one thread. Results go to ``out``, or where tiles cannot write them to their place
    (``through``, or a last panel that is not full) to ``sums``.
    """
    shape = (per_panel, vectors, WIDTH, piece)
    taken = vectors * (WIDTH // piece)

    def multiply(g, source, base, k_offsets, places, start, last, w, group, first, end, out, out_base, sums):
        count = len(k_offsets)
        v_in, v_out, v_scratch = places[0], places[1], places[2]
        at = start
        while at < last:
            if not through:
                # The last ones are moved back to fill the vectors.
                at = min(at, last - taken)
            for panel in range(first, end):
                weights = (group * g.panels + panel) * (count + 1) * per_panel
                target, step, table, to = out, g.out_plane, v_out, out_base + panel * per_panel * g.out_plane
                if through or (panel + 1) * per_panel > g.outputs:
                    target, step, table, to = sums, g.scratch_step, v_scratch, -v_scratch[start]
                    if through:
                        to += (panel - first) * per_panel * g.scratch_step
                spread(source, base, k_offsets, count, v_in, at, w, weights, target, to, step, table, shape)
            at += taken

    return register_jitable(multiply)


@register_jitable
def _bring(g, sums, places, start, last, held, end, out, out_base):
    """Bring the results of the output channels ``held`` to ``end - 1`` from ``sums`` to their places."""
    for output in range(held, end):
        to = out_base + output * g.out_plane
        lane = (output - held) * g.scratch_step - places[2, start]
        for j in range(start, last):
            for i in range(g.piece_width):
                out[to + places[1, j] + i * g.x_step] = sums[lane + places[2, j] + i]


@specialised
def correlation(
    per_panel: int, vectors: int, piece: int, step: int, copied: bool, through: bool, *chain: str
) -> Callable[..., None]:
    """The kernel of a correlation.

    Its tile has ``per_panel`` outputs for ``vectors`` vectors of pieces of ``piece`` pixels; ``step`` is the horizontal
    stride; rows are ``copied`` or read where they are; results go ``through`` scratch memory where tiles cannot write
    them to their place; ``chain`` names the element-wise functions of the results.
    """
    deal, multiply = dealer(step), _multiplier(per_panel, vectors, piece, through)
    value = elementwise.of_result(chain)

    def correlate(begin, end, worker, g, x, w, out, k_offsets, places, phases, row_used, band, sums, p, other):
        """A task is a part of the panels, for a band of lines of one group of one image.

        Parameters
        ----------
        g : CorrelationExtent
        x : ndarray, [images][groups * channels][height][width]; w : ndarray, packed by :func:`pack`
        out : ndarray, [images][groups * outputs][map]
        k_offsets : ndarray of int64, [channels * taps]
            Where what a pixel reads lies, from its place in the band (or in the image) on.
        places : ndarray of int64, [3][pieces of a band (or of the map), and of a tile more]
            Where each piece begins in the band (or the image), in the output map, and in ``sums``.
        phases, row_used : ndarrays of int64; band : ndarray, [threads][channels][rows][phases][pitch]
            As in :func:`caffelite.kernels.convolution.padding.dealer`.
        sums : ndarray, [threads][output channels][scratch_step]
        p, other : ndarrays
            Constants of the chain of element-wise functions, which runs over the results at the end, and what it adds
            to them: like ``out``, or empty.
        """
        for task in range(begin, end):
            image_group, number = task // g.parts // g.bands, task // g.parts % g.bands
            y_first, y_end = number * g.lines // g.bands, (number + 1) * g.lines // g.bands
            # Without a copy the tables hold for the whole map, else for a band.
            source, base, start, place = x, image_group * g.channels * g.height * g.width, y_first * g.pieces, g.first
            if copied:
                if task % g.parts == 0 or task == begin:
                    deal(g, x, base, y_first * len(row_used) - g.top, row_used, phases, band[worker])
                source, base, start, place = band[worker], 0, 0, g.first + y_first * g.row_step
            last, to = start + (y_end - y_first) * g.pieces, image_group * g.outputs * g.out_plane + place
            panel_end = (task % g.parts + 1) * g.panels // g.parts
            for first in range(task % g.parts * g.panels // g.parts, panel_end, g.at_once):
                after, group = min(first + g.at_once, panel_end), image_group % g.groups
                multiply(g, source, base, k_offsets, places, start, last, w, group, first, after, out, to, sums[worker])
                ends = min(after * per_panel, g.outputs)
                held = first * per_panel if through else g.outputs // per_panel * per_panel
                _bring(g, sums[worker], places, start, last, held, ends, out, to)
                for output in range(first * per_panel, ends if len(chain) else 0):
                    # The lines lie one behind the other.
                    plane = to - place + output * g.out_plane
                    begins = plane + place + (0 if copied else y_first * g.row_step)
                    for i in range(begins, min(begins + (y_end - y_first) * g.row_step, plane + g.out_plane)):
                        out[i] = value(out[i], p, other, i)

    return correlate
