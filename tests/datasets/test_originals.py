"""CIFAR-10 and MNIST are read from every form in which people keep them."""

import bz2
import gzip
import lzma
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from caffelite.datasets import cifar10, mnist
from caffelite.datasets.originals import Chunk, Splits, unpack
from caffelite.errors import DataError

DICE = np.random.default_rng(2)
PARTS = [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]
IMAGES = DICE.integers(0, 256, (6, 4, 3072), np.uint8)
LABELS = DICE.integers(0, 10, (6, 4), np.uint8)
PACKED = [("", bytes), (".gz", gzip.compress), (".xz", lzma.compress), (".bz2", bz2.compress)]


def cifar_files(kind: str) -> dict[str, bytes]:
    if kind == "binary":
        rows = np.concatenate([LABELS[:, :, None], IMAGES], axis=2)
        return {f"{name}.bin": row.tobytes() for name, row in zip(PARTS, rows, strict=True)}
    return {
        name: pickle.dumps({b"data": images, b"labels": labels.tolist(), b"filenames": ["x.png"] * 4}, 2)
        for name, images, labels in zip(PARTS, IMAGES, LABELS, strict=True)
    }


Pack = Callable[[bytes], bytes]


def put(folder: Path, files: dict[str, bytes], suffix: str = "", pack: Pack = bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / (name + suffix)).write_bytes(pack(content))


def archive(path: Path, files: dict[str, bytes], mode: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    others = {"readme.html": b"", "batches.meta": b"cos\nsystem\n."}
    put(path.parent / "in", dict(reversed(files.items())) | others)
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        tar.add(path.parent / "in", "cifar-10-batches")
    for file in (path.parent / "in").iterdir():
        file.unlink()


def whole(chunks: list[Chunk]) -> Chunk:
    images, labels = zip(*chunks, strict=True)
    return np.concatenate(images), np.concatenate(labels)


def check_cifar(splits: Splits | None) -> None:
    assert splits is not None
    for _ in range(2):
        images, labels = whole(list(splits.train()))
        np.testing.assert_array_equal(images, IMAGES[:5].reshape(20, 3, 32, 32))
        np.testing.assert_array_equal(labels, LABELS[:5].reshape(-1))
    images, labels = whole(list(splits.test()))
    np.testing.assert_array_equal(images, IMAGES[5].reshape(4, 3, 32, 32))
    np.testing.assert_array_equal(labels, LABELS[5])


@pytest.mark.parametrize("folder", ["", "cifar-10", "cifar-10-batches-bin", "cifar-10/cifar-10-batches-py"])
@pytest.mark.parametrize(("suffix", "pack"), PACKED, ids=[suffix for suffix, _ in PACKED])
@pytest.mark.parametrize("kind", ["binary", "python"])
def test_cifar_files(tmp_path: Path, kind: str, suffix: str, pack: Pack, folder: str) -> None:
    put(tmp_path / folder, cifar_files(kind), suffix, pack)
    check_cifar(cifar10.find(tmp_path, tmp_path / "scratch"))


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("cifar-10-binary.tar.gz", "w:gz"),
        ("cifar-10-python.tar.gz", "w:gz"),
        ("cifar-10/cifar-10-binary.tar.xz", "w:xz"),
        ("cifar-10-python.tar", "w"),
    ],
)
def test_cifar_archives(tmp_path: Path, name: str, mode: str) -> None:
    archive(tmp_path / name, cifar_files("binary" if "binary" in name else "python"), mode)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    check_cifar(cifar10.find(tmp_path, scratch))
    assert len(list(scratch.iterdir())) == 6


def test_nothing_there(tmp_path: Path) -> None:
    for data in (cifar10, mnist):
        assert data.find(tmp_path, tmp_path) is None
        assert data.find(tmp_path / "missing", tmp_path) is None


def read_all(find: Callable[[Path, Path], Splits | None], folder: Path) -> None:
    splits = find(folder, folder)
    assert splits is not None
    list(splits.train())
    list(splits.test())


