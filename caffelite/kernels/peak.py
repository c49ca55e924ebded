"""What this machine can do at most: arithmetic on data in the first cache, and moving what is in no cache."""

from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np

from caffelite.kernels.engine import arrays, settings
from caffelite.kernels.engine.calls import Call, call
from caffelite.kernels.engine.compiling import kernel
from caffelite.kernels.tiles.tile import SUMS, tile
from caffelite.kernels.tiles.vectors import WIDTH

#: The tile: 2 vectors of outputs at as many positions as the registers hold sums for, over 128 products. What it
#: reads, 24 KiB with the widest vectors, stays in the first cache.
_VECTORS = 2
_COLUMNS = SUMS // _VECTORS
_PRODUCTS = 128
_SHAPE = (1, _COLUMNS, _VECTORS, 1, WIDTH, 0, 0)
#: Tiles a thread computes between two looks at the clock, two or three milliseconds: where two threads have to share a
#: core for a while, waiting for each other takes as long.
_TILES = 8000

#: Seconds a measurement takes, when memory has been touched.
_SECONDS = 0.1

#: Bytes of an array that is copied: twice the last cache, within bounds.
_CACHES = "/sys/devices/system/cpu/cpu0/cache"
_LEAST, _MOST = 1 << 26, 1 << 27


@kernel
def _tiles(begin, end, worker, x, k_offsets, zero, w, out):
    """out = x · w over and over, each thread with operands and sums of its own; a task is a tile.

    Parameters
    ----------
    x : ndarray of float32, [threads][products][columns]
    k_offsets : ndarray of int64, [products]
        Where in ``x`` each product reads.
    zero : ndarray of int64, [1]
    w : ndarray of float32, [threads][products][lanes]
    out : ndarray of float32, [threads][columns][lanes]
        Is set.
    """
    for _ in range(begin, end):
        tile(
            x,
            worker * _PRODUCTS * _COLUMNS,
            k_offsets,
            _PRODUCTS,
            zero,
            w,
            worker * _PRODUCTS * _VECTORS * WIDTH,
            0,
            out,
            worker * _COLUMNS * _VECTORS * WIDTH,
            _SHAPE,
        )


def tiles() -> Call:
    """Return the call that computes a tile ``_TILES`` times on each thread."""
    threads, lanes = settings.threads(), _VECTORS * WIDTH
    return call(
        _tiles,
        threads * _TILES,
        arrays.zeros(threads * _PRODUCTS * _COLUMNS),
        np.arange(_PRODUCTS, dtype=np.int64) * _COLUMNS,
        np.zeros(1, np.int64),
        arrays.zeros(threads * _PRODUCTS * lanes),
        arrays.zeros(threads * _COLUMNS * lanes),
    )


def arithmetic() -> float:
    """Return the floating-point operations a second of the register tile, on all threads; a multiply-add is two.

    The best of what a tenth of a second holds, in float32.
    """
    run = tiles()
    return 2 * run.tasks * _PRODUCTS * _COLUMNS * _VECTORS * WIDTH / _best(run)


def memory() -> float:
    """Return the bytes a second, read and written, of a copy larger than the last cache, on all threads.

    The best of what a tenth of a second holds.
    """
    source, target = (arrays.zeros(_beyond_cache() // 4) for _ in range(2))
    source.fill(1)  # untouched pages are all one page of zeros
    return 2 * source.nbytes / _best(arrays.copy(source, target))


def _best(run: Callable[[], None]) -> float:
    """Return the seconds of the fastest run, the first not counted; there are three at least."""
    run()
    times: list[float] = []
    while len(times) < 3 or sum(times) < _SECONDS:
        begun = perf_counter()
        run()
        times.append(perf_counter() - begun)
    return min(times)


def _beyond_cache() -> int:
    """Return the bytes of an array that no cache holds, as far as the system says how large those are."""
    sizes = [path.read_text().strip() for path in Path(_CACHES).glob("index*/size")]
    last = max((int(size[:-1]) << 10 for size in sizes if size.endswith("K")), default=0)
    return min(max(2 * last, _LEAST), _MOST)
