"""Data: images and labels from a database."""

from collections.abc import Sequence

import numpy as np

from caffelite.data.database import Database, open_database
from caffelite.data.stream import Prefetcher, RecordStream
from caffelite.errors import DataError
from caffelite.layers.base import Blob, Layer, Shape, Step, layer

_LMDB = 1


@layer("Data")
class Data(Layer):
    """Batches of images (first top) and labels (second top) from an LMDB of Datum records, in order, in a circle.

    ``data_param``: ``source``, ``batch_size``, ``backend`` (LMDB), ``prefetch`` (batches made ahead, 4),
    ``rand_skip`` (begin up to that many records in, at random). ``transform_param``: see Transformer.

    Attributes
    ----------
    epoch_size : int
        Records in the source.
    waited : float
        Seconds the net has waited for data.
    """

    bottoms = 0
    tops = (1, 2)
    source = True

    def setup(self) -> None:
        self.settings = self.param.data_param
        self._prefetcher: Prefetcher | None = None
        self._database: Database | None = None
        if not self.settings.source:
            self.error("data_param needs a source", "source")
        if self.settings.batch_size < 1:
            self.error(f"batch_size is {self.settings.batch_size}, expected at least 1", "batch_size")
        self.batch_size: int = self.settings.batch_size
        skip = 0
        if self.settings.rand_skip:
            skip = int(np.random.default_rng(self.seed).integers(self.settings.rand_skip))
        self.state["position"] = np.full(1, skip, np.int64)

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        if self._database is None:
            self._open()
        size = self._stream.transformer.size
        shapes = [(self.batch_size, self._stream.shape[0], *size), (self.batch_size,)]
        return shapes[: len(self.param.top)]

    def _open(self) -> None:
        try:
            self._database = open_database(self.settings.source)
            self._stream = RecordStream(self._database, self.batch_size, self.param.transform_param,
                                        self.context.phase, self.seed & 0x7FFFFFFF, self.where)  # fmt: skip
        except DataError as error:
            if str(error).startswith(self.place().split(":")[0] + ":"):
                raise
            raise DataError(f"{self.where('source')}: {error}") from None
        self.epoch_size = len(self._database)

    @property
    def waited(self) -> float:
        return self._prefetcher.waited if self._prefetcher is not None else 0.0

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        position = self.state["position"]
        data, label = tops[0].data, tops[1].data if len(tops) > 1 else None

        def load() -> None:
            if self._prefetcher is None:
                # Its thread and its memory come with the first batch.
                self._prefetcher = Prefetcher(self._stream, max(self.settings.prefetch, 1))
            if self._prefetcher.position != position[0]:
                self._prefetcher.seek(int(position[0]))
            self._prefetcher.next(data, label)
            position[0] = self._prefetcher.position

        return [load]

    def close(self) -> None:
        if self._prefetcher is not None:
            self._prefetcher.close()
            self._prefetcher = None
        if self._database is not None:
            self._database.close()
            self._database = None
