"""write_lmdb: what programs have as images and labels, and what is stored of it."""

import io
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from records import records

import caffelite
from caffelite.data.writing import write_database
from caffelite.errors import DataError
from caffelite.net import Net
from caffelite.schema.text import net_from_text
from caffelite.words import TEST

RNG = np.random.default_rng(1)
PICTURE = RNG.integers(0, 256, (4, 5, 3), np.uint8)
BGR = PICTURE[:, :, ::-1].transpose(2, 0, 1)
FLOATS = RNG.normal(size=(2, 4, 5)).astype(np.float32)


class Tensor:
    """As much of torch.Tensor as is asked for."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def detach(self) -> "Tensor":
        return self

    def cpu(self) -> "Tensor":
        return self

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.values


class Vision:
    """As much of a data set of torchvision as iterating takes: no ``__iter__``."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        if index >= 3:
            raise IndexError
        return Image.fromarray(PICTURE + np.uint8(index)), index


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def stored(path: Path) -> list[np.ndarray]:
    """Return the values of raw records, in their shapes."""
    arrays = []
    for _, datum in records(path):
        values = np.frombuffer(datum.data, np.uint8) if datum.data else np.array(datum.float_data, np.float32)
        arrays.append(values.reshape(datum.channels, datum.height, datum.width))
    return arrays


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.fromarray(PICTURE), BGR),
        (Image.fromarray(PICTURE[:, :, 0]), PICTURE[None, :, :, 0]),
        (Image.fromarray(PICTURE).convert("RGBA"), BGR),
        (PICTURE, BGR),
        (PICTURE.astype(np.int64), BGR),
        (PICTURE[:, :, :1], PICTURE[None, :, :, 0]),
        (PICTURE[:, :, 0], PICTURE[None, :, :, 0]),
        (png(PICTURE), BGR),
        ({"bytes": png(PICTURE), "path": None}, BGR),
        (np.ascontiguousarray(BGR), BGR),
        (FLOATS, FLOATS),
        (FLOATS.astype(np.float64), FLOATS),
        (FLOATS[0, 0], FLOATS[0, 0].reshape(5, 1, 1)),
        (Tensor(FLOATS), FLOATS),
        (Tensor(np.ascontiguousarray(PICTURE.transpose(2, 0, 1))), PICTURE.transpose(2, 0, 1)),
        (Tensor(FLOATS[0] > 0), (FLOATS[:1] > 0)),
    ],
)
def test_what_is_stored_of_an_image(image: Any, expected: np.ndarray, tmp_path: Path) -> None:
    assert caffelite.write_lmdb(tmp_path / "db", [(image, 3)]) == 1
    ((key, datum),) = records(tmp_path / "db")
    assert (key, datum.label, datum.encoded) == ("00000000", 3, False)
    np.testing.assert_array_equal(stored(tmp_path / "db")[0], expected)


def test_data_sets_of_others_are_taken_as_they_are(tmp_path: Path) -> None:
    calls = []
    assert caffelite.write_lmdb(tmp_path / "vision", Vision(), progress=lambda: calls.append(1)) == 3
    faces = ({"image": Image.fromarray(PICTURE + np.uint8(i)), "label": np.int64(i)} for i in range(3))
    caffelite.write_lmdb(tmp_path / "faces", faces)
    assert records(tmp_path / "vision") == records(tmp_path / "faces")
    assert [datum.label for _, datum in records(tmp_path / "faces")] == [0, 1, 2] and len(calls) == 3
    np.testing.assert_array_equal(stored(tmp_path / "faces")[2], (PICTURE + np.uint8(2))[:, :, ::-1].transpose(2, 0, 1))


def test_labels_that_are_several_train_a_net_from_a_second_database(tmp_path: Path) -> None:
    labels = RNG.normal(size=(6, 3)).astype(np.float32)
    pairs = [(PICTURE + np.uint8(i), labels[i]) for i in range(4)]
    caffelite.write_lmdb(tmp_path / "boxes.lmdb", pairs)
    more = [(PICTURE, labels[4].tolist()), (PICTURE, Tensor(labels[5]))]
    assert caffelite.write_lmdb(tmp_path / "boxes.lmdb", more, append=True) == 2
    assert [key for key, _ in records(tmp_path / "boxes.lmdb")] == [
        key for key, _ in records(tmp_path / "boxes_labels.lmdb")
    ]
    text = "".join(
        f'layer {{ name: "{name}" type: "Data" top: "{name}" data_param {{ source: "{tmp_path / name}.lmdb" '
        f"backend: LMDB batch_size: 6 }} }}\n"
        for name in ("boxes", "boxes_labels")
    )
    net = Net(net_from_text(text, "a.prototxt"), TEST, keep=True)
    net.forward()
    np.testing.assert_array_equal(net.blobs["boxes_labels"].data.reshape(6, 3), labels)
    np.testing.assert_array_equal(net.blobs["boxes"].data[3], (PICTURE + np.uint8(3))[:, :, ::-1].transpose(2, 0, 1))
    net.close()
    with pytest.raises(DataError, match="the label of image 0 is a row of 2, that of the first image a row of 3"):
        caffelite.write_lmdb(tmp_path / "boxes.lmdb", [(PICTURE, [1, 2])], append=True)
    with pytest.raises(DataError, match="has labels in .*boxes_labels.lmdb; these images have whole numbers"):
        caffelite.write_lmdb(tmp_path / "boxes.lmdb", [(PICTURE, 1)], append=True)
    assert len(records(tmp_path / "boxes.lmdb")) == len(records(tmp_path / "boxes_labels.lmdb")) == 6


