"""The deploy net of a net that is trained, whether its data is there or not."""

import pytest

from caffelite.errors import NetError
from caffelite.net import Net
from caffelite.net.deploy import deploy
from caffelite.schema.text import net_from_text
from caffelite.words import TEST

DATA = 'layer { name: "d" type: "Data" top: "x" top: "label" data_param { source: "nowhere" batch_size: 9 } }\n'
INPUT = 'layer { name: "d" type: "Input" top: "x" input_param { shape { dim: 4 dim: 3 dim: 8 dim: 8 } } }\n'
LAYERS = """
layer { name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param { num_output: 2 kernel_size: 3 } }
layer { name: "n" type: "BatchNorm" bottom: "c" top: "c" }
layer { name: "r" type: "ReLU" bottom: "c" top: "c" }
layer { name: "drop" type: "Dropout" bottom: "c" top: "dropped" }
layer { name: "i" type: "InnerProduct" bottom: "dropped" top: "i" inner_product_param { num_output: 5 } }
"""
LOSS = """
layer { name: "a" type: "Accuracy" bottom: "i" bottom: "label" top: "a" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "i" bottom: "label" top: "loss" }
"""


def deployed(text: str, **inputs: tuple[int, ...]) -> tuple[Net, list[str]]:
    document, dropped = deploy(net_from_text(text, "net.prototxt"), inputs=inputs)
    return Net(document, TEST, learn=False, keep=True), dropped


def test_the_data_need_not_be_there():
    net, dropped = deployed(DATA + LAYERS + LOSS, x=(2, 3, 8, 8))
    assert [layer.type for layer in net.layers] == [
        "Input",
        "Convolution",
        "BatchNorm",
        "ReLU",
        "InnerProduct",
        "Softmax",
    ]
    assert (net.inputs, net.outputs, dropped) == (["x"], ["prob"], ["drop", "a"])
    assert net.blobs["x"].shape == (2, 3, 8, 8)
    # What learns has its name, so weights of the trained net fit.
    assert {"c", "n", "i"} <= set(net.params)


def test_inputs_keep_their_shape_unless_another_is_given():
    assert deployed(INPUT + LAYERS)[0].blobs["x"].shape == (4, 3, 8, 8)
    assert deployed(INPUT + LAYERS, x=(1, 3, 9, 10))[0].blobs["x"].shape == (1, 3, 9, 10)


@pytest.mark.parametrize(
    ("text", "inputs", "said"),
    [
        (DATA + LAYERS + LOSS, {}, "nowhere.*the shape is enough, give it: --shape x:1,CHANNELS,HEIGHT,WIDTH"),
        (DATA + LAYERS + LOSS, {"y": (1, 2)}, 'a shape is given for "y", which the net does not read'),
        (DATA + LAYERS + LOSS, {"label": (1,)}, 'the shape of "x" is not known; give it: --shape x:'),
        (DATA + LAYERS + LOSS, {"x": (1, 3, 2, 2)}, 'layer "c"'),
        (DATA + LOSS.replace('"i"', '"x"').split("\n")[1], {"x": (1, 3)}, "there is nothing left of this net"),
    ],
)
def test_what_is_refused(text, inputs, said):
    with pytest.raises(NetError, match=said):
        deployed(text, **inputs)
