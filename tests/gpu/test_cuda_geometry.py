"""How tensors are divided among blocks and threads: plain Python, no GPU."""

import numpy as np
import pytest

from caffelite.kernels.cuda.geometry import THREADS, Division, divide, width_of

SIZES = [
    (1, 1, 1),
    (1, 1, 100_003),
    (8, 64, 3136),
    (20, 32, 256),
    (7, 3, 4),
    (60, 100, 1),
    (3, 4096, 49),
    (2, 5, 1000),
    (128, 1, 1),
    (1, 4096, 1),
]


def visits(division: Division, images: int, channels: int, vectors: int) -> np.ndarray:
    """Follow every thread, as the kernels do; return how often each vector is visited."""
    seen = np.zeros(images * channels * vectors, np.int64)
    of, row, count, per, hop, far, wrap = division.walk
    assert (of, row, count) == (channels, vectors, images * vectors)
    for c in range(channels):
        for split in range(division.splits):
            end = min(split * per + per, count)
            start = np.arange(split * per, min(split * per + division.down, end))
            o, v = (start // row * of + c) * row + start % row, start % row
            for step in range(-(-(end - split * per) // division.down)):
                here = start + step * division.down < end
                seen[o[here]] += 1
                v, o = v + hop, o + far
                o, v = np.where(v >= row, o + wrap, o), np.where(v >= row, v - row, v)
    return seen


@pytest.mark.parametrize("size", [s for s in SIZES if s[1] < 200], ids=str)
def test_every_vector_is_visited_once(size: tuple[int, int, int]) -> None:
    images, channels, length = size
    for width in (1, 4):
        if length % width == 0:
            division = divide(images, channels, length, width, 132)
            assert (visits(division, images, channels, length // width) == 1).all()


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_blocks_are_powers_of_two_and_cover_all(size: tuple[int, int, int]) -> None:
    division = divide(*size, 1, 132)
    threads = division.across * division.down
    assert 32 <= threads <= THREADS
    assert division.across & (division.across - 1) == division.down & (division.down - 1) == 0
    assert division.tiles * division.across >= size[1] > (division.tiles - 1) * division.across
    assert division.splits * division.walk[3] >= division.walk[2] > (division.splits - 1) * division.walk[3]


def test_few_channels_fill_the_card() -> None:
    for size in ((64, 64, 112 * 112), (1, 1, 1_000_000), (64, 256, 56 * 56)):
        division = divide(*size, 4, 132)
        assert division.tiles * division.splits >= 132
    assert divide(64, 2048, 49, 1, 132).splits == 1


def test_width_follows_length_and_addresses() -> None:
    assert width_of(64, 4, (1024, 2048)) == 4
    assert width_of(64, 4, (1024, 2056)) == 2
    assert width_of(49, 4, (1024,)) == 1
    assert width_of(64, 2, (1024,)) == 8
    assert width_of(196, 2, (1024,)) == 4
