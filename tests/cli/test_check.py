"""``caffelite check``."""

import json
from pathlib import Path


def test_what_would_be_refused(caffelite, run_folder):
    code, out, err = caffelite("check", "net.prototxt", "--for", "rknn")
    assert (code, err) == (1, "")
    lines = out.splitlines()
    assert lines[0].split() == ["for", "layer", "type", "why", "source"]
    assert [line.split()[2] for line in lines[1:4]] == ["Data", "Accuracy", "SoftmaxWithLoss"]
    assert "doc/RKNNToolKit2_OP_Support-v2.1.0.md" in lines[1]
    assert '"caffelite deploy" writes the net' in lines[4]
    assert lines[5] == "not checked: sizes of blobs, and limits that the sources do not name"


def test_nothing_known(caffelite, run_folder):
    text = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 } } }'
    Path("a.prototxt").write_text(text)
    code, out, _ = caffelite("check", "a.prototxt", "--for", "ncnn,mnn")
    assert code == 0
    assert out.startswith("nothing known that ncnn would refuse") and "\nnothing known that mnn would refuse" in out


def test_for_programs(caffelite, run_folder):
    code, out, _ = caffelite("check", "solver.prototxt", "--json", "--for", "tpu-mlir", "--for", "rknn1")
    told = json.loads(out)
    assert code == 1 and list(told["targets"]) == ["tpu-mlir", "rknn1"]
    assert told["findings"][0]["place"].startswith("net.prototxt:3:")


def test_errors(caffelite, run_folder):
    code, out, err = caffelite("check", "net.prototxt", "--for", "vitis")
    assert (code, out) == (1, "") and "there are acuity, mnn, ncnn, rknn, rknn1, tpu-mlir" in err
    assert "nett.prototxt" in caffelite("check", "nett.prototxt")[2]
