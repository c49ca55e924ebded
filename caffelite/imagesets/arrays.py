"""Images with labels from files of arrays: NumPy's ``.npz``, HDF5, and tables (CSV)."""

import csv
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import numpy as np

from caffelite.errors import DataError
from caffelite.imagesets.items import Imageset, Item, Planes, label_of
from caffelite.schema.hdf5 import dataset_names, read_rows
from caffelite.schema.npz import npz_names, read_npz
from caffelite.words import Shape, quoted, text_of

#: Names of arrays that go together, as people have them.
_PAIRS = [
    (data + part, label + part)
    for part in ("", "_train", "_test")
    for data in ("data", "x", "X", "images", "image")
    for label in ("label", "labels", "y", "Y")
]
#: Headings of the column of a table that has the label.
_LABEL_HEADINGS = ("label", "labels", "class", "target", "y")


def from_npz(path: Path, names: Sequence[str] | None = None) -> Imageset:
    """Return the images of a ``.npz`` file: an array of images, and one of as many labels.

    Parameters
    ----------
    path : Path
    names : (str, str), optional
        Of the two arrays; by default ``data`` and ``label``, ``x`` and ``y``, and so on.

    Raises
    ------
    DataError
        It is damaged, has no such arrays, or they do not belong together.
    """
    if not path.exists():
        raise DataError(f"{path}: there is no such file")
    with _plain(path):
        present = npz_names(path)
    data, label = _pair(path, present, names)
    with _plain(path):
        arrays = read_npz(path, [data, label], None)
    return _paired(path, data, arrays[data], arrays[label])


@contextmanager
def _plain(path: Path) -> Iterator[None]:
    """Say of a file that cannot be read that it is none of arrays."""
    try:
        yield
    except DataError as error:
        reason = error.message.removeprefix(f"{path}: ")
        raise DataError(f"{path} is not a whole .npz file of plain arrays ({reason})") from None


def from_hdf5(path: Path, names: Sequence[str] | None = None) -> Imageset:
    """Return the images of an HDF5 file, as :func:`from_npz` does."""
    data, label = _pair(path, dataset_names(path), names)
    return _paired(path, data, *read_rows(path, [data, label], str(path), None))


def _pair(path: Path, present: Sequence[str], names: Sequence[str] | None) -> tuple[str, str]:
    """Return the names of the array of images and of that of labels."""
    listed = ", ".join(sorted(present)) or "nothing"
    if names is not None:
        for name in names:
            if name not in present:
                raise DataError(f"{path} has no {quoted(name)}; it has {listed}")
        return names[0], names[1]
    pairs = [pair for pair in _PAIRS if set(pair) <= set(present)]
    if len(pairs) != 1:
        raise DataError(f"{path} has {listed}; say which are images and labels: --names IMAGES,LABELS")
    return pairs[0]


def _paired(path: Path, name: str, images: np.ndarray, labels: np.ndarray) -> Imageset:
    if not images.ndim or not labels.ndim or not len(images) or len(images) != len(labels):
        raise DataError(
            f"{path}: images of {text_of(images.shape)} and labels of {text_of(labels.shape)}; expected are as many of "
            "each"
        )
    if labels.size == len(labels):
        labels = labels.reshape(-1)
        if labels.dtype.kind == "f" and (labels == np.rint(labels)).all():
            labels = labels.astype(np.int64)
    called = [f"{path}: {name}[{i}]" for i in range(len(images))]
    rows = zip(called, images, labels, strict=True)
    return Imageset([Item("", image, label_of(label, what), what) for what, image, label in rows], [])


def from_table(path: Path, shape: Shape | None = None, root: str = "") -> Imageset:
    """Return the images of a table, a line each: a path and labels, or a label and pixels.

    Parameters
    ----------
    path : Path
        A CSV file; columns may be parted by tabs or semicolons as well. A line of headings may come first, and tells
        which column has the label (``label``, ``class``, ``target``); otherwise, before pixels, it is the first.
    shape : (int, int, int), optional
        Channels, height and width of the pixels, which lie in this order; by default a grey square.
    root : str
        Is put before each path, as it is.

    Raises
    ------
    DataError
        It is missing, or a line is not like that.
    """
    rows = _rows(path)
    heading: list[str] = []
    number, first = next(rows, (0, []))
    if len(first) > 1 and not _is_number(first[1]):
        heading, (number, first) = first, next(rows, (0, []))
    if len(first) < 2:
        raise DataError(f"{path} has no line of a path and a label, or of a label and pixels")
    every = chain([(number, first)], rows)
    if not _is_number(first[0]):
        return Imageset([_of_path(path, line, row, root) for line, row in every], [])
    column = next((i for i, name in enumerate(heading) if name.strip().lower() in _LABEL_HEADINGS), 0)
    side = math.isqrt(len(first) - 1)
    if shape is None and side * side != len(first) - 1:
        raise DataError(f"{path}: {len(first) - 1} pixels are no grey square; give --shape CHANNELS,HEIGHT,WIDTH")
    shape = shape or (1, side, side)
    kind = np.uint8 if all(text.strip().isdecimal() for text in first) else np.float32
    return Imageset([_of_pixels(path, line, row, column, shape, kind) for line, row in every], [])


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            head = file.readline()
            file.seek(0)
            mark = max("\t;,", key=head.count)
            reader = csv.reader(file, delimiter=mark)
            yield from ((reader.line_num, row) for row in reader if row)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    except csv.Error as error:
        raise DataError(f"{path} is not a table: {error}") from None


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _of_path(table: Path, line: int, row: list[str], root: str) -> Item:
    what = f"{table}:{line}"
    path, *texts = row
    if not path or not texts or not all(map(_is_number, texts)):
        raise DataError(f"{what}: the line is not the path of an image and its label")
    whole = len(texts) == 1 and texts[0].strip().lstrip("-").isdecimal()
    label = label_of(int(texts[0]) if whole else [float(text) for text in texts], what)
    return Item(path, root + path, label, f"{what}: {quoted(path)}")


def _of_pixels(table: Path, line: int, row: list[str], column: int, shape: Shape, kind: type) -> Item:
    what = f"{table}:{line}"
    texts = row[:column] + row[column + 1 :]
    try:
        label = int(row[column])
        values = np.array(texts, np.float64)
    except (ValueError, IndexError):
        raise DataError(f"{what}: the line is not a whole number, the label, and pixels") from None
    if len(values) != math.prod(shape):
        raise DataError(f"{what} has {len(values)} pixels, {text_of(shape)} are {math.prod(shape)}")
    if kind == np.uint8 and not ((values >= 0) & (values <= 255) & (values == np.rint(values))).all():
        raise DataError(f"{what}: a pixel is not a whole number of 0 to 255, as those before are")
    return Item("", Planes(values.astype(kind).reshape(shape)), label_of(label, what), what)
