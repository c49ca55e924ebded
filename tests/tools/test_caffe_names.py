"""Which names of caffe a script uses is read from its source, Python 2 too."""

import json
import sys
from pathlib import Path
from types import ModuleType

import caffe_names
import pytest


def package() -> ModuleType:
    """A small caffe."""

    class Net:
        blobs = None

        def __init__(self) -> None:
            self.inputs = []

    class SGDSolver:
        net = None

        def step(self, n: int) -> None: ...

    class Layers:
        def __getattr__(self, name: str) -> type:
            return type(name, (), {})

    class NetParameter:
        pass

    modules = {name: ModuleType(name) for name in ("caffe", "io", "proto", "caffe_pb2")}
    caffe = modules["caffe"]
    caffe.__dict__.update(
        Net=Net, SGDSolver=SGDSolver, layers=Layers(), TEST=1, io=modules["io"], proto=modules["proto"]
    )
    modules["io"].load_image = print
    modules["proto"].caffe_pb2 = modules["caffe_pb2"]
    modules["caffe_pb2"].NetParameter = NetParameter
    return caffe


@pytest.mark.parametrize(
    ("text", "used"),
    [
        ("import caffe\ncaffe.io.load_image('a').shape", "io.load_image"),
        ("import caffe as c\nc.TEST.x", "TEST.x"),
        ("import caffe.io", "io"),
        ("import caffe.proto.caffe_pb2 as pb\npb.NetParameter().name", "proto.caffe_pb2 proto.caffe_pb2.NetParameter"),
        ("from caffe import layers as L, TEST\nL.Gate(L.Data())", "TEST layers layers.Data layers.Gate"),
        ("from caffe.proto import caffe_pb2\ncaffe_pb2.NetParameter", "proto.caffe_pb2 proto.caffe_pb2.NetParameter"),
        ("from caffe.model_libs import *", "model_libs"),
        ("import caffe\nnet = caffe.Net(caffe.io.x)\nnet.blobs['a'].data.y = 1", "Net Net.blobs io.x"),
        ("import caffe\nself.net = caffe.Net()\nself.net.share()\nself.blobs", "Net Net.share"),
        (
            "import caffe\nsolver = caffe.get_solver('a')\nsolver.net.forward()\nsolver.test_nets[0].blobs\nnet = solver.net\n"
            "net.save()\nnet = 1\nnet.other",
            "Net.blobs Net.forward Net.save Solver.net Solver.test_nets get_solver",
        ),
        ("from .caffe import x\nimport caffelite\nx.y", ""),
    ],
)
def test_names_that_are_used(text: str, used: str, tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text(text)
    assert caffe_names.used_by(path) == (set(used.split()), True)


@pytest.mark.parametrize(
    ("name", "there"),
    [
        *[("io.load_image", True), ("io.other", False), ("io.load_image.__name__", True), ("layers.Gate", True)],
        *[("Net", True), ("Net.blobs", True), ("Net.inputs", True), ("Net.other", False), ("Solver.step", True)],
        *[("proto.caffe_pb2.NetParameter", True), ("proto.caffe_pb2.Other", False), ("other", False)],
    ],
)
def test_names_that_are_there(name: str, there: bool) -> None:
    assert caffe_names.is_there(package(), name) == there


def test_a_folder_of_repositories(tmp_path: Path, capsys, monkeypatch) -> None:
    pytest.importorskip("fissix")
    notebook = {"cells": [{"cell_type": "code", "source": "import caffe\n!ls\nprint caffe.io.other"}]}
    files = {
        "one/a.py": "import caffe\nprint caffe.TEST\n",
        "one/python/caffe/__init__.py": "import caffe.unseen",
        "one/python/caffe/io.py": "import caffe.unseen",
        "one/python/caffe/test/test_net.py": "import caffe\ncaffe.io.other",
        "two/copy.py": "import caffe\nprint caffe.TEST\n",
        "two/b.ipynb": json.dumps(notebook),
        "two/broken.py": "import caffe\ncaffe.Net(\n",
        "two/none.py": "# caffe\n",
    }
    for name, text in files.items():
        path = tmp_path / "scripts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(caffe_names.caffelite, "as_caffe", package)
    monkeypatch.setattr(sys, "argv", ["caffe_names.py", str(tmp_path / "scripts"), "--json", str(tmp_path / "a.json")])
    assert caffe_names.main() == 0
    assert capsys.readouterr().out.splitlines() == [
        "one: 1 of 2 files find all names",
        "two: 1 of 2 files find all names",
        "",
        "missing in 2 repositories: caffe.io.other (one, two)",
        "2 repositories, 4 files (3 parsed), 3 names",
        "2 files find all names; 2 names are there, 1 are missing",
    ]
    written = json.loads((tmp_path / "a.json").read_text())
    assert written[0] == {"repository": "one", "name": "a.py", "used": ["TEST"], "missing": [], "parsed": True}
