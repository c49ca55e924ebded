"""A data set is made from what is at hand, whole or not at all, and says what it is made from."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import lmdb
import numpy as np
import pytest

from caffelite.data.database import open_database
from caffelite.data.records import decode
from caffelite.data.writing import write_database
from caffelite.datasets import prepare as datasets
from caffelite.datasets import synthetic
from caffelite.datasets.build import write_images
from caffelite.datasets.download import Remote, downloads_folder
from caffelite.datasets.originals import Chunk, Splits
from caffelite.datasets.prepare import DATASETS, Prepared, dataset_of, origin_of, prepare
from caffelite.errors import DataError
from caffelite.schema.blobs import read_blob
from caffelite.schema.messages import BlobProto, Datum

DICE = np.random.default_rng(8)
IMAGES = DICE.integers(0, 256, (6, 3, 3, 32, 32), np.uint8)
LABELS = DICE.integers(0, 10, (6, 3), np.uint8)
FILES = ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"]


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No environment, no network, an empty cache, and a built-in set of a few images."""
    monkeypatch.setenv("CAFFELITE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CAFFELITE_DATA", raising=False)
    for name, make in (("cifar10", synthetic.shapes), ("mnist", synthetic.digits)):
        remotes = (Remote("cifar-10-binary.tar.gz", 3, "0" * 64, ("http://127.0.0.1:1/x",)),)
        builtin = Splits(lambda make=make: make(0, 20), lambda make=make: make(20, 10))  # type: ignore[misc]
        small = dataclasses.replace(DATASETS[name], remotes=remotes, builtin=builtin)
        monkeypatch.setitem(DATASETS, name, small)


