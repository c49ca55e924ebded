"""What a program hears of kernels that are compiled."""

import itertools

import numpy as np
import pytest

import caffelite as caffe
from caffelite.kernels.engine.calls import call
from caffelite.kernels.engine.compiling import specialised
from caffelite.layers.pooling import Pooling
from caffelite.pycaffe import compiling
from caffelite.pycaffe.log import init_log


@specialised
def _fill_with(number):
    def fill(begin, end, worker, y):
        for i in range(begin, end):
            y[i] = number

    return fill


#: Each is a kernel that no test has compiled.
_NUMBERS = itertools.count(100)


@pytest.fixture
def numbers(monkeypatch, tmp_path):
    """Let nothing be kept; a second passes at each look at the clock. Return numbers of kernels."""
    monkeypatch.setattr("caffelite.kernels.engine.keeping.code_folder", lambda: tmp_path)
    monkeypatch.setattr(compiling, "monotonic", iter(range(99)).__next__)
    monkeypatch.delenv("GLOG_minloglevel", raising=False)
    return _NUMBERS


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


def test_a_net_says_it_when_it_is_made(numbers, tmp_path, monkeypatch, capsys):
    (tmp_path / "a.prototxt").write_text(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 1 dim: 6 dim: 6 } } }'
        'layer { name: "p" type: "Pooling" bottom: "x" top: "p" pooling_param { kernel_size: 2 } }'
    )

    def forward(*_):
        # What Pooling takes, another test may have compiled before.
        return [call(_fill_with(next(numbers)), 1, np.zeros(1, np.float32)) for _ in range(4)]

    monkeypatch.setattr("caffelite.kernels.engine.settings.compilers", lambda: 1)
    monkeypatch.setattr(Pooling, "forward", forward)
    net = caffe.Net(tmp_path / "a.prototxt", caffe.TEST)
    assert capsys.readouterr().err == "caffelite: compiling kernels, which are kept for the next time\n"
    net.forward()
    assert capsys.readouterr().err == ""
