"""Signals: SIGTERM ends a run with a snapshot and in time, Ctrl-C is clean at any moment."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from caffelite.solvers.snapshots import read_state

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals are others there")

SOLVER = """
net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" momentum: 0.9 max_iter: 100000000 display: 1 random_seed: 3
snapshot_prefix: "net" snapshot_after_train: false average_loss: 3
"""
#: What a layer of the user's does, by how often it has run, is up to the test.
NET = """
name: "net"
layer { name: "data" type: "DummyData" top: "x" top: "label" dummy_data_param {
  shape { dim: 4 dim: 3 } shape { dim: 4 }
  data_filler { type: "gaussian" } data_filler { type: "constant" value: 1 } } }
layer { name: "bn" type: "BatchNorm" bottom: "x" top: "n" }
layer { name: "drop" type: "Dropout" bottom: "n" top: "n" }
layer { name: "ip" type: "InnerProduct" bottom: "n" top: "y"
  inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "slow" type: "Python" bottom: "y" top: "y2" python_param { module: "slow" layer: "Slow" } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "y2" bottom: "label" top: "loss" }
"""
SLOW = """
import sys
import time
import caffe

class Slow(caffe.Layer):
    count = 0

    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        top[0].data[...] = bottom[0].data
        Slow.count += 1
        if Slow.count == COUNT:
            print("now", file=sys.stderr, flush=True)
        time.sleep(FIRST if Slow.count < COUNT else 100)

    def backward(self, top, propagate_down, bottom):
        bottom[0].diff[...] = top[0].diff
"""


def run(*arguments: str) -> subprocess.Popen[str]:
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.getcwd(), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def until(process: subprocess.Popen[str], text: str) -> list[str]:
    lines = []
    for line in process.stderr:
        lines.append(line)
        if text in line:
            return lines
    raise AssertionError(f"{text!r} is not in {lines}")


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    monkeypatch.chdir(tmp_path)
    started = []

    def start(count: int, first: float = 0.0, in_test: bool = False, extra: str = "") -> subprocess.Popen[str]:
        Path("solver.prototxt").write_text(SOLVER + extra)
        net = NET
        if in_test:
            fast = 'layer { name: "fast" type: "Power" bottom: "y" top: "y2" include { phase: TRAIN } }\n'
            net = NET.replace('layer: "Slow" } }\n', f'layer: "Slow" }} include {{ phase: TEST }} }}\n{fast}')
        Path("net.prototxt").write_text(net)
        Path("slow.py").write_text(SLOW.replace("COUNT", str(count)).replace("FIRST", str(first)))
        started.append(run("-m", "caffelite", "train", "solver.prototxt", "--allow-python"))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str], code: int, within: float = 10.0) -> str:
    begun = time.monotonic()
    _, err = process.communicate(timeout=30)
    assert process.returncode == code, err
    assert "Traceback" not in err
    assert time.monotonic() - begun < within
    return err


def files() -> list[str]:
    return sorted(path.name for path in Path().iterdir() if path.name.startswith((".", "net_")))


def check_snapshot(iterations: int) -> None:
    """Hold the snapshot that there is against that of a run that nobody disturbed."""
    name = f"net_iter_{iterations}"
    assert files() == [f"{name}.caffemodel", f"{name}.solverstate"]
    model, state = Path(f"{name}.caffemodel").read_bytes(), read_state(f"{name}.solverstate")
    Path("slow.py").write_text(SLOW.replace("COUNT", "-1").replace("100", "0"))
    Path("solver.prototxt").write_text(Path("solver.prototxt").read_text().replace("train: false", "train: true"))
    process = run("-m", "caffelite", "train", "solver.prototxt", "--allow-python", "--iterations", str(iterations))
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert Path(f"{name}.caffemodel").read_bytes() == model
    quiet = read_state(f"{name}.solverstate")
    assert (quiet.iteration, quiet.current_step) == (state.iteration, state.current_step)
    assert all(np.array_equal(a, b) for a, b in zip(quiet.history, state.history, strict=True))
    assert quiet.extra.keys() == state.extra.keys()
    assert all(np.array_equal(array, state.extra[key]) for key, array in quiet.extra.items())


def test_sigterm_makes_a_snapshot(train):
    process = train(10**9)
    until(process, "Iteration 5 ")
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)  # as timeout does, to the process and to its group
    err = ended(process, 143)
    assert "Optimization stopped early" in err
    model, state = files()
    assert re.fullmatch(r"net_iter_\d+\.caffemodel", model) and state == model.replace("caffemodel", "solverstate")


def test_sigterm_does_not_wait_for_a_slow_iteration(train):
    process = train(3, 0.6)
    until(process, "now")
    process.send_signal(signal.SIGTERM)
    ended(process, 143)
    check_snapshot(2)


def test_sigterm_does_not_wait_for_a_slow_test(train):
    tests = "test_iter: 2 test_interval: 3 test_initialization: false"
    process = train(2, 0.1, True, tests)
    until(process, "now")
    process.send_signal(signal.SIGTERM)
    ended(process, 143)
    check_snapshot(3)


def test_a_second_sigterm_ends_at_once(train):
    process = train(1)
    until(process, "now")
    process.send_signal(signal.SIGTERM)
    time.sleep(1.5)
    process.send_signal(signal.SIGTERM)
    ended(process, 143, 1.0)
    assert files() == []


def test_where_nothing_was_put_aside_the_run_ends_in_time_all_the_same(train):
    process = train(5)
    until(process, "now")
    process.send_signal(signal.SIGTERM)
    ended(process, 143)
    assert files() == []


#: The command line as a process, which says that it begins; before, Python itself starts.
PROCESS = "from caffelite.__main__ import process; print('begun', flush=True); process()"


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_at_any_moment_of_the_start_is_clean(number, code, cached, train, monkeypatch):
    if not cached:
        monkeypatch.setenv("CAFFELITE_CACHE", str(Path("cache").absolute()))
    train(10**9, in_test=True).kill()
    for delay in (0.01, 0.03, 0.1, 0.2, 0.4, 0.6, 0.8, 1.1):
        process = run("-c", PROCESS, "train", "solver.prototxt", "--allow-python")
        assert process.stdout.readline() == "begun\n"
        time.sleep(delay)
        process.send_signal(number)
        _, err = process.communicate(timeout=20)
        assert "Traceback" not in err and "Exception" not in err, (delay, err)
        # Before the command line has a handler, the signal ends the process; a shell says the same of both.
        assert process.returncode in (code, -number, 0 if number == signal.SIGINT else code), (delay, err)
        assert not any(name.startswith(".") for name in files())


SWALLOWED = """
import os, signal, time
from caffelite.cli.endings import ending_signals
class Finalized:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)
with ending_signals():
    try:
        STATEMENT
    except BaseException:
        pass
    time.sleep(60)
