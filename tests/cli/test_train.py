"""``caffelite train``: solver or net, overrides, resuming, log lines, signals, the last line."""

import re
import signal
from pathlib import Path

import pytest

from caffelite.cli.preparing import solver_for
from caffelite.cli.signals import signal_effects
from caffelite.solvers.logs import Listener
from caffelite.solvers.solver import Solver
from caffelite.solvers.sources import PrototxtFiles

# From the log of BVLC Caffe that went on from snap_iter_6.solverstate.
RESUMED = {
    6: 0.000544957,
    7: 0.000160886,
    8: 7.38048e-05,
    9: 0.000154041,
    10: 6.99364e-06,
    11: 1.56961e-05,
}
# Of glog: what parse_log.py and extract_seconds.py of Caffe look for.
LINE = re.compile(r"[IWEF]\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ [a-z_]+\.[ch]pp:\d+\] ")
LOSS = re.compile(r"Iteration (\d+) \(\S+ iter/s, \S+s/\d+ iters\), loss = (\S+)")

TINY = """
name: "tiny"
layer { name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param {
  shape { dim: 4 dim: 3 } shape { dim: 4 }
  data_filler { type: "gaussian" } data_filler { type: "constant" value: 1 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


def losses(log: str) -> dict[int, float]:
    return {int(iteration): float(loss) for iteration, loss in LOSS.findall(log)}


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("tiny.prototxt").write_text(TINY)
    return Path("tiny.prototxt")


def write_solver(extra: str = "", name: str = "tiny_solver.prototxt") -> None:
    Path(name).write_text(
        'net: "tiny.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 20 display: 5 random_seed: 3\n'
        f'snapshot_prefix: "deep/folder/tiny" {extra}'
    )


def test_goes_on_from_caffes_snapshot_as_caffe_does(caffelite, run_folder):
    code, out, err = caffelite("train", "-solver", "solver.prototxt", "-snapshot", "snap_iter_6.solverstate")
    assert code == 0
    found = losses(err)
    assert found.keys() == RESUMED.keys()
    for iteration, loss in RESUMED.items():
        assert found[iteration] == pytest.approx(loss, rel=2e-3, abs=1e-9)
    assert "Test net output #0: accuracy = 1\n" in err
    assert out.startswith("interop: iteration 12; 6 in ")
    assert "test: accuracy 100%, loss 3.12" in out
    assert "weights in snap_iter_12.caffemodel, to go on with: --snapshot snap_iter_12.solverstate" in out
    assert out.count("\n") == 1


def test_log_lines_are_those_that_caffes_tools_read(caffelite, run_folder):
    _, _, err = caffelite("train", "solver.prototxt")
    lines = [line for line in err.splitlines() if LINE.match(line)]
    assert sorted(losses(err)) == list(range(12))
    assert len(re.findall(r"Train net output #0: loss = \S+ \(\* 1 = \S+ loss\)", err)) == 12
    assert len(re.findall(r"Iteration \d+, lr = ([-+]?[0-9]*\.?[0-9]+(?:[eE]?[-+]?[0-9]+)?)", err)) == 12
    assert re.findall(r"Iteration (\d+), Testing net \(#0\)", err) == ["0", "4", "8", "12"]
    assert any("Solving interop" in line for line in lines)
    assert "Snapshotting to binary proto file snap_iter_6.caffemodel" in err
    assert "Snapshotting solver state to binary proto file snap_iter_12.solverstate" in err
    assert "Optimization Done." in err


def test_a_resumed_run_is_the_same_run(caffelite, run_folder):
    whole = losses(caffelite("train", "solver.prototxt")[2])
    rest = losses(caffelite("train", "solver.prototxt", "--snapshot", "snap_iter_6.solverstate")[2])
    assert rest == {iteration: loss for iteration, loss in whole.items() if iteration >= 6}


def test_a_net_is_trained_with_its_siblings_settings(caffelite, tiny):
    write_solver('snapshot_after_train: false type: "Adam"')
    code, out, err = caffelite("train", "tiny.prototxt")
    assert code == 0
    assert err.startswith("training tiny.prototxt with tiny_solver.prototxt\n")
    assert out.startswith("tiny: iteration 20; 20 in ")
    assert "snapshot" not in out


@pytest.mark.parametrize(
    ("net", "solver"),
    [
        ("a_train_test", "a_solver"),
        ("a_train_val", "a_solver"),
        ("train_val", "solver"),
        ("a", None),
        ("b_train", None),
    ],
)
def test_siblings_by_caffes_names(net, solver, tiny):
    tiny.rename(f"{net}.prototxt")
    for name in ("a_solver", "solver", "b_solver"):
        of = "a_train_test" if name == "b_solver" else net
        Path(f"{name}.prototxt").write_text(f'net: "x/{of}.prototxt" base_lr: 7 lr_policy: "fixed" max_iter: 1')
    if net == "a":
        Path("a_solver.prototxt").unlink()
    document = solver_for(Path(f"{net}.prototxt"), PrototxtFiles())
    assert (document.message.base_lr == 7) == (solver is not None)
    assert document.message.net == f"{net}.prototxt"
    assert solver is None or document.filename == f"{solver}.prototxt"


def test_a_net_alone_is_trained_with_default_settings(caffelite, tiny):
    code, out, err = caffelite("train", "tiny.prototxt", "--iterations", "3")
    assert code == 0
    first = err.splitlines()[0]
    assert first == (
        "training tiny.prototxt with default settings, as there is no tiny_solver.prototxt beside it: SGD, "
        "momentum 0.9, learning rate 0.01 times 0.1 at 5000, 8000 and an end at 10000"
    )
    assert Path("snapshots/tiny_iter_3.caffemodel").is_file()


def test_the_folder_of_snapshots_is_made(caffelite, tiny):
    write_solver()
    code, out, _ = caffelite("train", "tiny_solver.prototxt", "--iterations", "2")
    assert code == 0
    assert "weights in deep/folder/tiny_iter_2.caffemodel" in out
    assert Path("deep/folder/tiny_iter_2.solverstate").is_file()


def test_seed_and_weights(caffelite, tiny):
    write_solver()
    runs = [losses(caffelite("train", "tiny.prototxt", "--seed", seed)[2]) for seed in ("5", "5", "6")]
    assert runs[0] == runs[1] != runs[2]
    weights = "deep/folder/tiny_iter_20.caffemodel"
    log = caffelite("train", "-solver=tiny_solver.prototxt", f"-weights={weights}")[2]
    assert f"{weights}: weights of 1 layers are taken" in log
    started = losses(log)
    assert started[0] < losses(caffelite("train", "tiny_solver.prototxt")[2])[0]


def test_stages_reach_the_net(caffelite, tiny):
    tiny.write_text(TINY.replace('top: "loss" }', 'top: "loss" include { stage: "learn" } }'))
    write_solver()
    with_loss = caffelite("train", "tiny_solver.prototxt", "-stage", "learn", "-iterations", "1")[2]
    code, _, without = caffelite("train", "tiny_solver.prototxt", "-iterations", "1")
    assert "Train net output #0: loss" in with_loss
    assert code == 1 and "tiny.prototxt: no layer of the TRAIN phase is a loss" in without


DEPLOY = TINY.split('layer { name: "loss"')[0]


@pytest.mark.parametrize(
    ("name", "beside", "expected"),
    [
        ("a.prototxt", {}, ""),
        ("a.prototxt", {"a_train_test.prototxt": TINY, "train_val.prototxt": TINY}, "a_train_test.prototxt"),
        ("a_deploy.prototxt", {"a_train_val.prototxt": TINY}, "a_train_val.prototxt"),
        ("deploy.prototxt", {"train_val.prototxt": TINY}, "train_val.prototxt"),
        ("deploy.prototxt", {"solver.prototxt": 'net: "far/b.prototxt"', "b.prototxt": TINY}, "b.prototxt"),
        ("deploy.prototxt", {"solver.prototxt": "no solver", "train.prototxt": TINY}, "train.prototxt"),
        ("a.prototxt", {"solver.prototxt": 'net: "a.prototxt"'}, ""),
    ],
)
def test_a_net_without_a_loss(caffelite, tiny, name, beside, expected):
    for file, text in {**beside, name: DEPLOY}.items():
        Path(file).write_text(text)
    code, out, err = caffelite("train", name, "--iterations", "3")
    hint = f"; did you mean {expected}?" if expected else ""
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == (
        f"caffelite: {name}: no layer of the TRAIN phase is a loss, so there is nothing to learn from{hint}"
    )
    assert not Path("snapshots").exists()


@pytest.mark.parametrize("field", ["net", "train_net"])
def test_a_solver_that_names_another_net_is_not_used(caffelite, tiny, field):
    write_solver()
    solver = Path("tiny_solver.prototxt")
    solver.write_text(solver.read_text().replace('net: "tiny', f'\n{field}: "examples/tiny_train_test'))
    expected = "caffelite: tiny_solver.prototxt:2:1: this solver trains {}, not tiny.prototxt; train {} or "
    for train in ("examples/tiny_train_test.prototxt", "tiny_train_test.prototxt"):
        code, out, err = caffelite("train", "tiny.prototxt")
        assert (code, out) == (1, "")
        assert expected.format(train, train) in err
        # What the solver names from Caffe's folder lies beside it.
        Path("tiny_train_test.prototxt").write_text(TINY)


def test_a_solver_may_name_its_net_from_elsewhere(caffelite, tiny):
    write_solver()
    solver = Path("tiny_solver.prototxt")
    for name in ("./tiny.prototxt", "examples/tiny.prototxt", str(tiny.absolute())):
        solver.write_text(re.sub('net: "[^"]*"', f'net: "{name}"', solver.read_text()))
        assert caffelite("train", "tiny.prototxt", "--iterations", "1")[0] == 0


@pytest.mark.parametrize(("rate", "value"), [("1e38", "nan"), ("0", "inf")])
def test_a_loss_that_is_not_a_number(caffelite, tiny, rate, value):
    data = "1e30" if value == "inf" else "1"  # its square is no float32
    net = TINY.replace('type: "constant" value: 1', f'type: "constant" value: {data}')
    net = net.replace("shape { dim: 4 dim: 3 } shape { dim: 4 }", "shape { dim: 4 dim: 3 } shape { dim: 4 dim: 2 }")
    tiny.write_text(net.replace('"SoftmaxWithLoss"', '"EuclideanLoss"'))
    write_solver("test_iter: 1 test_interval: 20")
    solver = Path("tiny_solver.prototxt")
    solver.write_text(solver.read_text().replace("base_lr: 0.1", f"base_lr: {rate}"))
    code, out, _ = caffelite("train", "tiny.prototxt", "--non-finite", "ignore")
    assert code == 1
    assert f"; test: loss {value}; the loss is not a number ({value}); weights in deep/folder/tiny_iter_20.c" in out
    assert out.count("\n") == 1
    assert Path("deep/folder/tiny_iter_20.solverstate").is_file()


def diverging() -> None:
    """Let the tiny net's losses run away."""
    net = TINY.replace("shape { dim: 4 dim: 3 } shape { dim: 4 }", "shape { dim: 4 dim: 3 } shape { dim: 4 dim: 2 }")
    Path("tiny.prototxt").write_text(net.replace('"SoftmaxWithLoss"', '"EuclideanLoss"'))
    write_solver("average_loss: 2 momentum: 0.9")
    solver = Path("tiny_solver.prototxt")
    solver.write_text(solver.read_text().replace("base_lr: 0.1", "base_lr: 1e6"))


