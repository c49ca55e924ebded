"""The records of a database as batches: decoded, transformed, in the order of their keys."""

from collections.abc import Callable

import numpy as np
from google.protobuf.message import DecodeError

from caffelite.data.database import Database
from caffelite.data.images import decode_image
from caffelite.data.share import Share
from caffelite.data.transform import Transformer
from caffelite.errors import DataError
from caffelite.kernels import transform as kernels
from caffelite.kernels.engine import arrays
from caffelite.kernels.engine.calls import Call
from caffelite.schema.messages import Datum, TransformationParameter
from caffelite.words import Shape, text_of


def decode(record: bytes, what: str = "the record", color: bool | None = None) -> tuple[np.ndarray, int]:
    """Return the image of a Datum, channels x height x width, uint8 or float32, and its label.

    Encoded images (PNG, JPEG) are decoded to blue, green, red, as Caffe's OpenCV does.

    Raises
    ------
    DataError
        The record is no Datum, or its values do not fill its shape.
    MissingExtraError
        An encoded image, and Pillow is not installed.
    """
    datum = Datum()
    try:
        datum.ParseFromString(record)
    except DecodeError:
        raise DataError(f"{what} is not a Datum") from None
    if datum.encoded:
        return decode_image(datum.data, what, color), datum.label
    shape = (datum.channels, datum.height, datum.width)
    values = np.frombuffer(datum.data, np.uint8) if datum.data else np.array(datum.float_data, np.float32)
    if min(shape) < 1 or values.size != int(np.prod(shape, dtype=object)):
        raise DataError(f"{what} has {values.size} values for the shape {text_of(shape)}")
    return values.reshape(shape), datum.label


class RecordBatches:
    """Batches of records, one after the other: pixels in memory, which become a net's when one is handed out."""

    def __init__(self, stream: "RecordStream", number: int) -> None:
        n, shape = number * stream.share.count, stream.shape
        self.label = arrays.zeros(n)
        self.position = 0
        self._batches = number
        self._addresses, self._lengths = np.zeros(n, np.int64), np.zeros(n, np.int64)
        self._buffer = np.empty(0, np.uint8)
        self._pixels, self._status = np.zeros(n, np.int64), np.zeros(n, np.int64)
        self._staged = arrays.zeros((n, *shape), np.uint8 if stream.kind == "uint8" else np.float32)
        self._stream = stream
        self._parse = kernels.parse(self._addresses, self._lengths, shape, self._pixels, self.label, self._status)

    def hand_out(self, first: int, data: np.ndarray) -> None:
        self._stream.transform(self._pixels[first : first + len(data)], int(self._numbers[first]), data)

    def fill(self, position: int) -> None:
        stream = self._stream
        self.position, self._numbers = position, stream.share.numbers(position, self._batches)
        self._buffer = stream.database.load(self._numbers, self._addresses, self._lengths, self._buffer)
        if stream.in_place:
            self._parse()
            if self._status.any():
                bad = int(np.flatnonzero(self._status)[0])
                self._explain(int(self._numbers[bad]), int(self._status[bad]))
        else:
            places = self._addresses - self._buffer.ctypes.data
            for i, (place, length) in enumerate(zip(places.tolist(), self._lengths.tolist(), strict=True)):
                what = stream.name(int(self._numbers[i]))
                image, label = decode(self._buffer[place : place + length].tobytes(), what, stream.color)
                if image.shape != stream.shape:
                    raise DataError(f"{what} has shape {text_of(image.shape)}, the first {text_of(stream.shape)}")
                self._staged[i] = image
                self.label[i] = label
            size = self._staged[0].nbytes
            self._pixels[:] = self._staged.ctypes.data + size * np.arange(len(self.label))

    def _explain(self, position: int, status: int) -> None:
        what = self._stream.name(position)
        if status == kernels.BROKEN:
            raise DataError(f"{what} is not a Datum, or cut off")
        image, _ = decode(self._stream.database.read(position), what)
        raise DataError(
            f"{what} has shape {text_of(image.shape)} ({image.dtype}), the first {text_of(self._stream.shape)} (uint8)"
        )


class RecordStream:
    """The records of a database as batches, in the order of their keys.

    Parameters
    ----------
    database : Database
    share : Share
        Of the batches.
    param : TransformationParameter
    phase, seed : int
    where : callable
        ``where(setting)`` gives the place for errors.

    Attributes
    ----------
    shape : (int, int, int)
        Channels, height and width of the records.
    """

    def __init__(
        self,
        database: Database,
        share: Share,
        param: TransformationParameter,
        phase: int,
        seed: int,
        where: Callable[[str], str],
    ) -> None:
        self.database, self.share, self.seed = database, share, seed
        self.epoch_size = len(database)
        self.color = True if param.force_color else False if param.force_gray else None
        image, _ = decode(database.read(0), self.name(0), self.color)
        self.shape: tuple[int, int, int] = image.shape
        datum = Datum.FromString(database.read(0))
        self.kind = "float32" if image.dtype == np.float32 else "uint8"
        self.in_place = self.kind == "uint8" and not datum.encoded
        self.transformer = Transformer(param, self.shape, phase, where)
        self._pixels, self._first = np.zeros(share.count, np.int64), np.zeros(1, np.int64)
        self._out = np.zeros(0, np.float32)
        self._transform: Call | None = None

    def transform(self, pixels: np.ndarray, position: int, out: np.ndarray) -> None:
        """Make a batch of images from their pixels, on all threads.

        Parameters
        ----------
        pixels : ndarray of int64, [images]
            Where they lie in memory.
        position : int
            Number of the first one in the run.
        out : ndarray of float32, images x channels x height x width
            The same one each time is fastest.
        """
        if self._transform is None or self._out is not out:
            t, self._out = self.transformer, out
            self._transform = kernels.transform(
                self.kind, self._pixels, t.mean, out, t.scale, t.random_crop, t.mirror, self.seed, self._first
            )
        self._pixels[:], self._first[0] = pixels, position
        self._transform()

    def name(self, position: int) -> str:
        """Return what a record is called in errors."""
        return f"{self.database.path}: record {position % len(self.database)}"

    @property
    def batch_shape(self) -> Shape:
        return (self.share.count, self.shape[0], *self.transformer.size)

    def batches(self, number: int) -> RecordBatches:
        return RecordBatches(self, number)

    def sample(self) -> bytes:
        return self.database.read(0) + self.database.read(self.epoch_size - 1)

    def close(self) -> None:
        self.database.close()
