"""Batches of a database as a Data layer gives them out."""

from collections.abc import Callable

import numpy as np

from caffelite.data.records import RecordReader
from caffelite.data.transform import Transformer


class RecordStream:
    """The records of a database, one batch after another, transformed.

    Record number n of a run is record n modulo the size of the database, and what is drawn at random for it is a
    function of the transformer's seed and n: a batch is determined by the number of its first record alone. As in
    Caffe 1.0, ``rand_skip`` does nothing.

    Parameters
    ----------
    reader : RecordReader
    transformer : Transformer
        For the shape of the reader.
    batch_size : int

    Attributes
    ----------
    data_shape, label_shape : tuple of int
        Of a batch: (N, C, h, w) and (N,).
    """

    def __init__(self, reader: RecordReader, transformer: Transformer, batch_size: int) -> None:
        self.reader, self.transformer, self.batch_size = reader, transformer, batch_size
        self.data_shape = (batch_size, *transformer.output_shape)
        self.label_shape = (batch_size,)
        self._stored = np.zeros((batch_size, *reader.shape), reader.dtype)

    def __len__(self) -> int:
        """Return the number of records in the database."""
        return len(self.reader.database)

    def bind(self, data: np.ndarray, labels: np.ndarray) -> Callable[[int], None]:
        """Return the function that writes the batch that begins with a record number.

        Functions of one stream share memory: they are called from one thread at a time.

        Parameters
        ----------
        data : (N, C, h, w) float32
        labels : (N,) float32
        """
        read = self.reader.bind(self._stored, labels)
        transform = self.transformer.bind(self._stored, data)

        def fill(first: int) -> None:
            read(first)
            transform(first)

        return fill

    def fill(self, first: int, data: np.ndarray, labels: np.ndarray) -> None:
        """Write one batch; where many go to the same arrays, :meth:`bind` once is faster."""
        self.bind(data, labels)(first)

    def close(self) -> None:
        """Close the database."""
        self.reader.database.close()
