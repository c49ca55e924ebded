"""``caffelite convert``: a file that is trained, without its data, to ONNX; and what it refuses, in one sentence."""

import hashlib
import json
import sys
from pathlib import Path

import onnx
import pytest

COMMAND = ["convert", "net.prototxt", "--weights", "snap_iter_12.caffemodel"]
DEPLOY = """layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 16 dim: 16 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" convolution_param { num_output: %d kernel_size: 3 } }
"""


def metadata(file: str) -> dict[str, str]:
    return {prop.key: prop.value for prop in onnx.load(file).metadata_props}


def test_a_net_that_is_trained(caffelite, run_folder):
    Path("train_lmdb").rename("elsewhere")
    Path("names.txt").write_text("cat\ndog\nhorse\nship\n")
    code, out, err = caffelite(*COMMAND, "net.onnx", "--shape", "data:1,3,16,16", "--labels", "names.txt")
    assert (code, err) == (0, "")
    first, second = out.splitlines()
    assert first == "net.onnx: data batch×3×16×16 to prob batch×4; 6 operators of opset 13, 1,708 parameters"
    assert second.startswith("ONNX Runtime and net.prototxt differ by ") and "of the largest value at most" in second
    told = metadata("net.onnx")
    assert told["prototxt_sha256"] == hashlib.sha256(Path("net.prototxt").read_bytes()).hexdigest()
    assert told["weights_sha256"] == hashlib.sha256(Path("snap_iter_12.caffemodel").read_bytes()).hexdigest()
    assert told["labels"] == "cat\ndog\nhorse\nship"
    assert json.loads(told["preprocessing"]) == {
        "channel_order": "BGR",
        "mean_file": "mean.binaryproto",
        "scale": 0.01,
        "in_the_graph": False,
    }


def test_the_net_of_a_solver_with_its_preprocessing(caffelite, run_folder):
    code, out, _ = caffelite("convert", "solver.prototxt", *COMMAND[2:], "net.onnx", "--bake-preprocessing", "--json")
    told = json.loads(out)
    assert code == 0
    assert told["inputs"] == {"image": ["batch", 16, 16, 3]} and told["outputs"] == {"prob": ["batch", 4]}
    assert told["folded"] == {"bn1": "in conv1"} and told["dropped"] == ["accuracy"]
    assert told["difference"] < 1e-4 and told["metadata"] == metadata("net.onnx")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([*COMMAND, "net.bin"], "its ending says what is written, and .bin is not known; it can be .onnx, "),
        ([*COMMAND, "deploy.prototxt"], "net.prototxt to deploy.prototxt: an ONNX file becomes a .prototxt"),
        (["convert", "net.onnx", "other.onnx"], "net.onnx to other.onnx: an ONNX file becomes a .prototxt"),
        (["convert", "net.onnx", "back.prototxt"], "net.onnx: No such file or directory"),
        (["convert", "net.onnx", "nowhere/back.prototxt"], "there is no folder nowhere"),
        (
            ["convert", "net.onnx", "back.prototxt", "--weights", "net.caffemodel"],
            "--weights is for nets in a prototxt: ",
        ),
        (["convert", "net.onnx", "back.prototxt", "--level", "1"], "--level is for nets in a prototxt, net.onnx is an"),
        (["convert", "net.onnx", "back.prototxt", "--stage", "deploy"], "--stage is for nets in a prototxt"),
        (["convert", "net.onnx", "back.prototxt", "--allow-python"], "--allow-python is for nets in a prototxt"),
        (
            ["convert", "net.onnx", "back.prototxt", "--opset", "11"],
            "--opset is for .onnx, back.prototxt takes no such",
        ),
        ([*COMMAND, "net.onxx"], 'is not known; did you mean ".onnx"?'),
        ([*COMMAND, "nowhere/net.onnx"], "there is no folder nowhere"),
        ([*COMMAND, "net.onnx", "--opset", "9"], "opset 9 is not one of those that are written, 11 to 21"),
        (["convert", "net.prototxt", "net.onnx"], '"conv1" has weights; give the file with --weights'),
        ([*COMMAND, "net.onnx", "--shape", "dat:1,3,16,16"], 'a shape is given for "dat", which the net does not read'),
        ([*COMMAND, "net.onnx", "--shape", "data:1,3,17,17"], 'layer "ip": blob 0 has shape 4×384'),
        ([*COMMAND, "net.onnx", "--labels", "net.prototxt"], "lines are not the names of the classes of this net"),
        ([*COMMAND, "net.onnx", "--mean", "blue"], 'the mean "blue" is neither numbers with commas between, B,G,R'),
        (["convert", "deploy.prototxt", *COMMAND[2:], "net.onnx"], 'layer "conv1": blob 0 has shape 6×3×3×3'),
        (["convert", "other.prototxt", *COMMAND[2:], "net.onnx"], "it has no weights for"),
        (["convert", "other.prototxt", *COMMAND[2:], "net.onnx", "--bake-preprocessing"], "give --mean"),
        (
            ["convert", "other.prototxt", *COMMAND[2:], "net.onnx", "--channel-order", "RGB"],
            "--channel-order goes with",
        ),
    ],
)
def test_what_is_refused(arguments, said, caffelite, run_folder):
    Path("deploy.prototxt").write_text(DEPLOY % 7)
    Path("other.prototxt").write_text(DEPLOY % 6 + (DEPLOY % 6).replace("conv1", "conv2").split("\n", 1)[1])
    before = sorted(run_folder.iterdir())
    code, out, err = caffelite(*arguments)
    assert (code, out) == (1, "")
    (told,) = [line for line in err.splitlines() if line.startswith("caffelite: ")]
    assert said in told
    assert sorted(run_folder.iterdir()) == before


def test_an_onnx_file_for_caffe(caffelite, run_folder):
    caffelite(*COMMAND, "net.onnx", "--shape", "data:1,3,16,16", "--keep-bn")
    code, out, err = caffelite("convert", "net.onnx", "back.prototxt", "--json")
    told = json.loads(out)
    assert (code, err) == (0, "")
    assert told["inputs"] == {"data": [1, 3, 16, 16]} and told["outputs"] == {"prob": [1, 4]}
    assert told["difference"] < 1e-4 and told["parameters"] == 1733
    code, out, _ = caffelite("convert", "net.onnx", "back.prototxt", "--shape", "data:5,3,16,16")
    first, second = out.splitlines()
    assert first == "back.prototxt and back.caffemodel: data 5×3×16×16 to prob 5×4; 9 layers, 1,733 parameters"
    assert second.startswith("ONNX Runtime with net.onnx differs by ")
    # The way there again, of what the way back has written.
    assert caffelite("convert", "back.prototxt", "--weights", "back.caffemodel", "again.onnx")[0] == 0


def test_lrn_as_what_it_is_made_of(caffelite, run_folder):
    Path("lrn.prototxt").write_text(
        """layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [1, 4, 3, 3] } } }
        layer { name: "norm" type: "LRN" bottom: "data" top: "norm" }"""
    )
    for option, operators in ([], ["LRN"]), (["--decompose-lrn"], ["Mul", "Mul", "Conv", "Sqrt", "Sqrt", "Mul", "Div"]):
        code, out, _ = caffelite("convert", "lrn.prototxt", "lrn.onnx", *option)
        assert code == 0 and ("--decompose-lrn writes" in out) == (operators == ["LRN"])
        assert [op.op_type for op in onnx.load("lrn.onnx").graph.node] == operators


def test_without_the_extra(caffelite, run_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    code, _, err = caffelite(*COMMAND, "net.onnx")
    assert code == 1 and "pip install 'caffelite[onnx]'" in err
