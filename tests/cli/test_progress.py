"""The live line of a terminal."""

import io
from contextlib import redirect_stderr

import pytest

from caffelite.cli.progress import LiveLine, compiling
from caffelite.cli.report import duration, plain, summary
from caffelite.kernels.engine.arrays import zeros
from caffelite.kernels.engine.calls import call
from caffelite.kernels.engine.compiling import specialised
from caffelite.solvers.logs import Output
from caffelite.solvers.solver import Solver


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr("caffelite.cli.progress._PAUSE", 0.0)


def test_the_live_line_tells_how_it_goes(at_once, run_folder):
    with redirect_stderr(Terminal()) as terminal:
        line = LiveLine(12)
        solver = Solver("solver.prototxt", line)
        line.watch(solver)
        solver.solve()
        line.close()
    shown = terminal.getvalue()
    assert "building the net" in shown
    assert "iteration 0: test: accuracy " in shown
    assert "iteration 6: snapshot snap_iter_6.solverstate" in shown
    assert "iteration 12: test: accuracy 100%" in shown
    assert "iteration 11/12" in shown and " left, loss " in shown and ", test accuracy 100%" in shown
    assert (line.model, line.state, line.snapshot_at) == (
        "snap_iter_12.caffemodel",
        "snap_iter_12.solverstate",
        12,
    )
    assert line.tests[0][0] == 12
    solver.close()


def test_a_command_on_a_terminal_has_no_log_lines(caffelite, run_folder):
    with redirect_stderr(Terminal()) as terminal:
        code, out, _ = caffelite("train", "solver.prototxt")
    assert code == 0
    assert "solver.cpp" not in terminal.getvalue()
    assert out.startswith("interop: iteration 12; ")


@specialised
def _fill_with(number):
    def fill(begin, end, worker, y):
        for i in range(begin, end):
            y[i] = number

    return fill


def test_compiling_is_told(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("caffelite.kernels.engine.keeping.code_folder", lambda: tmp_path)
    y = zeros(1)
    with compiling():
        call(_fill_with(1), 1, y)
        call(_fill_with(2), 1, y)
    call(_fill_with(3), 1, y)
    assert capsys.readouterr().err == "compiling kernels, which are kept for the next time\n"
    shown = []
    with redirect_stderr(Terminal()) as terminal, compiling():
        call(_fill_with(4), 1, y)
        with compiling(shown.append):
            call(_fill_with(5), 1, y)
    assert "compiling kernels, which are kept for the next time: 1 …" in terminal.getvalue()
    assert shown == ["compiling kernels, which are kept for the next time: 1"]


def test_results_in_words():
    outputs = [Output(0, "accuracy", 0.5434, 0), Output(1, "loss", 1.30123, 1)]
    outputs += [Output(2 + i, "prob", 0.1, 0) for i in range(10)]
    assert summary(outputs, {"accuracy"}) == "accuracy 54.34%, loss 1.301, prob (10 values)"
    assert plain({"a": [1.0], "b": [1.0, float("nan")]}) == {"a": 1.0, "b": [1.0, None]}
    assert [duration(t) for t in (0.0312, 8.12, 252, 7500)] == [
        "0.0312 s",
        "8.12 s",
        "4 min 12 s",
        "2 h 5 min",
    ]
