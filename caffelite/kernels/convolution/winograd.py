"""Convolution of 3 x 3 and 5 x 5 filters with fewer products: forward, and the gradient to the data.

Tiles of the input are taken to frequencies (see :mod:`.winograd_tile`), where a convolution is a
product of matrices for each frequency: filters times tiles. 3 x 3 filters take 36 products for 16 pixels in place of
144, 5 x 5 ones 36 for 4 in place of 100. A task is a block of tiles, of one image or several, for all output channels
or a part of them; what it computes on the way stays in the cache.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import gcd

import numpy as np
from numba.extending import register_jitable

from caffelite.kernels import elementwise
from caffelite.kernels.convolution.direct import Geometry, tile_for
from caffelite.kernels.convolution.winograd_tile import FREQUENCIES, TILE, from_tiles, matrices, to_tiles
from caffelite.kernels.engine import arrays, settings
from caffelite.kernels.engine.calls import Call, call
from caffelite.kernels.engine.compiling import specialised
from caffelite.kernels.tiles.lanes import deal
from caffelite.kernels.tiles.tile import spread
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


@dataclass(frozen=True, slots=True)
class Tiling:
    """How the tiles of images become lanes.

    A line of tiles is cut into pieces, whose tiles lie side by side in a vector; the last piece may reach beyond the
    map.

    Attributes
    ----------
    step : int
        Output pixels of a tile, vertically and horizontally.
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

    @property
    def slot(self) -> int:
        """Floats of one horizontal phase of a row; up to a vector behind it is written over."""
        return self.lead + self.pitch + WIDTH

    @property
    def rows(self) -> int:
        """Rows of input of a block's image."""
        return self.tall * self.step + TILE - self.step

    @property
    def image_step(self) -> int:
        """Floats of one channel of a block's image, dealt out."""
        return self.rows * self.step * self.slot

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

    def cuts() -> Iterator[Tiling]:
        for piece in (WIDTH, WIDTH // 2, WIDTH // 4):
            if piece < min(4, WIDTH):
                continue
            length = -(-across // piece) * piece
            whole = WIDTH // gcd(WIDTH, length)  # lines that fill vectors
            # What is dealt is followed by a zero at least.
            pitch = max(length + (TILE - 1) // step, -(-width // step)) + 1
            rest = -(-left // step), pitch
            for tall in range(whole, lines, whole):
                if tall == whole or 2 * tall * length <= 3 * most:
                    yield Tiling(step, lines, piece, length // piece, 1, -(-lines // tall), tall, tall * length, *rest)
            # Images beyond the last one are zero.
            fill = whole // gcd(whole, lines)
            for together in range(fill, max(fill, min(images + fill - 1, most // (lines * length))) + 1, fill):
                lanes = together * lines * length
                yield Tiling(step, lines, piece, length // piece, together, 1, lines, lanes, *rest)

    def time(t: Tiling) -> float:
        # Few lanes mean that filters are read more often.
        return (t.lanes + WIDTH / 4) * t.bands / min(t.together, images)

    found = list(cuts())
    # A line may be longer than a block should be.
    return min([t for t in found if 2 * t.lanes <= 3 * most] or [min(found, key=lambda t: t.lanes)], key=time)


def row_dealer(step: int) -> Callable[..., None]:
    """Return ``deal_rows(x, plane, height, width, first, rows, band, base, lead, pitch, slot)``.

    It copies rows of a map, zero where there is none; the ``step`` phases of each row lie ``slot`` apart.
    """

    def deal_rows(x, plane, height, width, first, rows, band, base, lead, pitch, slot):
        for r in range(rows):
            y = first + r
            inside = y >= 0 and y < height
            deal(
                x,
                plane + y * width if inside else 0,
                width if inside else 0,
                band,
                base + r * step * slot + lead,
                slot,
                pitch,
                0,
                step,
            )

    return register_jitable(deal_rows)


def spectrum(size: int, turned: bool = False) -> np.ndarray:
    """Return the matrix from the taps of a filter (turned by 180 degrees) to its frequencies: size² x FREQUENCIES."""
    _, g, _ = matrices(size)
    found = np.kron(g, g).T
    return found[::-1] if turned else found


@specialised
def _filters(size: int) -> Callable[..., None]:
    taps = size * size

    def filters(
        begin,
        end,
        worker,
        w,
        table,
        group_step,
        output_step,
        channel_step,
        channels,
        outputs,
        panels,
        per_panel,
        packed,
    ):
        """packed[group][frequency][panel][1 + channel] = the filters' frequencies, of per_panel outputs, after zeros.

        A task is a panel of a group.
        """
        values = np.empty((per_panel, FREQUENCIES), w.dtype)
        length = (channels + 1) * per_panel
        for task in range(begin, end):
            group, panel = task // panels, task % panels
            filled = min(per_panel, outputs - panel * per_panel)
            for c in range(channels):
                source = group * group_step + panel * per_panel * output_step + c * channel_step
                place = (group * FREQUENCIES * panels + panel) * length + (c + 1) * per_panel
                for m in range(filled):
                    for f in range(FREQUENCIES):
                        total = w[source] * table[0, f]
                        for t in range(1, taps):
                            total += w[source + t] * table[t, f]
                        values[m, f] = total
                    source += output_step
                for f in range(FREQUENCIES):
                    for m in range(filled):
                        packed[place + f * panels * length + m] = values[m, f]

    return filters


@specialised
def _convolve(size: int, piece: int, per_panel: int, vectors: int, *chain: str) -> Callable[..., None]:
    value, _ = elementwise.composed(chain)
    step = TILE - size + 1
    deal_rows, transform, back = row_dealer(step), to_tiles("input", size, piece), from_tiles(size)
    shape = (per_panel, vectors, WIDTH, WIDTH)

    def convolve(
        begin,
        end,
        worker,
        x,
        filters,
        bias,
        out,
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
        starts,
        along,
        at,
        lines,
        together,
        bands,
        tall,
        rows,
        lead,
        pitch,
        slot,
        line_length,
        panels,
        parts,
        at_once,
        band,
        tiles,
        sums,
        ready,
        p,
    ):
        """A task is a part of the output channels, for a block of one group."""
        lanes = len(at) * WIDTH
        here, frequencies, products, results = band[worker], tiles[worker], sums[worker], ready[worker]
        tile_step, sum_step = len(frequencies) // FREQUENCIES, len(products) // FREQUENCIES
        image_step = rows * step * slot
        length = (channels + 1) * per_panel
        for task in range(begin, end):
            part, block = task % parts, task // parts
            group, block = block % groups, block // groups
            first, line = block // bands * together, block % bands * tall
            many = min(together, images - first)
            if part == 0 or task == begin:
                for c in range(channels):
                    for n in range(many):
                        plane = ((first + n) * groups + group) * channels + c
                        deal_rows(
                            x,
                            plane * height * width,
                            height,
                            width,
                            line * step - top,
                            rows,
                            here,
                            n * image_step,
                            lead,
                            pitch,
                            slot,
                        )
                    for v in range(len(at)):
                        transform(
                            here, 0, taps, starts, v * (WIDTH // piece), frequencies, c * lanes + v * WIDTH, tile_step
                        )
            panel_end = (part + 1) * panels // parts
            for panel_first in range(part * panels // parts, panel_end, at_once):
                panel_last = min(panel_first + at_once, panel_end)
                for f in range(FREQUENCIES):
                    for panel in range(panel_first, panel_last):
                        weights = ((group * FREQUENCIES + f) * panels + panel) * length
                        target = f * sum_step + (panel - panel_first) * per_panel * lanes
                        v = 0
                        while v < len(at):
                            # The last ones are moved back to fill the tile.
                            v = min(v, len(at) - vectors)
                            spread(
                                frequencies,
                                f * tile_step,
                                along,
                                channels,
                                at,
                                v,
                                filters,
                                weights,
                                products,
                                target,
                                lanes,
                                at,
                                shape,
                            )
                            v += vectors
                for output in range(panel_first * per_panel, min(panel_last * per_panel, outputs)):
                    for v in range(len(at)):
                        back(
                            products,
                            (output - panel_first * per_panel) * lanes + v * WIDTH,
                            sum_step,
                            results,
                            v * WIDTH * step,
                            lanes * step,
                        )
                    added = bias[group * outputs + output] if len(bias) else x.dtype.type(0)
                    for n in range(many):
                        plane = ((first + n) * groups + group) * outputs + output
                        for number in range(min(tall, lines - line)):
                            source = (n * tall + number) * line_length * step
                            y = (line + number) * step
                            for i in range(min(step, out_height - y)):
                                goal = (plane * out_height + y + i) * out_width
                                row = source + i * lanes * step
                                for k in range(out_width):
                                    out[goal + k] = value(results[row + k] + added, p)

    return convolve


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
    images, channels, outputs = x.shape[0], x.shape[1] // groups, out.shape[1] // groups
    height, width = x.shape[2:]
    result = out.shape[2:]
    t = tiling(images, size, width, pads[1], result, _lanes(channels))
    tile = tile_for(1, t.lanes, outputs, channels)
    panels = -(-outputs // tile.outputs)
    blocks = -(-images // t.together) * t.bands * groups
    threads = settings.threads()

    def time(parts: int) -> float:
        task = FREQUENCIES * tile.time * -(-panels // parts) / panels + t.lanes // WIDTH * channels * _INPUT
        return -(-blocks * parts // threads) * task

    parts = min(range(1, min(panels, 2 * threads) + 1), key=time)
    at_once = min(max(_BLOCK // (FREQUENCIES * t.lanes * tile.outputs), 1), -(-panels // parts))
    at = np.arange(t.lanes // WIDTH, dtype=np.int64) * WIDTH
    packed = arrays.zeros(groups * FREQUENCIES * panels * (channels + 1) * tile.outputs, x.dtype)
    # A line more than whole lines of the cache, so that frequencies do not all fall on the same ones.
    tiles = arrays.zeros((threads, FREQUENCIES * (channels * t.lanes + WIDTH)), x.dtype)
    sums = arrays.zeros((threads, FREQUENCIES * (at_once * tile.outputs * t.lanes + WIDTH)), x.dtype)
    return [
        call(
            _filters(size),
            groups * panels,
            w,
            np.ascontiguousarray(table, x.dtype),
            *steps,
            channels,
            outputs,
            panels,
            tile.outputs,
            packed,
            work=packed.size * size * size / WIDTH,
            once=True,
        ),
        call(
            _convolve(size, t.piece, tile.outputs, tile.vectors, *chain.keys),
            blocks * parts,
            x.reshape(-1),
            packed,
            bias,
            out.reshape(-1),
            images,
            groups,
            channels,
            outputs,
            height,
            width,
            pads[0],
            *result,
            t.taps(TILE, pads[1]),
            t.starts(),
            np.arange(channels, dtype=np.int64) * t.lanes,
            at,
            t.lines,
            t.together,
            t.bands,
            t.tall,
            t.rows,
            t.lead,
            t.pitch,
            t.slot,
            t.pieces * t.piece,
            panels,
            parts,
            at_once,
            arrays.zeros((threads, t.together * t.image_step), x.dtype),
            tiles,
            sums,
            arrays.zeros((threads, t.lanes * t.step * t.step), x.dtype),
            chain.constants,
            work=blocks * t.lanes * FREQUENCIES * channels * outputs / WIDTH,
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
