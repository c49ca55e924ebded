"""``caffelite train --report, --metrics, --tensorboard``: what is kept, going on, what is refused before training."""

import sys
import webbrowser
from pathlib import Path

import pytest
from measured_net import write_net

from caffelite.report.metrics import read_lines


@pytest.fixture
def solver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    return str(write_net(tmp_path, "snapshot: 6"))


def trained(path: str) -> list[int]:
    return [line["iteration"] for line in read_lines(path) if line["event"] == "train"]


def test_a_page_and_its_numbers(caffelite, solver, monkeypatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda uri: seen.append(uri) or True)
    code, _, err = caffelite("train", solver, "--report", "run.html", "--every", "4", "--open")
    assert code == 0, err
    assert seen == [Path("run.html").resolve().as_uri()]
    assert trained("run.jsonl") == [1, 4, 8, 12]
    assert "Iteration 12 of 12" in Path("run.html").read_text("utf-8")
    assert "Iteration 10, Testing net (#0)" in err, "the log goes on beside it"

    # Once more from the middle: what came after it is done again, and the page is that of the whole run.
    state = "small_iter_6.solverstate"
    code, _, err = caffelite("train", solver, "--snapshot", state, "--report", "run.html", "--every", "4")
    assert code == 0, err
    assert trained("run.jsonl") == [1, 4, 7, 8, 12]
    events = [line["event"] for line in read_lines("run.jsonl")]
    assert events.count("start") == 2 and events.count("end") == 1

    # A run that has ended is compared with another: nothing is left to train.
    state = "small_iter_12.solverstate"
    Path("other.jsonl").write_text(Path("run.jsonl").read_text())
    code, out, err = caffelite(
        "train", solver, "--snapshot", state, "--report", "run.html", "--compare", "other.jsonl,run.jsonl"
    )
    assert code == 0 and "nothing was left to do" in out, err
    assert trained("run.jsonl") == [1, 4, 7, 8, 12]
    assert '"other: training"' in Path("run.html").read_text("utf-8")

    # A run that begins takes the place of what was there.
    code, _, err = caffelite("train", solver, "--metrics", "run.jsonl", "--iterations", "3")
    assert code == 0, err
    assert trained("run.jsonl") == [1]


def test_a_run_that_diverges_says_so_at_its_top(caffelite, solver, tmp_path) -> None:
    write_net(tmp_path, name="wild")
    Path("solver.prototxt").write_text(Path("solver.prototxt").read_text().replace("base_lr: 0.1", "base_lr: 1e38"))
    code, _, err = caffelite("train", solver, "--report", "run.html")
    assert code == 1 and "not finite" in err
    text = Path("run.html").read_text("utf-8")
    assert "This run did not come to its end: iteration " in text and "not finite" in text
    assert read_lines("run.jsonl")[-1]["event"] == "end"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--report", "no/folder/run.html"], "no/folder/run.html: there is no folder"),
        (["--report", "."], ". is a folder; give the name of a file to write"),
        (["--metrics", "."], ". is a folder"),
        (["--tensorboard", "net.prototxt"], "net.prototxt is a file; give --tensorboard a folder"),
        (["--report", "a.jsonl"], "cannot be both the page of --report and the file of --metrics"),
        (["--open"], "--open is for the page of a run: give --report too"),
        (["--compare", "a.jsonl"], "--compare is for the page of a run"),
        (["--every", "9"], "--every is for what is measured"),
        (["--report", "run.html", "--compare", "none.jsonl"], "none.jsonl: it cannot be read: No such file"),
        (["--report", "run.html", "--compare", "solver.prototxt"], "solver.prototxt: there is no whole line in it"),
    ],
)
def test_what_is_refused_before_training_begins(options, said, caffelite, solver) -> None:
    code, _, err = caffelite("train", solver, *options)
    assert code == 1 and said in err and err.count("\n") == 1
    assert not Path("run.html").exists()


def test_tensorboard_without_its_package(caffelite, solver, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    code, _, err = caffelite("train", solver, "--tensorboard", "events")
    assert code == 1 and "caffelite[tensorboard]" in err
