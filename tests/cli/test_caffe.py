"""caffelite caffe, which is Caffe's own program: its log and exit codes; and programs by their own names."""

import os
import re
import sys
from pathlib import Path

import pytest

from caffelite import __main__
from caffelite.cli.program import PROGRAMS
from caffelite.solvers.solver import Solver

WEIGHTS = "snap_iter_12.caffemodel"
LINE = re.compile(r"[IWEF](\d{4} \d\d:\d\d:\d\d\.\d{6}) +\d+ ([a-z_]+\.[ch]pp:\d+|caffelite:0)\] (.*)")


def lines(err: str) -> list[tuple[str, str]]:
    """The lines of a log, without those of its messages that go on."""
    return [(match[2], match[3]) for match in map(LINE.match, err.splitlines()) if match]


def without_numbers(text: str) -> str:
    return re.sub(r"[-+]?\d+\.?\d*(e[-+]\d+)?s?", "N", text)


def test_train_writes_the_log_that_caffe_wrote(caffelite, run_folder):
    code, out, err = caffelite("caffe", "train", "--solver=solver.prototxt")
    assert (code, out) == (0, "")
    kinds = ("solver.cpp", "sgd_solver.cpp", "caffe.cpp")
    ours, caffes = (
        [(place, without_numbers(text)) for place, text in lines(log) if place.startswith(kinds)]
        for log in (err, re.sub(r"^I2026", "I", (run_folder / "train.log").read_text(), flags=re.MULTILINE))
    )
    assert ours[0][1].startswith("Use N thread")
    assert ours[1:] == caffes[1:]
    shapes = [text for place, text in lines(err) if place == "net.cpp:131"]
    assert shapes[:3] == ["Top shape: 6 3 16 16 (4608)", "Top shape: 6 (6)", "Top shape: 6 6 16 16 (9216)"]
    assert ("net.cpp:139", "Memory required for data: 138364") in lines(err)


def test_resume_and_other_spellings(caffelite, run_folder):
    code, _, err = caffelite(
        "caffe", "-solver", "solver_h5.prototxt", "train", "-snapshot", "snap_iter_6.solverstate", "-gpu=", "-v=1"
    )
    assert code == 2 and "is no number of a GPU" in err
    Path("solver.prototxt").write_text(Path("solver.prototxt").read_text().replace("max_iter: 12", "max_iter: 7"))
    Path("h5/snap_iter_6.solverstate.h5").rename("only.solverstate.h5")
    Path("h5/snap_iter_6.caffemodel.h5").rename("h5_snap.caffemodel.h5")
    code, _, err = caffelite(
        *("caffe", "-solver", "solver.prototxt", "train", "-snapshot", "snap_iter_6.solverstate", "-alsologtostderr=1"),
    )
    assert code == 0
    assert ("caffe.cpp:235", "Resuming from snap_iter_6.solverstate") in lines(err)
    displayed = [text.split(" (")[0] for _, text in lines(err) if "iter/s" in text]
    assert displayed == ["Iteration 6"]


def test_a_state_that_is_there_as_hdf5_alone(caffelite, run_folder, monkeypatch):
    given = []
    monkeypatch.setattr(Solver, "restore", lambda self, path: given.append(path))
    monkeypatch.setattr(Solver, "solve", lambda self: None)
    Path("state.solverstate.h5").touch()
    code, _, err = caffelite("caffe", "train", "--solver=solver.prototxt", "--snapshot=state.solverstate")
    assert (code, given) == (0, ["state.solverstate.h5"])
    assert "there is no state.solverstate; going on from state.solverstate.h5" in err


def test_test(caffelite, run_folder):
    code, out, err = caffelite("caffe", "test", "-model", "net.prototxt", f"-weights={WEIGHTS}", "-iterations", "2")
    assert (code, out) == (0, "")
    ours = [(place, without_numbers(text)) for place, text in lines(err) if place.startswith("caffe.cpp")]
    log = re.sub(r"^I2026", "I", (run_folder / "test.log").read_text(), flags=re.MULTILINE)
    caffes = [(place, without_numbers(text)) for place, text in lines(log) if place.startswith("caffe.cpp")]
    assert ours[1:] == caffes[1:]
    assert ("caffe.cpp:321", "accuracy = 1") in lines(err)


def test_time(caffelite, run_folder):
    code, out, err = caffelite("caffe", "time", "-model=net.prototxt", "-iterations=2")
    assert (code, out) == (0, "")
    texts = [text for _, text in lines(err)]
    for start in ("Initial loss: ", "Iteration: 2 forward-backward time: ", "Average Forward pass: ", "Total Time: "):
        assert any(text.startswith(start) for text in texts)
    assert any(re.fullmatch(r"     conv1\tforward: [\d.e-]+ ms\.", text) for text in texts)
    assert texts[-1] == "*** Benchmark ends ***"


def test_device_query(caffelite):
    code, out, err = caffelite("caffe", "device_query")
    assert (code, out) == (0, "")
    assert lines(err)[0] == ("caffe.cpp:113", "Querying GPUs all")


def test_no_command_tells_what_there_is(caffelite):
    code, out, _ = caffelite("caffe")
    assert code == 0 and "device_query" in out and "--sigint-effect" in out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["tran"], "Unknown action: tran; there are train, test, time, device_query"),
        (["train"], "Need a solver definition to train."),
        (["train", "-solver=a", "-snapshot=b", "-weights=c"], "not both"),
        (["train", "-solver=missing.prototxt"], "missing.prototxt: No such file or directory"),
        (["test", "-model=net.prototxt"], "Need model weights to score."),
        (["test", "-weights=a"], "Need a model definition to score."),
        (["time"], "Need a model definition to time."),
        (["test", "-model=net.prototxt", "-weights=missing"], "missing: No such file or directory"),
    ],
)
def test_an_error_is_the_last_line_of_the_log(arguments, text, caffelite, run_folder):
    code, out, err = caffelite("caffe", *arguments)
    assert (code, out) == (134, "")
    assert err.splitlines()[-1].startswith("F") and text in lines(err)[-1][1]


def test_glog(caffelite, run_folder, monkeypatch):
    monkeypatch.setenv("GLOG_minloglevel", "2")
    assert caffelite("caffe", "device_query", "-log_dir", ".") == (0, "", "")
    code, _, err = caffelite("caffe", "train", "-log_dir=.", "-minloglevel=0")
    assert code == 134
    written = Path("caffe.INFO").read_text()
    assert written.startswith("Log file created at: ") and written.endswith(err)
    monkeypatch.setenv("GLOG_log_dir", "logs")
    Path("logs").mkdir()
    caffelite("caffe", "train")
    caffelite("caffe", "train", "-logtostderr")
    assert len(os.listdir("logs")) == 2  # a file and the link to it


@pytest.mark.parametrize("name", ["caffe", "caffe.bin", "caffe.exe", "caffelite"])
def test_a_program_is_the_one_that_it_is_called(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [f"/somewhere/build/tools/{name}", "tran"])
    with pytest.raises(SystemExit) as ended:
        __main__.process()
    assert ended.value.code == (2 if name == "caffelite" else 134)
    assert ("Unknown action: tran" in capsys.readouterr().err) == (name != "caffelite")


def test_the_distribution_has_every_program():
    text = (Path(__file__).parents[2] / "caffe-package" / "pyproject.toml").read_text()
    assert PROGRAMS.keys() <= set(re.findall(r'^(\w+) = "caffelite.__main__:process"$', text, re.MULTILINE))
