"""Layers of forks as ONNX operators, with the settings that their nets do not have: see also ``test_layers``."""

import re

import numpy as np
import pytest

from caffelite.errors import NetError
from caffelite.export.onnx.check import TOLERANCE, compare
from caffelite.export.onnx.convert import DEFAULT_OPSET, convert
from caffelite.export.onnx.operators import mappings, refused
from caffelite.layers.contract.registry import registry
from caffelite.net import Net
from caffelite.schema.documents import NetDocument
from caffelite.schema.text import net_from_text
from caffelite.words import TEST

#: Other settings than those of the nets: shapes of the inputs, and layers, a line each: type, bottoms > tops, settings.
CASES = {
    "Accum, a multiple": ("2 1 4 3, 2 2 5 5", "Accum x0 x1 > y0 accum_param { size_divisible_by: 4 }"),
    "Accum, a reference": ("2 1 4 3, 2 2 5 5", "Accum x0 x1 > y0 accum_param { have_reference: true }"),
    "Axpy, four axes": ("2 3 1 1, 2 3 2 2, 2 3 2 2", "Axpy x0 x1 x2 > y0"),
    "BN, ducha-aiki": ("2 3 2 2", "BN x0 > y0 bn_param { var_eps: 0.1 }"),
    "BiasChannel, labels": (
        "2 3 2 2, 2 2 1 1",
        """Threshold x1 > l0
        Power l0 > l1 power_param { scale: 3 shift: -1 }
        Concat l0 l1 > l
        BiasChannel x0 l > y0 bias_channel_param { fg_bias: 3 bg_bias: 5 }""",
    ),
    "BiasChannel, places": (
        "2 3 2 2, 2 1 2 2",
        """Threshold x1 > l0
        Power l0 > l power_param { scale: 2 }
        BiasChannel x0 l > y0 bias_channel_param { label_type: PIXEL fg_bias: 3 }""",
    ),
    "BiasChannel, a background": (
        "2 3 2 2, 2 1 2 2",
        """Threshold x1 > l
        BiasChannel x0 l > y0 bias_channel_param { label_type: PIXEL fg_bias: 3 bg_bias: 5 background_label: 1 }""",
    ),
    "ChannelScale, one number": (
        "2 3 2 2, 2 1 2 2",
        "ChannelScale x0 x1 > y0 channel_scale_param { global_scale: true }",
    ),
    "ChannelScale, no channel axis": ("2 3 2 4, 2 8", "ChannelScale x0 x1 > y0"),
    "Convolution3D, C3D 1.0": (
        "2 2 3 4 4",
        """Convolution3D x0 > y0 convolution_param { num_output: 3 kernel_size: 3 pad: 1 kernel_depth: 2
        temporal_stride: 2 weight_filler { type: "xavier" } }""",
    ),
    "Correlation, strides": (
        "2 3 6 7, 2 3 6 7",
        """Correlation x0 x1 > y0 correlation_param { kernel_size: 1 max_displacement: 3 pad: 3 stride_1: 2
        stride_2: 2 }""",
    ),
    "Correlation, a neighbourhood": (
        "2 2 6 7, 2 2 6 7",
        """Correlation x0 x1 > y0 correlation_param { kernel_size: 3 max_displacement: 1 pad: 2 stride_1: 2
        correlation_type: SUBTRACT }""",
    ),
    "Correlation1D, to the right": (
        "2 2 3 6, 2 2 3 6",
        "Correlation1D x0 x1 > y0 correlation_param { kernel_size: 1 max_displacement: 2 pad: 2 single_direction: 1 }",
    ),
    "DeformableConvolution, a stride": (
        "2 2 5 6, 2 8 3 3",
        """DeformableConvolution x0 x1 > y0 deformable_convolution_param { num_output: 2 kernel_size: 2 pad: 1 stride: 2
        dilation: 2 bias_term: false deformable_group: 1 weight_filler { type: "xavier" } }""",
    ),
    "DeformableConvolution, groups": (
        "2 4 5 6, 2 36 5 6",
        """DeformableConvolution x0 x1 > y0 deformable_convolution_param { num_output: 6 kernel_size: 3 pad: 1 group: 2
        deformable_group: 2 weight_filler { type: "xavier" } }""",
    ),
    "Downsample": ("2 2 7 9", "Downsample x0 > y0 downsample_param { top_height: 3 top_width: 5 }"),
    "Downsample, NaN": (
        "2 2 8 11",
        """Log x0 > l log_param { shift: 1 }
        Downsample l > y0 downsample_param { top_height: 3 top_width: 5 }""",
    ),
    "FlowWarp": ("2 2 4 5, 2 2 4 5", "FlowWarp x0 x1 > y0"),
    "FlowWarp, NaN": (
        "2 2 4 5, 2 2 4 5",
        """Log x1 > flow
        FlowWarp x0 flow > y0 flow_warp_param { fill_value: NOT_A_NUMBER }""",
    ),
    "FlowWarp, one row": ("2 2 1 5, 2 2 1 5", "FlowWarp x0 x1 > y0"),
    "Insanity": ("2 3 2", "Insanity x0 > y0 insanity_param { lb: 3 ub: 8 }"),
    "Interp, a size": ("2 2 5 6", "Interp x0 > y0 interp_param { height: 7 width: 4 }"),
    "Interp, from one": ("2 2 1 1", "Interp x0 > y0 interp_param { height: 3 width: 4 }"),
    "Interp, both factors": ("2 2 7 9", "Interp x0 > y0 interp_param { shrink_factor: 2 zoom_factor: 3 pad_end: -1 }"),
    "Interp, nearest": ("2 2 5 6", "Interp x0 > y0 interp_param { height: 8 width: 3 pad_beg: -1 mode: NEAREST }"),
    "Local, no bias": (
        "2 2 5 6",
        """Local x0 > y0 local_param { num_output: 3 kernel_size: 2 stride: 2 bias_term: false
        weight_filler { type: "xavier" } }""",
    ),
    "Lstm, indicated": (
        "6 2, 2, 4",
        """Power x1 > first power_param { scale: 0 }
        Threshold x2 > rest
        Concat first rest > cont concat_param { axis: 0 }
        Lstm x0 cont > y0 lstm_param { num_output: 3 batch_size: 2 }""",
    ),
    "Lstm, rows": ("6 2 1", "Lstm x0 > y0 lstm_param { num_output: 3 batch_size: 2 }"),
    "Lstm, whole sequences": (
        "4 2 3 2",
        """ContinuationIndicator x0 > cont continuation_indicator_param { time_step: 4 axis: 1 }
        Lstm x0 cont > y0 lstm_param { num_output: 3 }""",
    ),
    "Mean, two bottoms": (
        "2 4 2 2, 2 2 3 3",
        "Mean x0 x1 > y0 y1 mean_param { operation: SUBTRACT value: 1 value: 2 mean_scale: 3 output_scale: 0.5 }",
    ),
    "NdConvolution, groups": (
        "2 4 5 4",
        """NdConvolution x0 > y0 convolution_param { num_output: 4 group: 2 kernel_shape { dim: 3 dim: 2 }
        stride_shape { dim: 2 dim: 1 } weight_filler { type: "xavier" } }""",
    ),
    "NdPooling, maps": ("2 2 5 5", "NdPooling x0 > y0 pooling_param { kernel_shape { dim: 2 dim: 3 } }"),
    "NdPooling, everything": ("2 2 3 4 4", "NdPooling x0 > y0 pooling_param { pool: AVE global_pooling: true }"),
    "NegReLU": ("2 3", "NegReLU x0 > y0"),
    "Noise, a factor": ("2 3", "Noise x0 > y0 noise_param { mu: 1 }"),
    "Normalize, norms": ("2 3 2 2", "Normalize x0 > y0 y1"),
    "Pooling3D, beyond the end": (
        "2 2 5 6 7",
        """Pooling3D x0 > y0 pooling3d_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 kernel_depth: 3
        temporal_stride: 2 temporal_pad: 1 }""",
    ),
    "Resample, twice": ("2 2 4 5", "Resample x0 > y0 resample_param { height: 8 width: 10 }"),
    "Resample, cubic": ("2 2 4 5", "Resample x0 > y0 resample_param { height: 8 width: 10 type: CUBIC }"),
    "Resample, other scales": ("2 2 4 5", "Resample x0 > y0 resample_param { height: 9 width: 7 type: CUBIC }"),
    "Resample, smaller": ("2 2 8 10, 1 1 4 5", "Resample x0 x1 > y0"),
    "Resample, smaller as it is": (
        "2 2 8 12",
        "Resample x0 > y0 resample_param { height: 2 width: 3 antialias: false }",
    ),
    "Resample, nearest": ("2 2 4 5", "Resample x0 > y0 resample_param { height: 6 width: 8 type: NEAREST }"),
    "Reverse, images": ("2 3", "Reverse x0 > y0"),
    "Ristretto, fixed": (
        "2 2 5 5",
        """ConvolutionRistretto x0 > y0 convolution_param { num_output: 3 kernel_size: 3
        weight_filler { type: "gaussian" } } quantization_param { bw_layer_in: 5 fl_layer_in: 2 bw_params: 6
        fl_params: 4 bw_layer_out: 7 fl_layer_out: 2 }""",
    ),
    "Ristretto, float": (
        "2 6",
        """FcRistretto x0 > y0 inner_product_param { num_output: 3 weight_filler { type: "gaussian" } }
        quantization_param { precision: MINIFLOAT mant_bits: 3 exp_bits: 2 }""",
    ),
    "Ristretto, powers of 2": (
        "2 2 3 3",
        """DeconvolutionRistretto x0 > y0 convolution_param { num_output: 2 kernel_size: 2
        weight_filler { type: "gaussian" } } quantization_param { precision: INTEGER_POWER_OF_2_WEIGHTS fl_layer_in: 8
        fl_layer_out: 8 }""",
    ),
    "ShuffleChannel, rows": ("2 6", "ShuffleChannel x0 > y0 shuffle_channel_param { group: 3 }"),
    "Upsample, places": (
        "2 2 5 4",
        """Pooling x0 > p m pooling_param { kernel_size: 2 stride: 2 }
        Upsample p m > y0 upsample_param { upsample_h: 5 upsample_w: 4 }""",
    ),
    "Upsample, two scales": ("2 2 2 3", "Upsample x0 > y0 upsample_param { scale_h: 3 scale_w: 2 }"),
}
#: What does nothing is read by something, so that there is a tensor to look at.
PASSED = ("MnActivation", "Noise", "SeLuDropout", "SpatialDropout")
FAMILIES = ("activation", "faces", "filters", "flow", "mobile", "normalization", "quantized", "regularization")
FAMILIES += ("segmentation", "sequence")


