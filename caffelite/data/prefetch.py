"""Batches made ahead of their use, on a thread."""

import threading
from queue import Empty, SimpleQueue
from time import perf_counter

import numpy as np

from caffelite.data.stream import RecordStream

Batch = tuple[np.ndarray, np.ndarray]


class Prefetcher:
    """Fills batches ahead on a thread of its own.

    The thread starts with the first :meth:`next` and spends its time in kernels without the GIL. Its arrays
    are made once and go round. What a snapshot needs to go on bit for bit is :attr:`position` alone.

    Parameters
    ----------
    stream : RecordStream
    depth : int
        Batches made ahead at most (``data_param.prefetch``).
    position : int
        Number of the first record.

    Attributes
    ----------
    waited_seconds : float
        How long :meth:`next` waited for data; the start is in it.
    """

    def __init__(self, stream: RecordStream, depth: int = 4, position: int = 0) -> None:
        self.stream = stream
        self.waited_seconds = 0.0
        self._position = position
        # One more than are made ahead: the one that is in use.
        self._buffers: list[Batch] = [
            (np.zeros(stream.data_shape, np.float32), np.zeros(stream.label_shape, np.float32))
            for _ in range(max(depth, 1) + 1)
        ]
        self._fills = [stream.bind(*buffer) for buffer in self._buffers]
        self._thread: threading.Thread | None = None
        self._free: SimpleQueue[int | None] = SimpleQueue()
        self._full: SimpleQueue[int | Exception] = SimpleQueue()
        self._in_use: int | None = None

    @property
    def position(self) -> int:
        """The number of records given out so far, counted through all rounds of the database."""
        return self._position

    def seek(self, position: int) -> None:
        """Go on from a record number; what was made ahead is dropped."""
        self.close()
        self._position = position

    def next(self) -> Batch:
        """Return data (N, C, h, w) and labels (N,), float32; they stay as they are until the next call.

        Raises
        ------
        Error
            What went wrong on the thread; it starts again at the same record with the next call.
        """
        if self._thread is None:
            self._start()
        if self._in_use is not None:
            self._free.put(self._in_use)
            self._in_use = None
        try:
            made = self._full.get_nowait()
        except Empty:
            begun = perf_counter()
            made = self._full.get()
            self.waited_seconds += perf_counter() - begun
        if isinstance(made, Exception):
            self.close()
            raise made
        self._in_use = made
        self._position += self.stream.batch_size
        return self._buffers[made]

    def _start(self) -> None:
        # Queues of its own for each thread: nothing of an earlier one can get into them.
        self._free, self._full = SimpleQueue(), SimpleQueue()
        for number in range(len(self._buffers)):
            self._free.put(number)
        self._thread = threading.Thread(
            target=self._work, args=(self._position, self._free, self._full), name="prefetch", daemon=True
        )
        self._thread.start()

    def _work(self, position: int, free: SimpleQueue[int | None], full: SimpleQueue[int | Exception]) -> None:
        while (number := free.get()) is not None:
            try:
                self._fills[number](position)
            except Exception as error:  # raised again where the batch is asked for
                full.put(error)
                return
            full.put(number)
            position += self.stream.batch_size

    def close(self) -> None:
        """Stop the thread; :meth:`next` starts it again."""
        if self._thread is not None:
            # It ends with the first free buffer it looks for after the ones that are free now.
            while True:
                try:
                    self._free.get_nowait()
                except Empty:
                    break
            self._free.put(None)
            self._thread.join()
            self._thread = None
            self._in_use = None
