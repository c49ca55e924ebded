"""Names of classes: a file with a line for each."""

from collections.abc import Sequence
from pathlib import Path

from caffelite.errors import DataError


def class_names(path: Path | None, classes: int) -> Sequence[str]:
    """Return the names of classes; their numbers where there is no file.

    Parameters
    ----------
    path : Path or None
        A line a class, in the order of their numbers, such as Caffe's ``synset_words.txt``.
    classes : int
        How many there are.

    Raises
    ------
    DataError
        It cannot be read, or has another number of lines.
    """
    if path is None:
        return list(map(str, range(classes)))
    try:
        lines = path.read_text("utf-8", "replace").splitlines()
    except OSError as error:
        raise DataError(f"{path}: the names of classes cannot be read: {error.strerror}") from None
    names = [line.strip() for line in lines]
    while names and not names[-1]:
        names.pop()
    if len(names) != classes:
        raise DataError(f"{path}: it has {len(names)} names, a line each, but the net has {classes} classes")
    return names
