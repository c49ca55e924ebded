"""Databases from a program's own images: any iterable of images and labels."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from caffelite.errors import DataError
from caffelite.imagesets.datums import Conversion
from caffelite.imagesets.items import Item, label_of
from caffelite.imagesets.making import make

#: What the data sets of Hugging Face call images and labels.
_IMAGES, _LABELS = ("image", "img"), ("label", "labels", "fine_label")


def write_lmdb(
    path: str | Path,
    pairs: Iterable[Any],
    *,
    gray: bool = False,
    resize_height: int = 0,
    resize_width: int = 0,
    encoded: bool = False,
    encode_type: str = "",
    check_size: bool = True,
    append: bool = False,
    progress: Callable[[], object] = lambda: None,
) -> int:
    """Write images and labels as the LMDB that Caffe's ``convert_imageset`` would make of them.

    It is there whole or not at all. Keys are numbers of eight digits. A data set of torchvision or of Hugging Face can
    be given as it is.

    Parameters
    ----------
    path : path
        The folder of the database.
    pairs : iterable of (image, label), or of mappings with ``image`` and ``label``
        An image is one of these:

        - a Pillow image, the path of an image file, or the bytes of one;
        - an array of uint8, H x W, H x W x 1 or H x W x 3 (red, green, blue). These and those above are stored as
          Caffe's tools do: channels x height x width, **blue, green, red**;
        - any other array (uint8 or floats) and every tensor: channels x height x width, or the values of one axis. It
          is stored as it is, in its own order of channels; floats as ``float_data``.

        A label is a whole number; a float, or several numbers in a sequence, an array or a tensor, are stored as
        ``float_data`` of a second database, ``NAME_labels``, under the same keys.
    gray : bool
        Make pictures grey.
    resize_height, resize_width : int
        The size that pictures get, by OpenCV's ``INTER_LINEAR``.
    encoded : bool
        Keep pictures encoded: the bytes of files that need no change as they are.
    encode_type : str
        ``"png"``, ``"jpg"``, ``"bmp"`` or ``"webp"``: what pictures are encoded as.
    check_size : bool
        An image of another size than the first is an error: a net takes images of one size.
    append : bool
        Put the images into the database that is there, all or none, behind those that it has.
    progress : callable
        Is called after each image.

    Returns
    -------
    int
        The number of images that were written.

    Raises
    ------
    DataError
        An image or a label is none of these, or they do not fit together; the database is there, or, to be added to, is
        not, or has other images.
    MissingExtraError
        Pillow is needed, and not installed.
    OSError
        It cannot be written.
    """
    conversion = Conversion(resize_height, resize_width, gray, encoded, encode_type, check_size)
    return make(Path(path), _items(pairs), conversion, append, done=progress).images


def _items(pairs: Iterable[Any]) -> Iterator[Item]:
    for number, pair in enumerate(pairs):
        what = f"image {number}"
        if isinstance(pair, Mapping):
            image, label = _named(pair, _IMAGES, what), _named(pair, _LABELS, what)
        elif isinstance(pair, (tuple, list)) and len(pair) == 2:
            image, label = pair
        else:
            raise DataError(f"{what} is a {type(pair).__name__}; expected is an image and a label")
        if isinstance(image, Mapping):  # Hugging Face, not decoded
            image = image.get("bytes") or image.get("path")
        yield Item("", image, label_of(label, what), what)


def _named(pair: Mapping[str, Any], names: Iterable[str], what: str) -> Any:
    for name in names:
        if name in pair:
            return pair[name]
    raise DataError(f"{what} has no {' or '.join(names)}; it has {', '.join(map(str, pair))}")
