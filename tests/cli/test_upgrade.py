"""caffelite upgrade_net_proto_text, upgrade_net_proto_binary and upgrade_solver_proto_text."""

from pathlib import Path

import pytest

from caffelite.schema.messages import NetParameter

OLD = """name: "old"
input: "x" input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 4
layers { name: "ip" type: INNER_PRODUCT bottom: "x" top: "y" blobs_lr: 1 blobs_lr: 2
  inner_product_param { num_output: 3 } strange_param: 7 }
"""
NEW = """name: "old"
layer {
  name: "input"
  type: "Input"
  top: "x"
  input_param {
    shape {
      dim: 1
      dim: 2
      dim: 3
      dim: 4
    }
  }
}
layer {
  name: "ip"
  type: "InnerProduct"
  bottom: "x"
  top: "y"
  param {
    lr_mult: 1
  }
  param {
    lr_mult: 2
  }
  inner_product_param {
    num_output: 3
  }
  strange_param: 7
}
"""
PRESENT = "File already in latest proto format: "


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.filterwarnings("ignore::caffelite.schema.documents.SchemaWarning")
def test_a_net_as_text(caffelite):
    Path("old").write_text(OLD)
    code, out, err = caffelite("upgrade_net_proto_text", "old", "new")
    assert (code, out) == (0, "Wrote upgraded NetParameter text proto to new\n") and PRESENT not in err
    assert Path("new").read_text() == NEW
    code, _, err = caffelite("upgrade_net_proto_text", "new", "same")
    assert code == 0 and f"{PRESENT}new\n" in err
    assert Path("same").read_text() == NEW


def test_weights(caffelite):
    old = NetParameter(name="old")
    old.layers.add(name="ip", type="INNER_PRODUCT").blobs.add(num=1, channels=1, height=1, width=2, data=[1, 2])
    Path("old").write_bytes(old.SerializeToString())
    code, out, err = caffelite("upgrade_net_proto_binary", "old", "new")
    assert (code, out, err) == (0, "Wrote upgraded NetParameter binary proto to new\n", "")
    new = NetParameter.FromString(Path("new").read_bytes())
    assert not new.layers and new.layer[0].type == "InnerProduct"
    assert new.layer[0].blobs[0] == old.layers[0].blobs[0]
    assert caffelite("upgrade_net_proto_binary", "new", "same")[::2] == (0, f"{PRESENT}new\n")
    assert Path("same").read_bytes() == Path("new").read_bytes()


def test_a_solver(caffelite):
    Path("old").write_text('net: "a"\nsolver_type: ADAM\n')
    assert caffelite("upgrade_solver_proto_text", "old", "new")[0] == 0
    assert Path("new").read_text() == 'net: "a"\ntype: "Adam"\n'
    code, out, err = caffelite("upgrade_solver_proto_text", "new", "same")
    assert (code, out, err) == (0, "Wrote upgraded SolverParameter text proto to same\n", f"{PRESENT}new\n")


@pytest.mark.parametrize(
    ("command", "content", "text"),
    [
        ("upgrade_net_proto_text", b"layer { name: 3 }", "old:1:15"),
        ("upgrade_net_proto_text", b"\xff\xfe", "not a text file"),
        ("upgrade_net_proto_binary", b"layer {}", "old: not a .caffemodel, or cut off"),
        ("upgrade_net_proto_binary", b"", "no layer is in it"),
        ("upgrade_solver_proto_text", b"solver_type: ADM", "old:1:14"),
    ],
)
def test_what_cannot_be_upgraded(command, content, text, caffelite):
    Path("old").write_bytes(content)
    code, out, err = caffelite(command, "old", "new")
    assert (code, out) == (1, "") and text in err and err.count("\n") == 1
    assert not Path("new").exists()
