"""What a program hears of kernels that are compiled."""

from types import SimpleNamespace

import numpy as np
import pytest

from caffelite.kernels.engine.calls import call
from caffelite.kernels.engine.compiling import specialised
from caffelite.pycaffe import compiling
from caffelite.pycaffe.log import init_log


@specialised
def _fill_with(number):
    def fill(begin, end, worker, y):
        for i in range(begin, end):
            y[i] = number

    return fill


@pytest.fixture
def numbers(monkeypatch, tmp_path):
    """Let nothing be kept; a second passes at each look at the clock. Yield numbers of kernels."""
    monkeypatch.setattr("caffelite.kernels.engine.keeping.code_folder", lambda: tmp_path)
    monkeypatch.setattr(compiling, "monotonic", iter(range(99)).__next__)
    monkeypatch.delenv("GLOG_minloglevel", raising=False)
    return iter(range(100, 200))


def _compile(numbers, kernels):
    with compiling.told():
        for _ in range(kernels):
            call(_fill_with(next(numbers)), 1, np.zeros(1, np.float32))


def test_one_line_says_that_it_takes_more_than_a_second(numbers, capsys):
    _compile(numbers, 2)
    assert capsys.readouterr().err == ""
    _compile(numbers, 4)
    assert capsys.readouterr().err == "caffelite: compiling kernels, which are kept for the next time\n"
    call(_fill_with(next(numbers)), 1, np.zeros(1, np.float32))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("how", ["environment", "init_log"])
def test_a_quiet_log_keeps_it_away(how, numbers, monkeypatch, capsys):
    monkeypatch.setattr("caffelite.pycaffe.log._level", [])
    if how == "environment":
        monkeypatch.setenv("GLOG_minloglevel", "1")
    else:
        init_log(1)
    _compile(numbers, 4)
    assert capsys.readouterr().err == ""


def test_nets_and_solvers_say_it(numbers, run_folder, monkeypatch, capsys):
    import caffelite as caffe

    entered = []
    monkeypatch.setattr(compiling, "listening", lambda listener: entered.append(listener) or SimpleNamespace())
