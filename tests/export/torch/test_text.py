"""The text of a written module: names, lines, what is refused. PyTorch is not needed for it."""

import ast

import pytest

from caffelite.errors import NetError
from caffelite.export.torch.convert import TorchModule, convert
from caffelite.export.torch.layers import refused, writers
from caffelite.export.torch.layout import WIDTH, statement
from caffelite.export.torch.names import Names, python_name
from caffelite.export.torch.text import forms, number
from caffelite.layers.contract.registry import registry
from caffelite.net import Net
from caffelite.schema.text import net_from_text
from caffelite.words import TEST

INPUT = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [2, 4, 6, 6] } } }\n'


def made(text: str, origin: dict[str, str] | None = None) -> TorchModule:
    net = Net(net_from_text(INPUT + text, "net.prototxt"), TEST, keep=True, learn=False)
    return convert(net, origin or {})


@pytest.mark.parametrize(
    ("name", "python"),
    [
        ("conv1", "conv1"),
        ("conv2_1/x1/bn", "conv2_1_x1_bn"),
        ("3a-1x1", "layer_3a_1x1"),
        ("class", "class_"),
        ("_hidden", "layer_hidden"),
        ("größe", "gr_e"),
        ("", "layer"),
        ('a"); import os #', "a_import_os"),
    ],
)
def test_names(name: str, python: str) -> None:
    assert python_name(name, "layer") == python and python.isidentifier()


def test_names_differ() -> None:
    names = Names(frozenset({"load"}), "layer")
    assert [names.of(name) for name in ("a/b", "a-b", "load", "a/b")] == ["a_b", "a_b_2", "load_2", "a_b"]


def test_nothing_of_a_file_runs() -> None:
    """Names of layers, blobs, nets and files with quotes and ends of lines stay names."""
    bad = r"a\"\"\"\n    import os\n"
    text = f'layer {{ name: "{bad}" type: "TanH" bottom: "x" top: "{bad}" }}\nlayer {{ name: "s" type: "Split" bottom: "{bad}" top: "b" top: "c" }}'
    module = made(f'name: "{bad}"\n{text}', {"prototxt": "a\nimport os", "prototxt_sha256": "0"})
    tree = ast.parse(module.source)
    modules = {
        getattr(node, "module", None) or node.names[0].name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert modules == {"pathlib", "torch", "safetensors.torch"}


def test_lines_have_a_width() -> None:
    names = ", ".join(f"a_blob_of_a_long_name_{i}" for i in range(9))
    for expression in (f"torch.cat(({names}), 1)", names.replace(",", " +"), f"self.a({names})[0]"):
        lines = statement("y", expression, 8)
        assert max(map(len, lines)) + 8 <= WIDTH and len(lines) > 2
        assert ast.dump(ast.parse("\n".join(lines))) == ast.dump(ast.parse(f"y = {expression}"))


def test_numbers_are_as_they_were_written() -> None:
    assert [number(0.10000000149011612), number(9.999999747378752e-05), number(2)] == ["0.1", "0.0001", "2.0"]


def test_only_the_forms_that_are_needed() -> None:
    plain = made('layer { name: "y" type: "ReLU" bottom: "x" top: "y" }').source
    assert not any(f"def {name}" in plain or f"class {name}" in plain for name in forms())
    scaled = made('layer { name: "y" type: "Scale" bottom: "x" top: "y" }').source
    assert scaled.index("def spread") < scaled.index("class Scale")


def test_every_type_has_a_form_or_is_refused_by_name() -> None:
    for kind in registry():
        assert kind in writers() or refused(kind)
    assert set(writers()) <= set(registry())


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        ('type: "Im2col" convolution_param { kernel_size: 2 }', "Im2col cannot be written for PyTorch: no form"),
        ('type: "Pooling" pooling_param { pool: STOCHASTIC kernel_size: 2 }', "draws the element of a window"),
        ('type: "Pooling" pooling_param { kernel_size: 1 stride: 4 }', "its last window lies beyond the map"),
        ('type: "Interp" interp_param { zoom_factor: 2 mode: NEAREST }', "nearest values"),
        ('type: "Convolution" convolution_param { num_output: 2 kernel_size: 2 axis: 2 }', "in this order"),
    ],
)
def test_refused(layer: str, said: str) -> None:
    with pytest.raises(NetError, match=f'layer "L": .*{said}'):
        made(f'layer {{ name: "L" bottom: "x" top: "y" {layer} }}')


def test_a_scale_behind_a_batch_norm_is_its_own() -> None:
    text = """
layer { name: "bn" type: "BatchNorm" bottom: "x" top: "x" batch_norm_param { moving_average_fraction: 0.9 } }
layer { name: "scale" type: "Scale" bottom: "x" top: "x" scale_param { bias_term: true } }
layer { name: "y" type: "TanH" bottom: "x" top: "y" }"""
    module = made(text)
    assert (
        "self.bn = nn.BatchNorm2d(4, eps=1e-05, momentum=0.1)  # bn and scale" in module.source
        and "Scale" not in module.source
    )
    assert set(module.state) >= {"bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"}


def test_what_picks_boxes_is_left_out() -> None:
    text = """
layer { name: "p" type: "PriorBox" bottom: "x" bottom: "x" top: "p" prior_box_param { min_size: 2 } }
layer { name: "l" type: "Flatten" bottom: "x" top: "l" }
layer { name: "d" type: "DetectionOutput" bottom: "l" bottom: "l" bottom: "p" top: "d" detection_output_param {
  num_classes: 4 nms_param { nms_threshold: 0.5 } } }"""
    module = made(text)
    assert module.left_out == ["d"] and "'p': p," in module.source and module.state["p"].shape == (1, 2, 144)
