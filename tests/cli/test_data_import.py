"""``caffelite data import``: what one has, as a database."""

import json
from pathlib import Path

import numpy as np
import pytest
from records import records


@pytest.fixture
def flowers(run_folder) -> Path:
    for name, numbers in {"b": [1, 2], "a": [0]}.items():
        Path("flowers", name).mkdir(parents=True)
        for i in numbers:
            Path("flowers", name, f"{i}.png").write_bytes(Path(f"img/0{i}.png").read_bytes())
    return Path("flowers")


def test_a_folder_a_class(caffelite, flowers):
    code, out, err = caffelite("data", "import", str(flowers), "flowers.lmdb")
    assert (code, out) == (0, "flowers.lmdb: 3 images of 3×16×16; classes: flowers_classes.txt\n"), err
    assert Path("flowers_classes.txt").read_text() == "a\nb\n"
    assert [(key, datum.label) for key, datum in records("flowers.lmdb")] == [
        ("00000000_a/0.png", 0),
        ("00000001_b/1.png", 1),
        ("00000002_b/2.png", 1),
    ]
    # More of one class: its number stays.
    Path("flowers/a/0.png").unlink()
    Path("flowers/a").rmdir()
    assert caffelite("data", "import", "flowers/", "flowers.lmdb", "--append")[0] == 0
    assert [datum.label for _, datum in records("flowers.lmdb")] == [0, 1, 1, 1, 1]
    Path("flowers/b").rename("flowers/c")
    code, _, err = caffelite("data", "import", "flowers", "flowers.lmdb", "--append")
    assert code == 1 and 'flowers has a class "c", which is not among the 2 that there are' in err
    code, _, err = caffelite("data", "import", "flowers", "flowers.lmdb")
    assert code == 1 and "is there already" in err
    assert Path("flowers_classes.txt").read_text() == "a\nb\n" and len(records("flowers.lmdb")) == 5


@pytest.mark.parametrize(
    ("source", "options", "shape", "labels"),
    [
        ("list.txt", ["--root", "img/"], [3, 16, 16], [0, 1, 2, 3] * 6),
        ("img/here.txt", [], [3, 16, 16], [5]),
        ("set.npz", ["--names", "x_test,y_test"], [1, 4, 4], [1, 2, 3]),
        ("pixels.csv", ["--shape", "1,2,1"], [1, 2, 1], [4, 5]),
        ("paths.csv", ["--root=img/", "--gray"], [1, 16, 16], [3]),
    ],
)
def test_other_sources(source, options, shape, labels, caffelite, run_folder):
    Path("img/here.txt").write_text("00.png 5\n")
    np.savez("set.npz", x_test=np.zeros((3, 4, 4), np.uint8), y_test=[1, 2, 3], x_train=np.ones(2), y_train=[1, 2])
    Path("pixels.csv").write_text("4,0,1\n5,2,3\n")
    Path("paths.csv").write_text("file,label\n00.png,3\n")
    code, out, err = caffelite("data", "import", source, "new_lmdb", *options, "--json")
    assert code == 0, err
    assert (json.loads(out)["images"], json.loads(out)["shape"]) == (len(labels), shape)
    assert [datum.label for _, datum in records("new_lmdb")] == labels


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["none", "new"], 1, "none: there is no such file or folder"),
        (["img", "new"], 1, "img has no folders in it; expected is a folder a class"),
        (["list.txt", "new", "--names", "a"], 2, '"a" is not two names of arrays with a comma between'),
        (["list.txt", "new", "--shape", "1,0,2"], 2, '"1,0,2" is not channels, height and width, with commas'),
        (["list.txt", "new"], 1, "none of 24 images could be read"),
        (["list.txt", "new", "--names", "a,b"], 1, "--names is for a .npz file or an HDF5 file; list.txt is a list"),
        (["img", "new", "--labels", "2"], 1, "--labels is for a list; img is a folder"),
    ],
)
def test_what_is_wrong_is_one_sentence(arguments, code, said, caffelite, run_folder):
    result = caffelite("data", "import", *arguments)
    assert result[0] == code and said in result[2] and not Path("new").exists()


def test_help_of_data_has_both_its_uses(caffelite):
    _, out, _ = caffelite("data", "--help")
    assert "caffelite data cifar10" in out and "caffelite data import" in out
    assert caffelite("help", "data", "import") == caffelite("data", "import", "--help")
    assert "examples:" in caffelite("data", "import", "--help")[1]