"""


@pytest.mark.parametrize(
    ("statement", "within"), [("os.kill(os.getpid(), signal.SIGTERM); time.sleep(1)", 6.0), ("Finalized()", 3.0)]
)
def test_code_that_swallows_the_exception_ends_all_the_same(statement, within):
    process = run("-c", SWALLOWED.replace("STATEMENT", statement))
    err = ended(process, 143, within)
    assert err == "caffelite: ended by SIGTERM\n"


HALF_MADE = """
import os, signal
from caffelite.cli.endings import ending_signals
class Half:
    def __init__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        self.made = True
    def __del__(self):
        del self.made
with ending_signals() as came:
    SENT
    try:
        Half()
    except KeyboardInterrupt:
        pass
"""


@pytest.mark.parametrize("came", [True, False])
def test_what_the_signal_left_half_made_is_not_reported(came):
    code = HALF_MADE.replace("SENT", "" if came else "del Half.__init__; Half()")
    _, err = run("-c", code).communicate(timeout=20)
    assert ("AttributeError" in err) is not came


def test_what_the_parent_ignores_is_ignored():
    code = (
        "import signal; from caffelite.cli.endings import ending_signals\nwith ending_signals(): print(signal.SIG_IGN)"
    )
    code = code.replace("print(signal.SIG_IGN)", "print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)")
    process = run("-c", f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); {code}")
    assert process.communicate(timeout=20)[0] == "True\n"


def test_handlers_are_given_back(caffelite):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), sys.unraisablehook
    assert caffelite("--version")[0] == 0
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), sys.unraisablehook) == before


LEFT = """
import dataclasses, itertools, sys
from caffelite.datasets.prepare import DATASETS
from caffelite.datasets import synthetic
from caffelite.datasets.download import Remote
from caffelite.datasets.originals import Splits
from caffelite.cli import main
def slow():
    yield from synthetic.digits(0, 20)
    print("now", file=sys.stderr, flush=True)
    yield from itertools.chain.from_iterable(synthetic.digits(0, 1000) for _ in itertools.count())
small = Splits(slow if sys.argv[1:] else (lambda: synthetic.digits(0, 20)), lambda: synthetic.digits(20, 10))
nowhere = (Remote("train-images-idx3-ubyte.gz", 3, "0" * 64, ("http://127.0.0.1:1/x",)),)
DATASETS["mnist"] = dataclasses.replace(DATASETS["mnist"], remotes=nowhere, builtin=small)
sys.exit(main(["data", "mnist"]))
"""


@pytest.mark.parametrize(("number", "left"), [(signal.SIGKILL, True), (signal.SIGTERM, False), (signal.SIGINT, False)])
def test_what_a_killed_run_left_of_data_is_removed_by_the_next(number, left, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CAFFELITE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CAFFELITE_DATA", raising=False)
    process = run("-c", LEFT, "slow")
    until(process, "now")
    process.send_signal(number)
    process.communicate(timeout=20)
    assert process.returncode == {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}[number]
    assert [name.startswith(".mnist.") for name in os.listdir("data")] == ([True] if left else [])
    process = run("-c", LEFT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert not any(name.startswith(".") for name in os.listdir("data"))
    assert "mnist_train_lmdb" in os.listdir("data")
