"""Every layer as ONNX operators, held in ONNX Runtime against what BVLC Caffe and caffelite compute."""

import re
from collections.abc import Iterator

import numpy as np
import onnx
import pytest
from cases import Case, golden_cases, net_cases
from onnx_runs import Arrays, agree, forward, run, twice
from runner import layer_net

from caffelite.export.onnx.convert import Converted, convert
from caffelite.export.onnx.operators import mappings
from caffelite.net import Net
from caffelite.schema.text import net_from_text
from caffelite.words import TEST

#: Each image by itself, so that twice the images are twice the golden values; others are held against caffelite.
PER_IMAGE = ("Convolution", "Deconvolution", "InnerProduct", "LRN", "Pooling", "SPP", "Im2col", "BatchNorm")


def convertible_cases() -> Iterator[tuple[str, str, Case]]:
    """Yield the golden cases but those of what differs in TRAIN."""
    for kind, number, case in golden_cases():
        text = str(case["prototxt"])
        trained = kind in ("BatchNorm", "Dropout") and str(case["phase"]) == "TRAIN"
        if kind in mappings() and not trained and "use_global_stats: false" not in text:
            # Layers that only let a gradient through to the input.
            text = re.sub(r'layer { name: "one.*\n', "", text).replace('"r', '"x')
            yield kind, number, {**case, "prototxt": np.array(text)}


GOLDEN = list(convertible_cases())
#: Nets that have no operators with their settings: statistics of the batch, margins for labels.
REFUSED = [("BN", "rows"), *[("LargeMarginInnerProduct", what) for what in ("double", "triple", "quadruple")]]
NETS = [(kind, what, case) for kind, what, case in net_cases() if kind in mappings() and (kind, what) not in REFUSED]
NETS = [(kind, what, case) for kind, what, case in NETS if "y0" in str(case["prototxt"])]


def made(case: Case) -> tuple[Net, Arrays]:
    """Return the net of a case in TEST, and its inputs; random ones where the case has none."""
    net = Net(net_from_text(str(case["prototxt"]), "case"), TEST, keep=True, learn=False)
    rng = np.random.default_rng(1)
    for j, blob in enumerate(net.params.get("L", [])):
        values = case.get(f"w{j}")
        blob.data[...] = rng.uniform(0.1, 1, blob.shape) if values is None else values.reshape(blob.shape)
    net.changed()
    inputs = {}
    for name in net.inputs:
        shape = net.blobs[name].shape
        values = case[name].reshape(shape) if name in case else rng.standard_normal(shape)
        inputs[name] = values.astype(np.float32)
    return net, inputs


def agree_with_caffelite(net: Net, inputs: Arrays, opset: int = 13) -> Converted:
    """Convert the net, run both with the inputs and, where it can be of any size, with twice the batch."""
    converted = convert(net, opset)
    once = forward(net, inputs)
    agree(run(converted, inputs), once)
    if not converted.fixed:
        per_image = net.layers[-1].param.type in PER_IMAGE
        agree(run(converted, twice(inputs)), twice(once) if per_image else forward(net, twice(inputs)))
    return converted


@pytest.mark.parametrize(("kind", "number", "case"), GOLDEN, ids=[f"{kind}-{number}" for kind, number, _ in GOLDEN])
def test_agrees_with_caffe(kind: str, number: str, case: Case) -> None:
    net, inputs = made(case)
    converted = convert(net)
    golden = {name: case[name] for name in net.outputs}
    agree(run(converted, inputs), golden)
    if not converted.fixed:
        results = run(converted, twice(inputs))
        agree(results, twice(golden) if kind in PER_IMAGE else forward(net, twice(inputs)))


@pytest.mark.parametrize(("kind", "what", "case"), NETS, ids=[f"{kind}-{what}" for kind, what, _ in NETS])
def test_agrees_with_caffelite(kind: str, what: str, case: Case) -> None:
    agree_with_caffelite(*made(case))


