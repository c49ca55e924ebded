"""Batches made ahead on a thread of their own."""

import os
import queue
import threading
from time import perf_counter
from typing import Any, Protocol

import numpy as np

from caffelite.words import Shape, count

#: Bytes of batches that are made ahead, where more than one fits.
_AHEAD = 16 << 20


class Batch(Protocol):
    """Memory for one batch.

    Attributes
    ----------
    data, label : ndarray of float32
    position : int
        The number in the run of its first record.
    """

    data: np.ndarray
    label: np.ndarray
    position: int

    def fill(self, position: int) -> None:
        """Fill it with the records from ``position`` of the run on."""


class Stream(Protocol):
    """Records as batches, one after the other, without end.

    What a batch holds is a function of its position and a seed alone, so that a run can be taken up anywhere.

    Attributes
    ----------
    batch_size : int
    epoch_size : int
        How many records there are.
    batch_shape : tuple of int
        Of the images of a batch.
    """

    batch_size: int
    epoch_size: int

    @property
    def batch_shape(self) -> Shape: ...

    def batch(self) -> Batch:
        """Return memory for a batch."""

    def close(self) -> None:
        """Give back files that are open."""


class Prefetcher:
    """A thread that fills batches ahead of their use.

    Parameters
    ----------
    stream : Stream
    depth : int
        How many batches it may be ahead; large ones fewer, since one is enough
        not to wait: it is copied when it is handed out, and filled again meanwhile.

    Attributes
    ----------
    position : int
        Number of the next record to be handed out.
    waited : float
        Seconds spent waiting for a batch.
    """

    def __init__(self, stream: Stream, depth: int) -> None:
        self.stream = stream
        self.position = 0
        self.waited = 0.0
        self._depth = min(max(_AHEAD // (4 * count(stream.batch_shape)), 1), depth)
        self._thread: threading.Thread | None = None
        self._process = 0
        self._free: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._full: queue.SimpleQueue[Batch | BaseException] = queue.SimpleQueue()

    def next(self, data: np.ndarray, label: np.ndarray | None) -> None:
        """Copy the next batch into ``data`` and ``label``; errors of the thread come out here."""
        # A thread does not come along into a process that fork makes.
        if self._thread is None or self._process != os.getpid():
            self._start()
        try:
            batch = self._next()
            np.copyto(data, batch.data)
            if label is not None:
                np.copyto(label, batch.label)
            self.position = batch.position + self.stream.batch_size
            self._free.put(batch)
        except BaseException:
            # Where Ctrl-C came between two of these lines, the batch is neither here nor with the thread.
            self.close()
            raise

    def _next(self) -> Batch:
        try:
            batch = self._full.get_nowait()
        except queue.Empty:
            start = perf_counter()
            batch = self._full.get()
            self.waited += perf_counter() - start
        if isinstance(batch, BaseException):
            raise batch
        return batch

    def seek(self, position: int) -> None:
        """Go on from another record."""
        self.close()
        self.position = position

    def _start(self) -> None:
        # A thread that was told to stop may be filling its last batch yet: each has queues and batches of its own.
        self._free, self._full = queue.SimpleQueue(), queue.SimpleQueue()
        for _ in range(self._depth):
            self._free.put(self.stream.batch())
        arguments = (self.position, self._free, self._full)
        thread = threading.Thread(target=self._run, args=arguments, name="caffelite-prefetch", daemon=True)
        thread.start()
        self._process, self._thread = os.getpid(), thread

    def _run(self, position: int, free: Any, full: Any) -> None:
        try:
            while (batch := free.get()) is not None:
                batch.fill(position)
                position += self.stream.batch_size
                full.put(batch)
        except BaseException as error:  # noqa: BLE001 - handed to the thread that uses the data
            full.put(error)

    def close(self) -> None:
        """Stop the thread."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._free.put(None)
            thread.join()
