"""What other programs take: the tables, and a net held against them."""

from pathlib import Path

import pytest

from caffelite.errors import NetError
from caffelite.export.compilers.check import check
from caffelite.export.compilers.targets import WITHOUT_TABLE, target_named, targets
from caffelite.schema.messages import LayerParameter
from caffelite.schema.text import net_from_text
from caffelite.solvers.sources import NetSource
from caffelite.words import TEST

NPU = (Path(__file__).parents[2] / "docs" / "npu.md").read_text()
INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }\n'


def findings(text: str, target: str) -> list[tuple[str, str]]:
    source = NetSource(net_from_text(text, "a.prototxt"), 0, (), TEST, "")
    return [(finding.layer, finding.why.split(":")[0]) for finding in check(source, target)]


@pytest.mark.parametrize("name", targets())
def test_a_table_is_sound(name):
    target = target_named(name)
    assert target.source.startswith("github.com/") and " at " in target.source
    assert f"| `{name}` | {target.program} | {target.source} |" in NPU
    assert not target.types & set(target.refused)
    for limit in target.limits:
        assert set(limit.types) <= target.types | {"DepthwiseConvolution"}
        message = LayerParameter()
        *path, field = limit.setting.split(".")
        for part in path:
            message = getattr(message, part)
        assert field in message.DESCRIPTOR.fields_by_name
        within = limit.min is not None or limit.max is not None
        kinds = [limit.only is not None, limit.first is not None, within, limit.most is not None]
        assert [*kinds, limit.absent, limit.required].count(True) == 1


@pytest.mark.parametrize("name", targets())
def test_a_plain_net_is_taken(name):
    rest = """layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 2 kernel_size: 3 } }
    layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
    layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
    layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
    layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { kernel_size: 2 stride: 2 } }
    layer { name: "sum" type: "Eltwise" bottom: "pool" bottom: "pool" top: "sum" }
    layer { name: "cat" type: "Concat" bottom: "sum" bottom: "pool" top: "cat" }
    layer { name: "ip" type: "InnerProduct" bottom: "cat" top: "ip" inner_product_param { num_output: 2 } }
    layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }"""
    assert findings(INPUT + rest, name) == []


@pytest.mark.parametrize(
    ("target", "layer", "why"),
    [
        ("ncnn", 'type: "Exp"', "the name is written down without the layer's settings, and without its weights"),
        ("ncnn", 'type: "Filter"', "this type is not in its list"),
        ("ncnn", 'type: "Pooling" pooling_param { round_mode: FLOOR }', "pooling_param.round_mode is given"),
        ("mnn", 'type: "Pooling" pooling_param { round_mode: FLOOR }', "pooling_param.round_mode is FLOOR"),
        ("mnn", 'type: "Eltwise" eltwise_param { operation: SORT }', "eltwise_param.operation is SORT"),
        ("mnn", 'type: "Crop"', "crop_param.offset is missing"),
        ("ncnn", 'type: "Convolution" convolution_param { pad: 1 pad: 2 }', "convolution_param.pad has 2 values"),
        ("ncnn", 'type: "Permute" permute_param { order: 1 order: 0 }', "permute_param.order is 1"),
        ("ncnn", 'type: "Softmax" softmax_param { axis: -1 }', "softmax_param.axis is -1"),
        ("ncnn", 'type: "ReLU" include { phase: TRAIN }', "rules of phases are not read"),
        ("tpu-mlir", 'type: "Power"', 'its conversion raises "not implemented"'),
        ("tpu-mlir", 'type: "Reduction"', "reduction_param.operation is SUM"),
        (
            "tpu-mlir",
            'type: "BatchNorm" batch_norm_param { use_global_stats: false }',
            "batch_norm_param.use_global_stats is false",
        ),
        ("rknn", 'type: "DepthwiseConvolution"', "its name there is ConvolutionDepthwise"),
        (
            "rknn",
            'type: "ConvolutionDepthwise" convolution_param { kernel_size: 9 }',
            "convolution_param.kernel_size is 9",
        ),
        ("rknn1", 'type: "Power"', "this type is not in its list"),
        ("acuity", 'type: "Interp"', "this type is not in its list"),
        ("acuity", 'type: "PriorBox"', "it is SSD's"),
        ("acuity", 'type: "Pooling" pooling_param { round_mode: FLOOR }', "pooling_param.round_mode is given"),
    ],
)
def test_what_is_not_taken(target, layer, why):
    assert findings(f'{INPUT}layer {{ name: "L" bottom: "data" top: "y" {layer} }}', target) == [("L", why)]


def test_layers_of_another_phase_do_not_count():
    text = INPUT + 'layer { name: "L" type: "Filter" bottom: "data" top: "y" include { phase: TRAIN } }'
    assert findings(text, "rknn") == []


@pytest.mark.parametrize("target", targets())
def test_an_old_form_is_to_be_upgraded(target):
    text = 'layers { name: "relu" type: RELU bottom: "x" top: "y" }'
    assert findings(text, target) == [
        ("", "the net is of an older form; upgrade first, with caffelite upgrade_net_proto_text")
    ]


def test_inputs_outside_any_layer():
    text = 'input: "x" input_dim: 1 input_dim: 1 input_dim: 1 input_dim: 1 layer { name: "r" type: "ReLU" bottom: "x" top: "y" }'
    assert [why for _, why in findings(text, "ncnn")] == [
        "its input stands outside any layer; upgrade first, with caffelite upgrade_net_proto_text"
    ]
    assert findings(text, "mnn") == []


def test_a_target_that_is_not_known():
    with pytest.raises(NetError, match='what "rkn" takes is not known here; did you mean "rknn"'):
        findings(INPUT, "rkn")


def test_a_target_without_a_table_is_told_what_to_do():
    with pytest.raises(NetError, match=r'no table for "nnie": .*\[is_check_prototxt\] 1$'):
        findings(INPUT, "nnie")
    assert not WITHOUT_TABLE.keys() & targets().keys()
    assert all(f"`{name}`" in NPU for name in WITHOUT_TABLE)
