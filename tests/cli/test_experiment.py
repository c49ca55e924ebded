"""``caffelite experiment``: what is printed and written, and what is refused."""

import builtins
import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from caffelite.datasets import prepare as datasets
from caffelite.datasets import synthetic
from caffelite.datasets.download import Remote
from caffelite.datasets.originals import Splits
from caffelite.parallel import jobs
from caffelite.parallel.jobs import Outcome, WorkerError

NOWHERE = (Remote("x", 3, "0" * 64, ("http://127.0.0.1:1/x",)),)


@pytest.fixture(autouse=True)
def few_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CAFFELITE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CAFFELITE_DATA", raising=False)
    digits = Splits(lambda: synthetic.digits(0, 1200), lambda: synthetic.digits(1200, 200))
    few = dataclasses.replace(datasets.DATASETS["mnist"], builtin=digits, remotes=NOWHERE)
    monkeypatch.setitem(datasets.DATASETS, "mnist", few)


def test_what_is_printed_and_written(caffelite):
    code, out, err = caffelite("experiment", "ignored-gradient", "--seeds", "2", "--share", "0.01")
    assert code == 0
    assert "A gradient that ignores the mean" in out and "Only 1% of the iterations were made." in out
    assert "| the bias alone learns | full gradient |" in out and "\nIt held" in out
    assert "the built-in set of drawn digits, not MNIST: 1,200 training and 200 test images; seeds: 2" in out
    assert "says nothing about MNIST" in err
    assert sorted(path.name for path in Path("experiments").iterdir()) == [
        "ignored-gradient.json",
        "ignored-gradient.png",
        "ignored-gradient.svg",
    ]
    assert json.loads(Path("experiments/ignored-gradient.json").read_text())["seeds"] == [1, 2]


def test_json(caffelite):
    code, out, _ = caffelite(
        "experiment", "ignored-gradient", "--seeds", "1", "--share", "0.01", "--out", "a/b", "--json"
    )
    assert code == 0
    assert json.loads(out)["name"] == "ignored-gradient"
    assert Path("a/b/ignored-gradient.svg").is_file()


class Here:
    """A team that is this process, and finishes the last task first."""

    jobs, threads = 2, 1

    def __init__(self, tasks, asked):
        assert (tasks, asked) == (2, 2)

    def finish(self, work, tasks):
        Here.finished = len(tasks)
        for number, task in reversed(list(enumerate(tasks))):
            yield Outcome(number, work(task), None)


def test_side_by_side_they_are_told_in_order_and_as_alone(caffelite, monkeypatch):
    arguments = ["experiment", "ignored-gradient", "speedup", "--seeds", "1", "--share", "0.002", "--json"]
    code, alone, _ = caffelite(*arguments)
    assert code == 0
    monkeypatch.setattr(jobs, "Processes", Here)
    code, out, err = caffelite(*arguments, "--jobs", "2")
    assert code == 0 and "2 experiments, 2 at a time, 1 thread each" in err
    assert out == alone and Here.finished == 2
    # Of one experiment, the trainings.
    code, out, _ = caffelite(*arguments[:1], *arguments[2:], "--jobs", "2")
    assert code == 0 and out == alone.splitlines(keepends=True)[1] and Here.finished == 4


def test_an_experiment_whose_process_dies(caffelite, monkeypatch):
    dies = Outcome(0, None, WorkerError("its process was ended by SIGKILL"))
    team = SimpleNamespace(jobs=1, threads=1, finish=lambda work, tasks: (one for one in [dies]))
    monkeypatch.setattr(jobs, "Processes", lambda tasks, asked: team)
    for names in (["speedup"], ["speedup", "depth"]):
        code, out, err = caffelite("experiment", *names, "--jobs", "2", "--share", "0.002")
        assert (code, out) == (1, "") and "caffelite: speedup: its process was ended by SIGKILL" in err


def test_without_matplotlib_the_figures_are_there(caffelite, monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **named):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    code, out, err = caffelite("experiment", "ignored-gradient", "--seeds", "1", "--share", "0.01")
    assert code == 0
    assert "nothing is drawn: plots need matplotlib: pip install 'caffelite[plot]'" in err
    assert Path("experiments/ignored-gradient.json").is_file() and "Plots:" not in out


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["speedpu"], 1, 'there is no experiment "speedpu"; did you mean "speedup"?'),
        (["xyzzy"], 1, "there are speedup, depth, "),
        ([], 2, "NAME"),
        (["speedup", "--share", "2"], 2, "2 is not above 0 and at most 1"),
        (["speedup", "--seeds", "0"], 2, "0 is not 1 or more"),
    ],
)
def test_refused(arguments, code, expected, caffelite):
    found, out, err = caffelite("experiment", *arguments)
    assert (found, out) == (code, "")
    assert expected in err and "Traceback" not in err
    assert not Path("experiments").exists()


def test_a_folder_that_cannot_be_made(caffelite):
    Path("file").write_text("")
    code, _, err = caffelite("experiment", "phases", "--out", "file/inside")
    assert code == 1 and "file" in err and "Traceback" not in err
