"""caffelite convert_mnist_data, convert_cifar_data and convert_mnist_siamese_data."""

import gzip
from pathlib import Path

import lmdb
import numpy as np
import pytest

from caffelite.schema.messages import Datum

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 3, 4), np.uint8)
LABELS = [3, 1, 3, 0, 9]


def records(path: Path) -> list[tuple[bytes, bytes]]:
    with lmdb.open(str(path), readonly=True, lock=False) as environment, environment.begin() as transaction:
        return list(transaction.cursor())


@pytest.fixture
def mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    monkeypatch.chdir(tmp_path)
    Path("images").write_bytes(np.array([0x803, 5, 3, 4], ">u4").tobytes() + PIXELS.tobytes())
    Path("labels").write_bytes(gzip.compress(np.array([0x801, 5], ">u4").tobytes() + bytes(LABELS)))
    return "images", "labels"


def test_mnist(caffelite, mnist):
    assert caffelite("convert_mnist_data", *mnist, "made_lmdb", "--backend=lmdb") == (0, "made_lmdb: 5 images\n", "")
    # Fields 1 to 5 of a Datum, in the order of their numbers: channels, height, width, data, label.
    expected = [
        (b"%08d" % i, b"\x08\x01\x10\x03\x18\x04\x22\x0c" + PIXELS[i].tobytes() + b"\x28" + bytes([label]))
        for i, label in enumerate(LABELS)
    ]
    assert records(Path("made_lmdb")) == expected
    assert caffelite("convert_mnist_data", *mnist, "made_lmdb")[::2] == (
        1,
        "caffelite: made_lmdb is there already; remove it, or give another name\n",
    )
    code, out, err = caffelite("convert_mnist_data", *mnist, "made_leveldb", "-backend", "leveldb", "-json")
    assert (code, out) == (0, '[{"database": "made_leveldb", "records": 5}]\n')
    assert "written as LMDB, in place of LevelDB" in err
    assert records(Path("made_leveldb")) == expected


def test_mnist_files_that_are_none(caffelite, mnist):
    code, _, err = caffelite("convert_mnist_data", "labels", "images", "made")
    assert code == 1 and "labels is not an IDX file of bytes with 3 axes" in err
    assert not Path("made").exists()


def test_pairs(caffelite, mnist):
    assert caffelite("convert_mnist_siamese_data", *mnist, "made") == (0, "made: 5 pairs\n", "")
    for _, record in records(Path("made")):
        datum = Datum.FromString(record)
        both = np.frombuffer(datum.data, np.uint8).reshape(2, 3, 4)
        shown = [next(LABELS[i] for i in range(5) if (PIXELS[i] == one).all()) for one in both]
        assert datum.label == (shown[0] == shown[1])
    caffelite("convert_mnist_siamese_data", *mnist, "same", "--seed", "1701")
    caffelite("convert_mnist_siamese_data", *mnist, "others", "--seed", "2")
    assert records(Path("same")) == records(Path("made")) != records(Path("others"))


def test_cifar(caffelite, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = np.random.default_rng(1).integers(0, 10, (12, 3073), np.uint8)
    Path("in").mkdir()
    for i in range(6):
        name = "test_batch.bin" if i == 5 else f"data_batch_{i + 1}.bin"
        Path("in", name).write_bytes(rows[2 * i : 2 * i + 2].tobytes())
    code, out, _ = caffelite("convert_cifar_data", "in", "out", "lmdb")
    assert (code, out) == (0, "out/cifar10_train_lmdb: 10 images\nout/cifar10_test_lmdb: 2 images\n")
    made = [*records(Path("out/cifar10_train_lmdb")), *records(Path("out/cifar10_test_lmdb"))]
    head = b"\x08\x03\x10\x20\x18\x20\x22\x80\x18"
    assert [record for _, record in made] == [head + row[1:].tobytes() + b"\x28" + bytes([row[0]]) for row in rows]
    assert [key for key, _ in made] == [b"%05d" % i for i in (*range(10), 0, 1)]
    Path("in/data_batch_3.bin").unlink()
    code, _, err = caffelite("convert_cifar_data", "in", "again", "lmdb")
    assert code == 1 and "missing: data_batch_3.bin" in err
    code, _, err = caffelite("convert_cifar_data", "out", "again", "lmdb")
    assert code == 1 and "out does not hold CIFAR-10" in err
