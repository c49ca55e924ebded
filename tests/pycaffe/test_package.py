"""The package ``caffe``: what scripts find in it, and the sentences where one process cannot do what Caffe could."""

import importlib
import importlib.util
import re
import runpy
import sys
import time
from pathlib import Path

import pytest

import caffelite
from caffelite.errors import Error, NetError, SolverError
from caffelite.pycaffe import log
from caffelite.pycaffe.package import MODULES, as_caffe

caffe = as_caffe()


def test_import_gives_caffelites_modules():
    for name, ours in MODULES.items():
        assert importlib.import_module(name) is sys.modules[ours]
        package, _, last = name.rpartition(".")
        assert not package or getattr(sys.modules[package], last) is sys.modules[ours]
    assert importlib.util.find_spec("caffe") is not None
    assert caffe.Net is caffelite.Net and caffe.Layer is caffelite.Layer
    assert caffe._caffe.Net._set_input_arrays is caffe.Net.set_input_arrays
    for module in (caffe, caffe._caffe):
        assert all(hasattr(module, name) for name in module.__all__)
        assert module.__version__ == "1.0.0"
    with pytest.raises(ModuleNotFoundError, match=r"caffe\.no_such_module"):
        importlib.import_module("caffe.no_such_module")


def test_what_the_distribution_installs(monkeypatch):
    monkeypatch.delitem(sys.modules, "caffe")
    runpy.run_path(str(Path(__file__).parent.parent.parent / "caffe-package" / "caffe" / "__init__.py"))
    assert sys.modules["caffe"] is caffe


def test_lines_of_the_log_and_their_level(capsys, monkeypatch):
    monkeypatch.setattr(log, "_level", [])
    monkeypatch.delenv("GLOG_minloglevel", raising=False)
    caffe.init_log()
    caffe.log("one")
    assert re.fullmatch(r"I\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ _caffe\.cpp:68\] one\n", capsys.readouterr().err)
    caffe.init_log(1)
    caffe.log("two")
    monkeypatch.setenv("GLOG_minloglevel", "2")
    with pytest.warns(UserWarning, match="no log files are written"):
        caffe.init_log(0, False)
    caffe.log("three")
    assert capsys.readouterr().err.endswith("] three\n")


def test_a_timer_tells_milliseconds():
    timer = caffe.Timer()
    with pytest.warns(UserWarning, match="has not been started"):
        assert timer.ms == 0
    timer.start()
    time.sleep(0.01)
    timer.start()
    first = timer.ms
    assert 10 <= first == timer.ms
    timer.stop()
    assert timer.ms == first
    timer.start()
    timer.stop()
    assert timer.ms < first


def test_one_process_says_that_it_is_alone():
    caffe.set_solver_count(1)
    caffe.set_solver_rank(0)
    caffe.set_multiprocess(False)
    assert (caffe.solver_count(), caffe.solver_rank(), caffe.has_nccl()) == (1, 0, False)
    with pytest.raises(SolverError, match="multiply iter_size in the solver by 4"):
        caffe.set_solver_count(4)
    with pytest.raises(SolverError, match="whose rank is 0"):
        caffe.set_solver_rank(1)
    with pytest.warns(UserWarning, match="one process trains here"):
        caffe.set_multiprocess(True)


def test_vectors_are_lists():
    blobs = caffe._caffe.BlobVec()
    blobs.add_blob(2, 3)
    assert blobs[0].data.shape == (2, 3)
    for name in ("RawBlobVec", "LayerVec", "NetVec", "StringVec", "IntVec", "DtypeVec", "BoolVec"):
        vector = getattr(caffe._caffe, name)([1])
        assert vector == [1] and type(vector).__name__ == name


def test_scripts_ask_for_the_type_of_parameters(deploy):
    """MobileNet-SSD's merge_bn.py copies nothing where it is another."""
    net = caffe.Net(deploy, caffe.TEST)
    assert all(type(blobs) is caffe._caffe.BlobVec for blobs in (net.params["fc"], net._blobs))


def test_errors_are_those_that_scripts_catch(tmp_path):
    assert issubclass(Error, RuntimeError)
    missing = str(tmp_path / "none")
    for call in (
        lambda: caffe.Net(missing, caffe.TEST),
        lambda: caffe.SGDSolver(missing),
        lambda: caffe.get_solver(missing),
    ):
        with pytest.raises(RuntimeError, match="No such file"):
            call()


def test_what_is_only_on_a_gpu_is_said(deploy):
    net = caffe.Net(deploy, caffe.TEST)
    with pytest.raises(AttributeError, match='blob "fc" has no _gpu_data_ptr: blobs are in the machine'):
        net.blobs["fc"]._gpu_data_ptr  # noqa: B018
    assert not hasattr(net.params["fc"][0], "_gpu_diff_ptr")
    with pytest.raises(NetError, match='layer "fc" is in a net, which has its parameters'):
        net.layer_dict["fc"].blobs.add_blob(1)
    with pytest.raises(RuntimeError, match="No such file"):
        net.copy_from("none.caffemodel")
