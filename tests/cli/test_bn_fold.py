"""``caffelite bn fold``: a deploy net and its weights, or one sentence."""

import json

import numpy as np

from caffelite.cli.bn_fold import _folded, _names
from caffelite.net import Net
from caffelite.words import TEST

COMMAND = ["bn", "fold", "net.prototxt", "--weights", "snap_iter_12.caffemodel"]


def test_the_files_are_a_net_without_batchnorm(caffelite, run_folder):
    code, out, _ = caffelite(*COMMAND)
    assert code == 0
    assert "snap_iter_12_deploy.prototxt and snap_iter_12_deploy.caffemodel: outputs on random input differ by" in out
    new = Net("snap_iter_12_deploy.prototxt", TEST, weights="snap_iter_12_deploy.caffemodel")
    assert not {"BatchNorm", "Data", "Accuracy", "SoftmaxWithLoss"} & {layer.type for layer in new.layers}
    new.blobs[new.inputs[0]].data[...] = 0.5
    new.forward()
    assert np.isfinite(new.blobs[new.outputs[0]].data).all()


def test_three_lines_tell_what_was_done(caffelite, run_folder):
    lines = caffelite(*COMMAND)[1].splitlines()
    assert len(lines) == 3
    told = caffelite(*COMMAND, "--verbose")[1].splitlines()
    places = json.loads(caffelite(*COMMAND, "--json")[1])["layers"]
    assert told == [f"{name}: {place}" for name, place in places.items()] + lines


def test_what_is_left_is_named():
    layers = {"a": "in ip", "b": "a Scale layer", "c": "in b", "d": "in ip"}
    assert _folded(layers, False) == "folded: 3 of 4, into 2 layers; left as Scale: b"
    assert _folded({"a": "in ip"}, False) == "folded: 1 of 1, into 1 layer"
    assert _names(list("abcde"), False) == "a, b, c, 2 more"
    assert _names(list("abcde"), True) == "a, b, c, d, e"
    assert _names([], False) == "none"


def test_json(caffelite, run_folder):
    code, out, _ = caffelite(*COMMAND, "--out", "new", "--json")
    found = json.loads(out)
    assert code == 0 and found["net"] == "new.prototxt" and found["difference"] < 1e-5 and found["layers"]
    assert (run_folder / "new.prototxt").is_file() and (run_folder / "new.caffemodel").is_file()


def test_refused(caffelite, run_folder):
    files = sorted(run_folder.iterdir())
    for arguments, expected in (
        ([*COMMAND, "--out", "net"], "net.prototxt is what is read"),
        ([*COMMAND, "--out", "nowhere/new"], "there is no folder nowhere"),
        ([*COMMAND[:-1], "none.caffemodel"], "none.caffemodel: No such file"),
    ):
        code, out, err = caffelite(*arguments)
        assert (code, out) == (1, "")
        assert expected in err and "Traceback" not in err
    assert sorted(run_folder.iterdir()) == files
