"""Two-dimensional convolution on the register tile: forward, and the gradient to the data, which is one too.

The lanes of the vectors are output pixels that lie side by side, so results are stored where they belong. A task is a
band of output rows of one image, for all output channels or a part of them. The input rows it needs are copied with
their padding into scratch memory that stays in the cache, each row dealt out by the horizontal stride, so that what the
pixels of a vector read lies side by side too. A convolution with one tap and no stride reads the image itself.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from caffelite.kernels import elementwise
from caffelite.kernels.convolution.padding import dealer
from caffelite.kernels.engine import arrays, settings
from caffelite.kernels.engine.calls import Call, call
from caffelite.kernels.engine.compiling import kernel, specialised
from caffelite.kernels.inner_product import product
from caffelite.kernels.tiles.tile import REGISTERS, spread
from caffelite.kernels.tiles.vectors import WIDTH

#: Floats of a band's input at most: they stay in the second cache.
_BAND_INPUT = 1 << 16
#: Floats of the weights that pixels meet one after the other.
_WEIGHTS = 1 << 15


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


@kernel
def _pack(begin, end, worker, w, offsets, bias, group_step, output_step, outputs, panels, per_panel, packed):
    """packed[panel][0] = bias, packed[panel][1 + k] = w[offsets[k]], of per_panel outputs; a task is a panel."""
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


@specialised
def _convolve(
    per_panel: int, vectors: int, piece: int, step: int, copied: bool, through: bool, *chain: str
) -> Callable[..., None]:
    value, _ = elementwise.composed(chain)
    shape = (per_panel, vectors, WIDTH, piece)
    taken = vectors * (WIDTH // piece)
    deal = dealer(step)

    def convolve(
        begin,
        end,
        worker,
        x,
        w,
        out,
        k_offsets,
        v_in,
        v_out,
        v_scratch,
        groups,
        channels,
        height,
        width,
        top,
        left,
        phases,
        row_used,
        pitch,
        band_rows,
        bands,
        parts,
        lines,
        pieces,
        row_step,
        outputs,
        panels,
        out_plane,
        piece_width,
        x_step,
        first,
        at_once,
        band,
        sums,
        p,
    ):
        """A task is a part of the panels, for a band of lines of one group of one image.

        Names as in :func:`_correlate`; a line is a row of ``pieces`` pieces. Results go ``through`` scratch memory
        where tiles cannot write them to their place, and those of the last panel where it is not full. At the end the
        chain of element-wise functions runs over them, with its constants ``p``.
        """
        count = len(k_offsets)
        scratch_step = sums.shape[1] // (per_panel * at_once if through else per_panel)
        stride = len(row_used)
        for task in range(begin, end):
            whole, part = task // parts, task % parts
            image_group = whole // bands
            group = image_group % groups
            y_first = whole % bands * lines // bands
            y_end = (whole % bands + 1) * lines // bands
            base = image_group * channels * height * width
            # Without a copy the tables hold for the whole map, else for a band.
            start, place = y_first * pieces, first
            source = x
            if copied:
                if part == 0 or task == begin:
                    deal(
                        x,
                        base,
                        channels,
                        height,
                        width,
                        y_first * stride - top,
                        band_rows,
                        row_used,
                        left,
                        phases,
                        pitch,
                        band[worker],
                    )
                base, start, place = 0, 0, first + y_first * row_step
                source = band[worker]
            last = start + (y_end - y_first) * pieces
            panel_end = (part + 1) * panels // parts
            for panel_first in range(part * panels // parts, panel_end, at_once):
                panel_last = min(panel_first + at_once, panel_end)
                piece_first = start
                while piece_first < last:
                    if not through:
                        # The last ones are moved back to fill the vectors.
                        piece_first = min(piece_first, last - taken)
                    for panel in range(panel_first, panel_last):
                        weights = (group * panels + panel) * (count + 1) * per_panel
                        target, target_step, table = out, out_plane, v_out
                        target_base = (image_group * outputs + panel * per_panel) * out_plane + place
                        if through or (panel + 1) * per_panel > outputs:
                            target, target_step, table = sums[worker], scratch_step, v_scratch
                            target_base = -v_scratch[start]
                            if through:
                                target_base += (panel - panel_first) * per_panel * scratch_step
                        spread(
                            source,
                            base,
                            k_offsets,
                            count,
                            v_in,
                            piece_first,
                            w,
                            weights,
                            target,
                            target_base,
                            target_step,
                            table,
                            shape,
                        )
                    piece_first += taken
                full = outputs // per_panel * per_panel
                held = panel_first * per_panel if through else full
                for output in range(held, min(panel_last * per_panel, outputs)):
                    to = (image_group * outputs + output) * out_plane + place
                    lane = (output - held) * scratch_step - v_scratch[start]
                    for j in range(start, last):
                        for i in range(piece_width):
                            out[to + v_out[j] + i * x_step] = sums[worker, lane + v_scratch[j] + i]
                if len(chain):
                    for output in range(panel_first * per_panel, min(panel_last * per_panel, outputs)):
                        # The lines lie one behind the other.
                        to = (image_group * outputs + output) * out_plane + place
                        begins = to if copied else to + y_first * row_step
                        ends = min(begins + (y_end - y_first) * row_step, to - place + out_plane)
                        for i in range(begins, ends):
                            out[i] = value(out[i], p)

    return convolve


@dataclass(frozen=True, slots=True)
class Tile:
    """What a tile computes at a time, and the predicted time of a map, in cycles."""

    outputs: int
    vectors: int
    piece: int
    time: float


def tile_for(lines: int, width: int, outputs: int, count: int) -> Tile:
    """Choose the tile for a map of ``lines`` lines of ``width`` pixels: the least predicted time.

    A step of k takes as long as its multiply-adds, its loads (two a cycle; a vector of pixels
    counts for more, because it often lies across two cache lines and comes from the second cache), or the latency of a
    sum, whichever is longest.
    """
    best = Tile(1, 1, WIDTH, float("inf"))
    for piece in (WIDTH, WIDTH // 2, WIDTH // 4):
        pieces = lines * -(-width // piece) if piece >= 4 else 0
        many = WIDTH // piece if piece else 1
        for vectors in range(1, min(REGISTERS // 2, pieces // many) + 1):
            for per_panel in range(1, min(outputs, REGISTERS) + 1):
                if per_panel * vectors + vectors + 1 > REGISTERS:
                    break
                loads = per_panel + 2.5 * vectors * many + 1
                step = max(per_panel * vectors / settings.vector_products(), loads / 2 + 1, 5.0)
                tiles = -(-pieces // (many * vectors)) * -(-outputs // per_panel)
                time = tiles * (count * step + per_panel * vectors * many + 20)
                if time < best.time:
                    best = Tile(per_panel, vectors, piece, time)
    return best


def _bands(
    images: int, tile: Tile, lines: int, pieces: int, panels: int, fits: Callable[[int], bool], whole: int
) -> tuple[int, int]:
    """Choose into how many bands of lines a map is cut, and its panels into how many parts.

    A band is small enough for the cache (``fits`` says so of a number of lines), and all threads have about as much to
    do; a band has at least ``whole`` lines, and pieces for a tile.
    """
    taken = tile.vectors * (WIDTH // tile.piece)
    most = max(lines // max(whole, -(-taken // pieces)), 1)

    def time(cut: tuple[int, int]) -> float:
        bands, parts = cut
        tiles = -(-(-(-lines // bands) * pieces) // taken)
        # In what a panel takes for a tile: reading its weights, and copying the band.
        task = (tiles + 1) * -(-panels // parts) + 0.5 * tiles
        return -(-images * bands * parts // threads) * task

    threads = settings.threads()
    fewest = next((bands for bands in range(1, most) if fits(-(-lines // bands))), most)
    cuts = [
        (bands, parts)
        for bands in range(fewest, min(most, fewest + 2 * threads) + 1)
        for parts in range(1, min(panels, 2 * threads) + 1)
    ]
    return min(cuts, key=time)


def _correlate(
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray,
    out: np.ndarray,
    images: int,
    groups: int,
    size: tuple[int, int],
    taps: tuple[np.ndarray, np.ndarray],
    pads: tuple[int, int],
    stride: tuple[int, int],
    result: tuple[int, int],
    weight_offsets: np.ndarray,
    output_step: int,
    group_step: int,
    place: tuple[int, int, int, int],
    chain: elementwise.Chain = elementwise.NOTHING,
) -> list[Call]:
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
        Where in ``w`` the outputs of each k begin.
    output_step, group_step : int
        From one output channel to the next, from one group to the next, in ``w``.
    place : (first, y_step, x_step, width)
        Where the results go in the output map.
    chain : Chain
        Element-wise functions of the results; only where these fill the output map.
    """
    channels = x.shape[1] // groups
    outputs = out.shape[1] // groups
    count = len(weight_offsets)
    down, across = taps
    first, y_step, x_step, out_pitch = place
    alone = len(down) == 1 and not down[0] and not across[0] and stride == (1, 1) and pads == (0, 0)
    copied = not (alone and size == result and y_step == x_step == 1 and size[0] * size[1] >= WIDTH)
    # Where nothing is copied, a line is a vector of the whole map; the last one is moved back.
    lines, width = result if copied else (-(-size[0] * size[1] // WIDTH), WIDTH)
    tile = tile_for(lines, width, outputs, count)
    pieces = -(-width // tile.piece)
    panels = -(-outputs // tile.outputs)
    # From one line of results to the next.
    row_step = y_step * out_pitch if copied else WIDTH
    down_extent, across_extent = int(down.max(initial=0)) + 1, int(across.max(initial=0)) // stride[1]
    pitch = width + across_extent
    # The horizontal phases that taps read; the rows of each vertical phase that they read.
    phases = np.unique(across % stride[1]).astype(np.int64) if len(across) else np.zeros(1, np.int64)
    row_used = np.isin(np.arange(stride[0]), down % stride[0]).astype(np.int64)
    row_pitch = len(phases) * pitch

    def fits(tall: int) -> bool:
        floats = ((tall - 1) * stride[0] + down_extent) * row_pitch if copied else tall * WIDTH
        return channels * floats <= _BAND_INPUT

    bands, parts = _bands(images * groups, tile, lines, pieces, panels, fits, 1 if copied else 2)
    tall = -(-lines // bands)
    band_rows = (tall - 1) * stride[0] + down_extent
    # A tile's pixels meet as many panels of weights, one after the other, as stay in the second cache.
    at_once = min(max(_WEIGHTS // (max(count, 1) * tile.outputs), 1), -(-panels // parts))
    through = y_step > 1 or x_step > 1 or width < tile.piece
    taken = tile.vectors * (WIDTH // tile.piece)
    lane_length = (tall * pieces + taken) * tile.piece
    if copied:
        k_offsets = np.arange(channels)[:, None] * band_rows * row_pitch + (
            down * row_pitch + np.searchsorted(phases, across % stride[1]) * pitch + across // stride[1]
        )
        line, column = np.divmod(np.arange(tall * pieces), pieces)
        column = np.minimum(column * tile.piece, max(width - tile.piece, 0))
        v_in, v_out = line * stride[0] * row_pitch + column, line * y_step * out_pitch + column * x_step
    else:
        k_offsets = np.arange(channels)[:, None] * (size[0] * size[1]) + np.zeros(1, np.int64)
        vector, column = np.divmod(np.arange(lines * pieces), pieces)
        v_in = v_out = np.minimum(vector * WIDTH, size[0] * size[1] - WIDTH) + column * tile.piece
    v_in = np.pad(v_in, (0, taken), mode="edge")
    v_scratch = np.arange(len(v_in)) * tile.piece
    packed = arrays.zeros(groups * panels * (count + 1) * tile.outputs, x.dtype)
    threads = settings.threads()
    band = arrays.zeros((threads, channels * band_rows * row_pitch + WIDTH if copied else 1), x.dtype)
    sums = arrays.zeros((threads, tile.outputs * (at_once if through else 1) * lane_length), x.dtype)
    tables = [table.reshape(-1).astype(np.int64) for table in (k_offsets, v_in, v_out, v_scratch)]
    return [
        call(
            _pack,
            groups * panels,
            w,
            weight_offsets,
            bias,
            group_step,
            output_step,
            outputs,
            panels,
            tile.outputs,
            packed,
            work=packed.size,
            once=True,
        ),
        call(
            _convolve(tile.outputs, tile.vectors, tile.piece, stride[1], copied, through, *chain.keys),
            images * groups * bands * parts,
            x.reshape(-1),
            packed,
            out.reshape(-1),
            *tables,
            groups,
            channels,
            *size,
            *pads,
            phases,
            row_used,
            pitch,
            band_rows,
            bands,
            parts,
            lines,
            pieces,
            row_step,
            outputs,
            panels,
            out.shape[2] * out.shape[3],
            min(tile.piece, width),
            x_step,
            first,
            at_once,
            band,
            sums,
            chain.constants,
            work=images * groups * result[0] * result[1] * outputs * max(count, 1) / WIDTH,
        ),
    ]


def packs(g: Geometry) -> bool:
    """Whether the first call of :func:`forward` packs the weights, and the others do not read them."""
    return not (g.kernel == g.size and g.pad == (0, 0) and g.group == 1)


def forward(
    g: Geometry,
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray | None,
    y: np.ndarray,
    chain: elementwise.Chain = elementwise.NOTHING,
) -> list[Call]:
    """Return the calls that compute ``y`` from ``x``.

    Parameters
    ----------
    g : Geometry
    x : ndarray of float32, images x channels x height x width
    w : ndarray of float32, outputs x channels / group x kernel height x kernel width
    bias : ndarray of float32 or None
        One value an output channel.
    y : ndarray of float32, images x outputs x output height x output width
    chain : Chain, optional
        Element-wise functions that are applied to the results.
    """
    size, pads = g.size, g.pad
    if not packs(g):
        # One window, the whole image: an inner product.
        count = g.channels * size[0] * size[1]
        calls = product(x, (count, 1), w, (1, count), y, (g.images, g.outputs, count), bias)
        return [*calls, *chain.over(y.reshape(-1))]
    taps_of_channel = g.kernel[0] * g.kernel[1]
    per_output = g.channels // g.group * taps_of_channel
    down, across = np.divmod(np.arange(taps_of_channel), g.kernel[1])
    return _correlate(
        x,
        w.reshape(-1),
        np.empty(0, np.float32) if bias is None else bias.reshape(-1),
        y,
        g.images,
        g.group,
        size,
        (down * g.dilation[0], across * g.dilation[1]),
        pads,
        g.stride,
        g.output_size,
        np.arange(per_output, dtype=np.int64),
        per_output,
        g.outputs // g.group * per_output,
        (0, 1, 1, g.output_size[1]),
        chain,
    )


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
                dy,
                w.reshape(-1),
                np.empty(0, np.float32),
                dx,
                g.images,
                g.group,
                g.output_size,
                (down + top, across + left),
                (top, left),
                (1, 1),
                result,
                offsets,
                taps,
                outputs * channels * taps,
                (phase_y * g.size[1] + phase_x, *g.stride, g.size[1]),
            )
    return calls


def _phase(g: Geometry, axis: int, phase: int) -> list[tuple[int, int]]:
    """Return the taps that reach the pixels of one phase, each with the distance of the output pixel it comes from."""
    found = []
    for tap in range(g.kernel[axis]):
        distance = phase + g.pad[axis] - tap * g.dilation[axis]
        if distance % g.stride[axis] == 0:
            found.append((tap, distance // g.stride[axis]))
    return found
