"""``caffelite time``: a row a layer, and the totals."""

import json
from pathlib import Path

import pytest

from caffelite.net import machine


def test_table(caffelite, run_folder):
    code, out, _ = caffelite("time", "-model", "net.prototxt", "-iterations", "2")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "interop: milliseconds a pass, median of 2"
    assert lines[1].split() == ["layer", "type", "forward", "backward", "waited", "share", "rate", "of", "peak"]
    assert [line.split()[0] for line in lines[2:8]] == [
        "data",
        "conv1",
        "bn1+relu1",
        "pool1",
        "ip",
        "loss",
    ]
    assert {line.split()[-2] for line in lines[3:8]} <= {"GFLOP/s", "GB/s"}
    assert [line.split(":")[0] for line in lines[8:]] == [
        *("Average Forward pass", "Average Backward pass", "Average Forward-Backward", "Waiting for data"),
        *("Waiting for other threads", "Multiply-adds a pass", f"Peaks of this machine on {machine.thread_count()}"),
    ]


def test_json(caffelite, run_folder):
    found = json.loads(caffelite("time", "solver.prototxt", "--iterations", "2", "--json")[1])
    assert found["iterations"] == 2
    assert (found["threads"], found["threads_reason"]) == machine.thread_count()
    # The median of two passes is their mean.
    assert sum(layer["forward"] for layer in found["layers"]) == pytest.approx(found["forward"])
    assert 0 < found["forward"] + found["backward"] <= found["total"]
    assert found["waiting_for_data"] >= 0
    assert sum(layer["waited"] for layer in found["layers"]) == pytest.approx(found["waited"])
    assert all(0 <= layer["waited"] <= layer["forward"] + layer["backward"] for layer in found["layers"])
    layers = {layer["layer"]: layer for layer in found["layers"]}
    # Six images of 3×16×16 by six filters of 3×3: no gradient of the images.
    products = 6 * 6 * 16 * 16 * 27
    conv = layers["conv1"]
    assert conv["forward_multiply_adds"] == conv["backward_multiply_adds"] == products
    assert conv["gflops"] == pytest.approx(4e-6 * products / (conv["forward"] + conv["backward"]))
    assert layers["pool1"]["gflops"] == 0
    assert layers["pool1"]["limit"] == "gbps"
    for layer in found["layers"]:
        moved = layer["forward_bytes"] + layer["backward_bytes"]
        assert layer["gbps"] == pytest.approx(1e-6 * moved / (layer["forward"] + layer["backward"]))
        assert layer["of_peak"] == max(layer[unit] / found["peak"][unit] for unit in ("gflops", "gbps"))
    assert found["forward_multiply_adds"] == sum(layer["forward_multiply_adds"] for layer in found["layers"])


def test_phase_test_has_no_backward_pass(caffelite, run_folder):
    found = json.loads(caffelite("time", "net.prototxt", "-phase", "TEST", "-iterations", "1", "--json")[1])
    assert found["backward"] < found["forward"]
    assert found["backward_multiply_adds"] == found["backward_bytes"] == 0 < found["forward_multiply_adds"]
    assert "accuracy" in [layer["layer"] for layer in found["layers"]]


def test_a_layer_that_does_nothing_has_no_rate(caffelite, tmp_path: Path):
    (tmp_path / "net.prototxt").write_text(
        """
        layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 } } }
        layer { name: "flat" type: "Flatten" bottom: "x" top: "y" }
        """
    )
    net = str(tmp_path / "net.prototxt")
    found = json.loads(caffelite("time", net, "--iterations", "1", "--json")[1])
    assert [(layer["limit"], layer["of_peak"]) for layer in found["layers"]] == [(None, None)] * 2
    lines = caffelite("time", net, "--iterations", "1")[1].splitlines()
    assert lines[2].split()[:2] == ["in", "Input"]
    assert "/s" not in lines[2] + lines[3]
    assert lines[-2] == "Multiply-adds a pass: 0, 0.00 GFLOP/s, 0% of the peak."


def test_long_names_do_not_widen_the_table(caffelite, tmp_path: Path):
    (tmp_path / "net.prototxt").write_text(
        f"""
        layer {{ name: "in" type: "Input" top: "x" input_param {{ shape {{ dim: 1 dim: 2 }} }} }}
        layer {{ name: "begin{"/middle" * 20}/end" type: "SigmoidCrossEntropyLoss" bottom: "x" bottom: "x" top: "y" }}
        """
    )
    lines = caffelite("time", str(tmp_path / "net.prototxt"), "-iterations", "1", "-phase", "TEST")[1].splitlines()
    assert max(map(len, lines)) == 100
    name, kind = lines[3].split()[:2]
    assert name.startswith("begin/middle")
    assert name.endswith("middle/end")
    assert kind == "SigmoidCro…tropyLoss"
