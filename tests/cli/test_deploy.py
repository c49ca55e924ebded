"""``caffelite deploy``."""

import json
from pathlib import Path

from caffelite.schema.text import read_net


def test_a_net_that_is_trained(caffelite, run_folder):
    code, out, err = caffelite("deploy", "net.prototxt", "deploy.prototxt")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "deploy.prototxt: 7 layers; it reads data 1×3×16×16",
        "replaced: data (Data) is Input, loss (SoftmaxWithLoss) is Softmax",
        "gone: accuracy",
    ]
    types = [layer.type for layer in read_net("deploy.prototxt").message.layer]
    assert types == ["Input", "Convolution", "BatchNorm", "ReLU", "Pooling", "InnerProduct", "Softmax"]


def test_the_net_of_a_solver_without_its_data(caffelite, run_folder):
    Path("train_lmdb").rename("elsewhere")
    code, _, err = caffelite("deploy", "solver.prototxt", "deploy.prototxt")
    assert code == 1 and "--shape data:1,CHANNELS,HEIGHT,WIDTH" in err and not Path("deploy.prototxt").exists()
    code, out, _ = caffelite("deploy", "solver.prototxt", "deploy.prototxt", "--input", "data=2,3,8,8", "--json")
    assert code == 0
    assert json.loads(out) == {
        "net": "deploy.prototxt",
        "layers": 7,
        "inputs": {"data": [2, 3, 8, 8]},
        "replaced": {"data": "Input", "loss": "Softmax"},
        "dropped": ["accuracy"],
    }


def test_what_is_read_stays(caffelite, run_folder):
    before = Path("net.prototxt").read_bytes()
    for given in ("net.prototxt", "solver.prototxt"):
        code, _, err = caffelite("deploy", given, "net.prototxt")
        assert code == 1 and "net.prototxt is what is read; give another name" in err
    assert Path("net.prototxt").read_bytes() == before
    assert "there is no folder nowhere" in caffelite("deploy", "net.prototxt", "nowhere/d.prototxt")[2]
