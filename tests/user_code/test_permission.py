"""Which code that a net names may run."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from python_nets import inputs, python

import caffelite as caffe
from caffelite.errors import NetError
from caffelite.user_code.permission import may_run


class Tripled(caffe.Layer):
    """Three times its bottom."""

    def reshape(self, bottom: Any, top: Any) -> None:
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom: Any, top: Any) -> None:
        top[0].data[...] = 3 * bottom[0].data

    def backward(self, top: Any, propagate_down: Any, bottom: Any) -> None:
        bottom[0].diff[...] = 3 * top[0].diff


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a net whose layer is in a module beside it that nobody has imported."""
    monkeypatch.chdir(tmp_path)
    name = f"mine_of_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(
        "import caffe\n"
        "class Mine(caffe.Layer):\n"
        "    def reshape(self, bottom, top):\n"
        "        top[0].reshape(1)\n"
        "    def forward(self, bottom, top):\n"
        "        top[0].data[0] = 7\n"
    )
    net = tmp_path / "a.prototxt"
    net.write_text(inputs((2,)) + python("Mine", "x0", "y", module=name) + "}")
    return net


def test_a_class_that_the_program_has_imported(tmp_path: Path) -> None:
    net = tmp_path / "a.prototxt"
    net.write_text("force_backward: true " + inputs((2,)) + python("Tripled", "x0", "y", module=__name__) + "}")
    assert caffe.Net(net, caffe.TEST).forward(x0=np.ones(2))["y"].tolist() == [3, 3]


def test_a_class_of_the_program_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "Tripled", Tripled, raising=False)
    (tmp_path / "a.prototxt").write_text(inputs((2,)) + python("Tripled", "x0", "y", module="__main__") + "}")
    (tmp_path / "solver.prototxt").write_text(f'net: "{tmp_path}/a.prototxt" base_lr: 1 lr_policy: "fixed"')
    monkeypatch.setenv("GLOG_minloglevel", "2")
    assert caffe.get_solver(tmp_path / "solver.prototxt").net.forward()["y"].tolist() == [0, 0]


def test_the_environment(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("0", "yes", ""):
        monkeypatch.setenv("CAFFE_ALLOW_PYTHON", value)
        with pytest.raises(NetError, match="runs only where that is allowed: .*CAFFE_ALLOW_PYTHON=1"):
            caffe.Net(file, caffe.TEST)
    monkeypatch.setenv("CAFFE_ALLOW_PYTHON", "1")
    assert caffe.Net(file, caffe.TEST).forward()["y"].tolist() == [7]


def test_what_is_asked_imports_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    lazy = ModuleType("lazy_of_mine")
    lazy.__getattr__ = lambda name: pytest.fail(f"{name} was looked for")  # type: ignore[method-assign]
    lazy.number = 3  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lazy_of_mine", lazy)
    monkeypatch.setitem(sys.modules, "none_of_mine", None)  # type: ignore[arg-type]
    for module, cls in [
        ("lazy_of_mine", "Layer"),
        ("lazy_of_mine", "number"),
        ("none_of_mine", "Layer"),
        ("lazy_of_mine.sub", "Layer"),
        ("subprocess", "Popen"),
        ("caffelite.user_code.classes", "Layer"),
        ("caffelite.pycaffe.layer", "NetLayer"),
    ]:
        assert not may_run(module, cls, "imported")
        assert may_run(module, cls, True)
    assert may_run(__name__, "Tripled", "imported") and not may_run(__name__, "Tripled", False)
