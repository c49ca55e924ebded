"""The gradient of a convolution to its weights at Winograd's frequencies.

With ``y = A^T [(G g G^T) * (B^T x B)] A`` the gradient to ``g`` is ``G^T [(A dy A^T) * (B^T x B)] G``, summed over
tiles: for each frequency a product of matrices, output channels times tiles times input channels. A task is a block of
tiles; each worker adds up what it sees, and the sums of the workers are added in order and taken back from the
frequencies.
"""

import math
from collections.abc import Callable

import numpy as np

from caffelite.kernels import scale
from caffelite.kernels.convolution.direct import Geometry
from caffelite.kernels.convolution.winograd import row_dealer, spectrum, tiling
from caffelite.kernels.convolution.winograd_tile import FREQUENCIES, TILE, to_tiles
from caffelite.kernels.engine import arrays, settings
from caffelite.kernels.engine.calls import Call, call
from caffelite.kernels.engine.compiling import specialised
from caffelite.kernels.inner_product import ROWS, lane_vectors
from caffelite.kernels.tiles.matrix_tile import lanes_tile
from caffelite.kernels.tiles.tile import transpose
from caffelite.kernels.tiles.vectors import WIDTH

#: Floats of a block's tiles and gradients at most.
_BLOCK = 1 << 16
#: Floats of the sums of all workers at most.
_SUMS = 1 << 23
#: Tiles from which on the products saved are more than the way back from the frequencies costs.
_TILES = 160