def family(kind: str) -> str:
    """Return the folder of forks that a type is in."""
    return registry()[kind].__module__.partition("caffelite.layers.forks.")[2].partition(".")[0]


def document(case: tuple[str, str]) -> NetDocument:
    inputs, layers = case
    text = ""
    for j, shape in enumerate(inputs.split(", ")):
        dims = " ".join(f"dim: {n}" for n in shape.split())
        text += f'layer {{ name: "x{j}" type: "Input" top: "x{j}" input_param {{ shape {{ {dims} }} }} }}\n'
    for one in re.split(r"\n(?=.* > )", layers):
        head, _, rest = one.partition(" > ")
        kind, *bottoms = head.split()
        tops = re.findall(r"\b[a-z]\w*\b", re.split(r"\w+_param", rest)[0])
        names = " ".join([f'bottom: "{n}"' for n in bottoms] + [f'top: "{n}"' for n in tops])
        text += f'layer {{ name: "{tops[0]}" type: "{kind}" {names} {rest.removeprefix(" ".join(tops))} }}\n'
    return net_from_text(text, "case")


def held(net: Net, opset: int = DEFAULT_OPSET) -> None:
    """Hold a net with random weights against its model, in which nothing is left over."""
    rng = np.random.default_rng(1)
    for layer in net.layers:
        for number, blob in enumerate(layer.blobs):
            # The fourth is a variance.
            blob.data[...] = rng.random(blob.shape) if number == 3 else rng.standard_normal(blob.shape)
    net.changed()
    converted = convert(net, opset)
    assert not {"Identity", "Constant", "Shape"} & {op.op_type for op in converted.model.graph.node}
    differences = compare(net, converted)
    assert differences
    for difference in differences:
        assert difference.value <= TOLERANCE, difference


