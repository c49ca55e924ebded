"""Image files: decoded and resized as Caffe's OpenCV does it, and lists of them as batches."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from caffelite.data.draws import draws
from caffelite.data.pillow_pixels import pillow_planes
from caffelite.data.share import Share
from caffelite.data.transform import Transformer
from caffelite.errors import DataError, MissingExtraError
from caffelite.kernels.engine import arrays
from caffelite.schema.messages import ImageDataParameter, TransformationParameter
from caffelite.words import Shape, quoted

#: Pillow's names of what has no colour.
GREY_MODES = ("L", "1", "I;16", "I")
#: Caffe keeps labels in 32 bits.
LARGEST_LABEL = (1 << 31) - 1


def decode_image(
    source: bytes | str | Path, what: str, color: bool | None = None, size: tuple[int, int] | None = None
) -> np.ndarray:
    """Return an encoded image or an image file as channels x height x width, uint8: blue, green, red, or grey.

    Parameters
    ----------
    source : bytes or path
    what : str
        What it is called in errors.
    color : bool, optional
        Wanted in colour or grey; by default as it is.
    size : (int, int), optional
        Height and width that it is resized to; by default those that it has.

    Raises
    ------
    DataError
        It is missing or cannot be decoded.
    MissingExtraError
        Pillow is not installed.
    """
    with opened_image(source, what) as image:
        colored = color if color is not None else image.mode not in GREY_MODES
        if not colored:
            image.draft("L", image.size)  # JPEG: the grey that is in the file
        return pillow_planes(image, colored, size)


@contextmanager
def opened_image(source: bytes | str | Path, what: str) -> Iterator[Any]:
    """Open an encoded image or an image file with Pillow; errors, of what is done with it too, are those of
    :func:`decode_image`.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise MissingExtraError("encoded images need Pillow: pip install 'caffelite[images]'") from None
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            yield image
    except FileNotFoundError:
        raise DataError(f"{what}: there is no such file") from None
    except UnidentifiedImageError:  # its own words name the file, which may be a line of somebody else's
        raise DataError(f"{what} is not an image that can be decoded: its format is not known") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise DataError(f"{what} is not an image that can be decoded: {reason}") from None


def lines_of(source: str | Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a list of images that have something in them, with their numbers.

    Raises
    ------
    DataError
        The list is missing or empty.
    """
    try:
        lines = Path(source).read_text("utf-8", "surrogateescape").splitlines()
    except OSError as error:
        raise DataError(f"the list of images {quoted(str(source))} cannot be read: {error.strerror}") from None
    if not any(line.strip() for line in lines):
        raise DataError(f"the list of images {quoted(str(source))} is empty")
    yield from ((number, line.strip()) for number, line in enumerate(lines, 1) if line.strip())


def read_list(source: str | Path) -> list[tuple[str, int, int]]:
    """Return paths, labels and line numbers of a list of images, a line each: the path, a space, the label.

    No error has words of the list in it: a net from elsewhere can name a file that is not to be shown.

    Raises
    ------
    DataError
        The list is missing or empty, or a line is not like that.
    """
    items = []
    for number, line in lines_of(source):
        path, _, label = line.replace("\t", " ").rpartition(" ")
        try:
            items.append((path.rstrip(), int(label), number))
        except ValueError:
            path = ""
        if not path or abs(items[-1][1]) > LARGEST_LABEL:
            raise DataError(f"{source}:{number}: the line is not the path of an image, a space and its label")
    return items


class ImageStream:
    """The images of a list as batches, in the order of the list or in a new random one each time round.

    Parameters
    ----------
    settings : ImageDataParameter
    share : Share
        Of the batches.
    param : TransformationParameter
    phase, seed : int
    where : callable
        ``where(setting)`` gives the place for errors.

    Attributes
    ----------
    shape : (int, int, int)
        Channels, height and width of the first image, resized.
    """

    def __init__(
        self,
        settings: ImageDataParameter,
        share: Share,
        param: TransformationParameter,
        phase: int,
        seed: int,
        where: Callable[[str], str],
    ) -> None:
        self.settings, self.share, self.seed = settings, share, seed
        self._items = read_list(settings.source)
        self.epoch_size = len(self._items)
        self._order = lru_cache(2)(self._shuffled)
        self.shape: tuple[int, int, int] = self.read(0)[0].shape
        self.transformer = Transformer(param, self.shape, phase, where)

    def _shuffled(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, epoch]).permutation(self.epoch_size)

    def read(self, position: int) -> tuple[np.ndarray, int, str]:
        """Return an image of the run, its label, and what it is called in errors."""
        epoch, number = divmod(position, self.epoch_size)
        path, label, line = self._items[self._order(epoch)[number] if self.settings.shuffle else number]
        what = f"{self.settings.source}:{line}: the image"
        settings = self.settings
        size = (settings.new_height, settings.new_width) if settings.new_height else None
        return decode_image(settings.root_folder + path, what, settings.is_color, size), label, what

    @property
    def batch_shape(self) -> Shape:
        return (self.share.count, self.shape[0], *self.transformer.size)

    def batches(self, number: int) -> "ItemBatches":
        return ItemBatches(self.share, self.batch_shape[1:], number, self.seed, self._put)

    def _put(self, position: int, index: int, bits: np.ndarray, out: np.ndarray) -> int:
        image, label, what = self.read(position)
        self.transformer.apply(image, bits, out, what)
        return label

    def sample(self) -> bytes:
        return repr(self._items).encode()

    def close(self) -> None:
        """Nothing is open between two images."""


class ItemBatches:
    """Batches that are filled one item after the other.

    Parameters
    ----------
    share : Share
        Of the batches.
    shape : tuple of int
        Of an item.
    number, seed : int
    put : callable
        ``put(position, index, bits, out)`` fills ``out`` with the item at ``position`` of the run, the one at ``index``
        of the batch of all processes, by three random numbers, and returns its label.
    """

    def __init__(
        self,
        share: Share,
        shape: Shape,
        number: int,
        seed: int,
        put: Callable[[int, int, np.ndarray, np.ndarray], int],
    ) -> None:
        self.data = arrays.zeros((number * share.count, *shape))
        self.label = arrays.zeros(number * share.count)
        self.position = 0
        self._share = share
        self._seed, self._put = seed, put

    def hand_out(self, first: int, data: np.ndarray) -> None:
        np.copyto(data, self.data[first : first + self._share.count])

    def fill(self, position: int) -> None:
        self.position = position
        share = self._share
        for i, number in enumerate(share.numbers(position, len(self.label) // share.count).tolist()):
            bits = draws(self._seed, number, 1, 3)[0]
            self.label[i] = self._put(number, share.first + i % share.count, bits, self.data[i])
