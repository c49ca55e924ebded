"""Memory for kernels, and the two things done to whole arrays: copy and add."""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

from caffelite.kernels.engine import settings
from caffelite.kernels.engine.calls import Call, call
from caffelite.kernels.engine.compiling import kernel

#: Floats a task of these kernels works on: a few pages, so that two threads share a large array evenly.
CHUNK = 4096


#: Bytes from the beginning of an array to that of another one at least. LLVM's loops over vectors ask how far what they
#: write lies behind what they read; where that is less than a few vectors, a loop over single elements runs, whose sums
#: are others: tiny nets had other last digits from run to run, by where their arrays happened to lie.
_APART = 1024


def zeros(shape: Sequence[int] | int, dtype: DTypeLike = np.float32) -> np.ndarray:
    """Return an array of zeros that starts at a cache line (64 bytes), so that no vector load crosses two."""
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    raw = np.zeros(max(size, _APART) + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size].view(dtype).reshape(shape)


class Pool:
    """Memory that is handed out again and again: what it gave before holds nothing any more."""

    def __init__(self) -> None:
        self._memory = np.empty(0, np.uint8)

    def take(self, *shapes: Sequence[int], dtype: DTypeLike = np.float32) -> list[np.ndarray]:
        """Return arrays of these shapes, next to each other, with any values in them."""
        sizes = [int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize for shape in shapes]
        places = list(itertools.accumulate((-(-max(size, _APART) // 64) * 64 for size in sizes), initial=0))
        if len(self._memory) < places[-1]:
            # What was handed out before stays with its users, so the steps are large. Pages that nobody writes to are
            # no memory yet.
            self._memory = zeros(max(places[-1], 2 * len(self._memory)), np.uint8)
        return [
            self._memory[begin : begin + size].view(dtype).reshape(shape)
            for begin, size, shape in zip(places, sizes, shapes, strict=False)
        ]


_pool: ContextVar[Pool | None] = ContextVar("_pool", default=None)


@contextmanager
def sharing(pool: Pool) -> Iterator[None]:
    """Let all calls that are made inside ``with``, which never run at the same time, have one :func:`scratch`."""
    token = _pool.set(pool)
    try:
        yield
    finally:
        _pool.reset(token)


def scratch(*shapes: Sequence[int], dtype: DTypeLike = np.float32) -> list[np.ndarray]:
    """Return arrays that hold something only while one call runs, with any values in them before it."""
    return (_pool.get() or Pool()).take(*shapes, dtype=dtype)


@kernel
def _copy(begin, end, worker, source, target):
    """target = source, both flat."""
    for i in range(begin * CHUNK, min(end * CHUNK, len(source))):
        target[i] = source[i]


@kernel
def _accumulate(begin, end, worker, source, target):
    """target += source, both flat."""
    for i in range(begin * CHUNK, min(end * CHUNK, len(source))):
        target[i] += source[i]


@kernel
def _copy_rows(begin, end, worker, source, source_begin, source_pitch, target, target_begin, target_pitch, width):
    """A task is a row, or CHUNK elements of one."""
    pieces = (width + CHUNK - 1) // CHUNK
    for task in range(begin, end):
        row, first = task // pieces, task % pieces * CHUNK
        read, write = source_begin + row * source_pitch, target_begin + row * target_pitch
        for i in range(first, min(first + CHUNK, width)):
            target[write + i] = source[read + i]


def copy_rows(
    source: np.ndarray,
    source_rows: tuple[int, int],
    target: np.ndarray,
    target_rows: tuple[int, int],
    rows: int,
    width: int,
) -> Call:
    """Return the call that copies rows of ``width`` elements: (where the first begins, from one to the next)."""
    return call(
        _copy_rows,
        rows * -(-width // CHUNK),
        source.reshape(-1),
        *source_rows,
        target.reshape(-1),
        *target_rows,
        width,
        work=rows * width,
    )


def copy(source: np.ndarray, target: np.ndarray) -> Call:
    """Return the call that sets ``target`` to ``source``; same number of elements."""
    return call(_copy, -(-source.size // CHUNK), source.reshape(-1), target.reshape(-1), work=source.size)


def accumulate(source: np.ndarray, target: np.ndarray) -> Call:
    """Return the call that adds ``source`` to ``target``; same number of elements."""
    return call(_accumulate, -(-source.size // CHUNK), source.reshape(-1), target.reshape(-1), work=source.size)


@dataclass(frozen=True, slots=True)
class Shares:
    """How the blobs of a flat array are dealt out to the threads: in chunks, of each blob as layers deal it out.

    So a thread meets what it has in its own cache. Large blobs are cut into as many parts as there are threads, small
    ones, which layers work on alone, go to the first thread, until that has a quarter more than its share.

    Attributes
    ----------
    bounds : ndarray of int64
        Where each chunk begins, and the end of the last one; no chunk has parts of two blobs.
    blobs : list of int
        The blob each chunk is of.
    order : ndarray of int64
        Chunks, thread by thread.
    firsts : ndarray of int64
        Where in ``order`` the chunks of each thread begin, and the end.
    """

    bounds: np.ndarray
    blobs: list[int]
    order: np.ndarray
    firsts: np.ndarray

    @property
    def tasks(self) -> int:
        return len(self.firsts) - 1


#: Floats of a blob from which on another thread takes a part of it, and those that are dealt out as one: layers cut the
#: same blobs by rows, and what one thread has written another one reads at a tenth of the speed.
_PART, _PIECE = 4096, 512


def shares(sizes: Sequence[int]) -> Shares:
    """Deal blobs of these sizes, one after the other in a flat array, out to the threads."""
    threads = settings.threads()
    most = 1.25 * sum(sizes) / threads
    loads, mine = [0] * threads, [list[int]() for _ in range(threads)]
    bounds, blobs = [0], list[int]()
    for blob, size in enumerate(sizes):
        begin = bounds[-1]
        parts = min(max(size // _PART, 1), threads)
        for start in range(0, size, _PIECE):
            length = min(_PIECE, size - start)
            thread = start * parts // size
            if loads[thread] + length > most:
                thread = loads.index(min(loads))
            loads[thread] += length
            mine[thread].append(len(blobs))
            blobs.append(blob)
            bounds.append(begin + start + length)
    counts = [0, *(len(chunks) for chunks in mine)]
    order = np.array([chunk for chunks in mine for chunk in chunks], np.int64)
    return Shares(np.array(bounds, np.int64), blobs, order, np.cumsum(counts, dtype=np.int64))


@kernel
def _clear(begin, end, worker, target, bounds, order, firsts):
    """target = 0; a task is what a thread has of it."""
    for chunk in order[firsts[begin] : firsts[end]]:
        target[bounds[chunk] : bounds[chunk + 1]] = 0


def clear(target: np.ndarray, dealt: Shares) -> Call:
    """Return the call that sets ``target`` to zero."""
    return call(_clear, dealt.tasks, target, dealt.bounds, dealt.order, dealt.firsts, work=target.size)
