"""``caffelite extract``: the prototxt that a .caffemodel holds."""

import json
from pathlib import Path

import pytest

import caffelite as package
from caffelite.net import Net
from caffelite.schema.messages import NetParameter
from caffelite.schema.text import read_net
from caffelite.schema.weights import write_caffemodel
from caffelite.words import TEST

WEIGHTS = "snap_iter_12.caffemodel"


def test_a_net_that_caffe_saved(caffelite, run_folder):
    code, out, err = caffelite("extract", WEIGHTS, "out.prototxt")
    assert (code, err) == (0, "")
    assert out.splitlines()[0].startswith("out.prototxt: interop, ")
    assert "not in it: layers of the TEST phase alone" in out
    text = Path("out.prototxt").read_text()
    assert "_split" not in text and "phase" not in text and "blobs" not in text
    net = Net("out.prototxt", TEST, learn=False)
    assert not net.copy_from(WEIGHTS).untrained


def saved(*layers: str) -> None:
    message = NetParameter(name="n")
    for text in layers:
        name, kind, bottom, *tops = text.split()
        layer = message.layer.add(name=name, type=kind, top=tops)
        layer.bottom.extend([] if bottom == "-" else [bottom])
    write_caffemodel("w.caffemodel", message, {})


def test_splits_that_caffe_puts_in_go(caffelite, run_folder):
    saved(
        "data Input - data",
        "data_data_0_split Split data data_data_0_split_0 data_data_0_split_1",
        "a TanH data_data_0_split_0 a",
        "b TanH data_data_0_split_1 b",
        "mine Split a c d",
    )
    assert caffelite("extract", "w.caffemodel", "out.prototxt")[0] == 0
    layers = read_net("out.prototxt").message.layer
    assert [(layer.name, list(layer.bottom)) for layer in layers] == [
        ("data", []),
        ("a", ["data"]),
        ("b", ["data"]),
        ("mine", ["a"]),
    ]


def test_a_fork_has_other_numbers(caffelite, run_folder):
    net = package.fork_pb2("ssd").NetParameter(name="n")
    net.layer.add(name="p", type="Permute", bottom=["x"], top=["y"]).permute_param.order.extend([0, 2, 1])
    Path("w.caffemodel").write_bytes(net.SerializeToString())
    code, out, _ = caffelite("extract", "w.caffemodel", "out.prototxt")
    assert code == 0 and 'settings of 1 layer, of "p" for one' in out
    code, out, _ = caffelite("extract", "w.caffemodel", "out.prototxt", "--fork", "ssd", "--json")
    assert code == 0 and "--fork" not in "".join(json.loads(out)["missing"])
    assert list(read_net("out.prototxt").message.layer[0].permute_param.order) == [0, 2, 1]


@pytest.mark.parametrize("ending", [".h5", ".npz"])
def test_what_holds_no_net(caffelite, run_folder, ending):
    assert caffelite("convert", WEIGHTS, f"w{ending}")[0] == 0
    code, _, err = caffelite("extract", f"w{ending}", "out.prototxt")
    assert code == 1 and f"w{ending}: " in err and len(err.splitlines()) == 1
    assert not Path("out.prototxt").exists()


def test_weights_alone_hold_no_net(caffelite, run_folder):
    assert caffelite("convert", WEIGHTS, "w.npz")[0] == 0
    assert caffelite("convert", "w.npz", "w.caffemodel")[0] == 0
    code, _, err = caffelite("extract", "w.caffemodel", "out.prototxt")
    assert code == 1 and "it holds weights alone" in err


def test_a_file_that_is_cut_off(caffelite, run_folder):
    Path("w.caffemodel").write_bytes(Path(WEIGHTS).read_bytes()[:500])
    code, _, err = caffelite("extract", "w.caffemodel", "out.prototxt")
    assert code == 1 and "w.caffemodel: not a whole protobuf file" in err


def test_a_fork_that_is_not_known(caffelite, run_folder):
    code, _, err = caffelite("extract", WEIGHTS, "out.prototxt", "--fork", "sdd")
    assert code == 1 and 'did you mean "ssd"' in err
