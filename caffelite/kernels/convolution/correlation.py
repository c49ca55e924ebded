"""Correlations bound to their arrays: which pixels they read and write, how their work is cut, and their calls.

What is computed, and the picture of a task, stand in :mod:`.correlation_kernel`.
"""

from dataclasses import dataclass

import numpy as np

from caffelite.kernels import elementwise
from caffelite.kernels.convolution.blocking import RegisterTile, bands_for, tile_for
from caffelite.kernels.convolution.correlation_kernel import CorrelationExtent, correlation, pack
from caffelite.kernels.engine import arrays, settings
from caffelite.kernels.engine.calls import Call, call
from caffelite.kernels.tiles.vectors import WIDTH

#: Floats of a band's input at most: they stay in the second cache.
_BAND_INPUT = 1 << 16
#: Floats of the weights that pixels meet one after the other.
_WEIGHTS = 1 << 15


@dataclass(frozen=True, slots=True)
class Filters:
    """The weights of a correlation, as they lie in memory.

    Attributes
    ----------
    values : ndarray, one axis
        The weight k of output o of group g is ``values[g * group_step + o * output_step + offsets[k]]``.
    bias : ndarray, one axis
        One value an output channel of all groups; empty where there is none.
    offsets : ndarray of int64, [channels of a group * taps]
    output_step, group_step : int
    """

    values: np.ndarray
    bias: np.ndarray
    offsets: np.ndarray
    output_step: int
    group_step: int


@dataclass(frozen=True, slots=True)
class View:
    """Which input pixels a correlation reads, and which output pixels it makes; pairs are (vertical, horizontal).

    Attributes
    ----------
    down, across : ndarray of int64, [taps]
        Offset of each tap from the first pixel of the padded map, in pixels.
    pads : (int, int)
        Zeros above and left of the map; negative to leave pixels out.
    stride : (int, int)
        From one output pixel to the next, in the input.
    result : (int, int)
        Number of output pixels that are made.
    first : int
        Where in the output map the first of them goes.
    steps : (int, int)
        From one of them to the next, in the output map.
    """

    down: np.ndarray
    across: np.ndarray
    pads: tuple[int, int]
    stride: tuple[int, int]
    result: tuple[int, int]
    first: int = 0
    steps: tuple[int, int] = (1, 1)


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the rows of input that a band needs lie in scratch memory: [channels][rows][phases][pitch].

    Attributes
    ----------
    phases : ndarray of int64
        The horizontal phases that taps read.
    row_used : ndarray of int64, [vertical stride]
        Whether taps read the rows of a vertical phase.
    span : int
        Rows that the taps of one line span.
    """

    phases: np.ndarray
    row_used: np.ndarray
    span: int
    pitch: int

    @property
    def row_pitch(self) -> int:
        """Floats of a row."""
        return len(self.phases) * self.pitch

    def rows(self, lines: int) -> int:
        """Rows of input that a number of lines needs."""
        return (lines - 1) * len(self.row_used) + self.span


def _layout(view: View, width: int) -> _Layout:
    """Return the layout for lines of ``width`` results."""
    down, across, stride = view.down, view.across, view.stride
    phases = np.unique(across % stride[1]).astype(np.int64) if len(across) else np.zeros(1, np.int64)
    row_used = np.isin(np.arange(stride[0]), down % stride[0]).astype(np.int64)
    pitch = width + int(across.max(initial=0)) // stride[1]
    return _Layout(phases, row_used, int(down.max(initial=0)) + 1, pitch)


def _reads_the_image(x: np.ndarray, view: View) -> bool:
    """Whether what the pixels of a vector read lies side by side in the input itself."""
    one = len(view.down) == 1 and not view.down[0] and not view.across[0]
    plain = view.stride == view.steps == (1, 1) and view.pads == (0, 0) and view.result == x.shape[2:]
    return one and plain and x.shape[2] * x.shape[3] >= WIDTH


def _geometry(
    x: np.ndarray, out: np.ndarray, groups: int, count: int, view: View, copied: bool
) -> tuple[CorrelationExtent, RegisterTile, _Layout]:
    """Choose tile, bands and parts; return them as what the kernel and its tables are made with.

    ``count`` is the number of k; ``copied``: the rows of a band are copied.
    """
    images, channels, outputs = x.shape[0], x.shape[1] // groups, out.shape[1] // groups
    # Where nothing is copied, a line is a vector of the whole map; the last one is moved back.
    lines, width = view.result if copied else (-(-x.shape[2] * x.shape[3] // WIDTH), WIDTH)
    tile, layout = tile_for(lines, width, outputs, count), _layout(view, width)
    pieces, panels = -(-width // tile.piece), -(-outputs // tile.outputs)

    def fits(tall: int) -> bool:
        return channels * (layout.rows(tall) * layout.row_pitch if copied else tall * WIDTH) <= _BAND_INPUT

    bands, parts = bands_for(images * groups, tile, lines, pieces, panels, fits, 1 if copied else 2)
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
    )
    return g, tile, layout


def _tables(
    g: CorrelationExtent, tile: RegisterTile, layout: _Layout, view: View, out_pitch: int, copied: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return ``k_offsets`` and ``places`` as the kernel reads them."""
    if copied:
        across = np.searchsorted(layout.phases, view.across % view.stride[1]) * g.pitch + view.across // view.stride[1]
        offsets = np.arange(g.channels)[:, None] * g.rows * layout.row_pitch + view.down * layout.row_pitch + across
        line, column = np.divmod(np.arange(-(-g.lines // g.bands) * g.pieces), g.pieces)
        column = np.minimum(column * tile.piece, max(view.result[1] - tile.piece, 0))
        v_in = line * view.stride[0] * layout.row_pitch + column
        v_out = line * view.steps[0] * out_pitch + column * view.steps[1]
    else:
        offsets = np.arange(g.channels)[:, None] * (g.height * g.width) + np.zeros(1, np.int64)
        vector, column = np.divmod(np.arange(g.lines * g.pieces), g.pieces)
        v_in = v_out = np.minimum(vector * WIDTH, g.height * g.width - WIDTH) + column * tile.piece
    places = np.zeros((3, len(v_in) + tile.pieces), np.int64)
    places[0], places[1] = (np.pad(table, (0, tile.pieces), mode="edge") for table in (v_in, v_out))
    places[2] = np.arange(places.shape[1]) * tile.piece
    return offsets.reshape(-1).astype(np.int64), places


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
        Element-wise functions of the results; only where these fill the output map.
    """
    count, copied = len(filters.offsets), not _reads_the_image(x, view)
    g, tile, layout = _geometry(x, out, groups, count, view, copied)
    k_offsets, places = _tables(g, tile, layout, view, out.shape[3], copied)
    through = view.steps != (1, 1) or g.piece_width < tile.piece
    threads = settings.threads()
    packed = arrays.zeros(groups * g.panels * (count + 1) * tile.outputs, x.dtype)
    held = tile.outputs * (g.at_once if through else 1)
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
            correlation(tile.outputs, tile.vectors, tile.piece, view.stride[1], copied, through, *chain.keys),
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
            work=results * max(count, 1) / WIDTH,
            whole=copied and g.parts > 1,
        ),
    ]
