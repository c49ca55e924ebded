"""``caffelite test --confusion --worst``: what is told of single classes and images."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from caffelite.net import Net
from caffelite.words import TEST


@pytest.fixture
def untrained(run_folder):
    """Return arguments for a net that is wrong about much; its classes have names that a plot could take amiss."""
    net = Net("net.prototxt", TEST, weights="snap_iter_12.caffemodel")
    scores = net.params["ip"][0].data
    scores[...] = np.random.default_rng(3).standard_normal(scores.shape)
    net.save("wrong.caffemodel")
    net.close()
    Path("names.txt").write_text('$a_$ b\n"</script>\nשלום\n' + "n" * 300 + "\n\n", encoding="utf-8")
    return ["test", "net.prototxt", "--weights", "wrong.caffemodel", "--labels", "names.txt"]


def test_the_matrix_holds_what_the_accuracy_says(caffelite, untrained):
    code, out, err = caffelite(*untrained, "--confusion", "a.csv", "--json")
    assert code == 0 and "a.csv: 24 predictions of 4 classes\n" in err
    with open("a.csv", newline="", encoding="utf-8") as stream:
        (_, *names), *rows = csv.reader(stream)
    matrix = np.array([row[1:] for row in rows], int)
    told = json.loads(out)
    assert names == [row[0] for row in rows] == [one["name"] for one in told["classes"]] and names[2] == "שלום"
    assert 0 < told["outputs"]["accuracy"] < 1
    assert told["outputs"]["accuracy"] == pytest.approx(matrix.trace() / 24)
    assert [one["labelled"] for one in told["classes"]] == [6] * 4 == matrix.sum(axis=1).tolist()
    assert [one["predicted"] for one in told["classes"]] == matrix.sum(axis=0).tolist()
    assert [one["accuracy"] for one in told["classes"]] == (matrix.diagonal() / 6).tolist()


def test_each_image_counts_once(caffelite, untrained):
    net = Path("net.prototxt").read_text()
    once = json.loads(caffelite(*untrained, "--confusion", "a.csv", "--json")[1])["classes"]
    Path("net.prototxt").write_text(net.replace("batch_size: 12", "batch_size: 10"))
    assert json.loads(caffelite(*untrained, "--confusion", "a.csv", "--json")[1])["classes"] == once
    assert sum(one["labelled"] for one in once) == 24


def test_pictures_and_words(caffelite, untrained):
    code, out, err = caffelite(*untrained, "--confusion", "a.png", "--worst", "b.svg")
    assert code == 0 and "b.svg: 24 of 24 images\n" in err
    assert Path("a.png").read_bytes().startswith(b"\x89PNG") and Path("b.svg").read_bytes().startswith(b"<?xml")
    assert "\nclass" in out and "of 6" in out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--confusion", "a.txt"], "--confusion a.txt: its name ends with .csv, .png, .svg or .pdf"),
        (["--worst", "a.csv"], "--worst a.csv: its name ends with .png, .svg or .pdf"),
        (["--worst", "no/a.png"], "no/a.png: there is no folder no"),
        ([], "--labels is for --confusion and --worst"),
        (
            ["--confusion", "a.csv", "--labels", "net.prototxt"],
            "net.prototxt: it has 11 names, a line each, but the net",
        ),
        (["--confusion", "a.csv", "--labels", "no.txt"], "no.txt: the names of classes cannot be read: No such file"),
    ],
)
def test_what_cannot_be_done(options, said, caffelite, untrained):
    code, out, err = caffelite(*untrained, *options)
    assert (code, out) == (1, "") and err.startswith(f"caffelite: {said}") and err.count("\n") == 1


def test_without_matplotlib(caffelite, untrained, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, out, err = caffelite(*untrained, "--confusion", "a.png")
    # Before the test, not after it.
    assert (code, out, err) == (1, "", "caffelite: plots need matplotlib: pip install 'caffelite[plot]'\n")


def test_a_net_that_predicts_no_class(caffelite, untrained):
    lines = Path("net.prototxt").read_text().splitlines()
    Path("net.prototxt").write_text("\n".join(line for line in lines if "label" not in line or '"Data"' in line))
    code, _, err = caffelite(*untrained[:-2], "--confusion", "a.csv")
    assert code == 1 and not Path("a.csv").exists()
    assert err == (
        "caffelite: net.prototxt: no layer compares scores of classes with labels (Accuracy, SoftmaxWithLoss), so there "
        "are no predictions to count\n"
    )
