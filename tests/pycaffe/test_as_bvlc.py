"""What BVLC's unit tests of pycaffe assert, where no other test here does; ``test_bvlc.py`` is the list of all."""

from pathlib import Path

import numpy as np
import pytest

import caffelite

caffe = caffelite.as_caffe()

from caffe import layers as L  # noqa: E402, N812
from caffe import params as P  # noqa: E402, N812
from google.protobuf import text_format  # noqa: E402

MODELS = Path(__file__).parent.parent.parent / "models"
NET = """
force_backward: true
layer { name: "data" type: "DummyData" top: "data" top: "label"
  dummy_data_param { shape { dim: 2 dim: 3 } shape { dim: 2 } data_filler { type: "gaussian" }
    data_filler { type: "constant" value: 1 } } }
layer { name: "fc" type: "InnerProduct" bottom: "data" top: "scores"
  inner_product_param { num_output: 4 weight_filler { type: "gaussian" std: 1 } bias_filler { type: "constant" value: 2 } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "scores" bottom: "label" top: "loss" }
"""
RULES = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 } } }
layer { name: "always" type: "ReLU" bottom: "x" top: "always" }
"""


@pytest.fixture
def net(tmp_path):
    (tmp_path / "net.prototxt").write_text(NET)
    return caffe.Net(tmp_path / "net.prototxt", caffe.TRAIN)


def test_arrays_outlive_their_net(net):
    net.forward()
    net.backward()
    blobs = [*net.params["fc"], *net.blobs.values()]
    expected = [(blob.data.copy(), blob.diff.copy()) for blob in blobs]
    del net
    for blob, (data, diff) in zip(blobs, expected, strict=True):
        np.testing.assert_array_equal(blob.data, data)
        np.testing.assert_array_equal(blob.diff, diff)


def test_names_of_a_net_with_data(net):
    assert (net.inputs, net.outputs) == ([], ["loss"])
    assert list(net.layer_dict) == net._layer_names == ["data", "fc", "loss"]
    assert [net.layer_dict[name] for name in net._layer_names] == net.layers
    assert list(net.top_names.items()) == [("data", ["data", "label"]), ("fc", ["scores"]), ("loss", ["loss"])]
    assert list(net.bottom_names.items()) == [("data", []), ("fc", ["data"]), ("loss", ["scores", "label"])]


def test_one_layer_alone(net):
    rng = np.random.default_rng(0)
    net.blobs["data"].data[...] = x = rng.standard_normal((2, 3))
    weights, bias = (blob.data for blob in net.params["fc"])
    assert set(net.forward(start="fc", end="fc")) == {"scores"}
    np.testing.assert_allclose(net.blobs["scores"].data, x @ weights.T + bias, rtol=1e-5)
    net.blobs["scores"].diff[...] = gradient = rng.standard_normal((2, 4))
    assert set(net.backward(start="fc", end="fc")) == {"data"}
    np.testing.assert_allclose(net.blobs["data"].diff, gradient @ weights, rtol=1e-4, atol=1e-6)


def rules(folder: Path, **included: str) -> Path:
    """Write a net with a layer for each of these rules."""
    layers = (
        f'layer {{ name: "{name}" type: "ReLU" bottom: "x" top: "{name}" {rule} }}' for name, rule in included.items()
    )
    (folder / "rules.prototxt").write_text(RULES + "\n".join(layers))
    return folder / "rules.prototxt"


def test_levels(tmp_path):
    one = {f"only{n}": f"include {{ min_level: {n} max_level: {n} }}" for n in (0, 1)}
    more = {f"from{n}": f"include {{ min_level: {n} }}" for n in (0, 1)}
    file = rules(tmp_path, **one, **more)
    assert list(caffe.Net(file, caffe.TEST).blobs) == ["x", "always", "only0", "from0"]
    assert list(caffe.Net(file, caffe.TEST, level=1).blobs) == ["x", "always", "only1", "from0", "from1"]


def test_stages(tmp_path):
    a, b = ('include { stage: "a" }', 'include { stage: "b" }')
    file = rules(tmp_path, a=a, b=b, either=a + b, both='include { stage: "a" stage: "b" }')
    assert list(caffe.Net(file, caffe.TEST, stages=["a"]).blobs) == ["x", "always", "a", "either"]
    assert list(caffe.Net(file, caffe.TEST, stages=["b"]).blobs) == ["x", "always", "b", "either"]
    both = caffe.Net(file, caffe.TEST, stages=["a", "b"])
    assert list(both.blobs) == ["x", "always", "a", "b", "either", "both"]


THREE_IN_ONE = """
layer { name: "train" type: "DummyData" top: "data" top: "label" include { phase: TRAIN stage: "train" }
  dummy_data_param { shape { dim: 2 dim: 3 } shape { dim: 2 } } }
layer { name: "val" type: "DummyData" top: "data" top: "label" include { phase: TEST stage: "val" }
  dummy_data_param { shape { dim: 2 dim: 3 } shape { dim: 2 } } }
layer { name: "use" type: "Input" top: "data" include { phase: TEST stage: "use" }
  input_param { shape { dim: 2 dim: 3 } } }