def test_a_run_that_diverges_stops_and_can_go_on_from_its_last_finite_state(caffelite, tiny):
    diverging()
    code, out, err = caffelite("train", "tiny.prototxt")
    assert code == 1 and out == ""
    found = re.search(
        r"^caffelite: iteration (\d+): the loss is (nan|inf); the first that is not finite is in layer "
        r'"(ip|loss)" \(\w+\), blob "\3": .*; it read .*; the values have run away: .*; '
        r"the last finite state is saved, to go on with: --snapshot (\S+)\n\Z",
        err,
        re.MULTILINE,
    )
    assert found is not None
    iteration, state = found[1], found[4]
    assert state == f"deep/folder/tiny_iter_{iteration}.solverstate"
    # The same again, from there: the same batch, the same values.
    assert caffelite("train", "tiny.prototxt", "--snapshot", state)[2].endswith(err[found.start() :])
    solver = Path("tiny_solver.prototxt")
    solver.write_text(solver.read_text().replace("base_lr: 1e6", "base_lr: 0"))
    code, out, _ = caffelite("train", "tiny.prototxt", "--snapshot", state, "--iterations", str(int(iteration) + 1))
    assert "not a number" not in out


def test_a_run_that_diverges_may_go_on(caffelite, tiny):
    diverging()
    code, out, err = caffelite("train", "tiny.prototxt", "--non-finite", "warn")
    assert code == 1 and out.startswith("tiny: iteration 20; ") and "the loss is not a number" in out
    assert err.count("the first that is not finite is in layer") == err.count("it goes on, and what it learns") == 1
    code, out, err = caffelite("train", "tiny.prototxt", "--non-finite", "ignore")
    assert code == 1 and "the loss is not a number" in out and "not finite" not in err