@pytest.mark.parametrize("name", CASES)
def test_other_settings_are_the_same_in_onnx_runtime(name: str) -> None:
    held(Net(document(CASES[name]), TEST, keep=True, learn=False))


@pytest.mark.parametrize(
    ("name", "opset", "operator"),
    [
        ("FlowWarp", 11, "GatherElements"),
        ("FlowWarp", 16, "GridSample"),
        ("FlowWarp", 20, "GridSample"),
        ("FlowWarp, NaN", 16, "GridSample"),
        ("FlowWarp, one row", 16, "GatherElements"),
        ("DeformableConvolution, a stride", 18, "GatherElements"),
        ("DeformableConvolution, a stride", 19, "DeformConv"),
        ("DeformableConvolution, groups", 19, "DeformConv"),
    ],
)
def test_what_reads_between_values_is_another_operator_in_a_later_opset(name: str, opset: int, operator: str) -> None:
    net = Net(document(CASES[name]), TEST, keep=True, learn=False)
    assert operator in {op.op_type for op in convert(net, opset).model.graph.node}
    held(net, opset)


@pytest.mark.parametrize("kind", PASSED)
def test_what_only_trains_is_not_there(kind: str) -> None:
    net = Net(document(("2 3 2 2", f"{kind} x0 > y0\nAbsVal y0 > y1")), TEST, keep=True, learn=False)
    assert [op.op_type for op in convert(net).model.graph.node] == ["Abs"]
    held(net)


