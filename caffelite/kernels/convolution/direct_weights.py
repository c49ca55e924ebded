"""The gradient of a convolution to its weights, on the register tile.

``dw[o, c, u, v] += sum over n, i, j of dy[n, o, i, j] * x[n, c, i * s + u * d - p, j * s + v * d - p]`` and
``db[o] += sum over n, i, j of dy[n, o, i, j]``; the plain loops are ``convolution_gradients`` in
``tests/naive.py``. The tile is :data:`caffelite.kernels.tiles.tile.tile`, where the idea's source stands.

Here the tile's positions are filter taps, its lanes output channels, and the sum runs over output pixels, a band of
rows of one image at a time: its input rows are copied with their padding, its rows of dy turned so that the channels of
a pixel lie side by side, and all taps are gone over, a group of tap rows at a time. (A *tap row* is a row of a filter
in one input channel.) A task is a part of the bands, for a run of the output channels of a group. Each part has sums of
its own, which are added in order at the end: the same numbers for any number of threads.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable

from caffelite.kernels.convolution.blocking import LEAST_TASKS, parts_and_runs, tile_of_taps
from caffelite.kernels.convolution.geometry import Geometry
from caffelite.kernels.convolution.padding import copy_band
from caffelite.kernels.engine import arrays, settings
from caffelite.kernels.engine.calls import Call, call
from caffelite.kernels.engine.compiling import kernel, specialised
from caffelite.kernels.tiles.tile import SUMS, tile, transpose
from caffelite.kernels.tiles.vectors import WIDTH

#: Output pixels, and floats of input, of a band at most.
_BAND_PIXELS = 512
_BAND_INPUT = 1 << 17
#: Cycles of copying a row of a band, and a float of it.
_ROW_COPY, _COPY = 16, 0.25


class WeightsWalk(NamedTuple):
    """The geometry of the sums, as their kernels read it; :func:`_walk` computes it.

    Attributes
    ----------
    images, groups : int
    channels, outputs : int
        Input and output channels of a group.
    height, width : int
        Pixels of an input map. (With one tap and no stride or padding, a map is one long row.)
    top, left : int
        Zeros above and left of it.
    stride : int
        Rows of input from one output row to the next.
    out_height, out_width : int
        Pixels of an output map.
    rows, pitch : int
        Rows of input of a band, and the floats of one.
    bands : int
        Bands that a map is cut into.
    panels, lanes : int
        Panels of output channels of a group, and the channels of one: whole vectors.
    row_groups, positions : int
        Groups of tap rows, and the taps of one: what a tile has in registers, for each lane.
    per_output : int
        Taps of an output channel; the last group of tap rows may hold more, which are not used.
    parts, runs : int
        Parts that the bands of all images are dealt out to, and runs that the panels of a group are cut into.
    """

    images: int
    groups: int
    channels: int
    outputs: int
    height: int
    width: int
    top: int
    left: int
    stride: int
    out_height: int
    out_width: int
    rows: int
    pitch: int
    bands: int
    panels: int
    lanes: int
    row_groups: int
    positions: int
    per_output: int
    parts: int
    runs: int


def _turner(lanes: int) -> Callable[..., None]:
    """Return ``turn(dy, source, plane, pixels, filled, turned)``, which turns rows of dy to [pixel][lane].

    ``turned[pixel * lanes + lane] = dy[source + lane * plane + pixel]``; lanes from ``filled`` on are zero.
    """

    def turn(dy, source, plane, pixels, filled, turned):
        lane = 0
        while lane < lanes:
            p = 0
            if lane + WIDTH <= filled:
                while p + WIDTH <= pixels:
                    transpose(dy, source + lane * plane + p, plane, turned, p * lanes + lane, lanes, WIDTH)
                    p += WIDTH
            for inner in range(lane, lane + WIDTH):
                for q in range(p, pixels):
                    value = np.float32(0)
                    if inner < filled:
                        value = dy[source + inner * plane + q]
                    turned[q * lanes + inner] = value
            lane += WIDTH

    return register_jitable(turn)


def _bias_adder(lanes: int) -> Callable[..., None]:
    """Return ``add_bias(turned, pixels, sums, place)``: adds the pixels of each lane to ``sums[place:]``."""

    def add_bias(turned, pixels, sums, place):
        # A sum for the band first: adding single pixels to the sum of all loses digits.
        total = turned[len(turned) - lanes :]
        for lane in range(lanes):
            total[lane] = np.float32(0)
        for p in range(pixels):
            for lane in range(lanes):
                total[lane] += turned[p * lanes + lane]
        for lane in range(lanes):
            sums[place + lane] += total[lane]

    return register_jitable(add_bias)


@specialised
def _weights(rows: int, columns: int, vectors: int, step: int) -> Callable[..., None]:
    """The kernel whose tile has ``rows`` tap rows of ``columns`` taps, ``step`` pixels apart, and ``vectors`` a tap."""
    shape = (rows, columns, vectors, step, WIDTH, 1, 0)
    lanes = vectors * WIDTH
    turn, add_bias = _turner(lanes), _bias_adder(lanes)

    def weights(begin, end, worker, g, x, dy, pixel_offsets, row_offsets, with_bias, band, turned, sums, bias_sums):
        """A task is a run of the panels of a group, for a part of the bands.

        Parameters
        ----------
        g : WeightsWalk
        x : ndarray, [images][groups * channels][height][width]
        dy : ndarray, [images][groups * outputs][out_height][out_width]
        pixel_offsets : ndarray of int64, [pixels of a band]
            Where in the band the first tap of each output pixel lies.
        row_offsets : ndarray of int64, [row_groups * rows]
            From there to the first tap of each tap row.
        with_bias : int
            Whether the gradient to the bias is asked for.
        band : ndarray, [threads][channels][rows of g][pitch]
        turned : ndarray, [threads][pixels of a band + 1][lanes]
            The last one is room for the sums of a band.
        sums : ndarray, [parts][groups][panels][row_groups][positions][lanes]
        bias_sums : ndarray, [parts][groups * panels][lanes]
            Are set.
        """
        plane, size = g.out_height * g.out_width, rows * columns * lanes
        for task in range(begin, end):
            part, group, run = task // g.runs // g.groups, task // g.runs % g.groups, task % g.runs
            total = g.images * g.bands
            begins = total * part // g.parts
            for number in range(begins, total * (part + 1) // g.parts):
                image_group, y = number // g.bands * g.groups + group, number % g.bands
                y_first, y_end = y * g.out_height // g.bands, (y + 1) * g.out_height // g.bands
                base = image_group * g.channels * g.height * g.width
                copy_band(g, x, base, y_first * g.stride - g.top, band[worker])
                pixels = (y_end - y_first) * g.out_width
                for panel in range(g.panels * run // g.runs, g.panels * (run + 1) // g.runs):
                    first, numbered = panel * lanes, group * g.panels + panel
                    source = (image_group * g.outputs + first) * plane + y_first * g.out_width
                    turn(dy, source, plane, pixels, min(lanes, g.outputs - first), turned[worker])
                    if with_bias:
                        if number == begins:
                            bias_sums[part, numbered * lanes : (numbered + 1) * lanes] = 0
                        add_bias(turned[worker], pixels, bias_sums[part], numbered * lanes)
                    for row_group in range(g.row_groups):
                        place, taps = (numbered * g.row_groups + row_group) * size, row_offsets[row_group * rows :]
                        if number == begins:
                            # Here, where the tile reads them next: all at once they would leave the cache again.
                            sums[part, place : place + size] = 0
                        tile(
                            band[worker], 0, pixel_offsets, pixels, taps, turned[worker], 0, 0, sums[part], place, shape
                        )

    return weights


@kernel
def _reduce(begin, end, worker, g, sums, dw):
    """dw += the sums of the parts; a task is a group of tap rows of a panel of a group.

    Parameters
    ----------
    g : WeightsWalk
    sums : ndarray, [parts][groups][panels][row_groups][positions][lanes]
        The first part's are set to those of all.
    dw : ndarray, [groups * outputs][per_output]
    """
    size, total = g.positions * g.lanes, sums[0]
    for task in range(begin, end):
        row_group = task % g.row_groups
        panel = task // g.row_groups % g.panels
        group = task // (g.row_groups * g.panels)
        for part in range(1, g.parts):
            for i in range(task * size, (task + 1) * size):
                total[i] += sums[part, i]
        first = row_group * g.positions
        for lane in range(min(g.lanes, g.outputs - panel * g.lanes)):
            place = (group * g.outputs + panel * g.lanes + lane) * g.per_output + first
            for i in range(min(g.positions, g.per_output - first)):
                dw[place + i] += total[(task * g.positions + i) * g.lanes + lane]


@kernel
def _reduce_bias(begin, end, worker, g, sums, db):
    """db += the sums of the parts; a task is an output channel.

    Parameters
    ----------
    g : WeightsWalk
    sums : ndarray, [parts][groups * panels][lanes]
    db : ndarray, [groups * outputs]
    """
    for task in range(begin, end):
        group = task // g.outputs
        for part in range(g.parts):
            db[task] += sums[part, group * g.panels * g.lanes + task % g.outputs]


def _bands(g: Geometry, channels: int, result: tuple[int, int], pitch: int, panels: int) -> int:
    """Choose into how many bands a map is cut: small ones, and enough for a few tasks."""
    bands = 1
    while bands < result[0] and (
        -(-result[0] // bands) * result[1] > _BAND_PIXELS
        or channels * _rows(g, result[0], bands) * pitch > _BAND_INPUT
        or g.images * g.group * bands * panels < LEAST_TASKS
    ):
        bands += 1
    return bands


def _rows(g: Geometry, height: int, bands: int) -> int:
    """Return the rows of input of a band, where so many cut ``height`` rows of output."""
    return (-(-height // bands) - 1) * g.stride[0] + g.extent[0]


def _walk(g: Geometry) -> tuple[WeightsWalk, tuple[int, int, int]]:
    """Return the geometry of the sums, and the tap rows, their taps and the vectors of a tile."""
    channels, outputs = g.channels // g.group, g.outputs // g.group
    size, result = g.size, g.output_size
    if g.kernel == (1, 1) and g.stride == (1, 1) and g.pad == (0, 0):
        size = result = (1, size[0] * size[1])
    # A kernel too wide for the registers is taken tap by tap.
    row_length = g.kernel[1] if g.kernel[1] <= SUMS // 2 else 1
    tap_rows = channels * g.kernel[0] * g.kernel[1] // row_length
    rows, vectors = tile_of_taps(tap_rows, row_length, outputs)
    pitch = (result[1] - 1) * g.stride[1] + g.extent[1]
    panels, row_groups = -(-outputs // (vectors * WIDTH)), -(-tap_rows // rows)
    bands = _bands(g, channels, result, pitch, panels)
    copied = g.images * g.group * bands * channels * _rows(g, result[0], bands)
    sums = g.group * panels * row_groups * rows * row_length * vectors * WIDTH
    again = copied * (_ROW_COPY + pitch * _COPY)
    parts, runs = parts_and_runs(g.images * bands, g.group, panels, sums, again, g.multiplications)
    walk = WeightsWalk(
        images=g.images,
        groups=g.group,
        channels=channels,
        outputs=outputs,
        height=size[0],
        width=size[1],
        top=g.pad[0],
        left=g.pad[1],
        stride=g.stride[0],
        out_height=result[0],
        out_width=result[1],
        rows=_rows(g, result[0], bands),
        pitch=pitch,
        bands=bands,
        panels=panels,
        lanes=vectors * WIDTH,
        row_groups=row_groups,
        positions=rows * row_length,
        per_output=channels * g.kernel[0] * g.kernel[1],
        parts=parts,
        runs=runs,
    )
    return walk, (rows, row_length, vectors)


def _tables(g: Geometry, walk: WeightsWalk, rows: int, row_length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ``pixel_offsets`` and ``row_offsets`` as the kernel reads them."""
    down, across = np.arange(-(-walk.out_height // walk.bands)), np.arange(walk.out_width)
    pixel_offsets = down[:, None] * g.stride[0] * walk.pitch + across[None, :] * g.stride[1]
    down, across = np.divmod(np.arange(g.kernel[0] * g.kernel[1], dtype=np.int64), g.kernel[1])
    tap_offsets = (down * g.dilation[0] * walk.pitch + across * g.dilation[1])[::row_length]
    row_offsets = np.arange(walk.channels)[:, None] * walk.rows * walk.pitch + tap_offsets[None, :]
    # Rows that fill the last group are computed and not used.
    filling = walk.row_groups * rows - row_offsets.size
    row_offsets = np.pad(row_offsets.reshape(-1), (0, filling), mode="edge")
    return pixel_offsets.reshape(-1).astype(np.int64), row_offsets.astype(np.int64)


def backward_weights(
    g: Geometry, x: np.ndarray, dy: np.ndarray, dw: np.ndarray | None, db: np.ndarray | None
) -> list[Call]:
    """Return the calls that add to the gradients of weights and bias.

    Parameters
    ----------
    g : Geometry
    x : ndarray of float32, images x channels x height x width
    dy : ndarray of float32, images x outputs x output height x output width
    dw : ndarray of float32 or None, outputs x channels / group x kernel height x kernel width
    db : ndarray of float32 or None, outputs
    """
    walk, (rows, row_length, vectors) = _walk(g)
    pixel_offsets, row_offsets = _tables(g, walk, rows, row_length)
    threads, row_sums = settings.threads(), g.group * walk.panels * walk.row_groups
    sums = arrays.zeros((walk.parts, row_sums * walk.positions * walk.lanes), x.dtype)
    bias_sums = arrays.zeros((walk.parts, g.group * walk.panels * walk.lanes), x.dtype)
    gather = call(
        _weights(rows, row_length, vectors, g.dilation[1]),
        walk.parts * g.group * walk.runs,
        walk,
        x.reshape(-1),
        dy.reshape(-1),
        pixel_offsets,
        row_offsets,
        int(db is not None),
        arrays.zeros((threads, walk.channels * walk.rows * walk.pitch), x.dtype),
        arrays.zeros((threads, (len(pixel_offsets) + 1) * walk.lanes), x.dtype),
        sums,
        bias_sums,
        work=g.multiplications / WIDTH,
    )
    calls = [gather]
    if dw is not None:
        calls.append(call(_reduce, row_sums, walk, sums, dw.reshape(-1), work=sums.size))
    if db is not None:
        calls.append(call(_reduce_bias, g.outputs, walk, bias_sums, db.reshape(-1), work=g.outputs))
    return calls
