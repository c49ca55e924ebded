"""Random numbers that are a function of a seed and a counter, without a state that runs on.

So the draw for a record is the same whether a run came to it in one go or was resumed just before it.
"""

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def draws(seed: int, first: int, count: int, streams: int = 1) -> np.ndarray:
    """Return random bits for the counters ``first`` to ``first + count - 1``.

    Parameters
    ----------
    seed : int
        Any integer.
    first, count : int
    streams : int
        Independent draws for each counter.

    Returns
    -------
    (count, streams) uint64

    Notes
    -----
    SplitMix64: G. L. Steele, D. Lea, C. H. Flood, "Fast splittable pseudorandom number generators", 2014.
    """
    counters = np.arange(first * streams, (first + count) * streams, dtype=np.uint64)
    origin = _mix(np.array([seed & 0xFFFFFFFFFFFFFFFF], np.uint64) + _GOLDEN)
    return _mix(origin + (counters + np.uint64(1)) * _GOLDEN).reshape(count, streams)


def _mix(z: np.ndarray) -> np.ndarray:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def below(bits: np.ndarray, limit: int) -> np.ndarray:
    """Turn random bits into integers (int64) from 0 to ``limit - 1``; ``limit`` is at most 2³²."""
    return ((bits >> np.uint64(32)) * np.uint64(limit) >> np.uint64(32)).astype(np.int64)


def uniform(bits: np.ndarray, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """Turn random bits into float32 numbers from ``low`` to ``high``."""
    unit = (bits >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)
    return np.float32(low) + unit * np.float32(high - low)
