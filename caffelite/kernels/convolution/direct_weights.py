"""The gradient of a convolution to its weights, on the register tile.

Here the tile's positions are filter taps, its lanes output channels, and the sum runs over output pixels. A task is a
band of one image; each worker adds up what it sees, and the sums of the workers are added in order at the end.
"""

from collections.abc import Callable

import numpy as np

from caffelite.kernels.convolution.direct import Geometry
from caffelite.kernels.convolution.padding import copy_band
from caffelite.kernels.engine import arrays, settings
from caffelite.kernels.engine.calls import Call, call
from caffelite.kernels.engine.compiling import kernel, specialised
from caffelite.kernels.tiles.tile import SUMS, tile, transpose
from caffelite.kernels.tiles.vectors import WIDTH

_BAND_PIXELS = 512
_BAND_INPUT = 1 << 17


def _panels(lanes: int, vectors: int) -> int:
    """Return the number of panels of ``vectors`` vectors that hold ``lanes`` lanes."""
    return -(-lanes // (vectors * WIDTH))


@specialised
def _weights(rows: int, columns: int, vectors: int, step: int) -> Callable[..., None]:
    shape = (rows, columns, vectors, step, WIDTH, 1)
    lanes = vectors * WIDTH

    def weights(
        begin,
        end,
        worker,
        x,
        dy,
        pixel_offsets,
        row_offsets,
        groups,
        channels,
        height,
        width,
        top,
        left,
        pitch,
        band_rows,
        bands,
        stride,
        out_height,
        out_width,
        outputs,
        panels,
        with_bias,
        band,
        turned,
        sums,
        bias_sums,
    ):
        """A task is a band of output rows of one group of one image."""
        sums[worker, :] = 0
        bias_sums[worker, :] = 0
        plane = out_height * out_width
        row_groups = len(row_offsets) // rows
        for task in range(begin, end):
            image_group = task // bands
            group = image_group % groups
            y_first = task % bands * out_height // bands
            y_end = (task % bands + 1) * out_height // bands
            copy_band(
                x,
                image_group * channels * height * width,
                channels,
                height,
                width,
                y_first * stride - top,
                band_rows,
                left,
                pitch,
                band[worker],
                0,
            )
            pixels = (y_end - y_first) * out_width
            for panel in range(panels):
                first = panel * lanes
                filled = min(lanes, outputs - first)
                source = (image_group * outputs + first) * plane + y_first * out_width
                lane = 0
                while lane < lanes:
                    p = 0
                    if lane + WIDTH <= filled:
                        while p + WIDTH <= pixels:
                            transpose(
                                dy, source + lane * plane + p, plane, turned[worker], p * lanes + lane, lanes, WIDTH
                            )
                            p += WIDTH
                    for inner in range(lane, lane + WIDTH):
                        for q in range(p, pixels):
                            value = np.float32(0)
                            if inner < filled:
                                value = dy[source + inner * plane + q]
                            turned[worker, q * lanes + inner] = value
                    lane += WIDTH
                if with_bias:
                    # A sum for the band first: adding single pixels to the sum of all loses digits.
                    place = (group * panels + panel) * lanes
                    total = bias_sums[worker, len(bias_sums[worker]) - lanes :]
                    for lane in range(lanes):
                        total[lane] = np.float32(0)
                    for p in range(pixels):
                        for lane in range(lanes):
                            total[lane] += turned[worker, p * lanes + lane]
                    for lane in range(lanes):
                        bias_sums[worker, place + lane] += total[lane]
                for row_group in range(row_groups):
                    place = ((group * panels + panel) * row_groups + row_group) * rows * columns * lanes
                    tile(
                        band[worker],
                        0,
                        pixel_offsets,
                        pixels,
                        row_offsets[row_group * rows :],
                        turned[worker],
                        0,
                        sums[worker],
                        place,
                        shape,
                    )

    return weights


@kernel
def _reduce(
    begin, end, worker, sums, workers, row_groups, positions, row_length, per_output, lanes, panels, outputs, dw
):
    """dw += the workers' sums; a task is a group of tap rows of a panel of a group."""
    size = positions * lanes
    for task in range(begin, end):
        row_group = task % row_groups
        panel = task // row_groups % panels
        group = task // (row_groups * panels)
        for i in range(positions):
            tap = row_group * positions + i
            if tap >= per_output:
                break
            for lane in range(min(lanes, outputs - panel * lanes)):
                total = np.float32(0)
                for worker_sums in range(workers):
                    total += sums[worker_sums, task * size + i * lanes + lane]
                dw[(group * outputs + panel * lanes + lane) * per_output + tap] += total


@kernel
def _reduce_bias(begin, end, worker, sums, workers, lanes, panels, outputs, db):
    """db += the workers' sums; a task is an output channel."""
    for task in range(begin, end):
        group = task // outputs
        for worker_sums in range(workers):
            db[task] += sums[worker_sums, group * panels * lanes + task % outputs]


def _tile_sizes(tap_rows: int, row_length: int, lanes: int) -> tuple[int, int]:
    """Choose rows of taps and vectors of the tile; a row of taps is a row of the kernel."""
    best, best_time = (1, 1), float("inf")
    for vectors in range(1, 5):
        for rows in range(1, min(tap_rows, 8) + 1):
            total = rows * row_length * vectors
            if total > SUMS or total + vectors + 1 > SUMS + 4:
                continue
            step = max(total / 2, (rows * row_length + vectors) / 2, 5.0)
            time = -(-tap_rows // rows) * _panels(lanes, vectors) * (step + 0.5)
            if time < best_time:
                best, best_time = (rows, vectors), time
    return best


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
    channels, outputs = g.channels // g.group, g.outputs // g.group
    result, extent = g.output_size, g.extent
    size, pads, stride = g.size, g.pad, g.stride
    if g.kernel == (1, 1) and stride == (1, 1) and pads == (0, 0):
        size = result = (1, size[0] * size[1])
    # A kernel too wide for the registers is taken tap by tap.
    row_length = g.kernel[1] if g.kernel[1] <= SUMS // 2 else 1
    tap_rows = channels * g.kernel[0] * g.kernel[1] // row_length
    rows, vectors = _tile_sizes(tap_rows, row_length, outputs)
    lanes = vectors * WIDTH
    pitch = (result[1] - 1) * stride[1] + extent[1]
    bands = 1
    while bands < result[0] and (
        -(-result[0] // bands) * result[1] > _BAND_PIXELS
        or channels * ((-(-result[0] // bands) - 1) * stride[0] + extent[0]) * pitch > _BAND_INPUT
        or g.images * g.group * bands < settings.threads()
    ):
        bands += 1
    band_rows = (-(-result[0] // bands) - 1) * stride[0] + extent[0]
    band_height = -(-result[0] // bands)
    pixel_offsets = (
        (np.arange(band_height)[:, None] * stride[0] * pitch + np.arange(result[1])[None, :] * stride[1])
        .reshape(-1)
        .astype(np.int64)
    )
    down, across = np.divmod(np.arange(g.kernel[0] * g.kernel[1], dtype=np.int64), g.kernel[1])
    tap_offsets = (down * g.dilation[0] * pitch + across * g.dilation[1])[::row_length]
    row_offsets = (np.arange(channels)[:, None] * band_rows * pitch + tap_offsets[None, :]).reshape(-1)
    row_groups = -(-tap_rows // rows)
    # Rows that fill the last group are computed and not used.
    row_offsets = np.pad(row_offsets, (0, row_groups * rows - tap_rows), mode="edge").astype(np.int64)
    many = _panels(outputs, vectors)
    threads = settings.threads()
    size_of_sums = g.group * many * row_groups * rows * row_length * lanes
    sums = arrays.zeros((threads, size_of_sums), x.dtype)
    bias_sums = arrays.zeros((threads, (g.group * many + 1) * lanes), x.dtype)
    tasks = g.images * g.group * bands
    gather = call(
        _weights(rows, row_length, vectors, g.dilation[1]),
        tasks,
        x.reshape(-1),
        dy.reshape(-1),
        pixel_offsets,
        row_offsets,
        g.group,
        channels,
        *size,
        *pads,
        pitch,
        band_rows,
        bands,
        stride[0],
        *result,
        outputs,
        many,
        int(db is not None),
        arrays.zeros((threads, channels * band_rows * pitch), x.dtype),
        arrays.zeros((threads, band_height * result[1] * lanes), x.dtype),
        sums,
        bias_sums,
        work=g.multiplications / WIDTH,
    )
    calls = [gather]
    per_output = channels * g.kernel[0] * g.kernel[1]
    if dw is not None:
        calls.append(
            call(
                _reduce,
                g.group * many * row_groups,
                sums,
                gather.workers,
                row_groups,
                rows * row_length,
                row_length,
                per_output,
                lanes,
                many,
                outputs,
                dw.reshape(-1),
                work=size_of_sums * gather.workers,
            )
        )
    if db is not None:
        calls.append(
            call(
                _reduce_bias, g.outputs, bias_sums, gather.workers, lanes, many, outputs, db.reshape(-1), work=g.outputs
            )
        )
    return calls
