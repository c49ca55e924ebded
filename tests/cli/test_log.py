"""``caffelite log``: tables, CSV, JSON and plots of a log that Caffe wrote and of some that others might."""

import csv
import json
from pathlib import Path

import pytest
from browser import opened

HEAD = "I0105 10:00:0{}.000000  4711 solver.cpp:228] "
NAMES = ('a"</script><b>$x_$', "_b", "שלום" + "n" * 300)


def write_log(path: str, last: str = "nan") -> None:
    """Write a log of two runs, with names that a page or a plot could take amiss."""
    outputs = [f"    Train net output #{i}: {name} = {i + 1}" for i, name in enumerate(NAMES)]
    first = ["Solving $net", "Iteration 0, loss = 3", *outputs, "Iteration 0, lr = 0.1", "Iteration 10, loss = 2"]
    test = ["Iteration 10, Testing net (#1)", "    Test net output #0: accuracy = 0.5"]
    lines = [*first, *test, "Solving $net", f"Iteration 10, loss = {last}", "Iteration 20, loss = 0    .7"]
    Path(path).write_text("".join(f"{HEAD.format(i % 10)}{line}\n" for i, line in enumerate(lines)), encoding="utf-8")


def test_tables(caffelite, run_folder):
    code, out, err = caffelite("log", "train.log", "--rows", "3")
    assert (code, err) == (0, "")
    assert out.startswith("train.log: a training of interop, iterations 0 to 12, finished\n\ntrain, 3 of 13 rows:\n")
    head, *rows = [line.split() for line in out.split("test 0, ")[1].splitlines()[1:]]
    assert head == ["NumIters", "Seconds", "LearningRate", "accuracy", "loss"]
    assert [row[0] for row in rows] == ["0", "8", "12"] and rows[-1][3] == "1"


def test_csv_as_parse_log_has_it(caffelite, run_folder):
    Path("out").mkdir()
    code, out, err = caffelite("log", "train.log", "--csv", "out", "--delimiter", ";")
    assert (code, out) == (0, "") and err.count("\n") == 2
    with open("out/train.log.test", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter=";"))
    assert [row["NumIters"] for row in rows] == ["0", "4", "8", "12"] and rows[-1]["accuracy"] == "1.0"
    with open("out/train.log.train", newline="") as stream:
        head = next(csv.reader(stream, delimiter=";"))
    assert head[:3] == ["NumIters", "Seconds", "LearningRate"] and head[-1] == "SmoothedLoss"


def test_json_and_runs(caffelite, run_folder):
    write_log("a.log")
    code, out, _ = caffelite("log", "a.log", "train.log", "--json", "--all-runs")
    told, other = map(json.loads, out.splitlines())
    assert code == 0 and other["net"] == "interop"
    assert (told["run_starts"], told["damaged_lines"]) == ([0, 10], 1)
    rows = told["tables"]["train"]["rows"]
    assert told["tables"]["train"]["columns"][:2] == ["Run", "NumIters"]
    assert [(row[0], row[1], row[-1]) for row in rows] == [(0, 0, 3), (0, 10, 2), (1, 10, "nan")]
    _, out, _ = caffelite("log", "a.log")
    assert "2 runs, begun again at 10: what was made again counts once" in out and "train, 2 rows" in out
    assert "1 line has a value that cannot be read, and is left out" in out


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_plots(ending, caffelite, run_folder):
    write_log("a.log")
    code, out, err = caffelite("log", "a.log", "train.log", "--plot", f"a.{ending}", "--log-scale")
    assert (code, out) == (0, "") and err.startswith(f"a.{ending}: ")
    data = Path(f"a.{ending}").read_bytes()
    assert data.startswith(b"\x89PNG" if ending == "png" else b"<?xml")


def test_a_page(caffelite, run_folder):
    write_log("a.log")
    assert caffelite("log", "a.log", "--plot", "a.html", "--x", "seconds", "--y", f"loss,lr,{NAMES[0]}")[0] == 0
    with opened(Path("a.html"), width=400) as browser:
        assert len(browser.find_elements("css selector", ".chart")) == 3
        assert NAMES[0] in browser.find_element("tag name", "body").text
        assert browser.find_elements("css selector", ".gap")
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 400


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["solver.prototxt"], 'solver.prototxt: no log of a training run: it has no line such as "Iteration 100, loss'),
        (["missing.log"], "missing.log: No such file or directory"),
        (["."], ".: Is a directory"),
        (["train.log", "--plot", "a.gif"], "a.gif: the name of a plot ends with .svg, .png, .pdf or .html"),
        (["train.log", "--plot", "no/a.svg"], "no/a.svg: there is no folder no"),
        (
            ["train.log", "--plot", "a.svg", "--y", "acuracy"],
            'no log has an output "acuracy"; did you mean "accuracy"?',
        ),
        (["train.log", "--y", "loss"], "--x, --y and --log-scale are for a plot: give its file with --plot"),
        (["train.log", "--csv", "no"], "no/train.log.train: there is no folder no"),
        (["train.log", "./train.log", "--csv", "."], "train.log.train: two logs have this name"),
        (["train.log", "--csv", ".", "--delimiter", "ab"], '--delimiter "ab" is not one character'),
    ],
)
def test_what_cannot_be_done(arguments, said, caffelite, run_folder):
    code, out, err = caffelite("log", *arguments)
    assert (code, out) == (1, "") and err.startswith(f"caffelite: {said}") and err.count("\n") == 1


def test_one_that_is_no_log_does_not_keep_others_from_being_read(caffelite, run_folder):
    code, out, err = caffelite("log", "train.log", "net.prototxt")
    assert code == 1 and out.startswith("train.log: ") and err.startswith("caffelite: net.prototxt: no log")


def test_a_log_without_an_iteration(caffelite, run_folder):
    Path("a.log").write_text(f"{HEAD.format(1)}Creating layer conv1\n")
    code, _, err = caffelite("log", "a.log")
    assert code == 1 and err.startswith("caffelite: a.log: the log of a program that ended before the first iteration")


def test_lines_without_times_have_no_place_in_seconds(caffelite, run_folder):
    Path("a.log").write_text("Iteration 1, loss = 2\n")
    code, _, err = caffelite("log", "a.log", "--plot", "a.svg", "--x", "seconds")
    assert code == 1 and err == "caffelite: a.log: its lines have no time to draw them by; draw by iterations\n"
