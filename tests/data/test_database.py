import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lmdb
import numpy as np
import pytest
from PIL import Image

from caffelite.data.database import open_database
from caffelite.data.prefetch import Prefetcher
from caffelite.data.records import RecordStream, decode
from caffelite.data.share import whole
from caffelite.data.writing import write_database
from caffelite.errors import DataError
from caffelite.schema.blobs import read_blob
from caffelite.schema.messages import Datum, TransformationParameter
from caffelite.words import TEST, TRAIN

CAFFE = Path(__file__).parent.parent / "caffe"
LABELS = [i % 4 for i in range(24)]


def where(setting: str) -> str:
    return f"net:1:1 {setting}"


def images() -> np.ndarray:
    """The images Caffe was given, blue green red, channels first."""
    folder = CAFFE / "img"
    found = [np.asarray(Image.open(path).convert("RGB"))[:, :, ::-1] for path in sorted(folder.iterdir())]
    return np.stack(found).transpose(0, 3, 1, 2)


def batch(
    source: Path, size: int, first: int = 0, phase: int = TEST, **settings: object
) -> tuple[np.ndarray, np.ndarray]:
    database = open_database(source)
    stream = RecordStream(database, whole(size), TransformationParameter(**settings), phase, 7, where)
    prefetcher = Prefetcher(stream, 2)
    prefetcher.seek(first)
    data = np.zeros((size, 3, *stream.transformer.size), np.float32)
    label = np.zeros(size, np.float32)
    prefetcher.next(data, label)
    prefetcher.close()
    database.close()
    return data, label


@pytest.mark.parametrize("name", ["train_lmdb", "encoded_lmdb"])
def test_reads_what_caffe_wrote(name: str) -> None:
    data, label = batch(CAFFE / name, 24)
    np.testing.assert_array_equal(data, images())
    assert label.tolist() == LABELS


def test_batches_go_round_in_a_circle() -> None:
    data, label = batch(CAFFE / "train_lmdb", 10, first=20)
    np.testing.assert_array_equal(data, images()[np.arange(20, 30) % 24])
    assert label.tolist() == [LABELS[i % 24] for i in range(20, 30)]


def test_mean_scale_and_crop_in_the_middle() -> None:
    data, _ = batch(CAFFE / "train_lmdb", 5, mean_file=str(CAFFE / "mean.binaryproto"), scale=0.01, crop_size=10)
    mean = read_blob(CAFFE / "mean.binaryproto")[0]
    np.testing.assert_allclose(data, ((images()[:5] - mean) * 0.01)[:, :, 3:13, 3:13], rtol=1e-6, atol=1e-6)
    data, _ = batch(CAFFE / "train_lmdb", 5, mean_value=[1, 2, 3])
    np.testing.assert_allclose(data, images()[:5] - np.array([1, 2, 3]).reshape(3, 1, 1))


