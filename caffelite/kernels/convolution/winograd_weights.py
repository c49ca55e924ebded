"""The gradient of a convolution to its weights at Winograd's frequencies.

With ``y = A^T [(G g G^T) * (B^T x B)] A`` the gradient to ``g`` is ``G^T [(A dy A^T) * (B^T x B)] G``, summed over
tiles: for each frequency a product of matrices, output channels times tiles times input channels. (The transpose of
each step of Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016; the matrices stand in
:mod:`.winograd_tile`.) The plain loop it replaces is ``convolution_gradients`` in ``tests/naive.py``.

Tiles come in blocks, each of one group. Its input channels are taken to frequencies, a vector of channels at a time,
and turned so that the channels of a tile lie side by side: they are the lanes of the products. Then come its gradients,
whose output channels are the rows of the products. A task is a part of the blocks, for a run of the input channels.
Each part has sums of its own, which are added in order and taken back from the frequencies: the same numbers for any
number of threads.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable

from caffelite.kernels import scale
from caffelite.kernels.convolution.blocking import parts_and_runs
from caffelite.kernels.convolution.geometry import Geometry
from caffelite.kernels.convolution.winograd_tile import FREQUENCIES, TILE, spectrum
from caffelite.kernels.convolution.winograd_tiling import map_raiser, tiling
from caffelite.kernels.engine import arrays, settings
from caffelite.kernels.engine.calls import Call, call
from caffelite.kernels.engine.compiling import specialised
from caffelite.kernels.inner_product import ROWS, lane_vectors
from caffelite.kernels.tiles.matrix_tile import lanes_tile
from caffelite.kernels.tiles.tile import transpose
from caffelite.kernels.tiles.vectors import WIDTH

#: Floats of a block's tiles and gradients at most.
_BLOCK = 1 << 16
#: Floats of the sums of a part at most.
_SUMS = 1 << 22
#: Cycles of the transform of a vector of tiles, for an output channel.
_GRADIENT = 500
#: Tiles from which on the products saved are more than the way back from the frequencies costs.
_TILES = 160


class WinogradSums(NamedTuple):
    """The geometry of the sums, as their kernels read it; :func:`backward_weights` computes it.

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
    panels, lanes : int
        Panels of input channels of a group, and the channels of one: whole vectors.
    padded : int
        Output channels of a group, and those that fill the rows of the last tile.
    blocks, parts, runs : int
        Blocks of a group, the parts that they are dealt out to, and runs that the panels of a group are cut into.
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
    lanes: int
    padded: int
    blocks: int
    parts: int
    runs: int