def test_a_float_is_a_label_of_one_value(tmp_path: Path) -> None:
    caffelite.write_lmdb(tmp_path / "db", [(PICTURE, 0.25), (PICTURE, 3.0)])
    assert [list(datum.float_data) for _, datum in records(tmp_path / "db_labels")] == [[0.25], [3.0]]


def test_settings(tmp_path: Path) -> None:
    caffelite.write_lmdb(tmp_path / "a", [(PICTURE, 1)], gray=True, resize_height=2, resize_width=3)
    assert stored(tmp_path / "a")[0].shape == (1, 2, 3)
    caffelite.write_lmdb(tmp_path / "b", [(PICTURE, 1), (png(PICTURE), 1)], encode_type="png")
    for _, datum in records(tmp_path / "b"):
        assert datum.encoded
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(datum.data))), PICTURE)


@pytest.mark.parametrize(
    ("pairs", "settings", "text"),
    [
        ([], {}, "there is nothing to write to .*db: no images"),
        ([PICTURE], {}, "image 0 is a ndarray; expected is an image and a label"),
        ([{"pixels": 1, "label": 2}], {}, "image 0 has no image or img; it has pixels, label"),
        ([(object(), 1)], {}, "image 0 is a object; an image is a path, the bytes of a file, a Pillow image"),
        ([("none.png", 1)], {}, "image 0: there is no such file"),
        ([(b"GIF", 1)], {}, "image 0 is not an image that can be decoded"),
        ([(PICTURE, "cat")], {}, "the label of image 0 is neither a number nor a row of numbers"),
        ([(PICTURE, 1 << 31)], {}, "the label of image 0 is 2147483648, which does not fit in 32 bits"),
        ([(PICTURE, 1), (PICTURE, [1.0])], {}, "the label of image 1 is a row of 1, that of the first image a whole"),
        ([(PICTURE, 1), (PICTURE[1:], 1)], {}, "image 1 is of 3×3×5, the first image of .*db of 3×4×5; resize_height"),
        ([(PICTURE, 1), (FLOATS, 1)], {}, "image 1 is stored as float32, the first image of .*db as uint8"),
        ([(np.zeros((2, 3, 4, 5)), 1)], {}, "image 0 is an array of float64, 2×3×4×5; expected are pixels"),
        ([(np.full((3, 3), 300), 1)], {}, "image 0 is an array of int64, 3×3; expected are pixels of 0 to 255"),
        ([(np.zeros((3, 3, 4), np.uint8), 1)], {}, "image 0 is an array of 3×3×4: pixels have one channel or three"),
        ([(FLOATS, 1)], {"resize_height": 2, "resize_width": 2}, "image 0 is of floats, not a picture"),
        ([(FLOATS, 1)], {"gray": True}, "image 0 is of 2×4×5 values, not a picture that can be made grey"),
        ([(FLOATS, 1)], {"encode_type": "png"}, r"image 0 is of 2×4×5 values \(float32\), which cannot be encoded"),
        ([(PICTURE, 1)], {"encoded": True}, "image 0: its name does not say how it is to be encoded; give encode_type"),
        ([(PICTURE, 1)], {"encode_type": "gif"}, 'encode_type "gif" is none of jpg, jpeg, png'),
        ([(PICTURE, 1)], {"resize_width": 3}, "resize_height and resize_width are given together or not at all"),
        ([(PICTURE, 1)], {"append": True}, "db: there is no such database"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    pairs: list[Any], settings: dict[str, Any], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=text) as error:
        caffelite.write_lmdb("db", pairs, **settings)
    assert "\n" not in str(error.value) and os.listdir() == []
    # While the error is held, and the frames with it, no thread waits for a garbage collector.
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("ThreadPool")]


def test_what_is_there_stays(tmp_path: Path) -> None:
    caffelite.write_lmdb(tmp_path / "db", [(PICTURE, 1)])
    with pytest.raises(DataError, match="db is there already; remove it first, or append to it"):
        caffelite.write_lmdb(tmp_path / "db", [(PICTURE, 2)])
    with pytest.raises(DataError, match="image 0 is of 3×3×5, the first image of .*db of 3×4×5"):
        caffelite.write_lmdb(tmp_path / "db", [(PICTURE[1:], 2)], append=True, check_size=False)
    with pytest.raises(DataError, match="image 0 is stored as encoded, the first image of .*db as uint8"):
        caffelite.write_lmdb(tmp_path / "db", [(PICTURE, 2)], append=True, encode_type="png")
    assert [datum.label for _, datum in records(tmp_path / "db")] == [1]


def test_an_error_of_the_programs_own_passes(tmp_path: Path) -> None:
    def pairs():
        yield from [(PICTURE, 1)] * 30
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        caffelite.write_lmdb(tmp_path / "db", pairs())
    assert os.listdir(tmp_path) == []


def test_keys_that_are_not_numbers_are_not_continued(tmp_path: Path) -> None:
    caffelite.write_lmdb(tmp_path / "db", [(PICTURE, 1)])
    value = records(tmp_path / "db")[0][1].SerializeToString()
    write_database(tmp_path / "named", [(b"cat.png", value)])
    with pytest.raises(
        DataError, match='named cannot be continued: its last key, "cat.png", does not begin with a number'
    ):
        caffelite.write_lmdb(tmp_path / "named", [(PICTURE, 1)], append=True)
    write_database(tmp_path / "five", [(b"99999", value)])
    with pytest.raises(DataError, match="five: its keys have 5 digits, too few for image 100000"):
        caffelite.write_lmdb(tmp_path / "five", [(PICTURE, 1)], append=True)
