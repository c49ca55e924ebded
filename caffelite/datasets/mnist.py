"""MNIST: 60,000 + 10,000 handwritten digits of 28×28 grey pixels, and pairs of them.

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits". The IDX format: two zero
bytes, the type (8: unsigned bytes), the number of axes, the lengths (32 bits, big-endian), the bytes. The
databases are those of Caffe's ``convert_mnist_data`` and ``convert_mnist_siamese_data``: a pair is two images
drawn at random, as two channels, and its label is 1 if they show the same digit, else 0.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from caffelite.data.draws import below, draws
from caffelite.datasets import synthetic
from caffelite.datasets.build import write_images
from caffelite.datasets.download import Remote
from caffelite.datasets.originals import CHUNK, Chunk, DataSet, Splits, find_file, opened, places, read_records
from caffelite.errors import DataError

TRAIN_LMDB, TEST_LMDB = "mnist_train_lmdb", "mnist_test_lmdb"
SIAMESE_TRAIN_LMDB, SIAMESE_TEST_LMDB = "mnist_siamese_train_lmdb", "mnist_siamese_test_lmdb"

#: Length of the keys.
KEY_DIGITS = 8

_NAMES = [
    *("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    *("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
]
_FOLDERS = ("mnist", "MNIST", "raw")
#: What the pairs are drawn with where nothing else is asked for. (Caffe takes the clock.)
PAIR_SEED = 1701
_LARGEST_IMAGE = 1 << 20

_HOSTS = (
    "https://yann.lecun.com/exdb/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
_SUMS = {
    _NAMES[0]: (9912422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
    _NAMES[1]: (28881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
    _NAMES[2]: (1648877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
    _NAMES[3]: (4542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
}


def find(root: Path, scratch: Path) -> Splits | None:
    """Find the four files in a folder or its usual subfolders.

    Raises
    ------
    DataError
        Some of the four files are there and others are not.
    """
    missing = ""
    for folder in places(root, _FOLDERS):
        files = [find_file(folder, name, name.replace("-idx", ".idx")) for name in _NAMES]
        present = [file for file in files if file]
        if len(present) == len(_NAMES):
            return _splits(present)
        if present and not missing:
            absent = ", ".join(name for name, file in zip(_NAMES, files, strict=True) if not file)
            missing = f"{folder} has only some files of MNIST; missing: {absent}"
    if missing:
        raise DataError(missing)
    return None


def _splits(files: list[Path]) -> Splits:
    return Splits(lambda: read(*files[:2]), lambda: read(*files[2:]))


def read(images: Path, labels: Path) -> Iterator[Chunk]:
    """Yield the images and labels of two IDX files, compressed or not.

    Raises
    ------
    DataError
        One of them cannot be read, is no IDX file, or has not what it announces.
    """
    with opened(images) as pixels, opened(labels) as digits:
        count, height, width = _header(pixels.read(16), 3, images)
        if _header(digits.read(8), 1, labels) != [count]:
            raise DataError(f"{labels} and {images} are not of the same number of images")
        if not 0 < height * width <= _LARGEST_IMAGE:
            raise DataError(f"{images} is damaged: its images are of {height}×{width}")
        rows = read_records(pixels, height * width, images, count)
        for chunk, label in zip(rows, read_records(digits, 1, labels, count), strict=True):
            yield chunk.reshape(-1, 1, height, width), label[:, 0]


def _header(content: bytes, axes: int, file: Path) -> list[int]:
    numbers = np.frombuffer(content[: len(content) // 4 * 4], ">u4").tolist()
    if len(numbers) != axes + 1 or numbers[0] != 0x800 + axes:
        raise DataError(f"{file} is not an IDX file of bytes with {axes} axes")
    return numbers[1:]


def pairs(images: np.ndarray, labels: np.ndarray, seed: int = PAIR_SEED) -> Iterator[Chunk]:
    """Yield as many random pairs as there are images: (n, 2, H, W), and 1 where the labels are equal.

    Parameters
    ----------
    images : (N, 1, H, W) uint8
    labels : (N,)
    seed : int
    """
    for start in range(0, len(images), CHUNK):
        drawn = below(draws(seed, start, min(CHUNK, len(images) - start), 2), len(images))
        same = labels[drawn[:, 0]] == labels[drawn[:, 1]]
        yield images[drawn, 0], same.astype(np.uint8)


def joined(chunks: Iterable[Chunk]) -> Chunk:
    """Return all images and labels."""
    images, labels = (np.concatenate(arrays) for arrays in zip(*chunks, strict=True))
    return images, labels


def build(splits: Splits, folder: Path) -> tuple[int, int]:
    """Write the four databases; return the numbers of images."""
    counts = []
    for chunks, single, paired in (
        (splits.train(), TRAIN_LMDB, SIAMESE_TRAIN_LMDB),
        (splits.test(), TEST_LMDB, SIAMESE_TEST_LMDB),
    ):
        parts = list(chunks)
        counts.append(write_images(folder / single, parts, KEY_DIGITS))
        write_images(folder / paired, pairs(*joined(parts)), KEY_DIGITS)
    return counts[0], counts[1]


MNIST = DataSet(
    name="mnist",
    title="MNIST",
    files=(TRAIN_LMDB, TEST_LMDB, SIAMESE_TRAIN_LMDB, SIAMESE_TEST_LMDB),
    remotes=tuple(
        Remote(f"{name}.gz", size, sha256, tuple(f"{host}{name}.gz" for host in _HOSTS))
        for name, (size, sha256) in _SUMS.items()
    ),
    original_names="train-images-idx3-ubyte and the three other files",
    find=find,
    builtin=Splits(lambda: synthetic.digits(0, 60_000), lambda: synthetic.digits(60_000, 10_000)),
    build=build,
)
