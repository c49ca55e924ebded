"""Solvers as pycaffe shows them, and the settings of the module."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest

import caffelite as caffe
from caffelite.errors import GpuError, NetError, SolverError, WeightsError
from caffelite.pycaffe import mode


@pytest.fixture
def solver(run_folder):
    return caffe.get_solver("solver.prototxt")


@pytest.fixture
def no_seed():
    mode._seed.clear()
    yield
    mode._seed.clear()


def test_get_solver_gives_the_type_of_the_file(run_folder):
    assert type(caffe.get_solver("solver.prototxt")) is caffe.SGDSolver
    text = Path("solver.prototxt").read_text()
    for name in ("Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam"):
        momentum = "" if name in ("AdaGrad", "RMSProp") else "momentum: 0.9"
        extra = "rms_decay: 0.9" if name == "RMSProp" else ""
        Path("s.prototxt").write_text(f'{text.replace("momentum: 0.9", momentum)}\ntype: "{name}" {extra}')
        made = caffe.get_solver("s.prototxt")
        assert type(made) is getattr(caffe, f"{name}Solver")
        assert isinstance(made, caffe.SGDSolver)
        made.step(1)
    Path("s.prototxt").write_text(text + 'type: "Sgd"')
    with pytest.raises(SolverError, match='did you mean "SGD"?'):
        caffe.get_solver("s.prototxt")


def test_a_class_goes_before_the_type_of_the_file(run_folder):
    assert caffe.NesterovSolver("solver.prototxt").param.type == "Nesterov"


def test_it_goes_on_as_caffe_does(solver):
    solver.restore("snap_iter_6.solverstate")
    assert solver.iter == 6
    assert solver.lr == pytest.approx(0.0191448, rel=1e-5)
    losses = []
    for _ in range(3):
        solver.step(1)
        losses.append(float(solver.net.blobs["loss"].data))
    # From the log of BVLC Caffe.
    assert losses == pytest.approx([0.000544957, 0.000160886, 7.38048e-05], rel=2e-3)
    assert solver.iter == 9


def test_it_goes_on_with_another_net_where_that_is_allowed(solver):
    net = Path("net.prototxt")
    net.write_text(net.read_text().replace('name: "ip"', 'name: "fc"'))
    changed = caffe.get_solver("solver.prototxt")
    with pytest.raises(WeightsError, match=r"(?s)written for another net; --allow-changed .*fc +has no weights"):
        changed.restore("snap_iter_6.solverstate")
    assert changed.restore("snap_iter_6.solverstate", allow_changed=True).untrained == ["fc"]
    assert changed.iter == 6


def test_solve_and_snapshot(solver):
    solver.solve()
    assert solver.iter == 12
    assert Path("snap_iter_12.solverstate").is_file()
    Path("snap_iter_12.solverstate").unlink()
    solver.snapshot()
    other = caffe.SGDSolver("solver.prototxt")
    other.solve("snap_iter_12.solverstate")
    np.testing.assert_array_equal(other.net.params["ip"][0].data, solver.net.params["ip"][0].data)
    with pytest.raises(WeightsError):
        other.restore("none.solverstate")


def test_nets_of_a_solver_are_live(solver):
    test_net = solver.test_nets[0]
    assert solver.net.layers[3].type == "ReLU"
    solver.net.params["ip"][0].data[...] = 0
    solver.net.params["ip"][1].data[...] = [9, 0, 0, 0]
    test_net.forward()
    np.testing.assert_allclose(test_net.blobs["ip"].data[:, 0], 9)
    solver.step(1)
    assert solver.net.params["ip"][0].diff.any()
    assert solver.net.params["ip"][0].data.any()
    test_net.share_with(solver.net)
    own = caffe.Net("net.prototxt", caffe.TEST)
    solver.share_weights(own)
    assert np.shares_memory(own.params["ip"][0].data, solver.net.params["ip"][0].data)
    with pytest.raises(NetError, match="is a solver's"):
        solver.net.share_with(caffe.Net("net.prototxt", caffe.TRAIN))


def test_a_loop_of_ones_own(solver):
    expected = caffe.SGDSolver("solver.prototxt")
    expected.step(1)
    solver.net.clear_param_diffs()
    solver.net.forward()
    solver.net.backward()
    solver.apply_update()
    assert solver.iter == 0
    np.testing.assert_allclose(solver.net.params["ip"][0].data, expected.net.params["ip"][0].data, rtol=1e-6)


def test_callbacks_of_a_solver(solver):
    net, told = solver.net, []
    solver.add_callback(
        lambda: told.append(("start", bool(net.params["ip"][0].diff.any()))),
        lambda: told.append(("gradients", bool(net.params["ip"][0].diff.any()))),
    )

    def no_update():
        net.params["ip"][0].diff[...] = 0

    solver.add_callback(lambda: None, no_update)
    solver.param.weight_decay = 0
    before = net.params["ip"][0].data.copy()
    solver.step(2)
    assert told == [("start", False), ("gradients", True)] * 2
    np.testing.assert_array_equal(net.params["ip"][0].data, before)
    with pytest.raises(SolverError, match="takes two functions"):
        solver.add_callback(no_update)


def test_hooks_of_a_solvers_nets_see_its_passes(solver):
    told, last = [], len(solver.net.layers) - 1
    solver.net.after_forward(lambda i: told.append(i))
    solver.net.before_backward(lambda i: told.append(-i))
    solver.step(1)
    assert told == [*range(last + 1), *range(-last, 1)]
    solver.param.debug_info = True
    solver.step(1)
    assert told[2 * (last + 1) :] == told[: 2 * (last + 1)]
    solver.test_nets[0].before_forward(lambda i: told.append(i))
    told.clear()
    solver.step(3)
    assert len(told) == 3 * 2 * (last + 1) + solver.param.test_iter[0] * len(solver.test_nets[0].layers)


def test_a_program_for_several_gpus_runs_with_one(solver):
    uid = caffe.NCCL.new_uid()
    assert isinstance(uid, bytes) and uid != caffe.NCCL.new_uid()
    with pytest.warns(UserWarning, match="nothing is exchanged"):
        nccl = caffe.NCCL(solver, uid)
    nccl.bcast()
    solver.add_callback(nccl)
    solver.net.after_backward(nccl)
    solver.step(1)
    assert solver.iter == 1


def test_settings_are_live(solver):
    assert (solver.param.max_iter, solver.param.display, solver.param.layer_wise_reduce) == (12, 1, True)
    rate = solver.lr
    solver.param.base_lr *= 2
    assert solver.lr == pytest.approx(2 * rate)


def test_log_lines_go_to_standard_error(run_folder, capsys, monkeypatch):
    caffe.SGDSolver("solver.prototxt").step(1)
    assert capsys.readouterr().err == ""
    monkeypatch.delenv("GLOG_minloglevel")
    caffe.SGDSolver("solver.prototxt").step(1)
    assert re.search(r"I\d{4} .*Iteration 0 .*loss = ", capsys.readouterr().err)


def test_a_seed_for_all_nets(run_folder, deploy, no_seed):
    def kernel() -> np.ndarray:
        return caffe.Net("deploy.prototxt", caffe.TEST).params["conv1"][0].data.copy()

    first = kernel()
    np.testing.assert_array_equal(first, kernel())
    caffe.set_random_seed(2)
    assert not np.array_equal(first, kernel())
    caffe.set_random_seed(1)
    np.testing.assert_array_equal(first, kernel())


def test_modes():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        caffe.set_mode_cpu()
        caffe.set_device(0)
    try:
        # Where there is a GPU, tests/gpu uses it.
        with pytest.warns(UserWarning, match="GPU 7: .*; it runs on the CPU"):
            caffe.set_device(7)
            caffe.set_mode_gpu()
    except GpuError as error:
        assert "there is no GPU 7" in str(error)
    finally:
        caffe.set_mode_cpu()
        caffe.set_device(0)
    assert (caffe.TRAIN, caffe.TEST) == (0, 1)
    assert {"Convolution", "BatchNorm", "Data"} <= set(caffe.layer_type_list())


def test_the_contents_of_the_package():
    assert re.fullmatch(r"\d+\.\d+\.\d+", caffe.__version__)
    assert {"Net", "AdamSolver", "get_solver", "TEST"} <= set(dir(caffe))
    for name in caffe.__all__:
        assert getattr(caffe, name) is not None
    assert caffe.io.Transformer and caffe.proto.caffe_pb2.NetParameter
    with pytest.raises(AttributeError, match="has no attribute 'Nett'"):
        caffe.Nett  # noqa: B018


def test_a_solver_that_diverges_warns_and_goes_on(run_folder, monkeypatch, capsys):
    monkeypatch.delenv("GLOG_minloglevel")
    solver = caffe.get_solver("solver.prototxt")
    solver.net.params["ip"][0].data[...] = np.nan
    solver.step(2)
    assert solver.iter == 2 and np.isnan(solver.net.blobs["loss"].data)
    assert capsys.readouterr().err.count("it goes on, and what it learns") == 1