def put_originals(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name, images, labels in zip(FILES, IMAGES, LABELS, strict=True):
        rows = np.concatenate([labels[:, None], images.reshape(3, -1)], axis=1)
        (folder / f"{name}.bin").write_bytes(rows.tobytes())
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


CIFAR = ["cifar10_mean.binaryproto", "cifar10_origin.txt", "cifar10_test_lmdb", "cifar10_train_lmdb"]


def test_names_of_sources() -> None:
    assert dataset_of("data/cifar10_train_lmdb") == "cifar10"
    assert dataset_of("examples/cifar10/cifar10_test_lmdb/") == "cifar10"
    assert dataset_of(Path("data/cifar10_mean.binaryproto")) == "cifar10"
    assert dataset_of("mnist_siamese_train_lmdb") == "mnist"
    assert dataset_of("data/mnist_test_lmdb") == "mnist"
    assert dataset_of("data/ilsvrc12_train_lmdb") is None
    assert dataset_of("") is None


def keys(path: Path) -> list[bytes]:
    """Read the keys of a database with nothing of ours in between."""
    with lmdb.open(str(path), readonly=True, lock=False) as environment, environment.begin() as transaction:
        return [bytes(key) for key, _ in transaction.cursor()]


def test_from_originals(tmp_path: Path) -> None:
    said: list[str] = []
    source = put_originals(tmp_path / "source")
    made = prepare("cifar10", tmp_path / "data", source, said.append)
    assert made == Prepared("cifar10", tmp_path / "data", f"made from the originals in {source}", False)
    assert made.notice == ""
    assert said == [f"cifar10: {tmp_path}/data/cifar10_* {made.origin}, 15 training and 3 test images"]
    assert names(tmp_path / "data") == CIFAR
    assert keys(tmp_path / "data" / "cifar10_train_lmdb") == [b"%05d" % i for i in range(15)]
    train = open_database(tmp_path / "data" / "cifar10_train_lmdb")
    assert len(train) == 15
    for i in range(15):
        image, label = decode(train.read(i))
        np.testing.assert_array_equal(image, IMAGES[i // 3, i % 3])
        assert label == LABELS[i // 3, i % 3]
    # Bit for bit what Caffe's convert_cifar_data serializes.
    first = Datum(channels=3, height=32, width=32, data=IMAGES[0, 0].tobytes(), label=int(LABELS[0, 0]))
    assert train.read(0) == first.SerializeToString()
    assert len(open_database(tmp_path / "data" / "cifar10_test_lmdb")) == 3


def test_the_mean_is_that_of_compute_image_mean(tmp_path: Path) -> None:
    images = DICE.integers(0, 256, (70, 2, 3, 4), np.uint8)
    chunks: Iterator[Chunk] = ((part, np.zeros(len(part), np.uint8)) for part in (images[:40], images[40:]))
    write_images(tmp_path / "db", chunks, 5, tmp_path / "mean")
    total = np.zeros((2, 3, 4), np.float32)
    for image in images:
        total += image.astype(np.float32)
    np.testing.assert_array_equal(read_blob(tmp_path / "mean"), (total / np.float32(70))[None])
    blob = BlobProto.FromString((tmp_path / "mean").read_bytes())
    assert (blob.num, blob.channels, blob.height, blob.width) == (1, 2, 3, 4)


def test_the_built_in_set_says_what_it_is(tmp_path: Path) -> None:
    said: list[str] = []
    made = prepare("mnist", tmp_path, say=said.append)
    assert made.builtin
    assert made.notice == "this was the built-in set: its accuracy says nothing about MNIST"
    assert len(said) == 1
    assert "could not be downloaded" in said[0]
    assert said[0].endswith("its accuracy says nothing about MNIST")
    assert origin_of(tmp_path, "mnist") == made
    for name, count, channels in (
        ("mnist_train_lmdb", 20, 1),
        ("mnist_test_lmdb", 10, 1),
        ("mnist_siamese_train_lmdb", 20, 2),
        ("mnist_siamese_test_lmdb", 10, 2),
    ):
        assert keys(tmp_path / name)[3] == b"00000003"
        database = open_database(tmp_path / name)
        assert len(database) == count
        assert decode(database.read(3))[0].shape == (channels, 28, 28)


def test_what_is_complete_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = put_originals(tmp_path / "source")
    prepare("cifar10", tmp_path / "data", source)
    before = (tmp_path / "data" / "cifar10_train_lmdb" / "data.mdb").stat()
    said: list[str] = []
    monkeypatch.setenv("CAFFELITE_DATA", str(source))
    made = prepare("cifar10", tmp_path / "data", say=said.append)
    assert not made.builtin
    assert said == [f"cifar10: using {tmp_path}/data/cifar10_*, made from the originals in {source}"]
    assert (tmp_path / "data" / "cifar10_train_lmdb" / "data.mdb").stat() == before


def test_the_built_in_set_gives_way_to_originals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    assert prepare("cifar10", tmp_path / "data").builtin
    assert prepare("cifar10", tmp_path / "data", say=said.append).builtin
    using = f"cifar10: using {tmp_path}/data/cifar10_*, built-in set of drawn images"
    assert said == [f"{using}: its accuracy says nothing about CIFAR-10"]
    monkeypatch.setenv("CAFFELITE_DATA", str(put_originals(tmp_path / "all" / "cifar-10").parent))
    assert not prepare("cifar10", tmp_path / "data").builtin
    assert len(open_database(tmp_path / "data" / "cifar10_train_lmdb")) == 15
    assert names(tmp_path / "data") == CIFAR


def test_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_originals(downloads_folder("cifar10"))
    (downloads_folder("cifar10") / "cifar-10-binary.tar.gz").touch()
    made = prepare("cifar10", tmp_path / "data")
    assert made.origin == f"made from the originals downloaded to {downloads_folder('cifar10')}"


def test_a_source_that_holds_nothing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"does not hold CIFAR-10: looked for data_batch_1\.bin"):
        prepare("cifar10", tmp_path / "data", tmp_path)
    with pytest.raises(DataError, match="missing is not a folder"):
        prepare("cifar10", tmp_path / "data", tmp_path / "missing")
    monkeypatch.setenv("CAFFELITE_DATA", str(tmp_path / "missing"))
    with pytest.raises(DataError, match=r"\$CAFFELITE_DATA names .*missing, which is not a folder"):
        prepare("cifar10", tmp_path / "data")
    with pytest.raises(DataError, match="there are cifar10 and mnist"):
        prepare("cifar100", tmp_path / "data")
    assert not list((tmp_path / "data").iterdir())


def test_damaged_originals_leave_nothing(tmp_path: Path) -> None:
    source = put_originals(tmp_path / "source")
    (source / "test_batch.bin").write_bytes(b"\x01" * 5000)
    with pytest.raises(DataError, match=r"test_batch\.bin is cut off"):
        prepare("cifar10", tmp_path / "data", source)
    assert not list((tmp_path / "data").iterdir())


def test_what_ends_half_way_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = put_originals(tmp_path / "source")

    def stopped(made: Path, path: Path) -> None:
        if path.name == "cifar10_test_lmdb":
            raise KeyboardInterrupt
        made.rename(path)

    with monkeypatch.context() as patch:
        patch.setattr(datasets, "replace", stopped)
        with pytest.raises(KeyboardInterrupt):
            prepare("cifar10", tmp_path / "data", source)
    assert names(tmp_path / "data") == ["cifar10_origin.txt", "cifar10_train_lmdb"]
    assert origin_of(tmp_path / "data", "cifar10") is None
    assert prepare("cifar10", tmp_path / "data").builtin
    assert len(open_database(tmp_path / "data" / "cifar10_train_lmdb")) == 20


def test_files_of_others_stay(tmp_path: Path) -> None:
    write_database(tmp_path / "cifar10_train_lmdb", [(b"mine", b"mine")])
    with pytest.raises(DataError, match="cifar10_train_lmdb was not made by caffelite"):
        prepare("cifar10", tmp_path, again=True)
    prepare("cifar10", tmp_path)
    assert open_database(tmp_path / "cifar10_train_lmdb").read(0) == b"mine"
    assert len(open_database(tmp_path / "cifar10_test_lmdb")) == 10


def test_a_set_without_a_marker_is_used_as_it_is(tmp_path: Path) -> None:
    prepare("cifar10", tmp_path)
    (tmp_path / "cifar10_origin.txt").unlink()
    said: list[str] = []
    assert prepare("cifar10", tmp_path, say=said.append) == Prepared("cifar10", tmp_path, "", False)
    assert said == [f"cifar10: using {tmp_path}/cifar10_*"]


def test_again_does_not_fall_back_from_real_data(tmp_path: Path) -> None:
    prepare("cifar10", tmp_path / "data", put_originals(tmp_path / "source"))
    with pytest.raises(DataError, match="could not be downloaded"):
        prepare("cifar10", tmp_path / "data", again=True)
    assert len(open_database(tmp_path / "data" / "cifar10_train_lmdb")) == 15


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        prepare("cifar10", tmp_path / "file")
