"""Every mapping of a layer of BVLC Caffe is right in every opset: one net of them all."""

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx_runs import Arrays, agree, forward, run, twice

from caffelite.export.onnx.convert import convert
from caffelite.net import Net
from caffelite.schema.text import net_from_text
from caffelite.words import TEST

#: A layer each: its type, its settings, and how many tops it has; the bottom is x (2 × 4 × 5 × 6), and the first top of
#: the second Pooling, for example, is Pooling2.
LAYERS = [
    ("AbsVal", "", 1),
    ("ArgMax", "argmax_param { axis: 1 }", 1),
    ("ArgMax", "argmax_param { axis: 2 top_k: 2 }", 1),
    ("ArgMax", "argmax_param { top_k: 3 out_max_val: true }", 1),
    ("BNLL", "", 1),
    ("BatchNorm", "", 1),
    ("Bias", "bias_param { axis: 2 num_axes: 2 }", 1),
    ("Clip", "clip_param { min: -0.5 max: 1 }", 1),
    ("Convolution", "convolution_param { num_output: 6 kernel_size: 3 pad: 1 stride: 2 group: 2 }", 1),
    ("Deconvolution", "convolution_param { num_output: 6 kernel_size: 3 stride: 2 pad: 1 group: 2 }", 1),
    ("ELU", "elu_param { alpha: 0.5 }", 1),
    ("Exp", "exp_param { base: 2 scale: 0.5 shift: 1 }", 1),
    ("Flatten", "", 1),
    ("Flatten", "flatten_param { axis: 2 }", 1),
    ("Im2col", "convolution_param { kernel_size: 2 dilation: 2 }", 1),
    ("InnerProduct", "inner_product_param { num_output: 3 }", 1),
    ("InnerProduct", "inner_product_param { num_output: 3 axis: 2 transpose: true }", 1),
    ("LRN", "", 1),
    ("LRN", "lrn_param { local_size: 3 norm_region: WITHIN_CHANNEL }", 1),
    ("MVN", "", 1),
    ("MVN", "mvn_param { across_channels: true normalize_variance: false }", 1),
    ("PReLU", "", 1),
    ("Pooling", "pooling_param { kernel_size: 3 stride: 2 }", 2),
    ("Pooling", "pooling_param { kernel_size: 3 stride: 2 pad: 1 pool: AVE }", 1),
    ("Pooling", "pooling_param { global_pooling: true pool: AVE }", 1),
    ("Pooling", "pooling_param { kernel_size: 1 stride: 4 }", 2),
    ("Power", "power_param { scale: 2 shift: 1 power: 2 }", 1),
    ("Power", "power_param { scale: 0 shift: 2 power: 3 }", 1),
    ("ReLU", "relu_param { negative_slope: 0.1 }", 1),
    ("Reduction", "reduction_param { axis: 2 coeff: 2 }", 1),
    ("Reduction", "reduction_param { axis: 1 operation: ASUM }", 1),
    ("Reduction", "reduction_param { axis: 3 operation: SUMSQ }", 1),
    ("Reduction", "reduction_param { axis: -1 operation: MEAN }", 1),
    ("Reshape", "reshape_param { shape { dim: [0, 2, 2, -1] } }", 1),
    ("SPP", "spp_param { pyramid_height: 2 }", 1),
    ("Scale", "scale_param { bias_term: true }", 1),
    ("Sigmoid", "", 1),
    ("Slice", "slice_param { slice_point: [1, 2] }", 3),
    ("Softmax", "", 1),
    ("Softmax", "softmax_param { axis: -1 }", 1),
    ("Swish", "swish_param { beta: 2 }", 1),
    ("TanH", "", 1),
    ("Threshold", "threshold_param { threshold: 0.1 }", 1),
    ("Tile", "tile_param { tiles: 2 }", 1),
]
#: Those of several bottoms, and those that the layers above cannot feed.
MORE = """
layer { name: "log" type: "Log" bottom: "Exp" top: "log" log_param { base: 10 shift: 1 } }
layer { name: "drop" type: "Dropout" bottom: "BNLL" top: "drop" }
layer { name: "split" type: "Split" bottom: "x" top: "a" top: "b" }
layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "AbsVal" top: "sum" eltwise_param { coeff: 1 coeff: -1 } }
layer { name: "product" type: "Eltwise" bottom: "b" bottom: "drop" bottom: "TanH" top: "product"
  eltwise_param { operation: PROD } }
layer { name: "largest" type: "Eltwise" bottom: "sum" bottom: "product" top: "largest"
  eltwise_param { operation: MAX } }
layer { name: "join" type: "Concat" bottom: "x" bottom: "sum" top: "join" }
layer { name: "crop" type: "Crop" bottom: "x" bottom: "Convolution" top: "crop"
  crop_param { offset: 2 offset: 1 } }
layer { name: "row" type: "Flatten" bottom: "Pooling3" top: "row" }
layer { name: "factor" type: "Scale" bottom: "x" bottom: "row" top: "factor" scale_param { axis: 0 } }
layer { name: "number" type: "Power" bottom: "Threshold" top: "number" power_param { scale: 2 } }
layer { name: "table" type: "Embed" bottom: "number" top: "table" embed_param { input_dim: 3 num_output: 2 } }
layer { name: "offset" type: "Parameter" top: "offset" parameter_param { shape { dim: 4 } } }
layer { name: "shift" type: "Bias" bottom: "x" bottom: "offset" top: "shift" bias_param { axis: 1 } }
layer { name: "two" type: "DummyData" top: "two" dummy_data_param { shape { dim: 6 }
  data_filler { type: "constant" value: 2 } } }
layer { name: "double" type: "Scale" bottom: "x" bottom: "two" top: "double" scale_param { axis: 3 } }
layer { name: "first" type: "DummyData" top: "first" dummy_data_param { shape { dim: 3 } } }
layer { name: "same" type: "BatchReindex" bottom: "x" bottom: "first" top: "same" }
layer { name: "steps" type: "Reshape" bottom: "x" top: "steps" reshape_param { shape { dim: [3, -1, 10] } } }
layer { name: "on" type: "Reduction" bottom: "steps" top: "on" reduction_param { axis: 2 coeff: 0.1 } }
layer { name: "lstm" type: "LSTM" bottom: "steps" bottom: "on" top: "lstm" recurrent_param { num_output: 2 } }
layer { name: "rnn" type: "RNN" bottom: "steps" bottom: "on" top: "rnn" recurrent_param { num_output: 2 } }
layer { name: "step" type: "Slice" bottom: "steps" top: "s0" top: "s1" top: "s2" slice_param { axis: 0 } }
layer { name: "go" type: "Slice" bottom: "on" top: "g0" top: "g1" top: "g2" slice_param { axis: 0 } }
layer { name: "gates" type: "Slice" bottom: "s0" top: "cell" top: "sums" slice_param { axis: 2 slice_point: 2 } }
layer { name: "unit" type: "LSTMUnit" bottom: "cell" bottom: "sums" bottom: "g0" top: "c" top: "h" }
layer { name: "twice" type: "Concat" bottom: "x" bottom: "sum" top: "twice" concat_param { axis: 0 } }
layer { name: "halves" type: "Slice" bottom: "twice" top: "half0" top: "half1" slice_param { axis: 0 } }
layer { name: "chosen" type: "Reduction" bottom: "number" top: "chosen" reduction_param { axis: 1 coeff: 0 } }
layer { name: "silence" type: "Silence" bottom: "chosen" }
"""


