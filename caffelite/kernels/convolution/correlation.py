"""Correlations bound to their arrays: which pixels they read and write, how their work is cut, and their calls.

What is computed, and the picture of a task, stand in :mod:`.correlation_kernel`.
"""

import numpy as np

from caffelite.kernels import elementwise
from caffelite.kernels.convolution import output_lanes
from caffelite.kernels.convolution.blocking import RegisterTile, bands_for, output_tile_for, tile_for
from caffelite.kernels.convolution.correlation_kernel import CorrelationExtent, correlation, pack
from caffelite.kernels.convolution.views import Filters, Layout, View, layout_of, reads_the_image
from caffelite.kernels.engine import arrays, settings
from caffelite.kernels.engine.calls import Call, call
from caffelite.kernels.tiles.tile import spreader
from caffelite.kernels.tiles.vectors import WIDTH

#: Floats of a band's input at most: they stay in the second cache.
_BAND_INPUT = 1 << 16
#: Floats of the weights that pixels meet one after the other.
_WEIGHTS = 1 << 15
#: From so many products of a result on, the vectors of pixels of a tile come from the second cache, each from a page of
#: its own: how many times as long as predicted that takes.
_MANY, _FAR = 192, 1.15


def _geometry(
    x: np.ndarray, out: np.ndarray, groups: int, count: int, view: View, copied: bool
) -> tuple[CorrelationExtent, RegisterTile, Layout]:
    """Choose tile, bands and parts; return them as what the kernel and its tables are made with.

    ``count`` is the number of k; ``copied``: the rows of a band are copied.
    """
    images, channels, outputs = x.shape[0], x.shape[1] // groups, out.shape[1] // groups
    # Where nothing is copied, a line is a vector of the whole map; the last one is moved back.
    lines, width = view.result if copied else (-(-x.shape[2] * x.shape[3] // WIDTH), WIDTH)
    tile, layout = tile_for(lines, width, outputs, count), layout_of(view, width)
    pieces, panels = -(-width // tile.piece), -(-outputs // tile.outputs)

    def fits(tall: int) -> bool:
        return channels * (layout.rows(tall) * layout.row_pitch if copied else tall * WIDTH) <= _BAND_INPUT

    bands, parts = bands_for(images * groups, tile.pieces, lines, pieces, panels, fits, 1 if copied else 2)
    tall = -(-lines // bands)
    g = CorrelationExtent(
        groups=groups,
        channels=channels,
        outputs=outputs,
        height=x.shape[2],
        width=x.shape[3],
        top=view.pads[0],
        left=view.pads[1],
        pitch=layout.pitch,
        rows=layout.rows(tall),
        bands=bands,
        parts=parts,
        lines=lines,
        pieces=pieces,
        panels=panels,
        at_once=min(max(_WEIGHTS // (max(count, 1) * tile.outputs), 1), -(-panels // parts)),
        out_plane=out.shape[2] * out.shape[3],
        first=view.first,
        row_step=view.steps[0] * out.shape[3] if copied else WIDTH,
        x_step=view.steps[1],
        piece_width=min(tile.piece, width),
        scratch_step=(tall * pieces + tile.pieces) * tile.piece,
        per_panel=tile.outputs,
        taken=tile.pieces,
        piece=tile.piece,
        copied=int(copied),
        through=int(view.steps != (1, 1) or min(tile.piece, width) < tile.piece),
        multiplier=spreader(tile.outputs, tile.vectors, tile.piece, x.dtype),
    )
    return g, tile, layout


def _tables(
    g: CorrelationExtent, tile: RegisterTile, layout: Layout, view: View, out_pitch: int, copied: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return ``k_offsets`` and ``places`` as the kernel reads them."""
    if copied:
        offsets = layout.offsets(view, g.channels, g.rows)
        line, column = np.divmod(np.arange(-(-g.lines // g.bands) * g.pieces), g.pieces)
        column = np.minimum(column * tile.piece, max(view.result[1] - tile.piece, 0))
        v_in = line * view.stride[0] * layout.row_pitch + column
        v_out = line * view.steps[0] * out_pitch + column * view.steps[1]
    else:
        offsets = np.arange(g.channels, dtype=np.int64) * (g.height * g.width)
        vector, column = np.divmod(np.arange(g.lines * g.pieces), g.pieces)
        v_in = v_out = np.minimum(vector * WIDTH, g.height * g.width - WIDTH) + column * tile.piece
    places = np.zeros((3, len(v_in) + tile.pieces), np.int64)
    places[0], places[1] = (np.pad(table, (0, tile.pieces), mode="edge") for table in (v_in, v_out))
    places[2] = np.arange(places.shape[1]) * tile.piece
    return offsets, places


def _by_outputs(
    x: np.ndarray, out: np.ndarray, groups: int, filters: Filters, view: View, chain: elementwise.Chain
) -> list[Call]:
    """Return the calls with output channels as lanes; none where results are not the output map or that is slower."""
    if view.steps != (1, 1) or view.first or view.result != out.shape[2:]:
        return []
    outputs, count = out.shape[1] // groups, len(filters.offsets)
    lines = output_lanes.lines_of(x, view)
    tile = output_tile_for(lines.count, lines.width, outputs, count)
    vectors = (-(-lines.width // WIDTH), WIDTH) if reads_the_image(x, view) else view.result
    far = _FAR if count >= _MANY else 1.0
    if tile.time >= far * tile_for(*vectors, outputs, count).time:
        return []
    return output_lanes.correlate(x, out, groups, filters, view, lines, tile, chain)


def correlate(
    x: np.ndarray,
    out: np.ndarray,
    groups: int,
    filters: Filters,
    view: View,
    chain: elementwise.Chain = elementwise.NOTHING,
) -> list[Call]:
    """Return the calls of one correlation; the first packs the filters.

    Parameters
    ----------
    x : ndarray, images x groups * channels x height x width
    out : ndarray, images x groups * outputs x height x width
    groups : int
    filters : Filters
    view : View
    chain : Chain
        Of the results; only where these fill the output map.
    """
    if calls := _by_outputs(x, out, groups, filters, view, chain):
        return calls
    count, copied = len(filters.offsets), not reads_the_image(x, view)
    g, tile, layout = _geometry(x, out, groups, count, view, copied)
    k_offsets, places = _tables(g, tile, layout, view, out.shape[3], copied)
    threads = settings.threads()
    packed = arrays.zeros(groups * g.panels * (count + 1) * tile.outputs, x.dtype)
    held = tile.outputs * (g.at_once if g.through else 1)
    band, sums = arrays.scratch(
        (threads, g.channels * g.rows * layout.row_pitch + WIDTH if copied else 1),
        (threads, held * g.scratch_step),
        dtype=x.dtype,
    )
    results = x.shape[0] * groups * g.outputs * view.result[0] * view.result[1]
    sizes = filters.group_step, filters.output_step, g.outputs, g.panels, tile.outputs
    weights = filters.values, filters.offsets, filters.bias
    return [
        call(pack, groups * g.panels, *weights, *sizes, packed, work=packed.size, once=True),
        call(
            correlation(view.stride[1] if copied else 1, *chain.keys),
            x.shape[0] * groups * g.bands * g.parts,
            g,
            x.reshape(-1),
            packed,
            out.reshape(-1),
            k_offsets,
            places,
            layout.phases,
            layout.row_used,
            band,
            sums,
            chain.constants,
            chain.other,
            work=results * max(count, 1) / WIDTH,
            whole=copied and g.parts > 1,
        ),
    ]
