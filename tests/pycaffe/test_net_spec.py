"""Nets written in Python with ``caffe.NetSpec``, ``layers`` and ``params``."""

import copy

import numpy as np
import pytest

import caffelite

caffe = caffelite.as_caffe()

from caffe import layers as L  # noqa: E402, N812
from caffe import params as P  # noqa: E402, N812
from caffe.proto import caffe_pb2  # noqa: E402


def data() -> caffe.net_spec.Top:
    return L.Input(shape=dict(dim=[2, 3, 8, 8]))


def settings(top: caffe.net_spec.Top) -> caffe_pb2.LayerParameter:
    return top.to_proto().layer[-1]


def test_a_net_with_names_runs(tmp_path) -> None:
    n = caffe.NetSpec()
    n.data, n.label = L.DummyData(shape=[dict(dim=[2, 3, 8, 8]), dict(dim=[2])], ntop=2)
    n.conv1 = L.Convolution(n.data, kernel_size=3, pad=1, num_output=4, weight_filler=dict(type="xavier"))
    n.relu1 = L.ReLU(n.conv1, in_place=True)
    n["fc"] = L.InnerProduct(n.relu1, num_output=5, param=[dict(lr_mult=1), dict(lr_mult=2, decay_mult=0)])
    n.loss = L.SoftmaxWithLoss(n.fc, n.label, loss_weight=2, include=dict(phase=caffe.TEST))
    n.rest = L.Silence(n.label, ntop=0)
    net = n.to_proto()
    assert [(layer.name, list(layer.bottom), list(layer.top)) for layer in net.layer] == [
        ("data", [], ["data", "label"]),
        ("conv1", ["data"], ["conv1"]),
        ("relu1", ["conv1"], ["conv1"]),
        ("fc", ["conv1"], ["fc"]),
        ("loss", ["fc", "label"], ["loss"]),
        ("rest", ["label"], []),
    ]
    assert [spec.lr_mult for spec in net.layer[3].param] == [1, 2]
    assert list(net.layer[4].loss_weight) == [2] and net.layer[4].include[0].phase == caffe.TEST
    (tmp_path / "net.prototxt").write_text(str(net))
    assert float(caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST).forward()["loss"]) == pytest.approx(np.log(5))


def test_names_without_a_netspec_are_type_and_number() -> None:
    one = L.Convolution(data(), num_output=1, kernel_size=1)
    other = L.Convolution(one, num_output=1, kernel_size=1)
    both = caffe.to_proto(L.ReLU(other, in_place=True), L.Eltwise(one, other))
    assert [layer.name for layer in both.layer] == ["Input1", "Convolution1", "Convolution2", "ReLU1", "Eltwise1"]
    assert list(both.layer[3].top) == ["Convolution2"]
    assert [layer.name for layer in caffe.to_proto(L.Silence(one, ntop=0)).layer][-1] == "Silence1"


def test_a_net_is_as_deep_as_one_likes() -> None:
    top = data()
    for _ in range(3000):
        top = L.ReLU(top)
    assert len(top.to_proto().layer) == 3001


def test_settings_go_where_they_belong() -> None:
    pool = settings(L.Pooling(data(), pool=P.Pooling.AVE, kernel_size=2, stride=2, name="p", phase=caffe.TEST))
    assert (pool.pooling_param.pool, pool.name, pool.phase) == (caffe_pb2.PoolingParameter.AVE, "p", caffe.TEST)
    assert settings(L.Pooling(data(), pool="AVE")).pooling_param.pool == P.Pooling.AVE
    data_layer = settings(L.Data(source="x", backend=P.Data.LMDB, transform_param=dict(mean_value=[1, 2, 3])))
    assert (data_layer.data_param.source, list(data_layer.transform_param.mean_value)) == ("x", [1, 2, 3])
    # One value for a repeated field, arrays and tuples, and messages that are there already.
    conv = settings(L.Convolution(data(), num_output=np.int64(4), kernel_size=np.array([3, 5]), pad=(1, 2), stride=2))
    assert list(conv.convolution_param.kernel_size) == [3, 5] and list(conv.convolution_param.pad) == [1, 2]
    assert list(conv.convolution_param.stride) == [2]
    # Scripts of Python 2 divide with /.
    assert list(settings(L.Convolution(data(), pad=(3 - 1) / 2)).convolution_param.pad) == [1]
    assert settings(L.Scale(data(), param=[caffe_pb2.ParamSpec(lr_mult=3)])).param[0].lr_mult == 3
    assert settings(L.Deconvolution(data(), convolution_param=dict(num_output=2))).convolution_param.num_output == 2


