"""Batches made ahead on a thread of their own."""

import os
import queue
import threading
from time import perf_counter
from typing import Any, Protocol

import numpy as np

from caffelite.data.share import Share
from caffelite.errors import DataError
from caffelite.words import Shape, count

#: Bytes of batches that are made ahead, where more than one fits.
_AHEAD = 16 << 20

#: Small batches are made several at a time, up to so many bytes and batches: handing one from thread to thread, and the
#: Python around it, takes a fifth of a step of a small net.
_TOGETHER, _MOST_TOGETHER = 1 << 20, 8


class Batches(Protocol):
    """Memory for batches that follow one another.

    Attributes
    ----------
    label : ndarray of float32
        Of all batches, one after the other.
    position : int
        The number in the run of the record that the first batch of all processes begins with.
    """

    label: np.ndarray
    position: int

    def fill(self, position: int) -> None:
        """Fill it with the own records of the batches from ``position`` of the run on."""

    def hand_out(self, first: int, data: np.ndarray) -> None:
        """Set ``data`` to the images of a batch, that which begins with the record of this number among them."""


class Stream(Protocol):
    """Records as batches, one after the other, without end.

    What a batch holds is a function of its position and a seed alone, so that a run can be taken up anywhere.

    Attributes
    ----------
    share : Share
        Of the batches.
    epoch_size : int
        How many records there are.
    batch_shape : tuple of int
        Of the images of a batch.
    """

    share: Share
    epoch_size: int

    @property
    def batch_shape(self) -> Shape: ...

    def batches(self, number: int) -> Batches:
        """Return memory for batches."""

    def sample(self) -> bytes:
        """Return some of the source, which is read fast: it stands for all where processes compare what they read."""

    def close(self) -> None:
        """Give back files that are open."""


class Prefetcher:
    """A thread that fills batches ahead of their use.

    Parameters
    ----------
    stream : Stream
    depth : int
        How many batches it may be ahead; large ones fewer, since one is enough
        not to wait: it is filled again once it has been handed out.

    Attributes
    ----------
    position : int
        Number of the record that the next batch of all processes begins with.
    waited : float
        Seconds spent waiting for a batch.
    """

    def __init__(self, stream: Stream, depth: int) -> None:
        self.stream = stream
        self.position = 0
        self.waited = 0.0
        size = 4 * count(stream.batch_shape)
        self._together = min(max(_TOGETHER // size, 1), _MOST_TOGETHER)
        # Of small batches there is one lot to be filled while another is used.
        depth = max(depth // self._together, 2) if self._together > 1 else depth
        self._depth = min(max(_AHEAD // size, 1), depth)
        self._lot: Batches | None = None
        self._thread: threading.Thread | None = None
        self._process = 0
        self._free: queue.SimpleQueue[Batches | None] = queue.SimpleQueue()
        self._full: queue.SimpleQueue[Batches | BaseException] = queue.SimpleQueue()

    def next(self, data: np.ndarray, label: np.ndarray | None) -> None:
        """Set ``data`` and ``label`` to the next batch; errors of the thread come out here."""
        # A thread does not come along into a process that fork makes.
        if self._thread is None or self._process != os.getpid():
            self._start()
        try:
            lot = self._lot = self._lot or self._next()
            share = self.stream.share
            first = (self.position - lot.position) // share.stride * share.count
            end = first + share.count
            lot.hand_out(first, data)
            if label is not None:
                np.copyto(label, lot.label[first:end])
            self.position += share.stride
            if end == len(lot.label):
                self._lot = None
                self._free.put(lot)
        except BaseException:
            # Where Ctrl-C came between two of these lines, the lot is neither here nor with the thread.
            self.close()
            raise

    def _next(self) -> Batches:
        try:
            lot = self._full.get_nowait()
        except queue.Empty:
            start = perf_counter()
            lot = self._full.get()
            self.waited += perf_counter() - start
        if isinstance(lot, BaseException):
            raise lot
        return lot

    def seek(self, position: int) -> None:
        """Go on from another record."""
        self.close()
        self.position = position

    def _start(self) -> None:
        # A thread that was told to stop may be filling its last lot yet: each has queues and memory of its own.
        self._free, self._full = queue.SimpleQueue(), queue.SimpleQueue()
        self._lot = None
        for _ in range(self._depth):
            self._free.put(self.stream.batches(self._together))
        arguments = (self.position, self._free, self._full)
        thread = threading.Thread(target=self._run, args=arguments, name="caffelite-prefetch", daemon=True)
        thread.start()
        self._process, self._thread = os.getpid(), thread

    def _run(self, position: int, free: Any, full: Any) -> None:
        try:
            while (lot := free.get()) is not None:
                try:
                    lot.fill(position)
                except DataError:
                    # The batches before the record that cannot be used are there all the same.
                    for _ in range(self._together):
                        lot = self.stream.batches(1)
                        lot.fill(position)
                        full.put(lot)
                        position += self.stream.share.stride
                    raise
                position += self._together * self.stream.share.stride
                full.put(lot)
        except BaseException as error:  # noqa: BLE001 - handed to the thread that uses the data
            full.put(error)

    def close(self) -> None:
        """Stop the thread."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._free.put(None)
            thread.join()
