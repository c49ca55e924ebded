"""What the layers have in common whose batches are made ahead on a thread."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np

from caffelite.data.prefetch import Prefetcher, Stream
from caffelite.data.share import Share
from caffelite.errors import DataError, MissingExtraError
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.shared.labels import images_and_labels
from caffelite.schema.blobs import LARGEST_BLOB
from caffelite.words import Shape, text_of


class Streamed(Layer, ABC):
    """Batches of images (first top) and labels (second top) from a stream, made ahead on a thread.

    Attributes
    ----------
    epoch_size : int
        Records in the source.
    share : Share
        What this process has of the batches.
    waited_seconds : float
        How long the net has waited for data.
    """

    facts = Facts(bottoms=0, source=True)
    share: Share

    def start(self, batch_size: int, rand_skip: int = 0) -> None:
        """Check the size of a batch and choose the record to begin with; for ``setup``."""
        if batch_size < 1:
            self.error(f"batch_size is {batch_size}, expected 1 or more", "batch_size")
        self.share = self.share_of(batch_size, "batch_size")
        self.epoch_size = 0
        self._stream: Stream | None = None
        self._prefetcher: Prefetcher | None = None
        skip = int(np.random.default_rng(self.seed).integers(rand_skip)) if rand_skip else 0
        #: The number of the record that the next batch begins with.
        self.state["position"] = np.full(1, skip, np.int64)

    def check_size(self, height: int, width: int, setting: str) -> None:
        """Refuse images, three channels each, of which a batch would be too large; before memory is taken for one."""
        if 3 * self.share.count * height * width > LARGEST_BLOB:
            self.shape_error(
                f"{self.share.count} images of {text_of((3, height, width))} are more values than a blob can have "
                f"({LARGEST_BLOB})",
                setting,
            )

    @abstractmethod
    def open(self) -> Stream:
        """Return the stream."""

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        return [self._opened().batch_shape, (self.share.count,)][: len(self.param.top)]

    def shapes_beside(self, given: Mapping[int, Shape]) -> list[Shape | None]:
        return images_and_labels(given, len(self.param.top))

    def _opened(self) -> Stream:
        if self._stream is None:
            try:
                self._stream = self.open()
            except (DataError, MissingExtraError) as error:
                raise self._placed(error) from None
            self.epoch_size = self._stream.epoch_size
        return self._stream

    def sample(self) -> bytes:
        """Return some of the source, which is read fast: it stands for all where processes compare what they read."""
        return self._opened().sample()

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
            # Its thread and its memory come with the first batch: a net that is only looked at needs neither.
            if self._prefetcher is None:
                self._prefetcher = Prefetcher(self._opened(), max(self.param.data_param.prefetch, 1))
            prefetcher = self._prefetcher
            # A run that is taken up again has set another position.
            if prefetcher.position != position[0]:
                prefetcher.seek(int(position[0]))
            try:
                prefetcher.next(data, labels)
            except (DataError, MissingExtraError) as error:
                raise self._placed(error) from None
            position[0] = prefetcher.position

        return [load]

    def close(self) -> None:
        if self._prefetcher is not None:
            self._prefetcher.close()
            self._prefetcher = None
        if self._stream is not None:
            self._stream.close()
            self._stream = None