def test_debug_info_prints_caffes_lines(caffelite, tiny):
    write_solver("debug_info: true")
    _, _, err = caffelite("train", "tiny.prototxt", "--iterations", "6")
    lines = [line.partition("] ")[2] for line in err.splitlines() if LINE.match(line)]
    number = r"[-+.e\d]+"
    patterns = {
        "Forward": [
            *(f"Layer data, top blob {top} data: {number}" for top in ("data", "label")),
            f"Layer ip, top blob ip data: {number}",
            *(f"Layer ip, param blob {j} data: {number}" for j in (0, 1)),
            f"Layer loss, top blob loss data: {number}",
        ],
        "Backward": [
            f"Layer loss, bottom blob ip diff: {number}",
            *(f"Layer ip, param blob {j} diff: {number}" for j in (0, 1)),
            rf"All net params \(data, diff\): L1 norm = \({number}, {number}\); L2 norm = \({number}, {number}\)",
        ],
    }
    for kind, expected in patterns.items():
        found = [line for line in lines if line.startswith(f"    [{kind}] ")]
        # Iterations 0 and 5 are displayed.
        assert len(found) == 2 * len(expected)
        for line, pattern in zip(found, 2 * expected, strict=True):
            assert re.fullmatch(rf"    \[{kind}\] " + pattern, line)
    updates = [line for line in lines if line.startswith("    [Update] ")]
    assert [re.sub(f": {number}", ":", line) for line in updates] == 2 * [
        f"    [Update] Layer ip, param {j} data:; diff:" for j in (0, 1)
    ]
    assert "net.cpp:719]     [Backward] All net params" in err