def test_random_crop_and_mirror_depend_on_the_number_of_the_image_alone() -> None:
    settings = {"crop_size": 11, "mirror": True}
    whole, _ = batch(CAFFE / "train_lmdb", 24, phase=TRAIN, **settings)
    part, _ = batch(CAFFE / "train_lmdb", 8, first=16, phase=TRAIN, **settings)
    np.testing.assert_array_equal(whole[16:], part)
    seen = set()
    for image, crop in zip(images(), whole, strict=True):
        at = [
            (y, x, turned)
            for y in range(6)
            for x in range(6)
            for turned in (False, True)
            if (image[:, y : y + 11, x : x + 11][:, :, :: -1 if turned else 1] == crop).all()
        ]
        assert at
        seen.update(at)
    assert {turned for _, _, turned in seen} == {False, True}
    assert len(seen) > 12


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"crop_size": 17}, "crop_size: crop_size 17 is larger than the images, 3×16×16"),
        ({"mean_value": [1, 2]}, "mean_value is given 2 times for 3 channels"),
        ({"mean_file": "none.binaryproto"}, 'mean file "none.binaryproto" does not exist'),
        ({"mean_value": [1], "mean_file": "x"}, "not both"),
    ],
)
def test_settings_that_do_not_fit(settings: dict[str, object], expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        batch(CAFFE / "train_lmdb", 2, **settings)


def test_not_a_database(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such database"):
        open_database(tmp_path / "none")
    with pytest.raises(DataError, match='this is a LevelDB; "caffelite convert_db '):
        open_database(CAFFE / "train_leveldb")
    with pytest.raises(DataError, match="has no data.mdb"):
        open_database(tmp_path)
    (tmp_path / "data.mdb").write_bytes(b"rubbish" * 1000)
    with pytest.raises(DataError, match="not an LMDB"):
        open_database(tmp_path)
    with lmdb.open(str(tmp_path / "empty")):
        pass
    with pytest.raises(DataError, match="empty"):
        open_database(tmp_path / "empty")


def test_database_that_is_cut_off(tmp_path: Path) -> None:
    shutil.copytree(CAFFE / "train_lmdb", tmp_path / "cut")
    file = tmp_path / "cut" / "data.mdb"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(DataError, match="cut off"):
        open_database(tmp_path / "cut")


def records(*images: np.ndarray) -> list[tuple[bytes, bytes]]:
    found = []
    for i, image in enumerate(images):
        datum = Datum(channels=image.shape[0], height=image.shape[1], width=image.shape[2], label=i)
        if image.dtype == np.uint8:
            datum.data = image.tobytes()
        else:
            datum.float_data.extend(image.reshape(-1))
        found.append((b"%08d" % i, datum.SerializeToString()))
    return found


def test_float_records(tmp_path: Path) -> None:
    values = np.linspace(-1, 1, 2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    write_database(tmp_path / "db", records(*values))
    data, label = batch(tmp_path / "db", 2, scale=2)
    np.testing.assert_allclose(data, values * 2)
    assert label.tolist() == [0, 1]


def test_records_that_do_not_fit(tmp_path: Path) -> None:
    one, other = np.zeros((3, 4, 4), np.uint8), np.zeros((3, 5, 4), np.uint8)
    write_database(tmp_path / "mixed", records(one, other))
    with pytest.raises(DataError, match="record 1 has shape 3×5×4 .* the first 3×4×4"):
        batch(tmp_path / "mixed", 2)
    write_database(tmp_path / "broken", [*records(one), (b"1", b"\xff\xff\xff")])
    with pytest.raises(DataError, match="record 1 is not a Datum"):
        batch(tmp_path / "broken", 2)
    with pytest.raises(DataError, match="has 2 values for the shape 1×9×9"):
        decode(Datum(channels=1, height=9, width=9, data=b"ab").SerializeToString())
    with pytest.raises(DataError, match="not an image"):
        decode(Datum(encoded=True, data=b"ab").SerializeToString())


def test_small_batches_are_made_several_at_a_time_and_errors_come_with_theirs(tmp_path: Path) -> None:
    pixels = np.arange(30, dtype=np.uint8).reshape(30, 1, 1, 1)
    good = list(records(*pixels))
    write_database(tmp_path / "good", good)
    write_database(tmp_path / "bad", [*good[:17], (good[17][0], b"\xff\xff"), *good[18:]])
    for name, most in (("good", 40), ("bad", 5)):
        database = open_database(tmp_path / name)
        prefetcher = Prefetcher(RecordStream(database, whole(3), TransformationParameter(), TEST, 7, where), 4)
        data, label = np.zeros((3, 1, 1, 1), np.float32), np.zeros(3, np.float32)
        for number in range(most):
            prefetcher.next(data, label)
            assert data.reshape(-1).tolist() == [(3 * number + i) % 30 for i in range(3)]
            assert prefetcher.position == 3 * (number + 1)
        if name == "bad":
            with pytest.raises(DataError, match="record 17 is not a Datum"):
                prefetcher.next(data, label)
        prefetcher.seek(7)
        prefetcher.next(data, None)
        assert data.reshape(-1).tolist() == [7, 8, 9]
        prefetcher.close()
        database.close()


def test_written_database_grows_and_is_read_by_lmdb(tmp_path: Path) -> None:
    many = [(b"%08d" % i, bytes(70_000)) for i in range(1100)]  # more than the first map holds
    assert write_database(tmp_path / "db", iter(many)) == 1100
    with lmdb.open(str(tmp_path / "db"), readonly=True, lock=False) as environment, environment.begin() as transaction:
        assert transaction.stat()["entries"] == 1100
        assert transaction.get(b"00001099") == bytes(70_000)


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    write_database(tmp_path / "db", [(b"a", b"old")])

    def failing():
        yield b"a", b"new"
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_database(tmp_path / "db", failing())
    database = open_database(tmp_path / "db")
    assert database.read(0) == b"old"
    database.close()
    assert [p.name for p in tmp_path.iterdir()] == ["db"]


def test_one_database_for_two_readers() -> None:
    first, second = open_database(CAFFE / "train_lmdb"), open_database(CAFFE / "train_lmdb")
    assert first is second
    first.close()
    assert len(second.read(0)) > 768
    second.close()


def test_any_number_of_threads_read_one_database(tmp_path: Path) -> None:
    expected = [b"%06d" % i * 20 for i in range(3000)]
    write_database(tmp_path / "many", ((b"%06d" % i, value) for i, value in enumerate(expected)))
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(6) as pool:
            for _ in range(5):
                database = open_database(tmp_path / "many")
                found = pool.map(
                    lambda _, d=database: [d.read(i) for i in range(0, 3000, 7)] + [d.read(2999)], range(6)
                )
                assert all(values == [*expected[::7], expected[-1]] for values in found)
                database.close()
    finally:
        sys.setswitchinterval(interval)
