"""From an image to the Datum that Caffe's ``convert_imageset`` writes of it.

Pictures become channels x height x width, uint8, blue, green, red, or stay encoded as PNG, JPEG and so on.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from caffelite.data.images import GREY_MODES, decode_image
from caffelite.data.pillow_pixels import pillow_planes
from caffelite.data.resizing import planes, resize
from caffelite.errors import DataError, MissingExtraError
from caffelite.imagesets.items import Item, Planes, array_of, is_tensor
from caffelite.schema.messages import Datum
from caffelite.words import Shape, quoted, text_of

#: What Caffe's OpenCV encodes with by default, by Pillow's names of formats.
_ENCODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "jpg": ("JPEG", {"quality": 95}),
    "jpeg": ("JPEG", {"quality": 95}),
    "png": ("PNG", {"compress_level": 1}),
    "bmp": ("BMP", {}),
    "webp": ("WEBP", {"lossless": True}),
}


@dataclass(frozen=True, slots=True)
class Conversion:
    """What becomes of images, by the options of Caffe's ``convert_imageset``.

    Attributes
    ----------
    resize_height, resize_width : int
        The size that they get; 0: the one they have.
    gray : bool
        Grey, not in colour.
    encoded : bool
        Stored encoded: as the file is, where it needs no change.
    encode_type : str
        ``"png"``, ``"jpg"`` …: what they are encoded as; empty: what the ending of the file says.
    check_size : bool
        An image of another size than the first is an error.

    Raises
    ------
    DataError
        Settings that contradict each other.
    """

    resize_height: int = 0
    resize_width: int = 0
    gray: bool = False
    encoded: bool = False
    encode_type: str = ""
    check_size: bool = False

    def __post_init__(self) -> None:
        if (self.resize_height > 0) != (self.resize_width > 0):
            raise DataError("resize_height and resize_width are given together or not at all")
        if self.encode_type and self.encode_type.lower() not in _ENCODERS:
            raise DataError(f"encode_type {quoted(self.encode_type)} is none of {', '.join(_ENCODERS)}")

    @property
    def encodes(self) -> bool:
        """Whether images are stored encoded."""
        return self.encoded or bool(self.encode_type)

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width that images get, or None."""
        return (self.resize_height, self.resize_width) if self.resize_height > 0 else None


class Converted(NamedTuple):
    """An item as it is stored.

    Attributes
    ----------
    item : Item
    value : bytes
        The Datum.
    shape : (int, int, int)
        Channels, height, width.
    kind : {"encoded", "uint8", "float32"}
        How the Datum has them.
    """

    item: Item
    value: bytes
    shape: Shape
    kind: str


def convert(item: Item, conversion: Conversion) -> Converted:
    """Return what is stored of an item.

    Raises
    ------
    DataError
        Its image is missing, cannot be decoded, or cannot become what was asked for.
    MissingExtraError
        Pillow is needed, and not installed.
    """
    label = item.label if isinstance(item.label, int) else 0
    pixels, source = _pixels(item, conversion)
    encoding = _encoding(item, conversion, pixels)
    if encoding:
        kept = source is not None and not conversion.size and _ending(item) == encoding
        data = source if kept else _encode(pixels, encoding, item.what)
        return Converted(item, Datum(data=data, label=label, encoded=True).SerializeToString(), pixels.shape, "encoded")
    channels, height, width = pixels.shape
    datum = Datum(channels=channels, height=height, width=width, label=label, encoded=False)
    if pixels.dtype == np.uint8:
        datum.data = pixels.tobytes()
    else:
        datum.float_data.extend(pixels.reshape(-1))
    return Converted(item, datum.SerializeToString(), pixels.shape, str(pixels.dtype))


def _pixels(item: Item, conversion: Conversion) -> tuple[np.ndarray, bytes | None]:
    """Return an image as channels x height x width, and, of an encoded one that may stay so, the encoded bytes."""
    image = item.image
    if isinstance(image, (str, Path, bytes)):
        source = image
        if conversion.encodes and not isinstance(image, bytes):
            source = _content(image, item.what)
        pixels = decode_image(source, item.what, not conversion.gray, conversion.size)
        return pixels, source if isinstance(source, bytes) else None
    if not isinstance(image, (np.ndarray, Planes)) and not is_tensor(image):
        return _of_pillow(image, conversion, item.what), None
    array, picture = array_of(image, item.what)
    if picture:
        if conversion.gray and array.ndim == 3:
            array = np.asarray(_pillow().fromarray(array).convert("L"))
        return planes(array, *(conversion.size or array.shape[:2])), None
    if conversion.gray and len(array) != 1:
        raise DataError(f"{item.what} is of {text_of(array.shape)} values, not a picture that can be made grey")
    if conversion.size:
        if array.dtype != np.uint8:
            raise DataError(f"{item.what} is of floats, not a picture that can be resized")
        array = resize(array, *conversion.size)
    return array, None


def _content(path: str | Path, what: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise DataError(f"{what}: there is no such file") from None
    except OSError as error:
        raise DataError(f"{what} cannot be read: {error.strerror}") from None


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtraError("images need Pillow: pip install 'caffelite[images]'") from None
    return Image


def _of_pillow(image: Any, conversion: Conversion, what: str) -> np.ndarray:
    if not isinstance(image, _pillow().Image):
        raise DataError(
            f"{what} is a {type(image).__name__}; an image is a path, the bytes of a file, a Pillow image, an array or "
            "a tensor"
        )
    return pillow_planes(image, image.mode not in GREY_MODES and not conversion.gray, conversion.size)


def _ending(item: Item) -> str:
    """Return what the name of a file says of its encoding, by one name for each."""
    name = item.image if isinstance(item.image, (str, Path)) else item.name
    ending = str(name).rpartition(".")[2].lower()
    return "jpg" if ending == "jpeg" else ending


def _encoding(item: Item, conversion: Conversion, pixels: np.ndarray) -> str:
    """Return what an image is to be encoded as; empty where it is to be raw."""
    if not conversion.encodes:
        return ""
    if pixels.dtype != np.uint8 or len(pixels) not in (1, 3):
        raise DataError(f"{item.what} is of {text_of(pixels.shape)} values ({pixels.dtype}), which cannot be encoded")
    encoding = conversion.encode_type.lower() or _ending(item)
    if encoding not in _ENCODERS:
        raise DataError(
            f"{item.what}: its name does not say how it is to be encoded; give encode_type: {', '.join(_ENCODERS)}"
        )
    return "jpg" if encoding == "jpeg" else encoding


def _encode(pixels: np.ndarray, encoding: str, what: str) -> bytes:
    name, settings = _ENCODERS[encoding]
    image = _pillow().fromarray(pixels[0] if len(pixels) == 1 else pixels[::-1].transpose(1, 2, 0))
    stream = io.BytesIO()
    try:
        image.save(stream, name, **settings)
    except (OSError, ValueError) as error:  # larger than the format knows, or Pillow without it
        raise DataError(f"{what} cannot be encoded as {encoding}: {error}") from None
    return stream.getvalue()
