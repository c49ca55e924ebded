"""Writing images and labels as the databases and mean files that Caffe's own tools would make of them."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from caffelite.data.writing import write_database
from caffelite.datasets.originals import Chunk
from caffelite.schema.blobs import write_blob
from caffelite.schema.messages import Datum


def write_images(path: Path, chunks: Iterable[Chunk], digits: int, mean: Path | None = None) -> int:
    """Write an LMDB of Datum records, in the order of the images.

    Parameters
    ----------
    path : Path
    chunks : iterable of (images, labels)
    digits : int
        Length of the keys: the image's number, with leading zeros.
    mean : Path, optional
        The mean image is written here.

    Returns
    -------
    int
        The number of images.
    """
    total = _Total()
    count = write_database(path, _records(total.watch(chunks) if mean else chunks, digits))
    if mean:
        write_blob(mean, total.mean())
    return count


def _records(chunks: Iterable[Chunk], digits: int) -> Iterator[tuple[bytes, bytes]]:
    number = 0
    for images, labels in chunks:
        _, channels, height, width = images.shape
        datum = Datum(channels=channels, height=height, width=width)
        for image, label in zip(images, labels.tolist(), strict=True):
            datum.data, datum.label = image.tobytes(), label
            yield b"%0*d" % (digits, number), datum.SerializeToString()
            number += 1


class _Total:
    """The sum of all images that pass by."""

    def __init__(self) -> None:
        self.sum: np.ndarray | None = None
        self.count = 0

    def watch(self, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        for images, labels in chunks:
            added = images.sum(axis=0, dtype=np.int64)
            self.sum = added if self.sum is None else self.sum + added
            self.count += len(images)
            yield images, labels

    def mean(self) -> np.ndarray:
        """Return the mean as ``compute_image_mean`` has it: the quotient of two float32 numbers."""
        assert self.sum is not None
        return (self.sum.astype(np.float32) / np.float32(self.count))[None]
