"""Image files with labels: by a list, or by the folders that they are in."""

import os
from pathlib import Path

import numpy as np

from caffelite.data.images import lines_of, read_list
from caffelite.errors import DataError
from caffelite.imagesets.items import Imageset, Item
from caffelite.words import quoted

#: What a file of a folder ends in that is taken for an image.
_ENDINGS = (".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")


def listed(root: str, source: str | Path, labels: int | None = None) -> Imageset:
    """Return the images of a list as Caffe's ``convert_imageset`` takes it: a path, a space, the label.

    Parameters
    ----------
    root : str
        Is put before each path, as it is.
    source : path
    labels : int, optional
        So many numbers, whole or not, stand at the end of a line; by default one that is whole.

    Raises
    ------
    DataError
        The list is missing or empty, or a line is not like that.
    """
    if labels is None:
        return Imageset(
            [
                Item(path, root + path, label, f"{source}:{line}: {quoted(path)}")
                for path, label, line in read_list(source)
            ],
            [],
        )
    items = []
    for number, line in lines_of(source):
        path, *values = line.rsplit(None, labels)
        try:
            row = np.array(values, np.float32)
        except ValueError:
            row = np.zeros(0, np.float32)
        if len(row) != labels or not np.isfinite(row).all():
            raise DataError(
                f"{source}:{number}: the line is not the path of an image and {labels} number{'s' * (labels > 1)}"
            )
        items.append(Item(path, root + path, row, f"{source}:{number}: {quoted(path)}"))
    return Imageset(items, [])


def in_folders(root: Path, known: list[str] | None = None) -> Imageset:
    """Return the images of a folder with a folder a class; the names of the classes are in order.

    Parameters
    ----------
    root : Path
    known : list of str, optional
        Classes that have their numbers already; there may be no others.

    Raises
    ------
    DataError
        It has no such folders, or one without images; a class is not among those that are known.
    """
    try:
        names = sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"{root} cannot be read: {error.strerror}") from None
    if not names:
        raise DataError(f"{root} has no folders in it; expected is a folder a class, with the images of that class")
    classes = names if known is None else known
    if new := [name for name in names if name not in classes]:
        raise DataError(f"{root} has a class {quoted(new[0])}, which is not among the {len(classes)} that there are")
    items = []
    for name in names:
        files = _images(root, name)
        if not files:
            raise DataError(f"{root / name} has no images in it ({', '.join(_ENDINGS[:5])} …)")
        label = classes.index(name)
        items += [Item(file, root / file, label, str(root / file)) for file in files]
    return Imageset(items, classes)


def _images(root: Path, folder: str) -> list[str]:
    """Return the paths of the images below a folder, from the root."""
    found = []
    for place, folders, names in os.walk(root / folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inside = Path(place).relative_to(root)
        chosen = (name for name in names if name.lower().endswith(_ENDINGS) and not name.startswith("."))
        found += [(inside / name).as_posix() for name in chosen]
    return sorted(found)
