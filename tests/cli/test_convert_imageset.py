"""``caffelite convert_imageset``: Caffe's own command lines, and its records."""

import io
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from records import raw_records, records

from caffelite.data.resizing import resize


def pixels(datum) -> np.ndarray:
    return np.frombuffer(datum.data, np.uint8).reshape(datum.channels, datum.height, datum.width)


@pytest.mark.parametrize(
    ("options", "made"),
    [
        (["--backend=lmdb"], "train_lmdb"),
        (["-backend", "lmdb", "-gray=false", "--noshuffle", "--check_size"], "train_lmdb"),
        (["-encoded"], "encoded_lmdb"),
        (["--encoded=true", "-encode_type", "png", "--resize_height=0", "-resize_width", "0"], "encoded_lmdb"),
    ],
)
def test_records_are_those_of_caffe_byte_for_byte(options, made, caffelite, run_folder):
    code, out, err = caffelite("convert_imageset", *options, "img/", "list.txt", "new_lmdb")
    assert (code, out) == (0, "new_lmdb: 24 images of 3×16×16\n"), err
    assert raw_records("new_lmdb") == raw_records(made)
    assert os.listdir("new_lmdb") == ["data.mdb"]


def test_sizes_greys_and_formats(caffelite, run_folder):
    assert caffelite("convert_imageset", "-resize_height=7", "img/", "list.txt", "--resize_width", "9", "small")[0] == 0
    originals = [pixels(datum) for _, datum in records("train_lmdb")]
    for (_, datum), original in zip(records("small"), originals, strict=True):
        np.testing.assert_array_equal(pixels(datum), resize(original, 7, 9))
    assert caffelite("convert_imageset", "--gray", "img/", "list.txt", "grey")[0] == 0
    grey = [np.asarray(Image.open(f"img/{i:02d}.png").convert("L")) for i in range(24)]
    np.testing.assert_array_equal([pixels(datum)[0] for _, datum in records("grey")], grey)
    assert caffelite("convert_imageset", "-encode_type", "bmp", "img/", "list.txt", "bmps")[0] == 0
    for (_, datum), original in zip(records("bmps"), originals, strict=True):
        image = Image.open(io.BytesIO(datum.data))
        assert (datum.encoded, image.format) == (True, "BMP")
        np.testing.assert_array_equal(np.asarray(image)[:, :, ::-1].transpose(2, 0, 1), original)


def test_a_seed_is_an_order(caffelite, run_folder):
    for name, options in {"a": [], "b": ["--threads", "5"], "c": ["--seed", "2"]}.items():
        assert caffelite("convert_imageset", "-shuffle", *options, "img/", "list.txt", name)[0] == 0
    keys = [key for key, _ in records("a")]
    assert raw_records("a") == raw_records("b") != raw_records("c")
    assert [int(key[:8]) for key in keys] == list(range(24))
    assert sorted(key[9:] for key in keys) == [key[9:] for key, _ in records("train_lmdb")] != [key[9:] for key in keys]
    assert {key[9:]: datum.label for key, datum in records("a")} == {
        key[9:]: datum.label for key, datum in records("train_lmdb")
    }


def test_images_that_cannot_be_read_are_left_out_and_told(caffelite, run_folder):
    Path("img/a b.png").write_bytes(Path("img/00.png").read_bytes())
    Path("odd.txt").write_text("00.png 1\nnone.png 2\nlist.txt 3\na b.png 4\n" + "none.png 1\n" * 12)
    code, out, err = caffelite("convert_imageset", "img/", "odd.txt", "odd", "--json")
    assert code == 0
    assert json.loads(out) == {
        "database": "odd",
        "images": 2,
        "left_out": 14,
        "shape": [3, 16, 16],
        "labels": None,
        "classes": None,
    }
    assert [key for key, _ in records("odd")] == ["00000000_00.png", "00000003_a b.png"]
    assert 'left out: odd.txt:2: "none.png": there is no such file' in err and "left out: 4 more" in err
    Path("odd.txt").write_text("none.png 2\n")
    code, _, err = caffelite("convert_imageset", "img/", "odd.txt", "none")
    assert (code, err.splitlines()[-1]) == (
        1,
        "caffelite: none of 1 images could be read, so none is not written",
    )


def test_append_and_several_labels(caffelite, run_folder):
    Path("rows.txt").write_text("00.png 1 0.5\n01.png 2 -1\n")
    command = ["convert_imageset", "--labels", "2", "img/", "rows.txt", "rows"]
    assert caffelite(*command)[1] == "rows: 2 images of 3×16×16; labels: rows_labels\n"
    assert caffelite(*command)[0] == 1
    assert caffelite(*command, "--append")[1] == "rows: 2 images of 3×16×16 more; labels: rows_labels\n"
    assert [key for key, _ in records("rows")] == [f"0000000{i}_0{i % 2}.png" for i in range(4)]
    assert [list(datum.float_data) for _, datum in records("rows_labels")] == [[1, 0.5], [2, -1]] * 2
    before = raw_records("rows")
    code, _, err = caffelite(*command, "--append", "-resize_height", "3", "-resize_width", "3")
    assert code == 1 and "is of 3×3×3, the first image of rows of 3×16×16" in err
    assert raw_records("rows") == before


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["img/", "none.txt", "new"], 1, 'the list of images "none.txt" cannot be read: No such file or directory'),
        (["img/", "list.txt", "train_lmdb"], 1, "train_lmdb is there already; remove it, or give another name"),
        (["img/", "list.txt", "new", "--append"], 1, "new: there is no such database"),
        (["img/", "none.txt", "new", "-backend=leveldb"], 1, "new: written as LMDB, in place of LevelDB"),
        (["img/", "list.txt", "new", "-resize_width=3"], 1, "resize_height and resize_width are given together"),
        (["img/", "list.txt", "new", "-encode_type", "gif"], 1, 'encode_type "gif" is none of jpg'),
        (["img/", "list.txt"], 2, "the following arguments are required: DB_NAME"),
        (["img/", "list.txt", "new", "-backend=hdf5"], 2, "invalid choice: 'hdf5'"),
        (["img/", "list.txt", "new", "-shufle"], 2, "--shufle is not known"),
        (["img/", "list.txt", "no/where/new"], 0, ""),
    ],
)
def test_what_is_wrong_is_one_sentence(arguments, code, said, caffelite, run_folder):
    result = caffelite("convert_imageset", *arguments)
    assert result[0] == code and said in result[2]
    assert not Path("new").exists()


def test_sizes_that_differ(caffelite, run_folder):
    Image.new("RGB", (5, 5)).save("img/small.png")
    Path("two.txt").write_text("00.png 1\nsmall.png 2\n")
    code, out, err = caffelite("convert_imageset", "img/", "two.txt", "two")
    assert (code, out) == (0, "two: 2 images of 2 sizes\n") and "a net takes images of one size" in err
    code, _, err = caffelite("convert_imageset", "-check_size", "img/", "two.txt", "checked")
    assert code == 1 and '"small.png" is of 3×5×5, the first image of checked of 3×16×16' in err
    assert not Path("checked").exists()


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ended_by_a_signal_nothing_is_left(python, run_folder):
    Path("long.txt").write_text(Path("list.txt").read_text() * 4000)
    process = python("-m", "caffelite", "convert_imageset", "img/", "long.txt", "long")
    try:
        while not any(name.endswith(".unfinished") for name in os.listdir()):
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert (process.returncode, err.splitlines()[-1]) == (143, "caffelite: ended by SIGTERM")
    assert not any("long" in name and name != "long.txt" for name in os.listdir())