#: Type, settings, shapes of the inputs; what the golden cases lack.
SETTINGS = [
    ("Pooling", "pooling_param { kernel_size: 1 stride: 3 }", [(2, 3, 5, 5)]),
    ("Pooling", "pooling_param { kernel_h: 1 kernel_w: 2 stride_h: 3 stride_w: 1 pool: AVE }", [(2, 3, 5, 5)]),
    ("Pooling", "pooling_param { kernel_size: 1 stride: 3 pool: STOCHASTIC }", [(2, 3, 5, 5)]),
    ("Pooling", "pooling_param { kernel_size: 1 stride: 3 } top: 'y1'", [(2, 3, 5, 5)]),
    ("Pooling", "pooling_param { kernel_size: 3 stride: 2 pad: 1 } top: 'y1'", [(2, 3, 6, 5)]),
    ("Pooling", "pooling_param { kernel_size: 3 stride: 2 pad: 1 pool: AVE_EXC_PAD }", [(2, 3, 6, 6)]),
    ("Pooling", "pooling_param { kernel_size: 3 stride: 2 pad: 1 pool: AVE ceil_mode: false }", [(2, 3, 6, 6)]),
    ("Pooling", "pooling_param { global_pooling: true } top: 'y1'", [(2, 3, 4, 5)]),
    ("SPP", "spp_param { pyramid_height: 3 pool: STOCHASTIC }", [(2, 3, 8, 12)]),
    ("LRN", "lrn_param { local_size: 5 alpha: 2 norm_region: WITHIN_CHANNEL }", [(2, 3, 2, 3)]),
    ("LRN", "lrn_param { local_size: 7 alpha: 2 k: 0.5 }", [(2, 3, 2, 2)]),
    ("Convolution", "convolution_param { num_output: 3 kernel_size: 3 axis: 0 }", [(4, 9)]),
    (
        "Deconvolution",
        "convolution_param { num_output: 6 kernel_size: 3 stride: 2 pad: 1 group: 2 axis: 2 }",
        [(2, 1, 4, 5, 6)],
    ),
    ("Deconvolution", "convolution_param { num_output: 2 kernel_size: 2 stride: 2 }", [(2, 2, 2, 3, 2)]),
    ("Im2col", "convolution_param { kernel_size: 2 pad: 1 }", [(2, 3, 4)]),
    ("Im2col", "convolution_param { kernel_size: 2 axis: 2 }", [(2, 2, 2, 3, 4)]),
    ("InnerProduct", "inner_product_param { num_output: 2 axis: 0 }", [(3, 4)]),
    ("InnerProduct", "inner_product_param { num_output: 2 axis: 2 transpose: true }", [(2, 3, 2, 2)]),
    ("Eltwise", "eltwise_param { coeff: 1 coeff: -1 }", [(2, 3), (2, 3)]),
    ("Eltwise", "eltwise_param { coeff: -1 coeff: 0.5 coeff: 0 }", [(2, 3)] * 3),
    ("Crop", "crop_param { axis: 0 offset: [0, 1, 2] }", [(2, 5, 6), (2, 3, 4)]),
    ("Crop", "crop_param { axis: 1 }", [(2, 5, 6), (2, 5, 6)]),
    ("Reshape", "reshape_param { shape { dim: [-1, 3] } }", [(2, 3, 4)]),
    ("Reshape", "reshape_param { shape { dim: [2, -1] } axis: 1 num_axes: 1 }", [(2, 12, 3)]),
    ("Reshape", "reshape_param { shape { dim: [1, -1] } axis: -1 }", [(2, 3)]),
    ("Flatten", "flatten_param { axis: 0 }", [(2, 3, 4)]),
    ("Flatten", "flatten_param { axis: 0 end_axis: 1 }", [(2, 3, 4)]),
    ("Tile", "tile_param { axis: 0 tiles: 3 }", [(2, 3)]),
    ("Concat", "concat_param { concat_dim: 0 }", [(2, 3), (4, 3)]),
    ("Slice", "slice_param { axis: 0 slice_point: [1, 2] } top: 'y1' top: 'y2'", [(4, 3)]),
    ("Slice", "slice_param { slice_dim: 0 } top: 'y1'", [(4, 3)]),
    ("Reduction", "reduction_param { axis: 0 operation: MEAN }", [(2, 3)]),
    ("Reduction", "reduction_param { axis: -1 operation: ASUM coeff: -2 }", [(2, 3)]),
    ("Reduction", "reduction_param { operation: SUMSQ }", [()]),
    ("ArgMax", "", [(4,)]),
    ("ArgMax", "argmax_param { out_max_val: true }", [(2, 3, 2, 2, 2)]),
    ("ArgMax", "argmax_param { axis: 1 }", [(3, 9)]),
    ("ArgMax", "argmax_param { top_k: 5 }", [(3, 9, 1)]),
    ("PReLU", "prelu_param { channel_shared: true }", [(2, 3)]),
    ("ELU", "elu_param { alpha: -0.5 }", [(2, 3)]),
    ("Power", "power_param { scale: 0 shift: -1 power: 0.5 }", [(2, 3)]),
    ("Power", "power_param { scale: 0 power: -1 }", [(2, 3)]),
    ("Power", "power_param { power: 3 scale: 2 shift: -1 }", [(2, 3)]),
    ("Exp", "exp_param { base: 3 shift: 40 }", [(2, 3)]),
    ("Log", "log_param { base: 0.5 scale: -1 }", [(2, 3)]),
    ("Clip", "clip_param { min: 1 max: -1 }", [(2, 3)]),
    ("Softmax", "softmax_param { axis: 0 }", [(3, 4)]),
    ("MVN", "", [(2, 3)]),
    ("MVN", "mvn_param { across_channels: true }", [(2, 3, 4)]),
    ("BatchNorm", "batch_norm_param { eps: 0.1 }", [(4,)]),
    ("BatchNorm", "batch_norm_param { scale_bias: true }", [(2, 3, 2)]),
    ("Scale", "scale_param { axis: 0 bias_term: true }", [(2, 3), ()]),
    ("Scale", "scale_param { axis: 1 num_axes: -1 bias_term: true }", [(2, 3, 4)]),
    ("Scale", "scale_param { axis: 1 bias_term: true }", [(2, 3, 4), (3,)]),
    ("Bias", "bias_param { axis: 0 }", [(2, 3, 4), (2, 3)]),
    ("LSTM", "recurrent_param { num_output: 2 }", [(3, 2, 2, 2), (3, 2), (2, 1, 3)]),
    (
        "LSTM",
        "recurrent_param { num_output: 2 expose_hidden: true } top: 'y1' top: 'y2'",
        [(3, 2, 4), (3, 2), (1, 2, 2), (1, 2, 2)],
    ),
    (
        "RNN",
        "recurrent_param { num_output: 2 expose_hidden: true } top: 'y1'",
        [(3, 2, 4), (3, 2), (2, 3), (1, 2, 2)],
    ),
]