def _turner(lanes: int) -> Callable[..., None]:
    """Return the function that turns a vector of channels of a block, at all frequencies.

    ``turn(t, tiles, c_first, turned)``: the channels from ``c_first`` on; arrays as in :func:`_gather`, of one thread.
    """

    def turn(t, tiles, c_first, turned):
        tile_step, turned_step = len(tiles) // FREQUENCIES, len(turned) // FREQUENCIES
        place = c_first // lanes * t.lanes * lanes + c_first % lanes
        for f in range(FREQUENCIES):
            for v in range(t.lanes // WIDTH):
                source, to = f * tile_step + v * WIDTH, f * turned_step + place + v * WIDTH * lanes
                transpose(tiles, source, t.lanes, turned, to, lanes, WIDTH)

    return register_jitable(turn)


def _multiplier(vectors: int) -> Callable[..., None]:
    """Return the function that adds a block's products to the sums, at all frequencies.

    ``multiply(g, t, group, panel_first, panel_end, gradients, turned, sums, nothing, fresh)``: arrays as in
    :func:`_gather`, of one thread and one part. A ``fresh`` block sets the sums, so that nothing need clear them.
    """
    shape = (ROWS, vectors, WIDTH)
    lanes = vectors * WIDTH

    def multiply(g, t, group, panel_first, panel_end, gradients, turned, sums, nothing, fresh):
        step, turned_step, length = len(gradients) // FREQUENCIES, len(turned) // FREQUENCIES, g.panels * lanes
        for f in range(FREQUENCIES):
            for panel in range(panel_first, panel_end):
                b = f * turned_step + panel * t.lanes * lanes
                for o in range(0, g.outputs, ROWS):
                    place = ((group * FREQUENCIES + f) * g.padded + o) * length + panel * lanes
                    rows = (f * step + o * t.lanes, t.lanes, 1, min(ROWS, g.outputs - o))
                    start, start_base, start_row = sums, place, length
                    if fresh:
                        start, start_base, start_row = nothing, 0, 0
                    lanes_tile(
                        gradients,
                        rows,
                        turned,
                        b,
                        t.lanes,
                        start,
                        (start_base, start_row),
                        sums,
                        (place, length),
                        shape,
                    )

    return register_jitable(multiply)


@specialised
def _gather(size: int, piece: int, vectors: int) -> Callable[..., None]:
    """The kernel for filters of ``size`` x ``size``, pieces of ``piece`` tiles and register tiles of such lanes."""
    step, lanes = TILE - size + 1, vectors * WIDTH
    turn, multiply = _turner(lanes), _multiplier(vectors)
    raise_maps, raise_gradient = map_raiser("input", size, piece), map_raiser("gradient", size, piece)

    def gather(
        begin, end, worker, g, t, x, dy, taps, gradient_taps, starts, band, tiles, turned, gradients, sums, nothing
    ):
        """A task is a part of the blocks of a group, for a run of its panels.

        Parameters
        ----------
        g : WinogradSums; t : Tiling
        x, dy : ndarrays, [images][groups * channels or outputs][height][width]
        taps, gradient_taps, starts : ndarrays of int64, [36], [step * step] and [pieces of a block]
            Where the pixels of a tile and of its gradient lie, and where pieces begin, in a channel of the band.
        band : ndarray, [threads][images of a block][rows][phases][slot]; one channel
        tiles : ndarray, [threads][frequencies][WIDTH channels][lanes of t]; frequencies are WIDTH floats further apart
        turned : ndarray, [threads][frequencies][panels][lanes of t][lanes of g], likewise
        gradients : ndarray, [threads][frequencies][outputs][lanes of t], likewise
        sums : ndarray, [parts][groups][frequencies][padded][panels * lanes of g]
            Is set.
        nothing : ndarray, [lanes of g]
            Zeros.
        """
        size_in, size_out, here = (g.height, g.width), (g.out_height, g.out_width), band[worker]
        for task in range(begin, end):
            part, group, run = task // g.runs // g.groups, task // g.runs % g.groups, task % g.runs
            panel_first, panel_end = g.panels * run // g.runs, g.panels * (run + 1) // g.runs
            begins = g.blocks * part // g.parts
            for block in range(begins, g.blocks * (part + 1) // g.parts):
                image, line = block // t.bands * t.together, block % t.bands * t.tall
                images, top = min(t.together, g.images - image), line * step - g.top
                channel_end = min(panel_end * lanes, g.channels)
                for c_first in range(panel_first * lanes, channel_end, WIDTH):
                    for c in range(c_first, min(c_first + WIDTH, channel_end)):
                        plane, to = (image * g.groups + group) * g.channels + c, (c - c_first) * t.lanes
                        step_in, target = g.groups * g.channels, tiles[worker]
                        raise_maps(t, x, size_in, plane, step_in, images, top, taps, starts, here, target, to)
                    turn(t, tiles[worker], c_first, turned[worker])
                for o in range(g.outputs):
                    plane, to = (image * g.groups + group) * g.outputs + o, o * t.lanes
                    step_out, target = g.groups * g.outputs, gradients[worker]
                    raise_gradient(
                        t, dy, size_out, plane, step_out, images, line * step, gradient_taps, starts, here, target, to
                    )
                fresh, held = block == begins, gradients[worker]
                multiply(g, t, group, panel_first, panel_end, held, turned[worker], sums[part], nothing, fresh)

    return gather


@specialised
def _reduce(size: int) -> Callable[..., None]:
    """The kernel that adds up the sums of the parts, taken back from the frequencies: ``G^T [...] G``."""
    taps = size * size

    def reduce(begin, end, worker, g, sums, table, dw, room):
        """dw += the sums of the parts; a task is an output channel.

        Parameters
        ----------
        g : WinogradSums
        sums : ndarray, [parts][groups][frequencies][padded][panels * lanes]
        table : ndarray, [taps][FREQUENCIES]
            :func:`.winograd_tile.spectrum`.
        dw : ndarray, [groups * outputs][channels][taps]
        room : ndarray, [threads][FREQUENCIES][panels * lanes]
        """
        length, values = g.panels * g.lanes, room[worker]
        for task in range(begin, end):
            group, output = task // g.outputs, task % g.outputs
            for f in range(FREQUENCIES):
                row = ((group * FREQUENCIES + f) * g.padded + output) * length
                for c in range(g.channels):
                    values[f, c] = sums[0, row + c]
                for part in range(1, g.parts):
                    for c in range(g.channels):
                        values[f, c] += sums[part, row + c]
            for t in range(taps):
                place = task * g.channels * taps + t
                for c in range(g.channels):
                    total = dw.dtype.type(0)
                    for f in range(FREQUENCIES):
                        total += table[t, f] * values[f, c]
                    dw[place + c * taps] += total

    return reduce


def fits(g: Geometry) -> bool:
    """Whether the gradient of a convolution that :func:`.winograd.fits` is computed this way, too."""
    step = TILE - g.kernel[0] + 1
    tiles = g.images * math.prod(-(-n // step) for n in g.output_size)
    floats = FREQUENCIES * g.outputs * g.channels // g.group
    return tiles >= _TILES and floats <= _SUMS


def backward_weights(
    g: Geometry, x: np.ndarray, dy: np.ndarray, dw: np.ndarray | None, db: np.ndarray | None
) -> list[Call]:
    """Return the calls that add to the gradients of weights and bias.

    Parameters as in :func:`caffelite.kernels.convolution.direct_weights.backward_weights`.
    """
    calls: list[Call] = []
    if db is not None:
        calls.append(scale.sums(dy.reshape(-1), g.outputs, g.output_size[0] * g.output_size[1], db, add=True))
    if dw is None:
        return calls
    size, channels, outputs = g.kernel[0], g.channels // g.group, g.outputs // g.group
    most = max(_BLOCK // (FREQUENCIES * (channels + outputs)) // WIDTH, 2) * WIDTH
    t = tiling(g.images, size, max(g.size[1], g.output_size[1]), g.pad[1], g.output_size, most)
    vectors, padded = lane_vectors(channels), -(-outputs // ROWS) * ROWS
    lanes, threads = vectors * WIDTH, settings.threads()
    panels, blocks = -(-channels // lanes), -(-g.images // t.together) * t.bands
    floats, vectors_of_tiles = g.group * FREQUENCIES * padded * panels * lanes, blocks * t.lanes // WIDTH
    again, products = g.outputs * vectors_of_tiles * _GRADIENT, floats * vectors_of_tiles * WIDTH
    parts, runs = parts_and_runs(blocks, g.group, panels, floats, again, products)
    maps = *g.size, g.pad[0], *g.output_size
    sizes = WinogradSums(g.images, g.group, channels, outputs, *maps, panels, lanes, padded, blocks, parts, runs)

    def held(floats: int) -> np.ndarray:
        # A line of the cache more, so that frequencies do not all fall on the same ones.
        return arrays.zeros((threads, FREQUENCIES * (floats + WIDTH)), x.dtype)

    sums = arrays.zeros((parts, floats), x.dtype)
    gather = call(
        _gather(size, t.piece, vectors),
        parts * g.group * runs,
        sizes,
        t,
        x.reshape(-1),
        dy.reshape(-1),
        t.taps(TILE, g.pad[1]),
        t.taps(t.step),
        t.starts(),
        arrays.zeros((threads, t.together * t.image_step), x.dtype),
        held(WIDTH * t.lanes),
        held(panels * lanes * t.lanes),
        held(outputs * t.lanes),
        sums,
        arrays.zeros(lanes, x.dtype),
        work=g.multiplications / WIDTH,
    )
    table = np.ascontiguousarray(spectrum(size), x.dtype)
    room = arrays.zeros((threads, FREQUENCIES, panels * lanes), x.dtype)
    reduce = call(_reduce(size), g.outputs, sizes, sums, table, dw.reshape(-1), room, work=sums.size)
    return [*calls, gather, reduce]
