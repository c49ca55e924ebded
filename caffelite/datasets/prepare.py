"""The data sets of the example nets: what they are called, and how they come to be on this machine."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from caffelite.datasets.cifar10 import CIFAR10
from caffelite.datasets.download import download, downloads_folder
from caffelite.datasets.mnist import MNIST
from caffelite.datasets.originals import DataSet, Splits
from caffelite.errors import DataError
from caffelite.files import atomic_write, in_scratch, replace, scratch_folder

#: By name.
DATASETS = {data.name: data for data in (CIFAR10, MNIST)}
#: Where the example nets look for them, relative to the current folder.
DATA_FOLDER = Path("data")
#: The environment variable that names a folder of originals.
VARIABLE = "CAFFELITE_DATA"

_BUILTIN = "built-in set"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A data set on this machine, ready for a net.

    Attributes
    ----------
    name : str
    folder : Path
        Where its files are.
    origin : str
        What it was made from; empty where somebody else put it there.
    builtin : bool
        Whether it is the built-in set of drawn images.
    """

    name: str
    folder: Path
    origin: str
    builtin: bool

    @property
    def notice(self) -> str:
        """What has to be said at the end of a run on the built-in set; empty otherwise."""
        return f"this was the {_BUILTIN}: {_disclaimer(DATASETS[self.name])}" if self.builtin else ""


def dataset_of(source: str | Path) -> str | None:
    """Return the name of the data set that a source or mean file belongs to, by the last part of its path."""
    last = Path(source).name
    return next((name for name, data in DATASETS.items() if last in data.files), None)


def origin_of(folder: Path, name: str) -> Prepared | None:
    """Return what is known of a data set in a folder; None if it is not complete."""
    data = DATASETS[name]
    if not all((folder / file).exists() for file in data.files):
        return None
    origin, _ = _read_marker(folder, data)
    return Prepared(name, folder, origin, origin.startswith(_BUILTIN))


def _marker(folder: Path, data: DataSet) -> Path:
    return folder / f"{data.name}_origin.txt"


def _read_marker(folder: Path, data: DataSet) -> tuple[str, list[str]]:
    """Return the origin and the files that were made from it: the lines of the marker."""
    try:
        origin, *made = _marker(folder, data).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return "", []
    return origin, made


def prepare(
    name: str,
    folder: Path = DATA_FOLDER,
    source: Path | None = None,
    say: Callable[[str], None] = print,
    again: bool = False,
) -> Prepared:
    """Make the databases and the mean file of a data set, if they are not there.

    The originals are taken from ``source``, else from the folder that $CAFFELITE_DATA names, else from the cache, else
    they are downloaded into it; if they cannot be had, the built-in set stands in for them. What is complete stays,
    unless ``source`` or ``again`` is given, or it is the built-in set and originals are now at hand. Files that
    somebody else put there are never replaced.

    Parameters
    ----------
    name : {"cifar10", "mnist"}
    folder : Path
        Where the files go. Each is there whole or not at all.
    source : Path, optional
        A folder of originals; nothing else will do then.
    say : callable
        Takes lines for the user: about the data that is used, and about each download.
    again : bool
        Make it anew, with all ways tried.

    Raises
    ------
    DataError
        No such data set, none of it in ``source``, damaged originals, a folder that cannot be written, or files asked
        for anew that are somebody else's.
    """
    if name not in DATASETS:
        raise DataError(f'there is no data set "{name}"; there are {" and ".join(DATASETS)}')
    data = DATASETS[name]
    present = origin_of(folder, name)
    anew = bool(source) or again
    if present and not anew and not (present.builtin and os.access(folder, os.W_OK)):
        return _use(present, say)
    if anew:
        _check_all_ours(folder, data)
    try:
        with scratch_folder(folder, name) as scratch:
            unpacked, built = scratch / "unpacked", scratch / "built"
            unpacked.mkdir()
            built.mkdir()
            originals = _local(data, source, unpacked, say)
            if originals is None:
                if present and not again:
                    return _use(present, say)
                originals = _downloaded_if_possible(data, folder, unpacked, present, say)
            splits, origin = originals or (data.builtin, f"{_BUILTIN} of drawn images")
            train, test = data.build(splits, built)
            _install(data, built, folder, origin)
    except OSError as error:
        place = Path(error.filename or folder)
        place = folder / place.name if in_scratch(place) else place
        raise DataError(f"{place} cannot be written: {error.strerror}") from None
    if originals:
        say(f"{name}: {folder}/{name}_* {origin}, {train} training and {test} test images")
    return Prepared(name, folder, origin, not originals)