@pytest.mark.parametrize(("kind", "settings", "shapes"), SETTINGS)
def test_settings(kind: str, settings: str, shapes: list[tuple[int, ...]]) -> None:
    agree_with_caffelite(*random_net(kind, settings, shapes))


@pytest.mark.parametrize("opset", [11, 13, 21])
@pytest.mark.parametrize("case", [case for kind, _, case in GOLDEN if kind == "LRN"])
def test_decomposed_lrn_agrees_with_caffe(case: Case, opset: int) -> None:
    net, inputs = made(case)
    converted = convert(net, opset, decompose_lrn=True)
    assert "LRN" not in {op.op_type for op in converted.model.graph.node}
    agree(run(converted, twice(inputs)), twice({name: case[name] for name in net.outputs}))


@pytest.mark.parametrize(
    "settings",
    ["local_size: 7 alpha: 2 k: 0.5", "local_size: 1 beta: 0.5", "alpha: -0.01 k: 2", "alpha: 0 k: 3 beta: 2"],
)
def test_settings_of_decomposed_lrn(settings: str) -> None:
    net, inputs = random_net("LRN", f"lrn_param {{ {settings} }}", [(2, 3, 2, 2)])
    agree(run(convert(net, decompose_lrn=True), inputs), forward(net, inputs))


