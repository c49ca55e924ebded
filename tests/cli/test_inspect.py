"""``caffelite inspect``: what Caffe left in tests/caffe, and what is none of its files."""

import gzip
import json
import os
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest

from caffelite.data.writing import write_database
from caffelite.schema.messages import Datum


@pytest.fixture
def inspected(caffelite, run_folder):
    """Inspect a file; return what is told, for programs and for people."""

    def call(file: str, *options: str):
        code, out, err = caffelite("inspect", file, "--json", *options)
        assert (code, err) == (0, "")
        code, text, err = caffelite("inspect", file, *options)
        assert (code, err) == (0, "") and text.startswith(f"{file}: ")
        return json.loads(out), text

    return call


def test_a_net(inspected):
    told, text = inspected("net.prototxt", "--phase", "test")
    assert (told["kind"], told["phase"], told["parameters"], told["statistics"]) == ("net", "TEST", 1721, 13)
    assert told["bytes"] == Path("net.prototxt").stat().st_size
    assert "conv1     Convolution      12×6×16×16" in text


def test_a_solver(inspected):
    told, text = inspected("solver.prototxt")
    assert told["kind"] == "solver"
    assert (told["settings"]["test_iter"], told["settings"]["base_lr"]) == ([2], 0.02)
    assert told["settings"]["solver_mode"] == "CPU"
    assert "of the net net.prototxt" in text and "base_lr              0.02" in text


@pytest.mark.parametrize("file", ["snap_iter_6.caffemodel", "h5/snap_iter_6.caffemodel.h5"])
def test_weights(file, inspected):
    told, text = inspected(file)
    layers = {layer["layer"]: layer["shapes"] for layer in told["layers"]}
    assert layers["conv1"] == [[6, 3, 3, 3], [6]] and layers["ip"] == [[4, 384], [4]]
    assert told["parameters"] == 1721 and "Total: 1,721 parameters, 6.88 kB" in text


@pytest.mark.parametrize("file", ["snap_iter_6.solverstate", "h5/snap_iter_6.solverstate.h5"])
def test_a_state(file, inspected):
    told, text = inspected(file)
    assert told["iteration"] == 6 and told["history"][:2] == [[6, 3, 3, 3], [6]]
    assert "at iteration 6" in text and "snap_iter_6.caffemodel" in text


def test_a_name_that_is_not_utf8(inspected):
    Path("a.solverstate").write_bytes(b"\x08\x01\x12\x02\xff\xfe")
    assert inspected("a.solverstate")[0]["learned_net"] == "\N{REPLACEMENT CHARACTER}" * 2


def test_a_mean(inspected):
    told, text = inspected("mean.binaryproto")
    assert told["shape"] == [1, 3, 16, 16] and len(told["channel_means"]) == 3
    assert told["min"] < told["mean"] < told["max"]
    assert "1×3×16×16" in text


def test_data_in_hdf5(inspected):
    h5py = pytest.importorskip("h5py")
    with h5py.File("rows.h5", "w") as file:
        file["data"] = np.zeros((4, 2, 3), np.float32)
        file["label"] = np.zeros(4, np.int64)
    told, text = inspected("rows.h5")
    assert told["datasets"][0] == {"name": "data", "shape": [4, 2, 3], "dtype": "float32"}
    assert "2 datasets, 4 rows each" in text


@pytest.mark.parametrize("file", ["train_lmdb", "train_lmdb/data.mdb"])
def test_a_database(file, inspected):
    told, text = inspected(file)
    assert (told["records"], told["looked_at"], told["shapes"]) == (24, 24, {"3×16×16": 24})
    assert (told["encoded"], told["labels"]) == (0, {"0": 6, "1": 6, "2": 6, "3": 6})
    assert "All records: 3×16×16; not encoded" in text
    told, text = inspected(file, "--records", "3")
    assert told["looked_at"] == 3 and "The first 3 records" in text


def test_encoded_images(inspected):
    told, text = inspected("encoded_lmdb")
    assert (told["encoded"], told["shapes"]) == (24, {"3×16×16": 24})
    assert "; encoded" in text


def test_records_of_several_kinds(inspected):
    records = [
        Datum(channels=1, height=1, width=2, data=b"ab", label=5).SerializeToString(),
        Datum(channels=2, height=1, width=1, float_data=[1, 2], label=-1).SerializeToString(),
        Datum(data=b"no image", encoded=True).SerializeToString(),
        b"\xff\xff",
    ]
    write_database("mixed", [(b"%d" % i, record) for i, record in enumerate(records)])
    told, text = inspected("mixed")
    assert told["shapes"] == {"1×1×2": 1, "2×1×1": 1, "cannot be decoded": 1}
    assert (told["encoded"], told["float"], told["not_datum"]) == (1, 1, 1)
    assert "1 are no Datum" in text and "-1 to 5, 3 different" in text


def test_a_leveldb(inspected):
    told, text = inspected("train_leveldb")
    assert told["kind"] == "LevelDB" and "LevelDB, 0 tables, 1 log" in text