def _check_all_ours(folder: Path, data: DataSet) -> None:
    """Raise DataError where somebody else put one of the files there."""
    _, ours = _read_marker(folder, data)
    theirs = {file for file in data.files if (folder / file).exists() and file not in ours}
    if theirs:
        raise DataError(f"{folder / min(theirs)} was not made by caffelite; move it away to have one made")


def _downloaded_if_possible(
    data: DataSet, folder: Path, unpacked: Path, present: Prepared | None, say: Callable[[str], None]
) -> tuple[Splits, str] | None:
    """Return the originals; None, and say so, where they cannot be had and the built-in set is to stand in for them."""
    try:
        return _downloaded(data, unpacked, say)
    except DataError as error:
        if present and not present.builtin:
            raise
        say(f"{data.name}: {error}; making the {_BUILTIN} in {folder}: {_disclaimer(data)}")
        return None


def _use(present: Prepared, say: Callable[[str], None]) -> Prepared:
    origin = f", {present.origin}" if present.origin else ""
    disclaimer = f": {_disclaimer(DATASETS[present.name])}" if present.builtin else ""
    say(f"{present.name}: using {present.folder}/{present.name}_*{origin}{disclaimer}")
    return present


def _disclaimer(data: DataSet) -> str:
    return f"its accuracy says nothing about {data.title}"


def _install(data: DataSet, built: Path, folder: Path, origin: str) -> None:
    _, before = _read_marker(folder, data)
    made = [file for file in data.files if file in before or not (folder / file).exists()]
    # The marker first: if this ends half-way, what is there is known to be ours and of this origin.
    with atomic_write(_marker(folder, data)) as temporary:
        temporary.write_text("\n".join([origin, *made]) + "\n", encoding="utf-8")
    for file in made:
        replace(built / file, folder / file)


def _local(data: DataSet, source: Path | None, unpacked: Path, say: Callable[[str], None]) -> tuple[Splits, str] | None:
    """Look for originals in the folder the user gives, the one the environment names, and the cache."""
    if source:
        if not source.is_dir():
            raise DataError(f"{source} is not a folder; the originals of {data.title} are looked for in one")
        if splits := data.find(source, unpacked):
            return splits, f"made from the originals in {source}"
        raise DataError(f"{source} does not hold {data.title}: looked for {data.original_names}")
    if named := os.environ.get(VARIABLE):
        if not Path(named).is_dir():
            raise DataError(f"${VARIABLE} names {named}, which is not a folder")
        if splits := data.find(Path(named), unpacked):
            return splits, f"made from the originals in {named}"
    if all(os.path.isfile(downloads_folder(data.name) / remote.name) for remote in data.remotes):
        return _downloaded(data, unpacked, say)
    return None


def _downloaded(data: DataSet, unpacked: Path, say: Callable[[str], None]) -> tuple[Splits, str]:
    """Return what is in the cache, with what it lacks downloaded first."""
    cache = downloads_folder(data.name)
    download(data.remotes, cache, say)
    if splits := data.find(cache, unpacked):
        return splits, f"made from the originals downloaded to {cache}"
    raise DataError(f"{cache} does not hold {data.title}")
