"""``caffelite bn recalibrate``: new weights beside the old ones, with their worth before and after."""

import json

import numpy as np
import pytest

from caffelite.net import Net
from caffelite.words import TEST

COMMAND = ["bn", "recalibrate", "net.prototxt", "--weights", "snap_iter_12.caffemodel"]


def test_new_weights_differ_in_the_statistics_alone(caffelite, run_folder):
    before = (run_folder / "snap_iter_12.caffemodel").read_bytes()
    code, out, _ = caffelite(*COMMAND, "--iterations", "2")
    assert code == 0
    assert "exact statistics of 2 training batches are in snap_iter_12_recalibrated.caffemodel" in out
    assert "before: accuracy" in out and "after:  accuracy" in out
    assert (run_folder / "snap_iter_12.caffemodel").read_bytes() == before
    old = Net("net.prototxt", TEST, weights="snap_iter_12.caffemodel")
    new = Net("net.prototxt", TEST, weights="snap_iter_12_recalibrated.caffemodel")
    kinds = {layer.name: layer.type for layer in new.layers}
    for name, blobs in new.params.items():
        same = all(np.array_equal(a.data, b.data) for a, b in zip(blobs, old.params[name], strict=True))
        assert same == (kinds[name] != "BatchNorm")
        if kinds[name] == "BatchNorm":
            assert blobs[2].data[0] == 1
    old.close()
    new.close()


def test_json(caffelite, run_folder):
    code, out, _ = caffelite(*COMMAND, "--average", "simple", "--out", "new.caffemodel.h5", "--json")
    found = json.loads(out)
    assert code == 0 and (run_folder / "new.caffemodel.h5").is_file()
    assert found["out"] == "new.caffemodel.h5" and found["average"] == "simple"
    assert found["iterations"] >= 1 and found["layers"] and set(found["before"]) == set(found["after"])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([*COMMAND, "--out", "./snap_iter_12.caffemodel"], "is the file the weights are read from"),
        ([*COMMAND, "--out", "nowhere/new.caffemodel"], "there is no folder nowhere"),
        ([*COMMAND[:-1], "none.caffemodel"], "none.caffemodel: No such file"),
    ],
)
def test_refused(arguments, expected, caffelite, run_folder):
    files = sorted(run_folder.iterdir())
    code, out, err = caffelite(*arguments)
    assert (code, out) == (1, "")
    assert expected in err and "Traceback" not in err
    assert sorted(run_folder.iterdir()) == files
