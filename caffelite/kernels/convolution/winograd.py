"""Convolution of 3 x 3 and 5 x 5 filters with fewer products: where it is chosen, forward, and back to the data.

What is computed, the source, and the picture of a task stand in :mod:`.winograd_kernel`.
"""

import numpy as np

from caffelite.kernels import elementwise
from caffelite.kernels.convolution.blocking import RegisterTile, tile_for
from caffelite.kernels.convolution.geometry import Geometry
from caffelite.kernels.convolution.winograd_kernel import Winograd, convolution, filters
from caffelite.kernels.convolution.winograd_tile import FREQUENCIES, TILE, spectrum
from caffelite.kernels.convolution.winograd_tiling import Tiling, tiling
from caffelite.kernels.engine import arrays, settings
from caffelite.kernels.engine.calls import Call, call
from caffelite.kernels.tiles.vectors import WIDTH

#: Floats of a block's tiles, and of the results of some output channels, at most: they stay in the second cache.
_BLOCK = 1 << 16
#: Tiles of a block at most.
_LANES = 128
#: Channels from which on the transforms cost less than they save.
_CHANNELS = 8
#: Of the time that direct sums are predicted to take.
_GAIN = 0.9
#: Cycles of the transforms of a vector of tiles, for an input channel and for an output channel.
_INPUT, _RESULT = 250, 150


