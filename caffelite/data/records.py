"""Datum records: what one holds, and batches of them."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from caffelite.data.lmdb_file import Database
from caffelite.errors import DataError, MissingExtraError
from caffelite.kernels.launch import call
from caffelite.kernels.records import gather
from caffelite.schema.messages import Datum

Shape = tuple[int, int, int]

#: No image has more values than this; a record that speaks of more is damaged.
_LARGEST_IMAGE = 1 << 28
#: The formats that are decoded; whatever else Pillow can read stays closed to a file that nobody vouches for.
_FORMATS = ("PNG", "JPEG", "BMP", "WEBP")


def decode(record: bytes, color: bool | None = None, shape: Shape | None = None) -> tuple[np.ndarray, int]:
    """Decode a record.

    Parameters
    ----------
    record : bytes
        A serialized Datum.
    color : bool, optional
        For encoded images: True decodes to three channels, False to one, None leaves what the image has.
    shape : tuple of int, optional
        The shape it must have.

    Returns
    -------
    image : (C, H, W) uint8 or float32
        Channels of an encoded image in the order blue, green, red, as OpenCV gives them to Caffe.
    label : int

    Raises
    ------
    DataError
        It is not a Datum, its sizes do not agree with its data, or its shape is another.
    MissingExtraError
        It holds an encoded image and Pillow is not installed.
    """
    datum = Datum()
    try:
        datum.ParseFromString(record)
    except DecodeError:
        raise DataError("it is not a Datum message") from None
    if datum.encoded:
        return _decode_image(datum.data, color, shape), datum.label
    found = (datum.channels, datum.height, datum.width)
    count = len(datum.data) or len(datum.float_data)
    if min(found) < 1 or found[0] * found[1] * found[2] != count:
        raise DataError(f"its shape is {_text(found)}, but it holds {count} values")
    _check(found, shape)
    values = np.frombuffer(datum.data, np.uint8) if datum.data else np.array(datum.float_data, np.float32)
    return values.reshape(found), datum.label


def _decode_image(content: bytes, color: bool | None, shape: Shape | None) -> np.ndarray:
    image_module = _pillow()
    try:
        with image_module.open(io.BytesIO(content), formats=_FORMATS) as image:
            mode = _mode(image, color)
            found = (len(mode), image.height, image.width)
            if found[0] * found[1] * found[2] > _LARGEST_IMAGE:
                raise DataError(f"its image is of {_text(found)}, which is larger than any that is read")
            _check(found, shape)
            if mode == "L":
                image.draft("L", image.size)
            pixels = np.asarray(image if image.mode == mode else image.convert(mode))
    except (OSError, SyntaxError, ValueError, image_module.DecompressionBombError) as error:
        raise DataError(f"its image cannot be decoded: {str(error).splitlines()[0]}") from None
    if pixels.ndim == 2:
        return pixels[None]
    order = (2, 1, 0, 3)[: pixels.shape[2]]
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[list(order)])


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtraError(
            "the records hold encoded images, which need Pillow: pip install caffelite[images]"
        ) from None
    return Image


def _mode(image: Any, color: bool | None) -> str:
    """Return the Pillow mode to decode to: as OpenCV does with flags -1 (as it is), 1 (colour) or 0 (grey)."""
    if color is not None:
        return "RGB" if color else "L"
    if image.mode in ("L", "1"):
        return "L"
    if image.mode in ("RGBA", "LA", "PA") or (image.mode == "P" and "transparency" in image.info):
        return "RGBA"
    if image.mode in ("RGB", "P", "CMYK", "YCbCr"):
        return "RGB"
    raise DataError(f"its image is of kind {image.mode}; Caffe reads eight bits a channel only")


def _check(found: Shape, shape: Shape | None) -> None:
    if shape is not None and found != shape:
        raise DataError(f"its shape is {_text(found)}, that of the first record is {_text(shape)}")


def _text(shape: Shape) -> str:
    return "×".join(map(str, shape))


class RecordReader:
    """Batches of the records of a database, in their order, beginning again at the end.

    Parameters
    ----------
    database : Database
    color : bool, optional
        As for :func:`decode`.

    Attributes
    ----------
    shape : tuple of int
        Channels, height, width of every record: those of the first.
    dtype : dtype
        uint8, or float32 where the records hold float values.
    """

    def __init__(self, database: Database, color: bool | None = None) -> None:
        self.database = database
        self.color = color
        image, label = self._decode(0, None)
        self.shape: Shape = image.shape
        self.dtype = image.dtype
        self._header = self._plain_header(image, label)

    def _plain_header(self, image: np.ndarray, label: int) -> np.ndarray:
        """Return the bytes before the pixels, if the first record stands as Caffe writes it; else none."""
        channels, height, width = image.shape
        datum = Datum(channels=channels, height=height, width=width, data=image.tobytes())
        header = datum.SerializeToString()[: -image.size]
        record = self.database.read(0)
        plain = image.dtype == np.uint8 and record[: len(header)] == header
        return np.frombuffer(header if plain else b"", np.uint8)

    def _decode(self, position: int, shape: Shape | None) -> tuple[np.ndarray, int]:
        try:
            return decode(self.database.read(position), self.color, shape)
        except (DataError, MissingExtraError) as error:
            key = self.database.key(position).decode("ascii", "backslashreplace")
            raise type(error)(f"{self.database.source}, record {key}: {error}") from None

    def bind(self, data: np.ndarray, labels: np.ndarray) -> Callable[[int], None]:
        """Return the function that reads a batch.

        Parameters
        ----------
        data : (N, C, H, W) uint8 or float32
            Of this reader's shape and dtype; the images are written here.
        labels : (N,) float32

        Returns
        -------
        callable
            Takes the number of the first record, counted on and on; its records are that number modulo the
            size of the database, and those after it. Raises DataError for a record that is damaged or of
            another shape.
        """
        count, size = len(data), len(self.database)
        nodes = np.zeros(count, np.int64)
        plain = np.zeros(count, np.bool_)
        rows = data.reshape(count, -1)
        steps = []
        if self._header.size:
            content, page_size = self.database.content, self.database.page_size
            steps = [call(gather, count, content, page_size, nodes, self._header, rows, labels, plain, work=0)]

        def fill(first: int) -> None:
            positions = np.arange(first % size, first % size + count) % size
            np.take(self.database.nodes(int(positions.max()) + 1), positions, out=nodes)
            for step in steps:
                step()
            if not plain.all():
                for i in np.flatnonzero(~plain):
                    self._fill_one(int(positions[i]), data[i], labels[i : i + 1])

        return fill

    def _fill_one(self, position: int, image: np.ndarray, label: np.ndarray) -> None:
        decoded, label[0] = self._decode(position, self.shape)
        if decoded.dtype != image.dtype and image.dtype == np.uint8:
            key = self.database.key(position).decode("ascii", "backslashreplace")
            raise DataError(
                f"{self.database.source}, record {key}: it holds float values, but the first record holds bytes"
            )
        image[...] = decoded