@pytest.mark.parametrize(
    ("inputs", "layers", "expected"),
    [
        ("2 3 2 2", "BN x0 > y0 bn_param { bn_mode: LEARN }", "it normalises by the statistics of each batch here"),
        (
            "2 3, 2",
            "MarginInnerProduct x0 x1 > y0 margin_inner_product_param { num_output: 2 type: DOUBLE }",
            "it takes a margin off the score of each label",
        ),
        (
            "2 3",
            """FcRistretto x0 > y0 inner_product_param { num_output: 2 }
            quantization_param { rounding_scheme: STOCHASTIC }""",
            "with rounding_scheme: NEAREST it can",
        ),
        (
            "3 2 4",
            "ContinuationIndicator x0 > y0 continuation_indicator_param { time_step: 2 }",
            "give it with --batch",
        ),
        (
            "2 2 2 3 3",
            "Pooling3D x0 > y0 pooling3d_param { pool: AVE kernel_size: 2 stride: 2 pad: 1 kernel_depth: 1 }",
            "its last window lies beyond the map",
        ),
        (
            "2 3 2 2, 2 1 1 1",
            "AdaptiveBiasChannel x0 x1 > y0",
            "AdaptiveBiasChannel cannot be written to ONNX: it takes",
        ),
        ("2 3 2 2, 2 3 2 2", "L1Loss x0 x1 > y0", "L1Loss cannot be written to ONNX: it is a loss"),
    ],
)
def test_what_cannot_be_written_is_refused_with_the_reason(inputs: str, layers: str, expected: str) -> None:
    with pytest.raises(NetError, match=re.escape(expected)) as caught:
        convert(Net(document((inputs, layers)), TEST, learn=False))
    assert "case:" in str(caught.value)


def test_every_type_of_these_families_has_a_mapping_or_a_reason() -> None:
    types = [kind for kind in registry() if family(kind) in FAMILIES]
    assert len(types) > 50
    without = [kind for kind in types if kind not in mappings()]
    assert [kind for kind in without if refused(kind).startswith("no ONNX operators")] == []
