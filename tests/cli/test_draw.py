"""``caffelite draw``: the formats that need no other program, and what is said of the others."""

from pathlib import Path

import pytest


@pytest.mark.parametrize(("ending", "text"), [("md", "flowchart LR"), ("dot", "rankdir=LR")])
def test_diagrams_that_need_nothing(ending, text, caffelite, run_folder):
    code, out, err = caffelite("draw", "net.prototxt", f"a.{ending}", "--phase", "test", "-rankdir=lr")
    assert (code, out) == (0, "")
    assert err.startswith(f"a.{ending}: 8 layers")
    assert text in Path(f"a.{ending}").read_text()


def test_a_picture_needs_no_program(caffelite, run_folder, monkeypatch):
    monkeypatch.setenv("PATH", "")
    code, out, err = caffelite("draw", "net.prototxt", "a.svg")
    assert (code, out) == (0, "") and err.startswith("a.svg: 10 layers, 1.72 k parameters (6.88 kB), in TRAIN 258 k ")


def test_a_diagram_without_graphviz(caffelite, run_folder, monkeypatch):
    Path("pygraphviz.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", str(run_folder))
    monkeypatch.setenv("PATH", "")
    code, _, err = caffelite("draw", "net.prototxt", "a.svg")
    assert code == 1
    assert "Graphviz" in err and err.count("\n") == 1


def test_a_name_that_says_no_format(caffelite, run_folder):
    code, _, err = caffelite("draw", "net.prototxt", "a.gif")
    assert code == 1
    assert err.startswith("caffelite: a.gif: ")


def test_a_page(caffelite, run_folder):
    code, out, err = caffelite("draw", "net.prototxt", "a.html", "--phase", "test", "--stage", "x", "--color", "macs")
    assert (code, out) == (0, "") and err.startswith("a.html: 8 layers, ")
    page = Path("a.html").read_text("utf-8")
    assert '<option value="macs" selected>' in page and 'value="TEST" checked' in page


def test_two_nets(caffelite, run_folder):
    code, _, err = caffelite("draw", "net.prototxt", "net.prototxt", "a.html")
    assert (code, err.split(", ")[2]) == (0, "0 only in net.prototxt")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("net.prototxt",) * 3 + ("a.html",), "give one net or two, not 3"),
        (("net.prototxt", "net.prototxt", "a.html", "--fold"), "--fold is for one net, not for two"),
        (("net.prototxt", "net.prototxt", "a.html", "--time", "x"), "--time is for one net, not for two"),
    ],
)
def test_arguments_that_do_not_go_together(arguments, message, caffelite, run_folder):
    code, _, err = caffelite("draw", *arguments)
    assert code != 0 and message in err and err.count("\n") <= 2
    assert not Path("a.html").exists()
