"""Settings by name: what they change in solver and nets, and what is refused."""

from pathlib import Path

import pytest

from caffelite.errors import SolverError
from caffelite.schema.text import net_from_text
from caffelite.solvers.settings import load_solver
from caffelite.solvers.sources import PrototxtFiles
from caffelite.sweep.grid import runs_of
from caffelite.sweep.settings import Setting, set_in_nets

NET = """
name: "net"
layer { name: "data" type: "DummyData" top: "x" top: "label" include { phase: TRAIN } dummy_data_param {
  shape { dim: 4 dim: 3 } shape { dim: 4 } } }
layer { name: "data" type: "Data" top: "x" top: "label" include { phase: TEST } data_param { source: "a" batch_size: 5 } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" param { lr_mult: 1 } param { lr_mult: 2 }
  inner_product_param { num_output: 2 } }
layer { name: "bn1" type: "BatchNorm" bottom: "ip" top: "ip" }
layer { name: "bn2" type: "BatchNorm" bottom: "ip" top: "ip" batch_norm_param { eps: 0.5 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
SOLVER = 'base_lr: 0.1 lr_policy: "fixed" max_iter: 20 test_iter: 1 test_interval: 10 stepvalue: 3 random_seed: 7 '


def changed(name: str, text: str):
    """Return the layers of the net with a setting."""
    net = net_from_text(NET).message
    set_in_nets([net], name, text)
    return list(net.layer)


def test_a_field_of_all_layers_that_read_it():
    layers = changed("moving_average_fraction", "0.5")
    assert [layer.batch_norm_param.moving_average_fraction for layer in layers[3:5]] == [0.5, 0.5]
    assert layers[4].batch_norm_param.eps == 0.5 and not layers[2].HasField("batch_norm_param")


def test_ways_to_a_field():
    assert changed("ip.num_output", "3")[2].inner_product_param.num_output == 3
    assert changed("ip.inner_product_param.num_output", "3")[2].inner_product_param.num_output == 3
    assert changed("weight_filler.type", "xavier")[2].inner_product_param.weight_filler.type == "xavier"
    assert [one.lr_mult for one in changed("ip.param.lr_mult", "0")[2].param] == [0, 0]
    assert changed("loss.loss_weight", "0.5")[5].loss_weight == [0.5]
    assert changed("TEST.batch_size", "9")[1].data_param.batch_size == 9
    assert changed("bn2.use_global_stats", "true")[4].batch_norm_param.use_global_stats


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("moving_avg_fraction", "1", 'neither the solver nor a layer of the net has such a field; did you mean "mov'),
        ("ip.num_outputs", "1", 'InnerProduct layer "ip" has no field "num_outputs"; did you mean "num_output"?'),
        ("ipp.num_output", "1", 'there is no layer "ipp" in the net; did you mean "ip"?'),
        ("TRAIN.num_output", "1", "no layer that is in phase TRAIN alone has such a field"),
        ("weight_filler.typ", "1", 'FillerParameter has no field "typ"; did you mean "type"?'),
        ("weight_filler", "1", "weight_filler is no value; name a field of it: weight_filler.FIELD"),
        ("eps.x", "1", "eps is a value and has no fields"),
        ("bn1.param.lr_mult", "1", "no param is written there"),
        ("eps", "much", 'eps=much: "eps" is "much", expected a number'),
        ("eps", "1 eps: 2", '"1 eps: 2" is no value of eps'),
        ("pool", "MAX", "neither the solver nor a layer"),
    ],
)
def test_refused(name, text, said):
    with pytest.raises(SolverError, match="--set ") as told:
        changed(name, text)
    assert said in str(told.value)


@pytest.fixture
def solver(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(NET)

    def read(text: str = 'net: "net.prototxt"'):
        Path("solver.prototxt").write_text(SOLVER + text)
        return load_solver("solver.prototxt")

    return read


def grid(document, *settings, seeds=1):
    return runs_of(document, PrototxtFiles(), [Setting(name, values) for name, values in settings], seeds, Path("o"))


def test_every_combination_with_every_seed(solver):
    runs, nets = grid(solver(), ("base_lr", ("1", "2")), ("ip.num_output", ("3", "4")), seeds=2)
    assert [run.name for run in runs[:3]] == [
        "base_lr=1 ip.num_output=3 seed 7",
        "base_lr=1 ip.num_output=3 seed 8",
        "base_lr=1 ip.num_output=4 seed 7",
    ]
    assert len(runs) == 8 and len({run.folder for run in runs}) == 8 and len({run.digest for run in runs}) == 4
    assert runs[-1].document.message.snapshot_prefix == f"o/{runs[-1].digest[:12]}-seed8/solver"
    assert [run.document.message.base_lr for run in runs] == [1] * 4 + [2] * 4
    assert len(nets) == 8 and [net.document.message.layer[2].inner_product_param.num_output for net in nets[-2:]] == [
        4,
        4,
    ]


def test_a_net_in_the_solver_is_the_same_as_one_in_a_file(solver):
    inline = f"net_param {{ {NET} }}"
    digests = {grid(solver(text), ("eps", ("1",)))[0][0].digest for text in (inline, 'net: "net.prototxt"')}
    assert len(digests) == 1
    assert digests != {grid(solver(), ("eps", ("2",)))[0][0].digest}


def test_a_repeated_field_and_a_net(solver):
    (run,), _ = grid(solver("net: 'no'"), ("net", ("net.prototxt",)), ("stepvalue", ("5 6",)), ("eps", ("1",)))
    assert run.document.message.stepvalue == [5, 6]


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (("random_seed", ("1",)), "--seeds says how many"),
        (("base_lr", ("1", "1.0")), "base_lr=1 and base_lr=1.0 are the same run"),
        (("type", ("SDG",)), 'did you mean "SGD"?'),
        (("train_state.levle", ("1",)), 'NetState has no field "levle"; did you mean "level"?'),
    ],
)
def test_refused_in_a_solver(setting, said, solver):
    with pytest.raises(SolverError) as told:
        grid(solver(), setting)
    assert said in str(told.value)


def test_without_an_end(solver):
    document = solver()
    document.message.ClearField("max_iter")
    with pytest.raises(SolverError, match="max_iter, the number of iterations, is not given"):
        grid(document)
