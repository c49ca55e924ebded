"""``caffelite test``: agrees with ``caffe test``, over the set once, with the statistics asked for."""

import json
import re

import numpy as np
import pytest

from caffelite.net import Net
from caffelite.words import TEST

NET = ["-model", "net.prototxt", "-weights", "snap_iter_12.caffemodel"]


def test_agrees_with_caffe(caffelite, run_folder):
    code, out, err = caffelite("test", *NET, "-iterations", "2")
    assert code == 0
    assert "Running for 2 iterations." in err
    found = [(name, float(value)) for name, value in re.findall(r"Batch \d, (\w+) = (\S+)", err)]
    # From the log of BVLC Caffe. Losses of a part in a million are sums of single roundings.
    assert [name for name, _ in found] == ["accuracy", "loss"] * 2
    assert [value for _, value in found] == pytest.approx([1, 1.08282e-06, 1, 4.32138e-06], rel=0.03)
    assert float(re.search(r"Loss: (\S+)", err)[1]) == pytest.approx(2.7021e-06, rel=0.03)
    assert re.search(r"\] accuracy = 1\n", err)
    assert re.search(r"\] loss = (\S+) \(\* 1 = \1 loss\)\n", err)
    assert out.startswith("net.prototxt with snap_iter_12.caffemodel: accuracy 100%, loss 2.7")


def test_the_whole_set_once_by_default(caffelite, run_folder):
    code, out, _ = caffelite("test", "solver.prototxt", "--weights", "snap_iter_12.caffemodel")
    assert code == 0
    assert "over 24 records in 2 batches\n" in out
    net = (run_folder / "net.prototxt").read_text()
    (run_folder / "net.prototxt").write_text(net.replace("batch_size: 12", "batch_size: 10"))
    assert "24 records in 3 batches, the last one filled up with the first 6 again" in caffelite("test", *NET)[1]


def test_statistics_of_the_batch_are_others(caffelite, run_folder):
    stored, batch, as_set = (
        json.loads(caffelite("test", *NET, "--json", *extra)[1])
        for extra in (["--stats", "global"], ["--stats", "batch"], [])
    )
    assert stored["outputs"] == as_set["outputs"] != batch["outputs"]
    assert (stored["stats"], batch["stats"], as_set["stats"]) == ("global", "batch", "as set")


def test_json_is_all_there_is_on_standard_output(caffelite, run_folder):
    _, out, _ = caffelite("test", *NET, "--json")
    found = json.loads(out)
    assert found["iterations"] == 2
    assert found["outputs"]["accuracy"] == 1
    assert found["loss"] == pytest.approx(found["outputs"]["loss"])
    assert found["notices"] == []


def test_later_weights_go_over_earlier_ones(caffelite, run_folder):
    def loss(weights: str) -> float:
        return json.loads(caffelite("test", "net.prototxt", "-weights", weights, "--json")[1])["loss"]

    assert loss("snap_iter_6.caffemodel,snap_iter_12.caffemodel") == loss("snap_iter_12.caffemodel")
    assert loss("snap_iter_12.caffemodel,snap_iter_6.caffemodel") == loss("snap_iter_6.caffemodel")


def test_a_loss_that_is_not_a_number(caffelite, run_folder):
    net = Net("net.prototxt", TEST, weights="snap_iter_12.caffemodel")
    for blob in net.params["ip"]:
        blob.data[...] = np.nan
    net.save("nan.caffemodel")
    net.close()
    weights = ["net.prototxt", "--weights", "nan.caffemodel"]
    code, out, err = caffelite("test", *weights)
    assert code == 1
    assert err.count("the first that is not finite is in layer") == 1
    assert (
        '\nbatch 1: the loss is nan; the first that is not finite is in layer "ip" (InnerProduct), parameter ip/0'
        in err
    )
    assert "accuracy 0%, loss nan over " in out and out.endswith("; the loss is not a number (nan)\n")
    code, out, _ = caffelite("test", *weights, "--json")
    found = json.loads(out, parse_constant=pytest.fail)
    assert code == 1
    assert found["loss"] is None and found["outputs"] == {"accuracy": 0, "loss": None}


def test_weights_are_folded_and_packed_once(caffelite, run_folder, monkeypatch):
    prepared = []
    changed = Net.changed
    monkeypatch.setattr(Net, "changed", lambda net: prepared.append(net) or changed(net))
    caffelite("test", *NET, "-iterations", "1")
    once = len(prepared)
    caffelite("test", *NET, "-iterations", "4")
    assert len(prepared) == 2 * once