def _lanes(channels: int) -> int:
    """Return how many tiles a block may have."""
    return min(max(_BLOCK // (FREQUENCIES * channels) // WIDTH, 2), _LANES // WIDTH) * WIDTH


def fits(g: Geometry) -> bool:
    """Whether a convolution is computed this way: most lanes hold a tile, and it is predicted to take less time."""
    size, channels, outputs = g.kernel[0], g.channels // g.group, g.outputs // g.group
    if not (
        g.kernel in ((3, 3), (5, 5))
        and g.stride == g.dilation == (1, 1)
        and max(g.pad) < size
        and min(channels, outputs) >= _CHANNELS
    ):
        return False
    t = tiling(g.images, size, g.size[1], g.pad[1], g.output_size, _lanes(channels))
    images = t.together / t.bands
    if 2 * -(-g.output_size[1] // t.step) * t.lines * min(images, g.images) < t.lanes:
        return False
    tile = tile_for(1, t.lanes, outputs, channels)
    block = FREQUENCIES * tile.time + t.lanes // WIDTH * (channels * _INPUT + outputs * _RESULT)
    return block < _GAIN * images * tile_for(*g.output_size, outputs, channels * size * size).time


def _geometry(
    x: np.ndarray, out: np.ndarray, groups: int, size: int, pads: tuple[int, int]
) -> tuple[Winograd, Tiling, RegisterTile]:
    """Choose the tiling, the register tile and the parts of a correlation."""
    images, channels, outputs = x.shape[0], x.shape[1] // groups, out.shape[1] // groups
    t = tiling(images, size, x.shape[3], pads[1], (out.shape[2], out.shape[3]), _lanes(channels))
    tile = tile_for(1, t.lanes, outputs, channels)
    panels = -(-outputs // tile.outputs)
    blocks, threads = -(-images // t.together) * t.bands * groups, settings.threads()

    def time(parts: int) -> float:
        task = FREQUENCIES * tile.time * -(-panels // parts) / panels + t.lanes // WIDTH * channels * _INPUT
        return -(-blocks * parts // threads) * task

    parts = min(range(1, min(panels, 2 * threads) + 1), key=time)
    at_once = min(max(_BLOCK // (FREQUENCIES * t.lanes * tile.outputs), 1), -(-panels // parts))
    sizes = x.shape[2], x.shape[3], pads[0], out.shape[2], out.shape[3]
    g = Winograd(images, groups, channels, outputs, *sizes, panels, parts, at_once)
    return g, t, tile


def _tables(g: Winograd, t: Tiling, left: int) -> np.ndarray:
    """Return the tables of the kernel, each filled up with zeros."""
    along, at = np.arange(g.channels) * t.lanes, np.arange(t.lanes // WIDTH) * WIDTH
    rows = [t.taps(TILE, left), t.starts(), along, at]
    tables = np.zeros((len(rows), max(map(len, rows))), np.int64)
    for table, row in zip(tables, rows, strict=True):
        table[: len(row)] = row
    return tables


def _correlate(
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray,
    out: np.ndarray,
    groups: int,
    size: int,
    pads: tuple[int, int],
    table: np.ndarray,
    steps: tuple[int, int, int],
    chain: elementwise.Chain,
) -> list[Call]:
    """Return the calls of a correlation.

    Parameters
    ----------
    x : [images][groups * channels][height][width]; out : [images][groups * outputs][height][width]
    table : ndarray, size² x FREQUENCIES
        From taps to frequencies.
    steps : (int, int, int)
        From one group, output channel and input channel to the next, in ``w``.
    """
    g, t, tile = _geometry(x, out, groups, size, pads)
    blocks, threads = -(-g.images // t.together) * t.bands * groups, settings.threads()
    packed = arrays.zeros(groups * FREQUENCIES * g.panels * (g.channels + 1) * tile.outputs, x.dtype)
    # A line more than whole lines of the cache, so that frequencies do not all fall on the same ones.
    tiles = arrays.zeros((threads, FREQUENCIES * (g.channels * t.lanes + WIDTH)), x.dtype)
    sums = arrays.zeros((threads, FREQUENCIES * (g.at_once * tile.outputs * t.lanes + WIDTH)), x.dtype)
    return [
        call(
            filters(size),
            groups * g.panels,
            g,
            w,
            np.ascontiguousarray(table, x.dtype),
            *steps,
            tile.outputs,
            packed,
            arrays.zeros((threads, tile.outputs, FREQUENCIES), x.dtype),
            work=packed.size * size * size / WIDTH,
            once=True,
        ),
        call(
            convolution(size, t.piece, tile.outputs, tile.vectors, *chain.keys),
            blocks * g.parts,
            g,
            t,
            x.reshape(-1),
            packed,
            bias,
            out.reshape(-1),
            _tables(g, t, pads[1]),
            arrays.zeros((threads, t.together * t.image_step), x.dtype),
            tiles,
            sums,
            arrays.zeros((threads, t.lanes * t.step * t.step), x.dtype),
            chain.constants,
            chain.other,
            work=blocks * t.lanes * FREQUENCIES * g.channels * g.outputs / WIDTH,
            whole=g.parts > 1,
        ),
    ]


def forward(
    g: Geometry,
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray | None,
    y: np.ndarray,
    chain: elementwise.Chain = elementwise.NOTHING,
) -> list[Call]:
    """Return the calls that compute ``y`` from ``x``.

    Parameters as in :func:`caffelite.kernels.convolution.direct.forward`.
    """
    taps, channels, outputs = w[0, 0].size, g.channels // g.group, g.outputs // g.group
    bias = np.empty(0, x.dtype) if bias is None else bias.reshape(-1)
    steps = (outputs * channels * taps, channels * taps, taps)
    return _correlate(x, w.reshape(-1), bias, y, g.group, g.kernel[0], g.pad, spectrum(g.kernel[0]), steps, chain)


def backward_data(g: Geometry, dy: np.ndarray, w: np.ndarray, dx: np.ndarray) -> list[Call]:
    """Return the calls that set ``dx``: a convolution of ``dy`` with the filters turned by 180 degrees.

    Parameters as in :func:`caffelite.kernels.convolution.direct.backward_data`.
    """
    size, taps, channels, outputs = g.kernel[0], w[0, 0].size, g.channels // g.group, g.outputs // g.group
    pads = (size - 1 - g.pad[0], size - 1 - g.pad[1])
    steps = (outputs * channels * taps, taps, channels * taps)
    return _correlate(
        dy,
        w.reshape(-1),
        np.empty(0, dy.dtype),
        dx,
        g.group,
        size,
        pads,
        spectrum(size, turned=True),
        steps,
        elementwise.NOTHING,
    )