def test_a_run_that_has_not_begun_has_no_loss(caffelite, run_folder):
    state = ["-snapshot", "snap_iter_6.solverstate", "-iterations", "6"]
    assert "not a number" not in caffelite("train", "solver.prototxt", *state)[1]


def test_the_last_line_has_a_test_of_the_last_iteration(caffelite, tiny):
    write_solver("test_iter: 2 test_interval: 15")
    _, out, err = caffelite("train", "tiny_solver.prototxt")
    assert re.findall(r"Iteration (\d+), Testing", err) == ["0", "15", "20"]
    assert "; test: loss " in out


def test_nothing_left_to_do(caffelite, run_folder):
    code, out, _ = caffelite("train", "solver.prototxt", "-snapshot", "snap_iter_6.solverstate", "-iterations", "6")
    assert code == 0
    assert "nothing was left to do" in out


def test_a_solver_without_an_end(caffelite, tiny):
    Path("s.prototxt").write_text('net: "tiny.prototxt" base_lr: 0.1 lr_policy: "fixed"')
    code, _, err = caffelite("train", "s.prototxt")
    assert code == 1
    assert "s.prototxt has no max_iter" in err


@pytest.fixture
def solver(tiny):
    write_solver()
    made = Solver("tiny_solver.prototxt", Listener())
    yield made
    made.close()


def test_a_signal_stops_the_run_and_a_second_one_ends_it(solver):
    said = []
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), signal_effects(solver, "stop", "snapshot", said.append):
        signal.raise_signal(signal.SIGINT)
        assert solver.stopped
        assert "Ctrl-C again" in said[0]
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_hangup_makes_a_snapshot_and_the_run_goes_on(solver):
    # Not every system has the signal; there, what Ctrl-C can be asked to do is the same.
    hangup = getattr(signal, "SIGHUP", signal.SIGINT)
    with signal_effects(solver, "snapshot", "snapshot", print):
        signal.raise_signal(hangup)
        solver.step(2)
    assert not solver.stopped
    assert solver.iteration == 2
    assert Path("deep/folder/tiny_iter_1.solverstate").is_file()


def test_a_signal_without_effect(solver):
    with signal_effects(solver, "none", "none", print):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    assert not solver.stopped


def test_ctrl_c_ends_a_run_with_a_snapshot(tiny, python):
    write_solver("snapshot_after_train: false")
    process = python("-m", "caffelite", "train", "tiny_solver.prototxt", "--iterations", "100000000")
    for line in process.stderr:
        if "Iteration 5 " in line:
            process.send_signal(signal.SIGINT)
            break
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Optimization stopped early." in err
    stopped = re.match(r"tiny: stopped at iteration (\d+) of 100000000; ", out)
    assert Path(f"deep/folder/tiny_iter_{stopped[1]}.solverstate").is_file()