def test_layers_of_forks_and_of_nobody() -> None:
    prior = settings(L.PriorBox(data(), data(), min_size=30, aspect_ratio=[2, 3], clip=True))
    assert list(prior.prior_box_param.aspect_ratio) == [2, 3] and list(prior.prior_box_param.min_size) == [30]
    norm = settings(L.Normalize(data(), across_spatial=False, scale_filler=dict(type="constant", value=20)))
    assert norm.norm_param.scale_filler.value == 20
    # Not that of relu6_param, which is the same message.
    assert settings(L.ReLU(data(), negative_slope=0.5)).relu_param.negative_slope == 0.5
    out = settings(L.DetectionOutput(data(), num_classes=21, save_output_param=dict(output_format="VOC")))
    assert out.detection_output_param.save_output_param.output_format == "VOC"
    assert settings(L.NobodysLayer(data(), python_param=dict(param_str="1"))).type == "NobodysLayer"


@pytest.mark.parametrize(
    ("make", "error", "expected"),
    [
        (
            lambda: L.Silence((data(), data()), ntop=0),
            TypeError,
            r"^Silence input 0 is not a Top \(type is <class 'tuple'>\)",
        ),
        (
            lambda: L.Convolution(data(), kernel_sise=3),
            AttributeError,
            'L.Convolution: .* no field "kernel_sise"; did you mean "kernel_size"',
        ),
        (
            lambda: L.Deconvolution(data(), num_output=3),
            AttributeError,
            r"write convolution_param=dict\(num_output=...\)",
        ),
        (lambda: L.NobodysLayer(data(), foo=3), AttributeError, 'L.NobodysLayer: LayerParameter has no field "foo"'),
        (
            lambda: L.Scale(data(), filler=dict(tipe="x")),
            AttributeError,
            'filler.tipe: FillerParameter has no field "tipe"',
        ),
        (
            lambda: L.Scale(data(), filler="xavier"),
            TypeError,
            "filler: FillerParameter is written as a dict, not as 'xavier'",
        ),
        (
            lambda: L.Convolution(data(), num_output=1.5),
            TypeError,
            "L.Convolution: num_output: 1.5 is no whole number .* // in Python 3",
        ),
        (lambda: L.Input(shape=[dict(dim=[1, "a"])]), TypeError, r"L.Input: shape\[0\].dim\[1\]: .*str"),
        (lambda: L.Pooling(data(), pool="AVR"), ValueError, "L.Pooling: pool: .*AVR"),
    ],
)
def test_mistakes_are_told_in_a_sentence(make, error, expected) -> None:
    with pytest.raises(error, match=expected):
        make().to_proto()


def test_names_that_are_not_there() -> None:
    n = caffe.NetSpec()
    n.conv1 = data()
    with pytest.raises(KeyError, match='the net has no top "conv2"; did you mean "conv1"'):
        n["conv2"]
    assert not hasattr(n, "conv2")
    with pytest.raises(AttributeError, match='no message "PolingParameter"; did you mean "Pooling"'):
        P.Poling  # noqa: B018
    with pytest.raises(AttributeError, match='PoolingParameter has no value "MIX"; did you mean "MAX"'):
        P.Pooling.MIX  # noqa: B018
    with pytest.raises(TypeError, match="a net is made of Tops, not of str"):
        caffe.to_proto("conv1")


def test_what_ssds_scripts_do_with_a_net() -> None:
    n = caffe.NetSpec()
    n.data = data()
    n.conv = L.Convolution(n.data, num_output=1)
    assert n.keys() == ["data", "conv"] and n.vals() == [n.data, n.conv] and list(n.tops) == n.keys()
    n.update("conv", dict(num_output=2, kernel_size=3))
    assert n.to_proto().layer[1].convolution_param.num_output == 2
    other = copy.copy(n)
    del n["conv"]
    assert "conv" not in n.keys() and other.data is n.data  # noqa: SIM118
