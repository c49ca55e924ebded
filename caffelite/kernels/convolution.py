"""Two-dimensional convolution on the register tile: forward, and the gradient to the data, which is one too.

A task is a band of output rows of one image, for all output channels or a part of them. The input rows it needs are
copied with their padding into scratch memory that stays in the cache; the tile then runs over output pixels, with
output channels in the vectors; blocks of the result are transposed into place.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numba.extending import register_jitable

from caffelite.kernels import arrays, settings
from caffelite.kernels.inner_product import product
from caffelite.kernels.launch import Call, call, specialised
from caffelite.kernels.packing import pack, panel_memory, panels
from caffelite.kernels.padding import copy_band
from caffelite.kernels.tile import SUMS, WIDTH, tile, transpose

#: Output pixels of a band at most, and floats of a band's input: both stay in the second cache.
_BAND_PIXELS = 256
_BAND_INPUT = 1 << 17


@dataclass(frozen=True, slots=True)
class Geometry:
    """The sizes of a two-dimensional convolution; pairs are (vertical, horizontal)."""

    images: int
    channels: int
    outputs: int
    size: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    pad: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    group: int = 1

    @property
    def extent(self) -> tuple[int, int]:
        """How many input pixels one output pixel spans."""
        return tuple(d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True))  # type: ignore[return-value]

    @property
    def output_size(self) -> tuple[int, int]:
        """Size of the output map."""
        return tuple(
            (n + 2 * p - e) // s + 1 for n, p, e, s in zip(self.size, self.pad, self.extent, self.stride, strict=True)
        )  # type: ignore[return-value]

    @property
    def multiplications(self) -> int:
        """Multiply-adds of one pass."""
        taps = self.kernel[0] * self.kernel[1] * self.channels // self.group
        return self.images * self.outputs * self.output_size[0] * self.output_size[1] * taps


@register_jitable
def _store(sums, base, lanes, pixels, filled, bias, bias_base, out, place, out_plane):
    """Write [pixels][lanes] as [lanes][pixels] of the output, plus the bias."""
    if len(bias):
        for p in range(pixels):
            for lane in range(filled):
                sums[base + p * lanes + lane] += bias[bias_base + lane]
    lane = 0
    while lane < filled:
        p = 0
        if lane + WIDTH <= filled:
            while p + WIDTH <= pixels:
                transpose(sums, base + p * lanes + lane, lanes, out, place + lane * out_plane + p, out_plane, WIDTH)
                p += WIDTH
        for inner in range(lane, min(lane + WIDTH, filled)):
            for q in range(p, pixels):
                out[place + inner * out_plane + q] = sums[base + q * lanes + inner]
        lane += WIDTH


@specialised
def _convolve(rows: int, columns: int, vectors: int, step: int) -> Callable[..., None]:
    shape = (rows, columns, vectors, step, WIDTH, 0)
    lanes = vectors * WIDTH

    def convolve(
        begin, end, worker, x, w, bias, out, k_offsets, row_offsets, groups, channels, height, width, top, left,
        pitch, bands, parts, stride, out_height, out_width, outputs, panels, out_plane, out_pitch, y_step,
        x_step, first, band, sums,
    ):  # fmt: skip
        """A task is a part of the panels, for a band of output rows of one group of one image.

        Names as in :func:`_correlate`.
        """
        count = len(k_offsets)
        band_rows = band.shape[1] // (channels * pitch)
        for task in range(begin, end):
            whole, part = task // parts, task % parts
            image_group = whole // bands
            group = image_group % groups
            y_first = whole % bands * out_height // bands
            y_end = (whole % bands + 1) * out_height // bands
            if part == 0 or task == begin:
                copy_band(x, image_group * channels * height * width, channels, height, width, y_first * stride - top,
                          band_rows, left, pitch, band[worker], 0)  # fmt: skip
            pixels = (y_end - y_first) * out_width
            for panel in range(part * panels // parts, (part + 1) * panels // parts):
                weights = (group * panels + panel) * count * lanes
                y = y_first
                while y < y_end:
                    # The last rows, and the last tile of a row, are moved back to be whole.
                    y = min(y, y_end - rows)
                    column = 0
                    while column < out_width:
                        column = min(column, out_width - columns)
                        tile(band[worker], (y - y_first) * stride * pitch + column * step, k_offsets, count,
                             row_offsets, w, weights, sums[worker], ((y - y_first) * out_width + column) * lanes,
                             shape)  # fmt: skip
                        column += columns
                    y += rows
                done = panel * lanes
                filled = min(lanes, outputs - done)
                place = (image_group * outputs + done) * out_plane + first
                if y_step == 1 and x_step == 1:
                    _store(sums[worker], 0, lanes, pixels, filled, bias, group * outputs + done, out,
                           place + y_first * out_pitch, out_plane)  # fmt: skip
                else:
                    for lane in range(filled):
                        for y in range(y_first, y_end):
                            line = place + lane * out_plane + y * y_step * out_pitch
                            source = (y - y_first) * out_width * lanes + lane
                            for column in range(out_width):
                                out[line + column * x_step] = sums[worker, source + column * lanes]

    return convolve


def tile_sizes(height: int, width: int, lanes: int, fixed: float = 0.5) -> tuple[tuple[int, int, int], float]:
    """Choose rows, columns and vectors of the tile for a map of ``lanes`` channels: the least predicted time.

    A step of k takes as long as its multiply-adds, its loads (two of each a cycle), what it fetches from the second
    cache (half a vector a cycle) or the latency of a sum, whichever is longest. The time is returned too.
    """
    best, best_time = (1, 1, 1), float("inf")
    for vectors in range(1, 5):
        for columns in range(1, min(width, SUMS) + 1):
            for rows in range(1, min(height, 4) + 1) if columns == width else (1,):
                total = rows * columns * vectors
                if total > SUMS or (total + vectors + 1 > SUMS + 4):
                    continue
                step = max(total / 2, (rows * columns + vectors) / 2, 2.0 * vectors, 5.0)
                tiles = -(-height // rows) * -(-width // columns) * panels(lanes, vectors)
                time = tiles * (step + fixed)
                if time < best_time:
                    best, best_time = (rows, columns, vectors), time
    return best, best_time


@cache
def _as_rows(pixels: int, lanes: int) -> tuple[int, int]:
    """Choose how a map of which every pixel is for itself is cut into rows: such that a row fits into a band."""

    def time(width: int) -> float:
        # What does not fit is fetched from memory again and again.
        return tile_sizes(pixels // width, width, lanes)[1] * (1 if width <= _BAND_PIXELS else 1.5)

    widths = [pixels, *(width for width in range(min(pixels, _BAND_PIXELS), 0, -1) if pixels % width == 0)]
    width = min(widths, key=time)
    return pixels // width, width


def _bands(
    images: int, channels: int, rows: int, out: tuple[int, int], stride: int, extent: int, pitch: int, panels: int
) -> tuple[int, int]:
    """Choose into how many bands of rows a map is cut, and its panels into how many parts.

    A band is small enough for the cache, and all threads have about as much to do.
    """
    height, width = out
    most = max(height // rows, 1)

    def fits(bands: int) -> bool:
        tall = -(-height // bands)
        return tall * width <= _BAND_PIXELS and channels * ((tall - 1) * stride + extent) * pitch <= _BAND_INPUT

    def time(cut: tuple[int, int]) -> float:
        bands, parts = cut
        pixels = -(-height // (bands * rows)) * rows * width
        # In what a panel takes for a pixel: reading its weights, and copying the band.
        task = (pixels + 4) * -(-panels // parts) + 0.2 * pixels
        return -(-images * bands * parts // threads) * task

    threads = settings.threads()
    fewest = next((bands for bands in range(1, most) if fits(bands)), most)
    cuts = [
        (bands, parts)
        for bands in range(fewest, min(most, fewest + 2 * threads) + 1)
        for parts in range(1, min(panels, 2 * threads) + 1)
    ]
    return min(cuts, key=time)


def _correlate(
    x: np.ndarray, w: np.ndarray, bias: np.ndarray, out: np.ndarray, images: int, groups: int, size: tuple[int, int],
    taps: tuple[np.ndarray, np.ndarray], pads: tuple[int, int], stride: tuple[int, int], result: tuple[int, int],
    weight_offsets: np.ndarray, lane_step: int, group_step: int, place: tuple[int, int, int, int],
) -> list[Call]:  # fmt: skip
    """Return the calls of one correlation: out[o, y, x] = sum over c, t of x[c, y*s + dy(t), x*s + dx(t)] * w[o, c, t].

    Parameters
    ----------
    x : [images][groups * channels][size]; out : [images][groups * outputs][whole map]
    taps : two arrays of int
        Vertical and horizontal offset of each tap from the first pixel of the padded map.
    pads : (top, left)
        Zeros before the map; negative to leave pixels out.
    stride, result : (int, int)
        Steps between output pixels; number of output pixels this correlation makes.
    weight_offsets : ndarray of int64, [channels * taps]
        Where in ``w`` the lanes of each k begin.
    lane_step, group_step : int
        From one output channel to the next, from one group to the next, in ``w``.
    place : (first, y_step, x_step, width)
        Where the results go in the output map.
    """
    channels = x.shape[1] // groups
    outputs = out.shape[1] // groups
    down, across = taps
    extent = (int(down.max()) + 1 if len(down) else 1, int(across.max()) + 1 if len(across) else 1)
    (rows, columns, vectors), _ = tile_sizes(*result, outputs)
    pitch = (result[1] - 1) * stride[1] + extent[1]
    bands, parts = _bands(images * groups, channels, rows, result, stride[0], extent[0], pitch,
                          panels(outputs, vectors))  # fmt: skip
    band_rows = (-(-result[0] // bands) - 1) * stride[0] + extent[0]
    k_offsets = (
        np.arange(channels)[:, None] * band_rows * pitch + (down * pitch + across)[None, :]
    ).reshape(-1).astype(np.int64)  # fmt: skip
    packed = panel_memory(outputs, vectors, len(k_offsets), groups, x.dtype)
    per_group = packed.size // groups
    calls = [
        pack(w, g * group_step, weight_offsets, lane_step, outputs, vectors,
             packed[g * per_group : (g + 1) * per_group])
        for g in range(groups) if len(k_offsets)
    ]  # fmt: skip
    first, y_step, x_step, out_pitch = place
    threads = settings.threads()
    band = arrays.zeros((threads, channels * band_rows * pitch), x.dtype)
    sums = arrays.zeros((threads, -(-result[0] // bands) * result[1] * vectors * WIDTH), x.dtype)
    calls.append(call(
        _convolve(rows, columns, vectors, stride[1]), images * groups * bands * parts, x.reshape(-1), packed, bias,
        out.reshape(-1), k_offsets, np.arange(rows, dtype=np.int64) * stride[0] * pitch, groups, channels, *size,
        *pads, pitch, bands, parts, stride[0], *result, outputs, panels(outputs, vectors),
        out.shape[2] * out.shape[3], out_pitch, y_step, x_step, first, band, sums,
        work=images * groups * result[0] * result[1] * outputs * max(len(k_offsets), 1) / WIDTH,
    ))  # fmt: skip
    return calls


def forward(g: Geometry, x: np.ndarray, w: np.ndarray, bias: np.ndarray | None, y: np.ndarray) -> list[Call]:
    """Return the calls that compute ``y`` from ``x``.

    Parameters
    ----------
    g : Geometry
    x : ndarray of float32, images x channels x height x width
    w : ndarray of float32, outputs x channels / group x kernel height x kernel width
    bias : ndarray of float32 or None
        One value an output channel.
    y : ndarray of float32, images x outputs x output height x output width
    """
    size, result, stride, pads = g.size, g.output_size, g.stride, g.pad
    if g.kernel == size and pads == (0, 0) and g.group == 1:
        # One window, the whole image: an inner product.
        count = g.channels * size[0] * size[1]
        return product(x, (count, 1), w, (1, count), y, (g.images, g.outputs, count), bias)
    if g.kernel == (1, 1) and stride == (1, 1) and pads == (0, 0):
        size = result = _as_rows(size[0] * size[1], g.outputs // g.group)
        x, y = x.reshape(*x.shape[:2], *size), y.reshape(*y.shape[:2], *size)
    taps_of_channel = g.kernel[0] * g.kernel[1]
    per_output = g.channels // g.group * taps_of_channel
    down, across = np.divmod(np.arange(taps_of_channel), g.kernel[1])
    return _correlate(
        x, w.reshape(-1), np.empty(0, np.float32) if bias is None else bias.reshape(-1), y, g.images, g.group, size,
        (down * g.dilation[0], across * g.dilation[1]), pads, stride, result, np.arange(per_output, dtype=np.int64),
        per_output, g.outputs // g.group * per_output, (0, 1, 1, result[1]),
    )  # fmt: skip


def backward_data(g: Geometry, dy: np.ndarray, w: np.ndarray, dx: np.ndarray) -> list[Call]:
    """Return the calls that compute the gradient to the data.

    With a stride, each of the stride's phases of ``dx`` is a convolution of ``dy`` with some of the taps.

    Parameters
    ----------
    g : Geometry
    dy : ndarray of float32, images x outputs x output height x output width
    w : ndarray of float32, outputs x channels / group x kernel height x kernel width
    dx : ndarray of float32, images x channels x height x width
        Is set.
    """
    taps = g.kernel[0] * g.kernel[1]
    channels, outputs = g.channels // g.group, g.outputs // g.group
    calls: list[Call] = []
    for phase_y in range(min(g.stride[0], g.size[0])):
        rows = _phase(g, 0, phase_y)
        for phase_x in range(min(g.stride[1], g.size[1])):
            columns = _phase(g, 1, phase_x)
            down = np.repeat([d for _, d in rows], len(columns)).astype(np.int64)
            across = np.tile([d for _, d in columns], len(rows)).astype(np.int64)
            tap = np.array([i * g.kernel[1] + j for i, _ in rows for j, _ in columns], np.int64)
            top, left = -int(min(down, default=0)), -int(min(across, default=0))
            result = (-(-(g.size[0] - phase_y) // g.stride[0]), -(-(g.size[1] - phase_x) // g.stride[1]))
            offsets = (np.arange(outputs)[:, None] * channels * taps + tap[None, :]).reshape(-1).astype(np.int64)
            calls += _correlate(
                dy, w.reshape(-1), np.empty(0, np.float32), dx, g.images, g.group, g.output_size,
                (down + top, across + left), (top, left), (1, 1), result, offsets, taps, outputs * channels * taps,
                (phase_y * g.size[1] + phase_x, *g.stride, g.size[1]),
            )  # fmt: skip
    return calls


def _phase(g: Geometry, axis: int, phase: int) -> list[tuple[int, int]]:
    """Return the taps that reach the pixels of one phase, each with the distance of the output pixel it comes from."""
    found = []
    for tap in range(g.kernel[axis]):
        distance = phase + g.pad[axis] - tap * g.dilation[axis]
        if distance % g.stride[axis] == 0:
            found.append((tap, distance // g.stride[axis]))
    return found
