"""Folders, lists, tables and files of arrays as images and labels."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from caffelite.errors import DataError
from caffelite.imagesets.arrays import from_hdf5, from_npz, from_table
from caffelite.imagesets.datums import Conversion, convert
from caffelite.imagesets.files import in_folders, listed
from caffelite.imagesets.items import Imageset
from caffelite.schema.messages import Datum


def values(imageset: Imageset) -> np.ndarray:
    """Return what is stored of the images, n × channels × height × width."""
    made = [convert(item, Conversion()) for item in imageset.items]
    datums = [Datum.FromString(one.value) for one in made]
    kind = np.uint8 if datums[0].data else np.float32
    flat = [np.frombuffer(d.data, kind) if d.data else np.array(d.float_data, kind) for d in datums]
    return np.stack([one.reshape(m.shape) for one, m in zip(flat, made, strict=True)])


def labels(imageset: Imageset) -> list:
    return [label if isinstance(label, int) else label.tolist() for label in (item.label for item in imageset.items)]


def test_a_list(pictures: list[np.ndarray]) -> None:
    taken = listed("", "list.txt")
    assert labels(taken) == [10, 11, 12, 13, 14]
    assert taken.items[2].name == "one folder/2.png"
    np.testing.assert_array_equal(values(taken), np.stack(pictures)[:, :, :, ::-1].transpose(0, 3, 1, 2))


def test_a_list_with_several_labels(pictures: list[np.ndarray]) -> None:
    Path("rows.txt").write_text("one folder/0.png 1 2.5 -3e-1\n\none folder/1.png\t4   5 6 \r\n")
    taken = listed("", "rows.txt", 3)
    assert labels(taken) == [[1, 2.5, np.float32(-0.3)], [4, 5, 6]]
    assert [item.image for item in taken.items] == ["one folder/0.png", "one folder/1.png"]


def test_folders(pictures: list[np.ndarray]) -> None:
    for name, files in {"b dogs": [0, 3], "a cats": [1], ".hidden": [2]}.items():
        Path("set", name, "deeper").mkdir(parents=True)
        for i in files:
            Image.fromarray(pictures[i]).save(Path("set", name, "deeper" if i else ".", f"{i}.PNG"))
    Path("set/b dogs/notes.txt").write_text("no image")
    taken = in_folders(Path("set"))
    assert taken.classes == ["a cats", "b dogs"]
    assert [(item.name, item.label) for item in taken.items] == [
        ("a cats/deeper/1.PNG", 0),
        ("b dogs/0.PNG", 1),
        ("b dogs/deeper/3.PNG", 1),
    ]
    known = in_folders(Path("set"), ["b dogs", "x", "a cats"])
    assert labels(known) == [2, 0, 0]


@pytest.mark.parametrize("kind", ["npz", "h5"])
@pytest.mark.parametrize(
    ("images", "stored", "names"),
    [
        (np.arange(120, dtype=np.uint8).reshape(2, 4, 5, 3), (2, 3, 4, 5), ("x", "y")),
        (np.arange(120, dtype=np.uint8).reshape(2, 3, 4, 5), (2, 3, 4, 5), ("data", "label")),
        (np.arange(24, dtype=np.int64).reshape(2, 3, 4), (2, 1, 3, 4), ("images", "labels")),
        (np.linspace(0, 1, 24).reshape(2, 12), (2, 12, 1, 1), ("X_train", "y_train")),
    ],
)
def test_files_of_arrays(kind: str, images: np.ndarray, stored: tuple, names: tuple, pictures: list) -> None:
    data, label = names
    if kind == "npz":
        np.savez("set.npz", **{data: images, label: np.array([[3], [4]])})
        taken = from_npz(Path("set.npz"), names if "_" in data else None)
    else:
        with h5py.File("set.h5", "w") as file:
            file[data], file[label] = images, np.array([3.0, 4.0])
        taken = from_hdf5(Path("set.h5"), names if "_" in data else None)
    assert labels(taken) == [3, 4]
    got = values(taken)
    assert got.shape == stored
    if images.ndim == 4 and images.shape[3] == 3:
        images = images[:, :, :, ::-1].transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(got, images.reshape(stored).astype(got.dtype))


def test_rows_of_labels_stay_rows(pictures: list[np.ndarray]) -> None:
    np.savez("set.npz", x=np.zeros((2, 3, 3), np.uint8), y=np.array([[1, 0.5], [2, 0]]))
    assert labels(from_npz(Path("set.npz"))) == [[1, 0.5], [2, 0]]


def test_tables(pictures: list[np.ndarray]) -> None:
    table = Path("set.csv")
    table.write_text("label,p0,p1,p2,p3\n7,0,1,2,255\n8,4,5,6,7\n")
    assert labels(from_table(table)) == [7, 8]
    np.testing.assert_array_equal(values(from_table(table)), [[[[0, 1], [2, 255]]], [[[4, 5], [6, 7]]]])
    assert values(from_table(table, (1, 1, 4))).shape == (2, 1, 1, 4)
    table.write_text("0.5;1;2;3;9\n1e-1;5;6;7;1\n")
    np.testing.assert_array_equal(
        values(from_table_with_heading(table, "a;b;c;d;class\n")),
        np.float32([[[[0.5, 1], [2, 3]]], [[[0.1, 5], [6, 7]]]]),
    )
    table.write_text('path,label\n"0.png",3\n1.png,4\n')
    assert labels(from_table(table, root="one folder/")) == [3, 4]
    assert values(from_table(table, root="one folder/")).shape == (2, 3, 6, 8)
    table.write_text("0.png\t3\t0.5\n")
    assert labels(from_table(table)) == [[3, 0.5]]


def from_table_with_heading(table: Path, heading: str) -> Imageset:
    table.write_text(heading + table.read_text())
    return from_table(table)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no line of a path and a label, or of a label and pixels"),
        ("a,b,c\n", "no line of a path and a label, or of a label and pixels"),
        ("1,2,3\n", "2 pixels are no grey square; give --shape CHANNELS,HEIGHT,WIDTH"),
        ("1,2\n1,2,3\n", "set.csv:2 has 2 pixels, 1×1×1 are 1"),
        ("1,2\n1,256\n", "set.csv:2: a pixel is not a whole number of 0 to 255"),
        ("1,2\n1.5,2\n", "set.csv:2: the line is not a whole number, the label, and pixels"),
        ("0.png,1\n1.png,cat\n", "set.csv:2: the line is not the path of an image and its label"),
        ('0.png,1\n"1.png' + "x" * 200_000, "set.csv is not a table: field larger than field limit"),
    ],
)
def test_tables_that_are_none(text: str, said: str, pictures: list[np.ndarray]) -> None:
    Path("set.csv").write_text(text)
    with pytest.raises(DataError) as error:
        from_table(Path("set.csv"))
    assert said in str(error.value)


def test_what_is_wrong_is_one_sentence(pictures: list[np.ndarray]) -> None:
    Path("bad.txt").write_text("one folder/0.png 1 2\none folder/1.png 1 cat\n")
    Path("empty/a").mkdir(parents=True)
    Path("broken.npz").write_bytes(b"PK\3\4 nothing else")
    Path("broken.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    np.savez("objects.npz", x=np.array([{}], object), y=np.zeros(1))
    np.savez("two.npz", x_train=np.zeros(2), y_train=np.zeros(2), x_test=np.zeros(2), y_test=np.zeros(2))
    np.savez("uneven.npz", x=np.zeros((2, 3)), y=np.zeros(3))
    for call, said in [
        (lambda: listed("", "none.txt", 2), 'the list of images "none.txt" cannot be read'),
        (lambda: listed("", "bad.txt", 2), "bad.txt:2: the line is not the path of an image and 2 numbers"),
        (lambda: in_folders(Path("none")), "none cannot be read: No such file"),
        (lambda: in_folders(Path("one folder")), "one folder has no folders in it; expected is a folder a class"),
        (lambda: in_folders(Path("empty")), "empty/a has no images in it"),
        (lambda: in_folders(Path("empty"), ["b"]), 'empty has a class "a", which is not among the 1'),
        (lambda: from_npz(Path("none.npz")), "none.npz: there is no such file"),
        (lambda: from_npz(Path("broken.npz")), "broken.npz is not a whole .npz file"),
        (lambda: from_npz(Path("one folder/0.png")), "0.png is not a whole .npz file"),
        (lambda: from_npz(Path("objects.npz")), "objects.npz is not a whole .npz file of plain arrays"),
        (lambda: from_npz(Path("two.npz")), "two.npz has x_test, x_train, y_test, y_train; say which"),
        (lambda: from_npz(Path("two.npz"), ("x", "y")), 'two.npz has no "x"; it has x_test'),
        (lambda: from_npz(Path("uneven.npz")), "images of 2×3 and labels of 3; expected are as many of each"),
        (lambda: from_hdf5(Path("none.h5")), "none.h5: there is no such file"),
        (lambda: from_hdf5(Path("broken.h5")), "broken.h5: not a whole HDF5 file"),
    ]:
        with pytest.raises(DataError) as error:
            call()
        assert said in str(error.value) and "\n" not in str(error.value)
