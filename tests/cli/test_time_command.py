"""``caffelite time``: a row a layer, and the totals."""

import json


def test_table(caffelite, run_folder):
    code, out, _ = caffelite("time", "-model", "net.prototxt", "-iterations", "2")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "interop: milliseconds a pass, mean of 2"
    assert lines[1].split() == ["layer", "type", "forward", "backward", "share"]
    assert [line.split()[0] for line in lines[2:9]] == [
        "data",
        "conv1",
        "bn1",
        "relu1",
        "pool1",
        "ip",
        "loss",
    ]
    assert [line.split(":")[0] for line in lines[9:]] == [
        *("Average Forward pass", "Average Backward pass", "Average Forward-Backward", "Waiting for data"),
    ]


def test_json(caffelite, run_folder):
    found = json.loads(caffelite("time", "solver.prototxt", "--iterations", "2", "--json")[1])
    assert found["iterations"] == 2
    assert sum(layer["forward"] for layer in found["layers"]) == found["forward"]
    assert 0 < found["forward"] + found["backward"] <= found["total"]
    assert found["waiting_for_data"] >= 0


def test_phase_test_has_no_backward_pass(caffelite, run_folder):
    found = json.loads(caffelite("time", "net.prototxt", "-phase", "TEST", "-iterations", "1", "--json")[1])
    assert found["backward"] < found["forward"]
    assert "accuracy" in [layer["layer"] for layer in found["layers"]]
