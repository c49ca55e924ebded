"""``caffelite summary``, and ``--input`` where a diagram is drawn without its data."""

import json
from pathlib import Path

import pytest


@pytest.fixture
def no_data(run_folder):
    Path("train_lmdb").rename("elsewhere")


def test_a_table(caffelite, run_folder):
    code, out, err = caffelite("summary", "-model", "net.prototxt")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == 'net.prototxt: net "interop" in TRAIN, 7 layers'
    assert "Total: 1,721 parameters (13 of them statistics)" in out and "258,048 multiply-adds" in out


def test_the_net_of_a_solver_in_test(caffelite, run_folder):
    told = json.loads(caffelite("summary", "solver.prototxt", "-phase", "test", "--json")[1])
    assert told["phase"] == "TEST" and told["complete"]
    assert "accuracy" in [layer["layer"] for layer in told["layers"]]


def test_without_data_it_says_what_it_lacks(caffelite, no_data):
    code, out, _ = caffelite("summary", "net.prototxt")
    assert code == 0
    assert "conv1  Convolution      ?" in out
    assert "there is no such database; --input data=N,C,H,W tells its shape instead" in out


def test_with_a_shape_in_place_of_data(caffelite, no_data):
    told = json.loads(caffelite("summary", "net.prototxt", "--json", "--input", "data=2,3,16,16")[1])
    assert told["complete"] and told["parameters"] == 1721
    assert told["layers"][0]["tops"] == [{"blob": "data", "shape": [2, 3, 16, 16]}, {"blob": "label", "shape": [2]}]


def test_a_diagram_with_a_shape_in_place_of_data(caffelite, no_data):
    assert caffelite("draw", "net.prototxt", "a.dot", "--phase", "train")[2] == "a.dot: 7 layers\n"
    assert "×16×16" not in Path("a.dot").read_text()
    err = caffelite("draw", "net.prototxt", "a.dot", "--phase", "train", "-input", "data=2,3,16,16")[2]
    assert err == "a.dot: 7 layers, 1.72 k parameters (6.88 kB), 86 k multiply-adds, 33.8 kB of blobs\n"
    assert "2×6×16×16" in Path("a.dot").read_text()


@pytest.mark.parametrize("command", [["summary", "net.prototxt"], ["draw", "net.prototxt", "a.dot"]])
@pytest.mark.parametrize(
    ("given", "code", "text"),
    [
        ("dat=1,3,16,16", 1, 'the blob "dat", which is not there; did you mean "data"?'),
        ("data=1,3", 1, 'layer "conv1"'),
        ("data=1,3,16,0", 2, '"data=1,3,16,0" is not BLOB=N,C,H,W'),
        ("1,3,16,16", 2, "is not BLOB=N,C,H,W"),
    ],
)
def test_shapes_that_cannot_be(command, given, code, text, caffelite, run_folder):
    answer = caffelite(*command, "--input", given)
    assert answer[:2] == (code, "")
    assert text in answer[2] and answer[2].count("\n") == 1
