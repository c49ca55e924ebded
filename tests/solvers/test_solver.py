"""The loop: what happens in which order, and the log that tools read."""

import io
import re
from pathlib import Path

import numpy as np
import pytest

from caffelite.errors import SolverError, WeightsError
from caffelite.net import Net
from caffelite.schema import messages
from caffelite.schema.parser import parse_text
from caffelite.schema.text import net_from_text
from caffelite.solvers.logs import Listener, LogListener
from caffelite.solvers.solver import Solver
from caffelite.solvers.testing import outputs_of, run_test

NET = """
name: "small"
layer { name: "data" type: "DummyData" top: "x" top: "t" dummy_data_param {
  shape { dim: 4 dim: 3 } shape { dim: 4 dim: 2 } data_filler { type: "constant" value: 1 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip"
  inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "t" top: "loss" loss_weight: 0.5 }
layer { name: "extra" type: "Power" bottom: "ip" top: "a_top" include { stage: "extra" } }
"""


class Events(Listener):
    """Write down every event, in order."""

    def __init__(self):
        self.seen = []

    def __getattribute__(self, name):
        if name.startswith("on_"):
            return lambda *facts: self.seen.append((name[3:], *facts[:2]))
        return super().__getattribute__(name)

    def of(self, *names):
        return [(event[0], *event[1:2]) for event in self.seen if event[0] in names]


def make(text, listener=None, **options):
    document = parse_text(
        f'net_param {{ {NET} }} base_lr: 0.1 lr_policy: "fixed" {text}',
        messages.SolverParameter,
        "s.prototxt",
    )
    return Solver(document, listener if listener is not None else Listener(), **options)


def test_order_of_events(tmp_path):
    events = Events()
    solver = make(
        f"""max_iter: 5 display: 2 test_iter: 2 test_interval: 2 snapshot: 2
                  snapshot_prefix: "{tmp_path}/s" """,
        events,
    )
    events.seen.clear()
    solver.solve()
    iteration = ["iteration", "gradients", "step"]
    shown = ["iteration", "gradients", "display", "step"]
    test = ["test_start", "test_batch", "test_batch", "test"]
    saved = ["snapshot", "snapshot"]
    names = [event[0] for event in events.seen]
    assert names == [
        "start",
        *test,
        *shown,
        *iteration,
        *saved,
        *test,
        *shown,
        *iteration,
        *saved,
        *test,
        *shown,
        *saved,
        "end",
    ]
    assert events.of("display") == [("display", 0), ("display", 2), ("display", 4)]
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        f"s_iter_{n}.{kind}" for n in (2, 4, 5) for kind in ("caffemodel", "solverstate")
    ]


def test_end_of_a_run():
    events = Events()
    make(
        """max_iter: 4 display: 2 test_iter: 1 test_interval: 4
         test_initialization: false snapshot_after_train: false""",
        events,
    ).solve()
    assert events.of("final", "test", "end", "snapshot") == [("final", 4), ("test", 4), ("end", False)]


def test_stop_and_snapshot_by_request(tmp_path):
    events = Events()
    solver = make(f'max_iter: 9 snapshot_after_train: false snapshot_prefix: "{tmp_path}/s"', events)
    solver.step(2)
    solver.request_snapshot()
    solver.step(1)
    assert (tmp_path / "s_iter_3.solverstate").exists()
    solver.listener = Listener()
    solver.listener.on_gradients = lambda iteration: solver.request_stop() if iteration == 5 else None
    solver.request_snapshot()
    solver.solve()
    assert solver.stopped and solver.iteration == 6
    assert (tmp_path / "s_iter_4.solverstate").exists() and not (tmp_path / "s_iter_6.solverstate").exists()


def test_average_loss():
    solver = make("average_loss: 3")
    losses = []
    solver.listener.on_gradients = lambda iteration: losses.append(solver.net.loss())
    for _ in range(5):
        solver.step(1)
        assert solver.smoothed_loss == pytest.approx(np.mean(losses[-3:]))


def test_rate_and_gradient_accumulation():
    one, three = make("momentum: 0.5"), make("momentum: 0.5 iter_size: 3")
    one.step(2)
    three.step(2)
    np.testing.assert_allclose(one.net.data, three.net.data, rtol=1e-5)
    assert one.rate == pytest.approx(0.1)
    assert (one.records_per_iteration, three.records_per_iteration) == (4, 12)


