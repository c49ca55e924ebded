"""What is known of a net that is not built is what it is when it is built; also without its data."""

from pathlib import Path

import pytest

from caffelite.errors import NetError, ShapeError
from caffelite.net import Net
from caffelite.net.survey import survey
from caffelite.schema.text import net_from_text, read_net
from caffelite.words import TEST, TRAIN, count

LAYERS = Path(__file__).parents[1] / "layers" / "nets"
CAFFE = Path(__file__).parents[1] / "caffe"

DATA = """
layer { name: "data" type: "Data" top: "data" top: "label" data_param { source: "missing" batch_size: 7 } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip" inner_product_param { num_output: 5 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_it_is_what_the_built_net_is(phase, monkeypatch):
    monkeypatch.chdir(CAFFE)
    seen = survey(read_net("net.prototxt"), phase)
    net = Net(read_net("net.prototxt"), phase)
    try:
        assert seen.problem == ""
        assert [layer.name for layer in seen.layers] == [node.name for node in net.graph.nodes]
        for layer, node in zip(seen.layers, net.graph.nodes, strict=True):
            assert layer.tops == [(version.name, version.shape) for version in node.tops]
            assert layer.parameters == [blob.shape for blob in node.layer.blobs]
        assert sum(layer.multiply_adds for layer in seen.layers) == sum(w.forward_multiply_adds for w in net.work())
        assert seen.parameters == net.data.size
        assert seen.kept == 6 + 6 + 1
    finally:
        net.close()


@pytest.mark.parametrize("file", sorted(LAYERS.glob("*.prototxt")), ids=lambda file: file.stem)
def test_every_layer_can_be_asked_before_it_is_planned(file):
    seen = survey(read_net(file), TRAIN)
    assert seen.problem == "" or "Python" in file.stem
    assert all(layer.bytes is not None for layer in seen.layers) or seen.problem


def test_a_shape_stands_for_data_that_is_missing():
    document = net_from_text(DATA)
    without = survey(document, TRAIN)
    assert "there is no such database" in without.problem
    assert without.missing == "data"
    assert without.parameters == 0 and without.layers[1].parameters is None
    seen = survey(document, TRAIN, inputs={"data": (2, 3, 8, 8)})
    assert seen.problem == ""
    assert [layer.tops for layer in seen.layers] == [
        [("data", (2, 3, 8, 8)), ("label", (2,))],
        [("conv", (2, 4, 6, 6))],
        [("conv", (2, 4, 6, 6))],
        [("ip", (2, 5))],
        [("loss", ())],
    ]
    conv, relu = seen.layers[1:3]
    assert conv.multiply_adds == 2 * 4 * 36 * 27 and conv.bytes == 4 * count((2, 4, 6, 6))
    assert relu.bytes == 0


def test_a_shape_in_the_middle_stands_for_a_layer_that_may_not_run():
    text = """
    layer { name: "i" type: "Input" top: "i" input_param { shape { dim: 4 dim: 9 } } }
    layer { name: "a" type: "Python" bottom: "i" top: "x" python_param { module: "m" layer: "L" } }
    layer { name: "b" type: "ReLU" bottom: "x" top: "y" }
    """
    assert survey(net_from_text(text), TRAIN).layers[2].tops == [("y", None)]
    seen = survey(net_from_text(text), TRAIN, inputs={"x": (4, 5)})
    assert seen.layers[2].tops == [("y", (4, 5))]
    assert "Python" in seen.problem and seen.layers[1].parameters is None  # how many it has is not known
    source = net_from_text(text.replace('bottom: "i"', ""))
    assert survey(source, TRAIN, inputs={"x": (4, 5)}).problem == ""


def test_parameters_that_are_shared_count_once():
    layer = (
        'layer { name: "%s" type: "InnerProduct" bottom: "x" top: "%s" param { name: "w" } '
        "inner_product_param { num_output: 2 bias_term: false } }"
    )
    text = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 } } }'
    assert survey(net_from_text(text + layer % ("a", "a") + layer % ("b", "b")), TRAIN).parameters == 6


@pytest.mark.parametrize(
    ("inputs", "error", "text"),
    [
        ({"dta": (1, 2)}, NetError, 'the blob "dta", which is not there; did you mean "data"?'),
        ({"data": (1, 3, 2, 2)}, ShapeError, 'layer "conv"'),
        ({"data": (1, 3, 8, 8), "conv": (1, 4, 5, 5)}, ShapeError, 'top "conv" is 1×4×6×6, not 1×4×5×5'),
        ({"data": (1 << 20, 3, 1 << 10, 1 << 10)}, ShapeError, "more than a blob can have"),
    ],
)
def test_shapes_that_cannot_be(inputs, error, text):
    with pytest.raises(error, match="^<string>") as raised:
        survey(net_from_text(DATA), TRAIN, inputs=inputs)
    assert text in str(raised.value)


def test_shapes_stand_for_a_source_whose_type_is_not_known():
    text = """
    layer { name: "a" type: "AnnotatedData" top: "x" top: "t" }
    layer { name: "b" type: "ReLU" bottom: "x" top: "y" }
    """
    seen = survey(net_from_text(text), TRAIN, inputs={"x": (4, 5), "t": (4,)})
    assert seen.problem == "" and [layer.type for layer in seen.layers] == ["AnnotatedData", "ReLU"]
    assert [layer.tops for layer in seen.layers] == [[("x", (4, 5)), ("t", (4,))], [("y", (4, 5))]]
    assert "AnnotatedData" in survey(net_from_text(text), TRAIN, inputs={"x": (4, 5)}).problem


def test_a_net_that_cannot_be_connected_has_its_names():
    seen = survey(net_from_text(DATA.replace('"ReLU"', '"Forked"')), TRAIN)
    assert [layer.type for layer in seen.layers] == ["Data", "Convolution", "Forked", "InnerProduct", "SoftmaxWithLoss"]
    assert '"Forked"' in seen.problem and not seen.missing
    assert seen.layers[3].tops == [("ip", None)]


def test_memory_data_has_a_label_an_image():
    text = (
        'layer { name: "m" type: "MemoryData" top: "data" top: "label" '
        "memory_data_param { batch_size: 9 channels: 1 height: 2 width: 2 } }"
    )
    assert survey(net_from_text(text), TRAIN).layers[0].tops == [("data", (9, 1, 2, 2)), ("label", (9,))]
    seen = survey(net_from_text(text), TRAIN, inputs={"data": (3, 1, 2, 2)})
    assert seen.layers[0].tops == [("data", (3, 1, 2, 2)), ("label", (3,))]
