"""Snapshots: runs go on, from our own files bit for bit, from Caffe's as in Caffe; files that do not fit."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from caffelite.errors import WeightsError
from caffelite.schema import messages
from caffelite.schema.parser import parse_text
from caffelite.schema.text import read_solver
from caffelite.solvers.logs import Listener
from caffelite.solvers.snapshots import State, read_state, write_state
from caffelite.solvers.solver import Solver
from caffelite.solvers.testing import run_test

CAFFE = Path(__file__).parent.parent / "caffe"
#: What Caffe's log says of the run resumed from its snapshot at iteration 6.
RESUMED = [0.000544958, 0.000160888, 7.38055e-05, 0.000154041, 6.99371e-06, 1.56963e-05]

#: Random data, random dropout, running statistics; an odd number of tests.
NET = """
name: "random"
layer { name: "data" type: "DummyData" top: "x" top: "label"
  dummy_data_param { shape { dim: 6 dim: 5 } shape { dim: 6 }
    data_filler { type: "gaussian" } data_filler { type: "constant" value: 1 } } }
layer { name: "ip1" type: "InnerProduct" bottom: "x" top: "h"
  inner_product_param { num_output: 7 weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "h" top: "h" }
layer { name: "drop" type: "Dropout" bottom: "h" top: "h" }
layer { name: "ip2" type: "InnerProduct" bottom: "h" top: "y"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "y" bottom: "label" top: "loss" }
"""
RULES = {
    "SGD": "momentum: 0.9 weight_decay: 0.01",
    "Adam": "momentum: 0.9 clip_gradients: 0.5",
    "AdaDelta": "momentum: 0.9 iter_size: 2",
}


class Record(Listener):
    def __init__(self):
        self.seen = []

    def on_display(self, iteration, loss, outputs, rate, seconds):
        self.seen.append((iteration, loss, [o.value for o in outputs], rate))

    def on_test(self, iteration, net, outputs, loss):
        self.seen.append((iteration, net, [o.value for o in outputs]))


def make(prefix, rule, extra=""):
    text = f"""net_param {{ {NET} }} type: "{rule}" {RULES[rule]}
        base_lr: 0.1 lr_policy: "multistep" gamma: 0.5 stepvalue: [3, 5]
        average_loss: 4 display: 1 max_iter: 9 snapshot: 4 snapshot_prefix: "{prefix}"
        test_iter: 3 test_interval: 2 {extra}"""
    record = Record()
    return Solver(parse_text(text, messages.SolverParameter, "s.prototxt"), record), record.seen


@pytest.mark.parametrize("form", ["BINARYPROTO", "HDF5"])
@pytest.mark.parametrize("rule", RULES)
def test_resumed_run_goes_on_bit_for_bit(tmp_path, rule, form):
    ending = ".h5" if form == "HDF5" else ""
    whole, expected = make(tmp_path / "a", rule, f"snapshot_format: {form}")
    whole.solve()
    for iteration in (4, 8):
        resumed, seen = make(tmp_path / "b", rule, f"snapshot_format: {form}")
        resumed.solve(tmp_path / f"a_iter_{iteration}.solverstate{ending}")
        assert seen == [entry for entry in expected if entry[0] >= iteration]
        assert np.array_equal(resumed.net.data, whole.net.data)
        assert all(np.array_equal(*pair) for pair in zip(resumed.rule.history, whole.rule.history, strict=True))


def test_stopped_in_a_test_and_resumed(tmp_path):
    whole, expected = make(tmp_path / "a", "SGD")
    whole.solve()
    stopped, seen = make(tmp_path / "b", "SGD")

    def stop(net, done, batches):
        if stopped.iteration == 6 and done == 2:
            stopped.request_snapshot()
            stopped.request_stop()

    stopped.listener.on_test_batch = stop
    stopped.solve()
    assert stopped.stopped and stopped.iteration == 6
    resumed, rest = make(tmp_path / "b", "SGD")
    resumed.solve(tmp_path / "b_iter_6.solverstate")
    assert seen + rest == expected
    assert np.array_equal(resumed.net.data, whole.net.data)


@pytest.fixture
def caffe(tmp_path, monkeypatch):
    shutil.copytree(CAFFE, tmp_path / "caffe")
    monkeypatch.chdir(tmp_path / "caffe")
    return tmp_path / "caffe"


@pytest.mark.parametrize("state", ["snap_iter_6.solverstate", "h5/snap_iter_6.solverstate.h5"])
def test_caffes_snapshot_goes_on_as_in_caffe(caffe, state):
    document = read_solver("solver.prototxt")
    document.message.snapshot_prefix = "mine"
    record = Record()
    solver = Solver(document, record)
    solver.solve(state)
    losses = [entry[1] for entry in record.seen if len(entry) == 4]
    # The loss is the logarithm of a probability next to 1, whose float32 values are 6e-8 apart.
    np.testing.assert_allclose(losses, RESUMED, rtol=1e-3, atol=6e-8)
    tests = [entry[2] for entry in record.seen if len(entry) == 3]
    np.testing.assert_allclose(tests, [[1, 3.6041e-05], [1, 3.1243e-06]], rtol=1e-3, atol=6e-8)
    # What is written is what Caffe wrote, in form and (the weights are nearly at rest) almost in value.
    theirs, mine = read_state("snap_iter_6.solverstate"), read_state("mine_iter_12.solverstate")
    assert [a.shape for a in mine.history] == [a.shape for a in theirs.history]
    assert (mine.iteration, mine.learned_net) == (12, "mine_iter_12.caffemodel")
    solver.close()


def test_whole_test_set(caffe):
    document = read_solver("solver.prototxt")
    document.message.test_iter[0] = 0
    solver = Solver(document, Listener(), weights=["snap_iter_12.caffemodel"])
    outputs, loss = run_test(solver.test_nets[0])
    assert [o.name for o in outputs] == ["accuracy", "loss"]
    assert outputs[0].value == 1 and loss == outputs[1].value == pytest.approx(2.7021e-06, rel=2e-2)
    solver.close()


def test_weights_beside_the_state_are_found(caffe, tmp_path, monkeypatch):
    solver = Solver("solver.prototxt", Listener())
    monkeypatch.chdir(tmp_path)
    solver.restore(caffe / "snap_iter_6.solverstate")
    assert solver.iteration == 6
    (caffe / "snap_iter_6.caffemodel").unlink()
    with pytest.raises(WeightsError, match=r'its weights "snap_iter_6.caffemodel" are missing'):
        solver.restore(caffe / "snap_iter_6.solverstate")
    solver.close()


def test_files_that_are_something_else(caffe):
    shutil.copy("snap_iter_6.caffemodel", "renamed.solverstate")
    for name in ("snap_iter_6.caffemodel", "renamed.solverstate", "h5/snap_iter_6.caffemodel.h5"):
        with pytest.raises(WeightsError, match="these are weights, not a solver state"):
            read_state(name)
    content = Path("snap_iter_6.solverstate").read_bytes()
    Path("short.solverstate").write_bytes(content[:5000])
    Path("empty.solverstate").write_bytes(b"")
    for name in ("short.solverstate", "empty.solverstate", "missing.solverstate", "solver.prototxt"):
        with pytest.raises(WeightsError, match=name):
            read_state(name)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            lambda s: s.history.extend(s.history[:]),
            "it has 14 history blobs, .* keeps 7; it was written by AdaDelta or",
        ),
        (lambda s: s.history.pop(), "it has 6 history blobs, but the net has 7"),
        (
            lambda s: s.history.reverse(),
            "history blob 0 has shape 4, .* 6×3×3×3; it was written for another net",
        ),
        (
            lambda s: s.extra.update({"solver/type": np.frombuffer(b"Nesterov", np.uint8)}),
            'solver type "Nesterov"',
        ),
    ],
)
def test_states_of_another_solver_or_net(caffe, edit, message):
    state = read_state("snap_iter_6.solverstate")
    edit(state)
    write_state("edited.solverstate", state)
    solver = Solver("solver.prototxt", Listener())
    with pytest.raises(WeightsError, match=message):
        solver.restore("edited.solverstate")
    assert solver.iteration == 0
    solver.close()


def test_names_of_any_kind_are_kept(tmp_path):
    extra = {name: np.arange(3) for name in ("train/a/b", "train/a|b", "train/50%|/x", "train/%7C", "größe")}
    for name in ("a.solverstate", "a.solverstate.h5"):
        write_state(tmp_path / name, State(1, 0, "ü.caffemodel", [], extra))
        state = read_state(tmp_path / name)
        assert state.extra.keys() == extra.keys() and state.learned_net == "ü.caffemodel"


def test_extra_arrays_are_checked(tmp_path):
    path = tmp_path / "a.solverstate"
    write_state(path, State(1, 0, "", [], {"a/b": np.arange(3)}))
    assert np.array_equal(read_state(path).extra["a/b"], [0, 1, 2])
    for dtype, shape in (("object", [3]), ("int64", [4]), ("int64", [-3])):
        message = messages.SolverState.FromString(path.read_bytes())
        message.caffelite_state.entry[0].dtype = dtype
        message.caffelite_state.entry[0].shape[:] = shape
        (tmp_path / "b.solverstate").write_bytes(message.SerializeToString())
        with pytest.raises(WeightsError, match='state "a/b"'):
            read_state(tmp_path / "b.solverstate")