def cifar_fails(folder: Path, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read_all(cifar10.find, folder)


def test_some_cifar_files_missing(tmp_path: Path) -> None:
    files = cifar_files("binary")
    del files["data_batch_3.bin"], files["test_batch.bin"]
    put(tmp_path, files)
    cifar_fails(tmp_path, r"missing: data_batch_3\.bin, test_batch\.bin$")


def test_damaged_cifar_files(tmp_path: Path) -> None:
    files = cifar_files("binary")
    put(tmp_path, files | {"data_batch_2.bin": files["data_batch_2.bin"][:-1]})
    cifar_fails(tmp_path, r"data_batch_2\.bin is cut off: it ends within record 3")
    put(tmp_path, files | {"data_batch_2.bin": b"\x0b" + bytes(3072)})
    cifar_fails(tmp_path, r"data_batch_2\.bin is not of CIFAR-10: there is a label 11")
    put(tmp_path, files | {"data_batch_2.bin": lzma.compress(files["data_batch_2.bin"])[:-50]})
    cifar_fails(tmp_path, r"data_batch_2\.bin cannot be read")


@pytest.mark.parametrize(
    "content",
    [
        {"data": IMAGES[0]},
        [1, 2],
        {"data": IMAGES[0], "labels": [1, 2, 3]},
        {"data": [1], "labels": [1]},
        {"data": IMAGES[0].astype(float), "labels": [1] * 4},
        {"data": IMAGES[0], "labels": ["a"] * 4},
        {"data": IMAGES[0], "labels": [-1] * 4},
    ],
)
def test_other_pickles(tmp_path: Path, content: object) -> None:
    put(tmp_path, cifar_files("python") | {"data_batch_4": pickle.dumps(content, 2)})
    cifar_fails(tmp_path, "data_batch_4 is not of CIFAR-10")


def test_archives_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(b"no archive")
    cifar_fails(tmp_path, r"cifar-10-binary\.tar\.gz cannot be read")
    archive(tmp_path / "cifar-10-binary.tar.gz", {}, "w:gz")
    cifar_fails(tmp_path, "does not hold the files of CIFAR-10")


DIGITS = DICE.integers(0, 256, (1250, 5, 4), np.uint8)
NUMBERS = DICE.integers(0, 10, 1250, np.uint8)


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def mnist_files(separator: str = "-") -> dict[str, bytes]:
    return {
        f"train-images{separator}idx3-ubyte": idx(DIGITS[:1200]),
        f"train-labels{separator}idx1-ubyte": idx(NUMBERS[:1200]),
        f"t10k-images{separator}idx3-ubyte": idx(DIGITS[1200:]),
        f"t10k-labels{separator}idx1-ubyte": idx(NUMBERS[1200:]),
    }


@pytest.mark.parametrize("folder", ["", "mnist", "MNIST/raw"])
@pytest.mark.parametrize("separator", ["-", "."])
@pytest.mark.parametrize(("suffix", "pack"), PACKED, ids=[suffix for suffix, _ in PACKED])
def test_mnist_files(tmp_path: Path, suffix: str, pack: Pack, separator: str, folder: str) -> None:
    put(tmp_path / folder, mnist_files(separator), suffix, pack)
    splits = mnist.find(tmp_path, tmp_path)
    assert splits is not None
    for part, chosen in ((splits.train, slice(1200)), (splits.test, slice(1200, None))):
        images, labels = whole(list(part()))
        np.testing.assert_array_equal(images, DIGITS[chosen, None])
        np.testing.assert_array_equal(labels, NUMBERS[chosen])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"train-images-idx3-ubyte": idx(DIGITS[:1200])[:-1]}, "train-images-idx3-ubyte is cut off"),
        ({"train-images-idx3-ubyte": idx(DIGITS[:1200])[:-20]}, "announces 1200 records and has only 1199"),
        ({"train-images-idx3-ubyte": idx(DIGITS[:1200]) + bytes(20)}, "announces 1200 records and has more"),
        ({"train-images-idx3-ubyte": idx(DIGITS[:1100])}, "not of the same number"),
        ({"train-labels-idx1-ubyte": idx(NUMBERS[:1200])[:-1]}, "has only 1199"),
        ({"train-labels-idx1-ubyte": idx(DIGITS)}, "is not an IDX file of bytes with 1 axes"),
        ({"t10k-images-idx3-ubyte": b""}, "is not an IDX file of bytes with 3 axes"),
        ({"t10k-images-idx3-ubyte": b"\0\0\x08\x03\0\0\0\x32" + b"\xff" * 8}, "images are of 4294967295×"),
        ({"t10k-labels-idx1-ubyte": gzip.compress(idx(NUMBERS[1200:]))[:-9]}, "t10k-labels.* cannot be read"),
    ],
)
def test_damaged_mnist_files(tmp_path: Path, changed: dict[str, bytes], words: str) -> None:
    put(tmp_path, mnist_files() | changed)
    with pytest.raises(DataError, match=words):
        read_all(mnist.find, tmp_path)


def test_some_mnist_files_missing(tmp_path: Path) -> None:
    files = mnist_files()
    del files["t10k-labels-idx1-ubyte"]
    put(tmp_path, files)
    with pytest.raises(DataError, match="missing: t10k-labels-idx1-ubyte$"):
        mnist.find(tmp_path, tmp_path)


def test_pairs_are_two_images_and_whether_they_show_the_same() -> None:
    images, labels = whole(list(mnist.pairs(DIGITS[:, None], NUMBERS)))
    again, _ = whole(list(mnist.pairs(DIGITS[:, None], NUMBERS)))
    np.testing.assert_array_equal(images, again)
    assert images.shape == (1250, 2, 5, 4)
    number_of = {image.tobytes(): number for image, number in zip(DIGITS, NUMBERS, strict=True)}
    for (one, other), label in zip(images, labels, strict=True):
        assert label == (number_of[one.tobytes()] == number_of[other.tobytes()])
    assert 70 < labels.sum() < 190


def _hostile_tar(header: tarfile.TarInfo, content: bytes, size: bytes = b"") -> bytes:
    block = bytearray(header.tobuf(tarfile.USTAR_FORMAT))
    if size:
        block[124:136] = size
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block[:512])
    return bytes(block) + content + bytes(-len(content) % 512 + 1024)


def _extended(record: bytes) -> bytes:
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, len(record)
    return _hostile_tar(header, record)


@pytest.mark.parametrize(
    "content",
    [
        _extended(b"21 hdrcharset=\xaf\xff\xfe\xfd\xfc\xfb\n"),
        _hostile_tar(tarfile.TarInfo("huge"), b"", b"\x80" + b"\xff" * 11),
        b"",
    ],
    ids=["charset", "huge", "empty"],
)
def test_an_archive_with_broken_headers_is_one_sentence(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(DataError) as error:
        unpack(tmp_path / "a.tar", ["data.bin"], tmp_path)
    assert str(error.value).startswith(f"{tmp_path / 'a.tar'}") and "\n" not in str(error.value)