def test_squares_of_decomposed_lrn_are_in_the_range_of_float16() -> None:
    net, inputs = random_net("LRN", "lrn_param { alpha: 1e-4 }", [(2, 3, 2, 2)])
    model = convert(net, decompose_lrn=True).model
    square = next(op for op in model.graph.node if op.op_type == "Mul" and op.input[0] == op.input[1])
    model.graph.output.append(onnx.ValueInfoProto(name=square.output[0]))
    largest = run(Converted(model, "", {}), {"x0": np.full_like(inputs["x0"], 2000)})[square.output[0]].max()
    assert 0 < largest < np.finfo(np.float16).max


#: Nets that read x (4 × 3).
SEVERAL = {
    "images that a net lets through": """
        layer { name: "t" type: "Threshold" bottom: "x" top: "t" }
        layer { name: "k" type: "Slice" bottom: "t" top: "k" top: "rest" slice_param { slice_point: 1 } }
        layer { name: "f" type: "Filter" bottom: "x" bottom: "rest" bottom: "k" top: "f" top: "g" }
        layer { name: "y" type: "InnerProduct" bottom: "f" top: "y" inner_product_param { num_output: 2
          weight_filler { type: "xavier" } } }
        layer { name: "z" type: "Reshape" bottom: "y" top: "z" reshape_param { shape { dim: [1, -1] } } }""",
    "streams of the batch": """
        layer { name: "t" type: "Reshape" bottom: "x" top: "t" reshape_param { shape { dim: [3, -1, 1] } } }
        layer { name: "c" type: "Reduction" bottom: "t" top: "c" reduction_param { axis: 2 } }
        layer { name: "y" type: "LSTM" bottom: "t" bottom: "c" top: "y" recurrent_param { num_output: 2
          weight_filler { type: "xavier" } } }""",
    "a batch that is doubled and halved": """
        layer { name: "a" type: "Power" bottom: "x" top: "a" power_param { scale: -1 } }
        layer { name: "t" type: "Concat" bottom: "x" bottom: "a" top: "t" concat_param { axis: 0 } }
        layer { name: "y" type: "Slice" bottom: "t" top: "y" top: "z" slice_param { axis: 0 } }""",
    "a constant that is one of the outputs": """
        layer { name: "t" type: "DummyData" top: "t" dummy_data_param { shape { dim: 3 }
          data_filler { type: "constant" value: 2 } } }
        layer { name: "c" type: "Exp" bottom: "t" top: "c" }
        layer { name: "y" type: "Scale" bottom: "x" bottom: "t" top: "y" }""",
}


@pytest.mark.parametrize("layers", SEVERAL.values(), ids=SEVERAL)
@pytest.mark.parametrize("opset", [11, 18])
def test_several_layers(layers: str, opset: int) -> None:
    text = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [4, 3] } } }' + layers
    net = Net(net_from_text(text, "net.prototxt"), TEST, keep=True, learn=False)
    x = np.random.default_rng(2).standard_normal((4, 3)).astype(np.float32)
    assert not agree_with_caffelite(net, {"x": x}, opset).fixed


def random_net(kind: str, settings: str, shapes: list[tuple[int, ...]]) -> tuple[Net, Arrays]:
    net = layer_net(kind, settings.replace("'", '"'), *shapes, phase=TEST, force=False, learn=False)
    rng = np.random.default_rng(1)
    for blob in net.params.get("L", []):
        blob.data[...] = rng.uniform(0.1, 1, blob.shape)
    net.changed()
    inputs = {name: rng.standard_normal(net.blobs[name].shape).astype(np.float32) for name in net.inputs}
    # Whole numbers are often equal.
    return net, {name: np.round(x) for name, x in inputs.items()} if kind == "ArgMax" else inputs
