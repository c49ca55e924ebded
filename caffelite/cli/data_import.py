"""Write an LMDB of images with labels from what one has.

A folder with a folder a class; a list of files; a table (.csv, .tsv) of paths, or of pixels, with labels; arrays in a
.npz or an HDF5 file. The database is there whole or not at all, and as large as it has to be.
"""

import argparse
from pathlib import Path

from caffelite.cli.arguments import UsageError, names
from caffelite.cli.making import add_conversion, tell, write
from caffelite.errors import DataError
from caffelite.files import atomic_write
from caffelite.imagesets.arrays import from_hdf5, from_npz, from_table
from caffelite.imagesets.files import in_folders, listed
from caffelite.imagesets.items import Imageset
from caffelite.words import Shape

EXAMPLES = """examples:
  caffelite data import flowers/ flowers.lmdb --resize-height 256 --resize-width 256 --shuffle
  caffelite data import train.txt train_lmdb --root images/
  caffelite data import mnist.npz mnist_test_lmdb --names x_test,y_test
  caffelite data import train.csv train_lmdb --shape 3,32,32

The classes of a folder are numbered in the order of their names, which flowers_classes.txt lists. Labels that are not
single whole numbers go to a second database, flowers_labels.lmdb.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what the command takes."""
    parser.add_argument(
        "source", type=Path, metavar="SOURCE", help="a folder, .npz, .h5, .csv, .tsv, or a list of files"
    )
    parser.add_argument("database", type=Path, metavar="OUT.lmdb", help="folder of the database")
    parser.add_argument(
        "--root", metavar="DIR/", help="is put before paths in lists and tables (the folder of the list)"
    )
    parser.add_argument("--names", type=_two_names, metavar="X,Y", help="the arrays that are images and labels")
    parser.add_argument("--shape", type=_shape, metavar="C,H,W", help="channels, height, width of pixels in a table")
    add_conversion(parser)


def _two_names(text: str) -> list[str]:
    two = names(text)
    if len(two) != 2:
        raise argparse.ArgumentTypeError(f'"{text}" is not two names of arrays with a comma between')
    return two


def _shape(text: str) -> Shape:
    try:
        shape = tuple(int(word) for word in text.split(","))
    except ValueError:
        shape = ()
    if len(shape) != 3 or min(shape) < 1:
        raise argparse.ArgumentTypeError(f'"{text}" is not channels, height and width, with commas between')
    return shape


def run(arguments: argparse.Namespace) -> int:
    """Import the images."""
    listing = arguments.database.with_name(f"{arguments.database.name.removesuffix('.lmdb')}_classes.txt")
    imageset = _read(arguments, _classes(listing) if arguments.append else None)
    if imageset.classes and listing.exists() and not arguments.append:
        raise UsageError(f"{listing} is there already; it goes with {arguments.database}")
    made = write(arguments, imageset, arguments.database)
    if imageset.classes and not arguments.append:
        with atomic_write(listing) as file:
            file.write_text("".join(f"{name}\n" for name in imageset.classes), "utf-8", "surrogateescape")
    tell(arguments, arguments.database, made, listing if imageset.classes else None)
    return 0


def _classes(listing: Path) -> list[str] | None:
    try:
        return listing.read_text("utf-8", "surrogateescape").splitlines()
    except FileNotFoundError:
        return None


#: The endings of files of each kind, and the options that it alone has. All others are lists.
_KINDS = {
    "a folder": ((), ()),
    "a .npz file": ((".npz",), ("names",)),
    "an HDF5 file": ((".h5", ".hdf5"), ("names",)),
    "a table": ((".csv", ".tsv"), ("root", "shape")),
    "a list": ((), ("root", "labels")),
}


def _kind(source: Path) -> str:
    if source.is_dir():
        return "a folder"
    return next((kind for kind, (endings, _) in _KINDS.items() if source.suffix.lower() in endings), "a list")


def _read(arguments: argparse.Namespace, known: list[str] | None) -> Imageset:
    source: Path = arguments.source
    if not source.exists():
        raise DataError(f"{source}: there is no such file or folder")
    kind = _kind(source)
    for option in sorted({option for _, options in _KINDS.values() for option in options} - {*_KINDS[kind][1]}):
        if getattr(arguments, option) is not None:
            having = " or ".join(other for other, (_, options) in _KINDS.items() if option in options)
            raise UsageError(f"--{option} is for {having}; {source} is {kind}")
    root = arguments.root if arguments.root is not None else f"{source.parent}/"
    readers = {
        "a folder": lambda: in_folders(source, known),
        "a .npz file": lambda: from_npz(source, arguments.names),
        "an HDF5 file": lambda: from_hdf5(source, arguments.names),
        "a table": lambda: from_table(source, arguments.shape, root),
        "a list": lambda: listed(root, source, arguments.labels),
    }
    return readers[kind]()
