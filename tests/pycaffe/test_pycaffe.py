"""Scripts written for Caffe's Python interface run as they are."""

from pathlib import Path

import numpy as np
import pytest

import caffelite as caffe
from caffelite.errors import NetError, ShapeError

CAFFE = Path(__file__).parent.parent / "caffe"
DEPLOY = """name: "deploy" force_backward: true
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 16 dim: 16 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" convolution_param { num_output: 6 kernel_size: 3 pad: 1 } }
layer { name: "bn1" type: "BatchNorm" bottom: "conv1" top: "bn1" }
layer { name: "relu1" type: "ReLU" bottom: "bn1" top: "bn1" }
layer { name: "pool1" type: "Pooling" bottom: "bn1" top: "pool1" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "ip" type: "InnerProduct" bottom: "pool1" top: "ip" inner_product_param { num_output: 4 } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""
WEIGHTS = str(CAFFE / "snap_iter_12.caffemodel")


@pytest.fixture
def deploy(tmp_path: Path) -> str:
    (tmp_path / "deploy.prototxt").write_text(DEPLOY)
    return str(tmp_path / "deploy.prototxt")


def test_both_ways_to_make_a_net(deploy: str) -> None:
    for net in (caffe.Net(deploy, WEIGHTS, caffe.TEST), caffe.Net(deploy, caffe.TEST, weights=WEIGHTS)):
        assert net.inputs == ["data"]
        assert net.outputs == ["prob"]
        assert list(net.blobs) == ["data", "conv1", "bn1", "pool1", "ip", "prob"]
        assert list(net.params) == ["conv1", "bn1", "ip"]
        assert net._layer_names == [layer_name for layer_name in net.layer_dict]
        assert [layer.type for layer in net.layers][:3] == ["Input", "Convolution", "BatchNorm"]
        assert net.layers[1].blobs[0].data.shape == (6, 3, 3, 3)
        assert net.params["bn1"][2].data[0] > 1
        assert net.bottom_names["relu1"] == ["bn1"]
    with pytest.raises(NetError, match="expected caffelite.TRAIN or caffelite.TEST"):
        caffe.Net(deploy, WEIGHTS)


def test_arrays_are_live(deploy: str) -> None:
    net = caffe.Net(deploy, WEIGHTS, caffe.TEST)
    rng = np.random.default_rng(0)
    net.blobs["data"].data[...] = rng.standard_normal((2, 3, 16, 16))
    first = net.forward()["prob"].copy()
    np.testing.assert_allclose(first.sum(axis=1), 1, rtol=1e-5)
    net.params["ip"][0].data[...] = 0
    net.params["ip"][1].data[...] = [0, 0, 0, np.log(7)]
    np.testing.assert_allclose(net.forward()["prob"], [[0.1, 0.1, 0.1, 0.7]] * 2, rtol=1e-5)
    assert net.blobs["conv1"].num == 2
    assert (net.blobs["conv1"].channels, net.blobs["conv1"].count) == (6, 2 * 6 * 16 * 16)


def test_forward_takes_inputs_a_start_and_an_end(deploy: str) -> None:
    net = caffe.Net(deploy, WEIGHTS, caffe.TEST)
    x = np.random.default_rng(1).standard_normal((2, 3, 16, 16)).astype(np.float32)
    whole = net.forward(data=x, blobs=["pool1"])
    assert set(whole) == {"prob", "pool1"}
    kept = whole["prob"].copy()
    assert set(net.forward(end="pool1")) == {"pool1"}
    np.testing.assert_array_equal(net.forward(start="ip")["prob"], kept)
    with pytest.raises(NetError, match='there is no layer "pol1" .* did you mean "pool1"'):
        net.forward(end="pol1")
    with pytest.raises(NetError, match="takes the inputs data, not image"):
        net.forward(image=x)
    with pytest.raises(ShapeError, match='input "data" has 1 items, the net 2'):
        net.forward(data=x[:1])
    many = np.concatenate([x, x[:1]])
    np.testing.assert_allclose(net.forward_all(data=many)["prob"], np.concatenate([kept, kept[:1]]), rtol=1e-5)


def test_backward(deploy: str) -> None:
    net = caffe.Net(deploy, WEIGHTS, caffe.TEST)
    net.forward(data=np.random.default_rng(2).standard_normal((2, 3, 16, 16)))
    net.blobs["prob"].diff[...] = 0
    net.blobs["prob"].diff[:, 1] = 1
    saliency = net.backward()["data"].copy()
    assert saliency.shape == (2, 3, 16, 16)
    assert saliency.any()
    g = np.zeros((2, 4), np.float32)
    g[:, 1] = 1
    np.testing.assert_array_equal(net.backward(prob=g)["data"], saliency)
    assert net.params["conv1"][0].diff.any()
    net.clear_param_diffs()
    assert not net.params["conv1"][0].diff.any()


def test_reshape(deploy: str) -> None:
    net = caffe.Net(deploy, WEIGHTS, caffe.TEST)
    net.blobs["data"].reshape(5, 3, 16, 16)
    with pytest.raises(ShapeError, match=r"call net.reshape\(\)"):
        _ = net.blobs["data"].data
    net.reshape()
    assert net.blobs["prob"].data.shape == (5, 4)
    net.blobs["data"].reshape(1, 3, 16, 16)
    assert net.forward()["prob"].shape == (1, 4)
    net.blobs["data"].reshape(1, 3, 20, 20)
    with pytest.raises(ShapeError, match='layer "ip": with the new input its parameters would need shapes 4×600'):
        net.reshape()


def test_save_copy_and_share(deploy: str, tmp_path: Path) -> None:
    net, other = caffe.Net(deploy, WEIGHTS, caffe.TEST), caffe.Net(deploy, caffe.TEST)
    net.save(str(tmp_path / "w.caffemodel"))
    other.copy_from(str(tmp_path / "w.caffemodel"))
    x = np.random.default_rng(3).standard_normal((2, 3, 16, 16))
    np.testing.assert_array_equal(net.forward(data=x)["prob"], other.forward(data=x)["prob"])
    third = caffe.Net(deploy, caffe.TEST)
    third.share_with(net)
    net.params["ip"][0].data[...] = 0.5
    assert (third.params["ip"][0].data == 0.5).all()
    np.testing.assert_array_equal(net.forward(data=x)["prob"], third.forward(data=x)["prob"])


def test_solver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CAFFE)
    text = (CAFFE / "solver.prototxt").read_text().replace('"snap"', f'"{tmp_path}/snap"')
    (tmp_path / "solver.prototxt").write_text(text)
    caffe.set_mode_cpu()
    caffe.set_random_seed(3)
    solver = caffe.get_solver(str(tmp_path / "solver.prototxt"))
    solver.step(3)
    assert solver.iter == 3
    assert solver.net.blobs["loss"].data.shape == ()
    assert 0 < solver.lr < 0.02
    assert solver.test_nets[0].forward()["accuracy"].shape == ()
    assert solver.net.params["conv1"][0].data.ctypes.data == solver.test_nets[0].params["conv1"][0].data.ctypes.data
    solver.snapshot()
    kept = solver.net.params["ip"][0].data.copy()
    again = caffe.SGDSolver(str(tmp_path / "solver.prototxt"))
    again.restore(str(tmp_path / "snap_iter_3.solverstate"))
    np.testing.assert_array_equal(again.net.params["ip"][0].data, kept)
    again.solve()
    assert again.iter == 12
    assert (tmp_path / "snap_iter_12.caffemodel").exists()
    assert caffe.AdamSolver(str(tmp_path / "solver.prototxt")).param.type == "Adam"


def test_module() -> None:
    assert (caffe.TRAIN, caffe.TEST) == (0, 1)
    assert "BatchNorm" in caffe.layer_type_list()
    with pytest.warns(UserWarning, match="computes on the CPU"):
        caffe.set_mode_gpu()
    caffe.set_device(0)
    assert issubclass(caffe.NesterovSolver, caffe.SGDSolver)
    with pytest.raises(AttributeError):
        _ = caffe.nothing