def net_of_all() -> Net:
    text = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [2, 4, 5, 6] } } }\n'
    times = Counter[str]()
    for kind, settings, tops in LAYERS:
        times[kind] += 1
        name = kind if times[kind] == 1 else f"{kind}{times[kind]}"
        names = " ".join(f'top: "{name}{"" if j == 0 else f".{j}"}"' for j in range(tops))
        text += f'layer {{ name: "{name}" type: "{kind}" bottom: "x" {names} {settings} }}\n'
    net = Net(net_from_text(text + MORE, "all.prototxt"), TEST, keep=True, learn=False)
    rng = np.random.default_rng(1)
    for blobs in net.params.values():
        for blob in blobs:
            blob.data[...] = rng.uniform(0.1, 0.5, blob.shape)
    net.changed()
    return net


@pytest.fixture(scope="module")
def net() -> Net:
    return net_of_all()


@pytest.fixture(scope="module")
def runs(net: Net) -> list[tuple[Arrays, Arrays]]:
    """Inputs and outputs, of one batch and of twice as many images."""
    x = np.random.default_rng(2).standard_normal((2, 4, 5, 6)).astype(np.float32)
    return [(inputs, forward(net, inputs)) for inputs in (twice({"x": x}), {"x": x})]


@pytest.mark.parametrize("opset", [11, 12, 13, 18, 21])
def test_every_opset(net: Net, runs: list[tuple[Arrays, Arrays]], opset: int) -> None:
    converted = convert(net, opset)
    assert not converted.fixed
    assert [one.version for one in converted.model.opset_import] == [opset]
    for inputs, outputs in runs:
        agree(run(converted, inputs), outputs)


def test_no_operator_is_left_over(net: Net) -> None:
    model = convert(net).model
    constants = {one.name for one in model.graph.initializer}
    assert not [node.name for node in model.graph.node if constants.issuperset(node.input)]
    unwanted = ("Identity", "Shape", "Constant", "ConstantOfShape")
    assert not [node.name for node in model.graph.node if node.op_type in unwanted]
    onnx.checker.check_model(model, full_check=True)