def test_seed():
    weights = [
        make(text, seed=seed).net.data.copy()
        for text, seed in (
            ("", None),
            ("", None),
            ("random_seed: 1", None),
            ("random_seed: 2", None),
            ("random_seed: 7", 2),
        )
    ]
    assert np.array_equal(weights[0], weights[1]) and np.array_equal(weights[0], weights[2])
    assert not np.array_equal(weights[0], weights[3]) and np.array_equal(weights[3], weights[4])


def test_test_nets_use_the_parameters_of_the_train_net():
    solver = make("test_iter: 1 test_interval: 1 test_state { stage: 'extra' }")
    test = solver.test_nets[0]
    assert np.shares_memory(test.params["ip"][0].data, solver.net.data)
    outputs, loss = run_test(test, 3)
    assert [(o.name, o.index) for o in outputs] == [("a_top", i) for i in range(8)] + [("loss", 8)]
    assert loss == pytest.approx(0.5 * outputs[8].value)


def test_a_test_without_a_size_of_its_data():
    with pytest.raises(SolverError, match='net "small" has no data of a known size'):
        run_test(make("").net)


def test_weights_to_start_from(tmp_path):
    given = make("random_seed: 5").net
    given.save(tmp_path / "w.caffemodel")
    field = make(f'weights: " {tmp_path}/w.caffemodel"')
    argument = make('weights: "missing.caffemodel"', weights=[tmp_path / "w.caffemodel"])
    assert np.array_equal(field.net.data, given.data) and np.array_equal(argument.net.data, given.data)
    with pytest.raises(WeightsError, match="missing.caffemodel"):
        make('weights: "missing.caffemodel"')


def test_snapshots_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SolverError, match="cannot be written to"):
        make(f'max_iter: 1 snapshot_prefix: "{tmp_path}/file/s"').solve()
    with pytest.raises(SolverError, match="no snapshot_prefix"):
        make("max_iter: 1").solve()
    with pytest.raises(SolverError, match="max_iter, the number of iterations, is not given"):
        make("snapshot_after_train: false").solve()


def test_log_is_caffes(tmp_path):
    stream = io.StringIO()
    text = f"""max_iter: 3 display: 1 test_iter: 2 test_interval: 2 test_compute_loss: true momentum: 0.9
        clip_gradients: 0.0001 solver_mode: GPU snapshot_prefix: "{tmp_path}/s" """
    make(text, LogListener(stream)).solve()
    lines = stream.getvalue().splitlines()
    heads = [re.match(r"[IW]\d{8} \d\d:\d\d:\d\d\.\d{6} +\d+ (\w+\.cpp:\d+)\] (.*)", line) for line in lines]
    body = [head[2] for head in heads if head]
    assert any(line.startswith("W") and "it runs on the CPU" in line for line in lines)
    body = body[body.index("Solving small") :]
    number = r"[\d.e+-]+"
    step = [
        rf"Iteration N \({number} iter/s, {number}s/1 iters\), loss = {number}",
        rf"    Train net output #0: loss = {number} \(\* 0.5 = {number} loss\)",
        "Iteration N, lr = 0.1",
        rf"Gradient clipping: scaling down gradients \(L2 norm {number} > 0.0001\) by scale factor {number}",
    ]
    test = [
        "Iteration N, Testing net \\(#0\\)",
        f"Test loss: {number}",
        rf"    Test net output #0: loss = {number} \(\* 0.5 = {number} loss\)",
    ]
    expected = [
        "Solving small",
        "Learning Rate Policy: fixed",
        *test,
        *step,
        *step,
        *test,
        *step,
        r"Snapshotting to binary proto file .*s_iter_3.caffemodel",
        r"Snapshotting solver state to binary proto file .*s_iter_3.solverstate",
        rf"Iteration 3, loss = {number}",
        r"Optimization Done\.",
    ]
    assert len(body) == len(expected)
    for line, pattern in zip(body, expected, strict=True):
        assert re.fullmatch(pattern.replace("Iteration N", r"Iteration \d+"), line), line


def test_log_without_the_year():
    stream = io.StringIO()
    LogListener(stream, year=False).on_start("small", "fixed")
    assert re.match(r"I\d{4} \d\d:", stream.getvalue())


def test_outputs_are_in_caffes_order():
    names = [output.name for output in outputs_of(Net(net_from_text(NET), stages=["extra"]))]
    assert (names[0], names[-1]) == ("a_top", "loss")


def test_a_wrong_setting_stops_before_anything_is_built(tmp_path):
    file = Path(tmp_path, "s.prototxt")
    file.write_text('net: "missing.prototxt" base_lr: 1 lr_policy: "stp"')
    with pytest.raises(SolverError, match=r's.prototxt:1:36: there is no lr_policy "stp"; did you mean "step"\?'):
        Solver(file, Listener())