layer { name: "fc" type: "InnerProduct" bottom: "data" top: "scores" inner_product_param { num_output: 4 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "scores" bottom: "label" top: "loss"
  include { phase: TRAIN stage: "train" } include { phase: TEST stage: "val" } }
layer { name: "prob" type: "Softmax" bottom: "scores" top: "prob" include { phase: TEST stage: "use" } }
"""


@pytest.mark.parametrize(
    ("phase", "stage", "inputs", "output"),
    [
        (caffe.TRAIN, "train", [], "loss"),
        (caffe.TEST, "val", [], "loss"),
        (caffe.TEST, "use", ["data"], "prob"),
    ],
)
def test_one_file_for_training_validation_and_use(phase, stage, inputs, output, tmp_path):
    (tmp_path / "net.prototxt").write_text(THREE_IN_ONE)
    net = caffe.Net(tmp_path / "net.prototxt", phase, stages=[stage])
    assert net.blobs["data"].shape == (2, 3)
    assert (net.inputs, net.outputs) == (inputs, [output])


@pytest.fixture
def solver(net, tmp_path, monkeypatch):
    monkeypatch.setenv("GLOG_minloglevel", "2")
    monkeypatch.chdir(tmp_path)
    Path("solver.prototxt").write_text(
        'net: "net.prototxt" base_lr: 0.01 momentum: 0.9 lr_policy: "fixed" max_iter: 5 test_iter: 1 test_interval: 5\n'
        'snapshot_prefix: "model"'
    )
    return caffe.SGDSolver("solver.prototxt")


def test_an_update_is_the_rate_times_the_gradient(solver):
    weights = solver.net.layers[1].blobs[0]
    weights.data[...] = 0
    weights.diff[...] = 1
    solver.apply_update()
    np.testing.assert_allclose(weights.data, -0.01, rtol=1e-6)


def test_nets_outlive_their_solver(solver):
    nets = [solver.net, *solver.test_nets]
    del solver
    assert len(nets) == 2
    for net in nets:
        assert net.forward()["loss"].shape == ()


def test_a_snapshot_before_the_first_iteration(solver):
    solver.snapshot()
    assert Path("model_iter_0.caffemodel").is_file() and Path("model_iter_0.solverstate").is_file()


def test_every_example_net_is_drawn():
    files = [file for file in MODELS.glob("*.prototxt") if "solver" not in file.name]
    assert files
    for file in files:
        net = text_format.Merge(file.read_text(), caffe.proto.caffe_pb2.NetParameter())
        assert b"rankdir=LR" in caffe.draw.draw_net(net, "LR", "dot")


def test_a_net_is_written_with_names_and_without(tmp_path):
    def write(net):
        net.data, net.label = L.DummyData(shape=[dict(dim=[2, 3, 8, 8]), dict(dim=[2])], ntop=2)
        net.conv = L.Convolution(net.data, kernel_size=3, pad=1, num_output=4, weight_filler=dict(type="xavier"))
        net.pool = L.Pooling(net.conv, global_pooling=True, pool=P.Pooling.AVE)
        net.ip = L.InnerProduct(net.pool, num_output=5, weight_filler=dict(type="xavier"))
        net.relu = L.ReLU(net.ip, in_place=True)
        net.loss = L.SoftmaxWithLoss(net.relu, net.label)
        return net

    class Plain:
        pass

    for message in (write(caffe.NetSpec()).to_proto(), write(Plain()).loss.to_proto()):
        assert message.layer[4].bottom == message.layer[4].top
        (tmp_path / "a.prototxt").write_text(str(message))
        net = caffe.Net(str(tmp_path / "a.prototxt"), caffe.TEST)
        assert len(net.layers) == 6 and net.forward().keys() == {net.outputs[0]}


def test_a_net_that_ends_in_silence(tmp_path):
    net = caffe.NetSpec()
    net.one, net.other = L.DummyData(shape=dict(dim=3), ntop=2)
    net["no_one"], net["no_other"] = L.Silence(net.one, ntop=0), L.Silence(net.other, ntop=0)
    (tmp_path / "a.prototxt").write_text(str(net.to_proto()))
    assert caffe.Net(str(tmp_path / "a.prototxt"), caffe.TEST).forward() == {}


class Times(caffe.Layer):
    """Its bottom times ``param_str``."""

    def setup(self, bottom, top):
        self.factor = float(self.param_str)

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        top[0].data[...] = self.factor * bottom[0].data

    def backward(self, top, propagate_down, bottom):
        bottom[0].diff[...] = self.factor * top[0].diff


def test_three_python_layers(tmp_path):
    layers = (
        f'layer {{ name: "{top}" type: "Python" bottom: "{bottom}" top: "{top}" '
        f'python_param {{ module: "{__name__}" layer: "{Times.__name__}" param_str: "{factor}" }} }}'
        for bottom, top, factor in (("x", "one", 10), ("one", "two", 2), ("two", "three", 5))
    )
    (tmp_path / "a.prototxt").write_text(
        'force_backward: true input: "x" input_shape { dim: 3 dim: 2 dim: 4 }' + "".join(layers)
    )
    net = caffe.Net(str(tmp_path / "a.prototxt"), caffe.TRAIN, allow_python=True)
    net.blobs["x"].data[...] = 8
    assert (net.forward()["three"] == 800).all()
    net.blobs["three"].diff[...] = 7
    assert (net.backward()["x"] == 700).all()
    net.blobs["x"].reshape(2, 2, 2, 2)
    net.forward()
    assert {blob.data.shape for blob in net.blobs.values()} == {(2, 2, 2, 2)}