@pytest.mark.parametrize("packed", [False, True])
def test_a_log(packed, inspected):
    file = "train.log"
    if packed:
        file = "train.log.gz"
        Path(file).write_bytes(gzip.compress(Path("train.log").read_bytes()))
    told, text = inspected(file)
    assert (told["net"], told["first_iteration"], told["last_iteration"]) == ("interop", 0, 12)
    assert told["finished"] and told["tests"] == 4
    assert told["values"]["loss"]["first"] == 1.60675 and told["values"]["test 0 accuracy #0"]["last"] == 1
    assert "iterations 0 to 12, finished" in text


def test_a_log_with_years_and_without_numbers(inspected):
    head = "I20261120 10:00:00.000000 12 solver.cpp:1] "
    Path("a.log").write_text(f"{head}Iteration 0, loss = nan\n{head}Iteration 1 (2 iter/s, 1s/1 iters), loss = 3\n")
    told, _ = inspected("a.log")
    assert told["values"]["loss"] == {"count": 2, "first": None, "last": 3.0, "min": 3.0, "max": 3.0}
    assert not told["finished"]


def test_a_file_with_holes_tells_what_it_takes(inspected):
    with open("train_lmdb/data.mdb", "r+b") as file:
        file.truncate(1 << 30)
    told, text = inspected("train_lmdb")
    assert told["bytes"] >= 1 << 30
    if told["bytes_on_disk"] < 1 << 20:
        assert " on the disk" in text


OTHERS = {
    "model.onnx": (b"\x08\x07\x12\x07pytorch:\x02\x0a\x00\x42\x02\x10\x0d", "ONNX"),
    "graph.pb": (b"\x0a\x03\x0a\x01a\x0a\x03\x0a\x01b", "TensorFlow"),
    "a.pkl": (b"\x80\x02}q\x00.", "a Python pickle"),
    "lfs.caffemodel": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
    "page.caffemodel": (b"\n<!DOCTYPE html>\n<html></html>", "HTML"),
    "a.npy": (b"\x93NUMPY\x01\x00", "NumPy"),
    "a.png": (b"\x89PNG\r\n\x1a\n\x00", "PNG"),
    "a.safetensors": (b"\x20\0\0\0\0\0\0\0" + b'{"a":{}}', "safetensors"),
    "a.json": (b'{"nodes": []}', "JSON"),
    "a.gz": (gzip.compress(b"\x00\x01"), "gunzip"),
    "cut.gz": (gzip.compress(b"x" * 1000)[:20], "cannot be unpacked"),
    "words.txt": (b"nothing of Caffe", "neither a prototxt nor a log"),
    "notes.md": (b"# A net\n\nIt is: {small}.\n", "neither a prototxt nor a log"),
    "noise": (b"\xff\xfe\x00\x01", "none of Caffe's files"),
    "empty": (b"", "the file is empty"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_none_of_them(name, caffelite, run_folder):
    content, text = OTHERS[name]
    Path(name).write_bytes(content)
    code, out, err = caffelite("inspect", name)
    assert (code, out) == (1, "")
    assert err.startswith(f"caffelite: {name}: ") and text in err and err.count("\n") == 1


def test_zip_files_are_told_apart(caffelite, run_folder):
    for name, inside, text in (("a.pt", "archive/data.pkl", "PyTorch"), ("a.npz", "x.npy", "NumPy"), ("a", "x", "zip")):
        with zipfile.ZipFile(name, "w") as file:
            file.writestr(inside, b"")
        assert text in caffelite("inspect", name)[2]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("net.protxt", 'No such file or directory; did you mean "net.prototxt"?'),
        ("h5", "a folder that is neither an LMDB"),
        pytest.param(
            os.devnull, "neither a file nor a folder", marks=pytest.mark.skipif(os.name == "nt", reason="no such file")
        ),
    ],
)
def test_what_cannot_be_opened(name, text, caffelite, run_folder):
    code, _, err = caffelite("inspect", name)
    assert code == 1 and text in err and err.count("\n") == 1


def test_one_that_is_none_does_not_keep_the_others(caffelite, run_folder):
    code, out, err = caffelite("inspect", "list.txt", "mean.binaryproto", "missing", "--json")
    assert code == 1
    assert [json.loads(line)["file"] for line in out.splitlines()] == ["mean.binaryproto"]
    assert [line.split(":")[1] for line in err.splitlines()] == [" list.txt", " missing"]


def test_names_in_files_cannot_write_to_the_terminal(caffelite, run_folder):
    Path("a.prototxt").write_text(
        r'name: "\033[31m" layer { name: "\033[2J" type: "Input" top: "x" input_param { shape { dim: 1 } } }'
    )
    assert "\033" not in caffelite("inspect", "a.prototxt")[1]


@pytest.mark.parametrize(
    "file",
    ["mean.binaryproto", "snap_iter_6.caffemodel", "snap_iter_6.solverstate", "train_lmdb/data.mdb", "train.log"],
)
def test_damage_is_told_in_a_sentence(file, caffelite, run_folder):
    whole, dice = Path(file).read_bytes(), random.Random(0)
    for i in range(12):
        damaged = bytearray(whole[: dice.randrange(1, len(whole))] if i % 2 else whole)
        damaged[dice.randrange(min(200, len(damaged)))] ^= 1 << dice.randrange(8)
        Path("damaged").write_bytes(damaged)
        code, _, err = caffelite("inspect", "damaged")
        assert (code, err) == (0, "") or (code == 1 and err.startswith("caffelite: ") and err.count("\n") == 1)
