"""Correlations with output channels as lanes, bound to their arrays: see :mod:`.output_lanes_kernel`."""

from dataclasses import dataclass

import numpy as np

from caffelite.kernels import elementwise
from caffelite.kernels.convolution.blocking import OutputTile, bands_for
from caffelite.kernels.convolution.correlation_kernel import pack
from caffelite.kernels.convolution.output_lanes_kernel import OutputLanesExtent, output_lanes
from caffelite.kernels.convolution.views import Filters, Layout, View, layout_of
from caffelite.kernels.engine import arrays, settings
from caffelite.kernels.engine.calls import Call, call
from caffelite.kernels.tiles.tile import tiler
from caffelite.kernels.tiles.vectors import WIDTH

#: Floats of a band's input at most: they stay in the second cache.
_BAND_INPUT = 1 << 17
#: Floats of the weights of a block at most.
_WEIGHTS = 1 << 16
#: Results of a map in a band at most: what a panel makes of them stays in the first cache, or near it.
_BAND_RESULTS = 448


@dataclass(frozen=True, slots=True)
class Lines:
    """How the pixels of a result map are walked through.

    Attributes
    ----------
    copied : bool
        The rows of input that a band needs are copied; else pixels are read where they lie in the image.
    joined : bool
        What is read lies side by side in the image as it does in the result: the map is one line.
    count, width : int
        Lines of the map, and their pixels.
    """

    copied: bool
    joined: bool
    count: int
    width: int


def lines_of(x: np.ndarray, view: View) -> Lines:
    """Return the lines of the results of a view: with one tap and no padding nothing has to be copied."""
    reach = [(n - 1) * step for n, step in zip(view.result, view.stride, strict=True)]
    copied = not (view.one_tap and view.pads == (0, 0) and reach[0] < x.shape[2] and reach[1] < x.shape[3])
    if not copied and view.stride == (1, 1) and view.result == x.shape[2:]:
        return Lines(False, True, 1, x.shape[2] * x.shape[3])
    return Lines(copied, False, *view.result)


def correlate(
    x: np.ndarray,
    out: np.ndarray,
    groups: int,
    filters: Filters,
    view: View,
    lines: Lines,
    tile: OutputTile,
    chain: elementwise.Chain,
) -> list[Call]:
    """Return the calls of one correlation, whose results fill the output map.

    Arguments as in :func:`.correlation.correlate`; ``tile`` is for a map of these ``lines``.
    """
    count, copied = len(filters.offsets), lines.copied
    g, layout = _geometry(x, out, groups, count, view, lines, tile)
    lanes, threads = tile.vectors * WIDTH, settings.threads()
    in_image = np.arange(g.channels, dtype=np.int64) * (g.height * g.width)
    k_offsets = layout.offsets(view, g.channels, g.rows) if copied else in_image
    packed = arrays.zeros(groups * g.panels * (count + 1) * lanes, x.dtype)
    weights = filters.values, filters.offsets, filters.bias
    sizes = filters.group_step, filters.output_step, g.outputs, g.panels, lanes
    band, sums, turned = arrays.scratch(
        (threads, g.channels * g.rows * layout.row_pitch + WIDTH if copied else 1),
        (threads, g.blocks * g.pixels * lanes),
        (threads, lanes * g.pixels),
        dtype=x.dtype,
    )
    return [
        call(pack, groups * g.panels, *weights, *sizes, packed, work=packed.size, once=True),
        call(
            output_lanes(view.stride[1] if copied else 1, *chain.keys),
            x.shape[0] * groups * g.bands * g.parts,
            g,
            x.reshape(-1),
            packed,
            out.reshape(-1),
            k_offsets,
            np.arange(tile.rows, dtype=np.int64) * g.line_step,
            layout.phases,
            layout.row_used,
            band,
            sums,
            turned,
            chain.constants,
            chain.other,
            work=out.size * max(count, 1) / WIDTH,
            whole=copied and g.parts > 1,
        ),
    ]


def _geometry(
    x: np.ndarray, out: np.ndarray, groups: int, count: int, view: View, lines: Lines, tile: OutputTile
) -> tuple[OutputLanesExtent, Layout]:
    images, channels, outputs = x.shape[0], x.shape[1] // groups, out.shape[1] // groups
    plane = out.shape[2] * out.shape[3]
    # The one line is cut into bands of some runs; a band of two has a whole one, however short the last one is.
    height, line = (-(-plane // tile.columns), tile.columns) if lines.joined else (lines.count, lines.width)
    layout, panels = layout_of(view, line), -(-outputs // (tile.vectors * WIDTH))

    def fits(tall: int) -> bool:
        inputs = layout.rows(tall) * layout.row_pitch if lines.copied else tall * line
        return channels * inputs <= _BAND_INPUT and tall * line <= _BAND_RESULTS

    whole = 2 if lines.joined else tile.rows
    bands, parts = bands_for(images * groups, 1, height, -(-line // tile.columns), panels, fits, whole)
    if lines.joined:
        line_step = line
    else:
        line_step = view.stride[0] * (layout.row_pitch if lines.copied else x.shape[3])
    tall, step = -(-height // bands), 1 if lines.copied else view.stride[1]
    g = OutputLanesExtent(
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
        lines=height,
        line=line,
        line_step=line_step,
        joined=int(lines.joined),
        panels=panels,
        out_plane=plane,
        blocks=max(-(-count * tile.vectors * WIDTH // _WEIGHTS), 1),
        # Not a multiple of more vectors than one: lines so far apart would meet in the cache.
        pixels=(-(-tall * line // WIDTH) | 1) * WIDTH,
        copied=int(lines.copied),
        tile_rows=tile.rows,
        tile_columns=tile.columns,
        tile_vectors=tile.vectors,
        tile_step=step,
        tile=tiler(tile.rows, tile.columns, tile.vectors, step, False, True, x.dtype),
    )
    return g, layout