@specialised
def _gather(size: int, piece: int, vectors: int) -> Callable[..., None]:
    step = TILE - size + 1
    lanes = vectors * WIDTH
    deal_rows, transform, raise_gradient = (
        row_dealer(step),
        to_tiles("input", size, piece),
        to_tiles("gradient", size, piece),
    )
    shape = (ROWS, vectors, WIDTH)

    def gather(
        begin,
        end,
        worker,
        x,
        dy,
        images,
        groups,
        channels,
        outputs,
        height,
        width,
        top,
        out_height,
        out_width,
        taps,
        gradient_taps,
        starts,
        many,
        together,
        bands,
        tall,
        rows,
        lead,
        pitch,
        slot,
        panels,
        band,
        tiles,
        turned,
        gradients,
        sums,
    ):
        """A task is a block of one group; sums[worker] is [group][frequency][output][channel]."""
        tasks_lanes = many * WIDTH
        here, held, across, raised, total = band[worker], tiles[worker], turned[worker], gradients[worker], sums[worker]
        total[:] = 0
        image_step, held_step = rows * step * slot, len(held) // FREQUENCIES
        across_step, raised_step = len(across) // FREQUENCIES, len(raised) // FREQUENCIES
        length = panels * lanes
        padded = len(total) // (groups * FREQUENCIES * length)
        for task in range(begin, end):
            group, block = task % groups, task // groups
            first, line = block // bands * together, block % bands * tall
            last = min(first + together, images)
            for c_first in range(0, channels, WIDTH):
                for c in range(c_first, min(c_first + WIDTH, channels)):
                    for n in range(first, last):
                        plane = ((n * groups + group) * channels + c) * height * width
                        deal_rows(
                            x,
                            plane,
                            height,
                            width,
                            line * step - top,
                            rows,
                            here,
                            (n - first) * image_step,
                            lead,
                            pitch,
                            slot,
                        )
                    for v in range(many):
                        transform(
                            here,
                            0,
                            taps,
                            starts,
                            v * (WIDTH // piece),
                            held,
                            (c - c_first) * tasks_lanes + v * WIDTH,
                            held_step,
                        )
                place = c_first // lanes * tasks_lanes * lanes + c_first % lanes
                for f in range(FREQUENCIES):
                    for v in range(many):
                        transpose(
                            held,
                            f * held_step + v * WIDTH,
                            tasks_lanes,
                            across,
                            f * across_step + place + v * WIDTH * lanes,
                            lanes,
                            WIDTH,
                        )
            for o in range(outputs):
                # Tiles beyond the last image have no gradient.
                for n in range(first, first + together):
                    plane = ((n * groups + group) * outputs + o) * out_height * out_width
                    deal_rows(
                        dy,
                        plane,
                        out_height if n < last else 0,
                        out_width,
                        line * step,
                        tall * step,
                        here,
                        (n - first) * image_step,
                        lead,
                        pitch,
                        slot,
                    )
                for v in range(many):
                    raise_gradient(
                        here,
                        0,
                        gradient_taps,
                        starts,
                        v * (WIDTH // piece),
                        raised,
                        o * tasks_lanes + v * WIDTH,
                        raised_step,
                    )
            for f in range(FREQUENCIES):
                for panel in range(panels):
                    for o in range(0, outputs, ROWS):
                        place = ((group * FREQUENCIES + f) * padded + o) * length + panel * lanes
                        lanes_tile(
                            raised,
                            f * raised_step + o * tasks_lanes,
                            tasks_lanes,
                            1,
                            min(ROWS, outputs - o),
                            across,
                            f * across_step + panel * tasks_lanes * lanes,
                            tasks_lanes,
                            total,
                            place,
                            length,
                            total,
                            place,
                            length,
                            shape,
                        )

    return gather


@specialised
def _reduce(size: int) -> Callable[..., None]:
    taps = size * size

    def reduce(begin, end, worker, sums, workers, table, channels, outputs, padded, length, dw):
        """dw += the workers' sums, taken back from the frequencies; a task is an output channel."""
        values = np.empty((FREQUENCIES, length), dw.dtype)
        for task in range(begin, end):
            group, output = task // outputs, task % outputs
            for f in range(FREQUENCIES):
                row = ((group * FREQUENCIES + f) * padded + output) * length
                for c in range(channels):
                    total = sums[0, row + c]
                    for other in range(1, workers):
                        total += sums[other, row + c]
                    values[f, c] = total
            for t in range(taps):
                place = task * channels * taps + t
                for c in range(channels):
                    total = dw.dtype.type(0)
                    for f in range(FREQUENCIES):
                        total += table[t, f] * values[f, c]
                    dw[place + c * taps] += total

    return reduce


def fits(g: Geometry) -> bool:
    """Whether the gradient of a convolution that :func:`.winograd.fits` is computed this way, too."""
    step = TILE - g.kernel[0] + 1
    tiles = g.images * math.prod(-(-n // step) for n in g.output_size)
    floats = settings.threads() * FREQUENCIES * g.outputs * g.channels // g.group
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
    vectors = lane_vectors(channels)
    lanes = vectors * WIDTH
    panels = -(-channels // lanes)
    padded = -(-outputs // ROWS) * ROWS
    threads = settings.threads()

    def held(floats: int) -> np.ndarray:
        # A line of the cache more, so that frequencies do not all fall on the same ones.
        return arrays.zeros((threads, FREQUENCIES * (floats + WIDTH)), x.dtype)

    sums = arrays.zeros((threads, g.group * FREQUENCIES * padded * panels * lanes), x.dtype)
    gather = call(
        _gather(size, t.piece, vectors),
        -(-g.images // t.together) * t.bands * g.group,
        x.reshape(-1),
        dy.reshape(-1),
        g.images,
        g.group,
        channels,
        outputs,
        *g.size,
        g.pad[0],
        *g.output_size,
        t.taps(TILE, g.pad[1]),
        t.taps(t.step),
        t.starts(),
        t.lanes // WIDTH,
        t.together,
        t.bands,
        t.tall,
        t.rows,
        t.lead,
        t.pitch,
        t.slot,
        panels,
        arrays.zeros((threads, t.together * t.image_step), x.dtype),
        held(WIDTH * t.lanes),
        held(panels * lanes * t.lanes),
        held(outputs * t.lanes),
        sums,
        work=g.multiplications / WIDTH,
    )
    table = np.ascontiguousarray(spectrum(size), x.dtype)
    reduce = call(
        _reduce(size),
        g.outputs,
        sums,
        gather.workers,
        table,
        channels,
        outputs,
        padded,
        panels * lanes,
        dw.reshape(-1),
        work=sums.size,
    )
    return [*calls, gather, reduce]
