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
    assert caffelite("draw", "net.prototxt", "a.svg") == (0, "", "a.svg: 10 layers, 1.72 k parameters\n")


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
