"""Data: images and labels from a database."""

from collections.abc import Sequence

import numpy as np

from caffelite.data.database import open_database
from caffelite.data.stream import Prefetcher, RecordStream
from caffelite.errors import DataError, MissingExtraError
from caffelite.layers.base import Blob, Layer, Shape, Step, layer


@layer("Data")
class Data(Layer):
    """Batches of images (first top) and labels (second top) from an LMDB of Datum records, round and round.

    ``data_param``: ``source``, ``batch_size``, ``backend`` (LMDB), ``prefetch`` (batches made ahead, 4),
    ``rand_skip`` (begin up to that many records in, at random). ``transform_param``: ``mean_file`` or
    ``mean_value``, ``scale``, ``crop_size``, ``mirror``: see :class:`caffelite.data.transform.Transformer`.

    What people get wrong: ``source`` and ``mean_file`` are looked for from the current folder, not from that
    of the prototxt; a test goes on where the last one stopped, so ``test_iter`` times ``batch_size`` should
    be the number of records; records come in the order of their keys, never shuffled.

    Source: Caffe's ``data_layer.cpp``.

    Attributes
    ----------
    epoch_size : int
        Records in the source.
    batch_size : int
    waited_seconds : float
        How long the net has waited for data.
    """

    bottoms = 0
    tops = (1, 2)
    source = True

    def setup(self) -> None:
        self.settings = self.param.data_param
        self._stream: RecordStream | None = None
        self._prefetcher: Prefetcher | None = None
        if not self.settings.source:
            self.error("data_param has no source, the folder of an LMDB", "data_param")
        if self.settings.batch_size < 1:
            self.error(f"batch_size is {self.settings.batch_size}, expected 1 or more", "batch_size")
        self.batch_size: int = self.settings.batch_size
        self.epoch_size = 0
        skip = 0
        if self.settings.rand_skip:
            skip = int(np.random.default_rng(self.seed).integers(self.settings.rand_skip))
        #: The number of the record that the next batch begins with.
        self.state["position"] = np.full(1, skip, np.int64)

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        if self._stream is None:
            self._stream = self._open()
        image = (self._stream.shape[0], *self._stream.transformer.size)
        return [(self.batch_size, *image), (self.batch_size,)][: len(self.param.top)]

    def _open(self) -> RecordStream:
        try:
            database = open_database(self.settings.source)
            self.epoch_size = len(database)
            try:
                return RecordStream(
                    database,
                    self.batch_size,
                    self.param.transform_param,
                    self.context.phase,
                    self.seed & 0x7FFFFFFF,
                    self.where,
                )
            except BaseException:
                database.close()
                raise
        except (DataError, MissingExtraError) as error:
            raise self._placed(error) from None

    def _placed(self, error: DataError | MissingExtraError) -> DataError | MissingExtraError:
        """Return an error that names this layer; those about its settings do so already."""
        if f'layer "{self.name}": ' in str(error):
            return error
        return type(error)(f"{self.where('source')}: {error}")

    @property
    def waited_seconds(self) -> float:
        return 0.0 if self._prefetcher is None else self._prefetcher.waited

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        position = self.state["position"]
        data, labels = tops[0].data, tops[1].data if len(tops) > 1 else None

        def load() -> None:
            prefetcher = self._prefetcher or self._start()
            # A run that is taken up again has set another position.
            if prefetcher.position != position[0]:
                prefetcher.seek(int(position[0]))
            try:
                prefetcher.next(data, labels)
            except (DataError, MissingExtraError) as error:
                raise self._placed(error) from None
            position[0] = prefetcher.position

        return [load]

    def _start(self) -> Prefetcher:
        # Its thread and its memory come with the first batch: a net that is only looked at needs neither.
        self._stream = self._stream or self._open()
        self._prefetcher = Prefetcher(self._stream, max(self.settings.prefetch, 1))
        return self._prefetcher

    def close(self) -> None:
        if self._prefetcher is not None:
            self._prefetcher.close()
            self._prefetcher = None
        if self._stream is not None:
            self._stream.database.close()
            self._stream = None
