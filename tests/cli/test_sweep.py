"""``caffelite sweep``: runs side by side, what is kept, what is made again, and how it ends."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from caffelite.cli import sweep as command
from caffelite.parallel import jobs
from caffelite.parallel.jobs import Outcome, WorkerError
from caffelite.parallel.launcher import VARIABLES
from caffelite.solvers.logs import Listener
from caffelite.solvers.solver import Solver

TINY = """
name: "tiny"
layer { name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param {
  shape { dim: 4 dim: 3 } shape { dim: 4 }
  data_filler { type: "gaussian" } data_filler { type: "constant" value: 1 } } }
layer { name: "bn" type: "BatchNorm" bottom: "data" top: "bn" }
layer { name: "ip" type: "InnerProduct" bottom: "bn" top: "ip"
  inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
SOLVER = 'net: "tiny.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 5 test_iter: 2 test_interval: 3 '


@pytest.fixture(autouse=True)
def tiny(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (name for names in VARIABLES for name in names[:2]):
        monkeypatch.delenv(name, raising=False)
    Path("tiny.prototxt").write_text(TINY)
    Path("solver.prototxt").write_text(SOLVER)


class Here:
    """A team that is this process."""

    jobs = threads = 1
    #: Raised by a task, by its number.
    errors: dict[int, BaseException] = {}

    def __init__(self, tasks, asked):
        pass

    def finish(self, work, tasks):
        for number, task in enumerate(tasks):
            error = self.errors.get(number)
            if isinstance(error, KeyboardInterrupt):
                raise error
            yield Outcome(number, None if error else work(task), error)


@pytest.fixture
def here(monkeypatch):
    monkeypatch.setattr(jobs, "Processes", Here)
    monkeypatch.setattr(Here, "errors", {})
    return Here


def kept(folder="solver-sweep"):
    return [json.loads(line) for line in (Path(folder) / "runs.jsonl").read_text().splitlines()]


def test_runs_side_by_side(caffelite):
    Path("solver.prototxt").write_text(SOLVER + "snapshot: 5")
    code, out, err = caffelite("sweep", "solver.prototxt", "--set", "base_lr=0.1,0.01", "--seeds", "2", "--jobs", "2")
    assert code == 0, err
    assert "4 runs, 2 at a time" in err and "4/4 " in err
    head, *rows, plots = out.splitlines()
    assert head.split() == "base_lr runs test accuracy, % test loss training loss seconds".split()
    assert [row.lstrip("* ").split()[:2] for row in rows] == [["0.1", "2"], ["0.01", "2"]]
    assert sum(row.startswith("*") for row in rows) == 1
    assert plots == "plots: solver-sweep/sweep.svg and solver-sweep/sweep.png"
    assert Path("solver-sweep/sweep.svg").read_text().startswith("<?xml")
    records = kept()
    assert len(records) == 4 and {record["threads"] for record in records} <= set(range(1, 1000))
    for record in records:
        folder = Path("solver-sweep", record["folder"])
        assert sorted(path.name for path in folder.iterdir()) == [
            "solver_iter_5.caffemodel",
            "solver_iter_5.solverstate",
            "train.log",
        ]
    # The same numbers as a run by itself.
    record = next(one for one in records if one["settings"] == {"base_lr": "0.1"} and one["seed"] == 2)
    solver = Solver("solver.prototxt", Listener(), seed=2)
    solver.step(5)
    solver.close()
    assert record["loss"] == solver.smoothed_loss and record["iterations"] == 5
    assert record["shares"] == ["accuracy"] and record["losses"] == ["loss"]


def test_what_is_done_is_not_done_again(caffelite, here):
    code, _, err = caffelite("sweep", "solver.prototxt", "--set", "max_iter=2", "--set", "eps=1,2", "--output", "o")
    assert code == 0, err
    file = Path("o/runs.jsonl")
    file.write_bytes(file.read_bytes() + b'{"settings": {"eps"')
    code, out, err = caffelite(
        "sweep", "solver.prototxt", "--set", "max_iter=2", "--set", "eps=1,3,2", "--output", "o", "--json"
    )
    assert code == 0 and "2 of 3 runs are done already: o/runs.jsonl" in err and "1 run, 1 at a time" in err
    assert [record["settings"]["eps"] for record in kept("o")] == ["1", "2", "3"]
    told = json.loads(out)
    assert [record["settings"]["eps"] for record in told["runs"]] == ["1", "3", "2"]
    assert told["best"]["by"] == "test accuracy" and told["best"]["min"] == told["best"]["mean"]
    # Another net is another run.
    Path("tiny.prototxt").write_text(TINY.replace("num_output: 2", "num_output: 3"))
    _, _, err = caffelite("sweep", "solver.prototxt", "--set", "max_iter=2", "--set", "eps=1", "--output", "o")
    assert "done already" not in err


def test_runs_that_diverge_and_fail_are_named(caffelite, here):
    here.errors = {0: WorkerError("its process was ended by SIGKILL")}
    arguments = ["sweep", "solver.prototxt", "--set", "weight_filler.type=xavier,no,gaussian"]
    arguments += ["--set", "weight_filler.std=0.1,3e38"]
    code, out, err = caffelite(*arguments)
    assert code == 1
    one = "weight_filler.type=gaussian weight_filler.std=3e38 seed 1"
    assert f"caffelite: 1 of 6 runs diverged ({one}); solver-sweep/runs.jsonl tells why" in err
    assert "caffelite: 3 of 6 runs failed (weight_filler.type=xavier weight_filler.std=0.1 seed 1, " in err
    assert "failed: tiny.prototxt:" in err and "failed: its process was ended by SIGKILL" in err
    assert "Traceback" not in err and "0 of 1, 1 diverged" in out and "0 of 1, 1 failed" in out
    diverged = next(record for record in kept() if record["state"] == "diverged")
    assert "the loss is" in diverged["message"] and diverged["loss"] is None
    assert not list(Path("solver-sweep").rglob("*.caffemodel"))
    # What failed is made again, what diverged is not.
    here.errors = {}
    code, _, err = caffelite(*arguments)
    assert code == 1 and "3 of 6 runs are done already" in err and "3 runs, " in err
    assert "caffelite: 2 of 6 runs failed (weight_filler.type=no " in err


def test_an_error_that_nobody_expects(caffelite, here, monkeypatch):
    monkeypatch.setattr(Solver, "solve", lambda self: {}["missing"])
    code, _, err = caffelite("sweep", "solver.prototxt")
    assert code == 1 and "Traceback" not in err
    log = Path("solver-sweep", kept()[0]["folder"], "train.log")
    assert f"failed: KeyError: 'missing'; {log} tells where" in err and "Traceback" in log.read_text()


def test_ctrl_c_keeps_what_is_done(caffelite, here):
    here.errors = {1: KeyboardInterrupt()}
    code, out, err = caffelite("sweep", "solver.prototxt", "--set", "base_lr=0.1,0.2,0.3")
    assert (code, out) == (130, "")
    assert "1 of 3 runs are done and kept in solver-sweep/runs.jsonl; the same command makes the others" in err
    assert len(kept()) == 1


def test_without_matplotlib(caffelite, here, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, out, err = caffelite("sweep", "solver.prototxt", "--set", "base_lr=0.1,0.2")
    assert code == 0 and "nothing is drawn: plots need matplotlib" in err and "plots:" not in out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--set", "base_lt=1"], 1, 'has such a field; did you mean "base_lr"?'),
        (["--set", "base_lr=1", "--set", "base_lr=2"], 1, "--set base_lr is given twice"),
        (["--set", "base_lr"], 2, '"base_lr" is not NAME=A,B'),
        (["--set", "base_lr=1,,2"], 2, '"base_lr=1,,2" is not NAME=A,B'),
        (["--seeds", "0"], 2, "0 is not 1 or more"),
    ],
)
def test_refused_before_anything_runs(arguments, code, said, caffelite):
    found, out, err = caffelite("sweep", "solver.prototxt", *arguments)
    assert (found, out) == (code, "") and said in err and "Traceback" not in err
    assert not Path("solver-sweep").exists()


def test_a_folder_of_something_else_or_of_another_sweep(caffelite, here):
    Path("o").mkdir()
    Path("o/runs.jsonl").write_text('{"a": 1}\n')
    code, _, err = caffelite("sweep", "solver.prototxt", "--output", "o")
    assert code == 1 and "o/runs.jsonl:1: this is no line of a sweep" in err
    pytest.importorskip("fcntl")
    with command.Records(Path("p")):
        code, _, err = caffelite("sweep", "solver.prototxt", "--output", "p")
    assert code == 1 and "another sweep is writing there" in err


def test_on_the_ranks_of_mpi():
    pytest.importorskip("mpi4py")
    mpiexec = shutil.which("mpiexec", path=Path(sys.executable).parent) or shutil.which("mpiexec")
    if mpiexec is None:
        pytest.skip("there is no mpiexec")
    words = [sys.executable, "-m", "caffelite", "sweep", "solver.prototxt", "--set", "base_lr=0.1,0.2"]
    paths = {"PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.run([mpiexec, "-n", "2", *words], capture_output=True, text=True, env={**os.environ, **paths})
    assert process.returncode == 0, process.stderr
    assert process.stderr.count("2 runs, 1 at a time") == 1 and len(kept()) == 2
    assert process.stdout.count("base_lr") == 1
