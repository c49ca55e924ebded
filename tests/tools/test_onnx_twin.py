"""The ONNX twin of a net computes what the net computes (skipped without the extra ``bench``)."""

import numpy as np
import pytest

from caffelite.net import Net
from caffelite.schema.text import net_from_text
from caffelite.words import TEST

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 4 dim: 12 dim: 11 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 8 kernel_h: 3
  kernel_w: 2 stride: 2 pad: 1 group: 2 weight_filler { type: "xavier" } bias_filler { type: "uniform" max: 1 } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" batch_norm_param { eps: 0.01 } }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true
  filler { type: "uniform" min: -1 max: 2 } bias_filler { type: "uniform" max: 1 } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "leaky" type: "ReLU" bottom: "data" top: "leaky" relu_param { negative_slope: 0.1 } }
layer { name: "lrn" type: "LRN" bottom: "conv" top: "lrn" lrn_param { local_size: 3 alpha: 0.5 k: 2 } }
layer { name: "dropped" type: "Dropout" bottom: "lrn" top: "dropped" }
layer { name: "sum" type: "Eltwise" bottom: "conv" bottom: "dropped" top: "sum" }
layer { name: "joined" type: "Concat" bottom: "sum" bottom: "lrn" bottom: "conv" top: "joined" }
layer { name: "flat" type: "Flatten" bottom: "joined" top: "flat" flatten_param { axis: 2 } }
layer { name: "ip" type: "InnerProduct" bottom: "joined" top: "ip" inner_product_param { num_output: 5
  weight_filler { type: "xavier" } bias_filler { type: "uniform" max: 1 } } }
layer { name: "turned" type: "InnerProduct" bottom: "ip" top: "turned" inner_product_param { num_output: 3
  transpose: true bias_term: false weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "turned" top: "prob" }
layer { name: "global" type: "Pooling" bottom: "leaky" top: "global" pooling_param { pool: AVE global_pooling: true } }
"""
#: Windows that end in the map, beyond it and in the pad, and one that is left out because it would begin in the pad.
POOLS = [
    "kernel_size: 3 stride: 2",
    "kernel_size: 3 stride: 2 pad: 1",
    "kernel_size: 2 stride: 2 pad: 1",
    "kernel_h: 3 kernel_w: 2 stride: 2 pad_h: 1 pad_w: 0",
]


def _twin(net):
    from onnx_twin import twin

    inputs = {name: net.blobs[name].data.copy() for name in net.inputs}
    net.forward()
    expected = {name: net.blobs[name].data.copy() for name in net.outputs}
    session = onnxruntime.InferenceSession(twin(net).SerializeToString(), providers=["CPUExecutionProvider"])
    return expected, dict(zip([y.name for y in session.get_outputs()], session.run(None, inputs), strict=True))


def _filled(text):
    net = Net(net_from_text(text), TEST, keep=True, learn=False)
    rng = np.random.default_rng(1)
    net.blobs["data"].data[...] = rng.standard_normal(net.blobs["data"].shape)
    return net, rng


def test_every_type_is_computed_alike():
    net, rng = _filled(NET)
    mean, variance, factor = (blob.data for blob in net.params["bn"])
    factor[...] = 2
    mean[...] = rng.standard_normal(mean.shape)
    variance[...] = rng.uniform(1, 3, variance.shape)
    expected, found = _twin(net)
    assert set(found) == {"flat", "global", "prob"}
    for name, values in expected.items():
        assert found[name].shape == values.shape
        np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("pool", ["MAX", "AVE"])
def test_windows_are_those_of_caffe(pool):
    layers = [
        f'layer {{ name: "p{j}" type: "Pooling" bottom: "data" top: "p{j}" pooling_param {{ pool: {pool} {windows} }} }}'
        for j, windows in enumerate(POOLS)
    ]
    net, _ = _filled("\n".join([NET.split("\n")[1], *layers]))
    expected, found = _twin(net)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-5, err_msg=name)


def test_what_has_no_twin_is_named():
    from onnx_twin import NoTwinError, twin

    net, _ = _filled(NET.split("\n")[1] + '\nlayer { name: "odd" type: "TanH" bottom: "data" top: "odd" }')
    with pytest.raises(NoTwinError, match="odd: no ONNX operator is known here for the type TanH"):
        twin(net)
