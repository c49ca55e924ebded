"""Folded nets: what became of each layer, the same outputs, and read by OpenCV."""

from pathlib import Path

import numpy as np
import pytest

from caffelite.batchnorm.fold import fold
from caffelite.errors import NetError
from caffelite.layers.contract.registry import registry
from caffelite.layers.convolution import Convolution
from caffelite.layers.inner_product import InnerProduct
from caffelite.net import Net
from caffelite.schema.printer import write_text
from caffelite.schema.text import net_from_text
from caffelite.words import TEST

MODELS = Path(__file__).parents[2] / "models"
INPUT = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 4 dim: 8 dim: 9 } } }\n'
CONVOLUTION = (
    'layer { name: "c" type: "%s" bottom: "%s" top: "%s" convolution_param { num_output: 6 kernel_size: 3 %s } }\n'
)
NORM = 'layer { name: "n" type: "BatchNorm" bottom: "%s" top: "%s" }\n'
SCALE = 'layer { name: "s" type: "Scale" bottom: "%s" top: "%s" scale_param { bias_term: true } }\n'
BN = 'layer { name: "n" type: "BN" bn_param { %s } bottom: "%s" top: "%s" }\n'
RELU = 'layer { name: "r" type: "ReLU" bottom: "%s" top: "%s" }\n'
PRODUCT = 'layer { name: "i" type: "InnerProduct" bottom: "%s" top: "%s" inner_product_param { num_output: 5 %s } }\n'


def enliven(net: Net) -> Net:
    rng = np.random.default_rng(1)
    for layer in net.layers:
        for i, blob in enumerate(layer.blobs):
            kind = layer.type
            positive = kind in ("BatchNorm", "Scale") and i == 1 or kind == "Scale" or kind == "BN" and i == 3
            low, high = (0.5, 2) if positive else (-1, 1)
            blob.data[...] = 4 if kind == "BatchNorm" and i == 2 else rng.uniform(low, high, blob.shape)
    net.changed()
    return net


def built(text: str, keep: bool = False) -> Net:
    return enliven(Net(net_from_text(text, "net.prototxt"), TEST, learn=False, keep=keep))


def source(net: Net) -> np.ndarray:
    return net.plan.blob(net.graph.nodes[0].tops[0]).data


def convolution(bottom: str, top: str, settings: str = "", kind: str = "Convolution") -> str:
    return CONVOLUTION % (kind, bottom, top, settings)


BEFORE = NORM % ("x", "x") + SCALE % ("x", "x")
AFTER = NORM % ("a", "a") + SCALE % ("a", "a")


CASES = [
    (convolution("x", "a", "pad: 1") + AFTER + RELU % ("a", "a"), {"n": "in c", "s": "in c"}),
    (
        convolution("x", "a", "bias_term: false") + NORM % ("a", "b") + SCALE % ("b", "d"),
        {"n": "in c", "s": "in c"},
    ),
    (convolution("x", "a", "group: 2 dilation: 2") + AFTER, {"n": "in c", "s": "in c"}),
    (convolution("x", "a", "stride: 2 group: 2", "Deconvolution") + AFTER, {"n": "in c", "s": "in c"}),
    (convolution("x", "a", "", "DepthwiseConvolution").replace("put: 6", "put: 4") + AFTER, {"n": "in c", "s": "in c"}),
    (
        BEFORE + convolution("x", "a", "", "DepthwiseConvolution").replace("put: 6", "put: 4"),
        {"n": "a Scale layer", "s": "in n"},
    ),
    (BEFORE + convolution("x", "a", "stride: 2", "Deconvolution"), {"n": "a Scale layer", "s": "in n"}),
    (BEFORE + PRODUCT % ("x", "a", "axis: 2"), {"n": "a Scale layer", "s": "in n"}),
    (PRODUCT % ("x", "a", "") + AFTER, {"n": "in i", "s": "in i"}),
    # NVCaffe's, with scale and bias inside.
    (
        convolution("x", "a") + NORM.replace("}", "batch_norm_param { scale_bias: true } }") % ("a", "a"),
        {"n": "in c"},
    ),
    # PSPNet's, ducha-aiki's and SegNet's.
    (convolution("x", "a") + BN % ("momentum: 0.9", "a", "a"), {"n": "in c"}),
    (convolution("x", "a") + BN % ("var_eps: 1e-3", "a", "b") + RELU % ("b", "b"), {"n": "in c"}),
    (convolution("x", "a") + BN % ("bn_mode: INFERENCE", "a", "a"), {"n": "in c"}),
    (BN % ("momentum: 0.9", "x", "x") + PRODUCT % ("x", "a", ""), {"n": "in i"}),
    (PRODUCT % ("x", "a", "transpose: true bias_term: false") + AFTER, {"n": "in i", "s": "in i"}),
    (BEFORE + convolution("x", "a"), {"n": "in c", "s": "in c"}),
    (BEFORE + convolution("x", "a", "group: 2 bias_term: false"), {"n": "in c", "s": "in c"}),
    (BEFORE + convolution("x", "a", "pad: 1"), {"n": "a Scale layer", "s": "in n"}),
    (BEFORE + PRODUCT % ("x", "a", ""), {"n": "in i", "s": "in i"}),
    (BEFORE + PRODUCT % ("x", "a", "transpose: true"), {"n": "in i", "s": "in i"}),
    (BEFORE + RELU % ("x", "x") + convolution("x", "a"), {"n": "a Scale layer", "s": "in n"}),
    # Somebody else reads what is normalised.
    (
        convolution("x", "a")
        + NORM % ("a", "b")
        + 'layer { name: "e" type: "Eltwise" bottom: "a" bottom: "b" top: "e" }\n',
        {"n": "a Scale layer"},
    ),
    # The weights are somebody else's, too.
    (
        (convolution("x", "a") + NORM % ("a", "b") + convolution("x", "d").replace('"c"', '"c2"')).replace(
            "convolution_param", 'param { name: "w" } convolution_param'
        ),
        {"n": "a Scale layer"},
    ),
    (
        PRODUCT % ("x", "a", "")
        + RELU % ("a", "a")
        + NORM % ("a", "b")
        + PRODUCT.replace('"i"', '"j"') % ("b", "d", ""),
        {"n": "in j"},
    ),
    (
        convolution("x", "a")
        + 'layer { name: "d" type: "Dropout" bottom: "a" top: "b" }\n'
        + NORM % ("b", "b")
        + RELU % ("b", "d"),
        None,
    ),
]


@pytest.mark.parametrize(("text", "places"), CASES)
def test_what_becomes_of_a_layer(text: str, places: dict | None) -> None:
    net = built(INPUT + text)
    found = fold(net)
    assert found.difference <= 1e-5
    assert not any(layer.type in ("BatchNorm", "Dropout") for layer in found.net.layers)
    if places is not None:
        assert found.layers == places
    # Against the net itself, not only its form without losses.
    x = np.random.default_rng(2).standard_normal((2, 4, 8, 9))
    for i in range(len(x)):
        source(found.net)[...] = x[i : i + 1]
        found.net.forward()
        source(net)[...] = x
        net.forward()
        for name in set(net.outputs) & set(found.net.outputs):
            y = net.blobs[name].data[i : i + 1]
            np.testing.assert_allclose(found.net.blobs[name].data, y, rtol=0, atol=1e-4 * np.abs(y).max())


def test_losses_labels_and_training_are_gone() -> None:
    data = (
        'layer { name: "d" type: "DummyData" top: "x" top: "l" dummy_data_param { shape { dim: 2 dim: 4 dim: 8 dim: 9 } '
        "shape { dim: 2 } } }\n"
    )
    tail = (
        'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "a" bottom: "l" top: "loss" }\n'
        'layer { name: "acc" type: "Accuracy" bottom: "a" bottom: "l" top: "acc" include { phase: TEST } }\n'
    )
    found = fold(built(data + PRODUCT % ("x", "a", "") + AFTER + tail))
    assert [(layer.name, layer.type) for layer in found.net.layers] == [
        ("x", "Input"),
        ("i", "InnerProduct"),
        ("loss", "Softmax"),
    ]
    assert found.net.outputs == ["prob"] and found.dropped == ["acc"]
    assert found.net.blobs["x"].shape == (1, 4, 8, 9)


def test_what_gets_no_gradient_is_no_label() -> None:
    text = """
        layer { name: "in" type: "Input" top: "x" top: "c" top: "l"
          input_param { shape { dim: [1, 2, 4] } shape { dim: [1, 2] } shape { dim: [1, 2] } } }
        layer { name: "words" type: "Input" top: "w" input_param { shape { dim: [1, 2] } } }
        layer { name: "table" type: "Embed" bottom: "w" top: "rows" embed_param { input_dim: 5 num_output: 4 } }
        layer { name: "cat" type: "Concat" bottom: "x" bottom: "rows" top: "both" concat_param { axis: 2 } }
        layer { name: "lstm" type: "LSTM" bottom: "both" bottom: "c" top: "h" recurrent_param { num_output: 2 } }
        layer { name: "loss" type: "SoftmaxWithLoss" bottom: "h" bottom: "l" softmax_param { axis: 2 } }"""
    found = fold(built(text))
    assert [layer.type for layer in found.net.layers] == [*["Input"] * 3, "Embed", "Concat", "LSTM", "Softmax"]
    assert found.net.inputs == ["x", "c", "w"]


def test_every_type_that_folds_is_tested() -> None:
    types = {cls.type for cls in registry().values() if cls.facts.folds}
    assert types == {kind for kind in types if any(f'type: "{kind}"' in text for text, _ in CASES)} and len(types) == 4


def test_what_is_for_training_is_gone_in_the_types_of_forks_too() -> None:
    tail = (
        'layer { name: "noise" type: "SpatialDropout" bottom: "a" top: "b" }\n'
        'layer { name: "loss" type: "SoftmaxWithLossOHEM" bottom: "b" bottom: "l" top: "loss" }\n'
    )
    labels = 'layer { name: "l" type: "Input" top: "l" input_param { shape { dim: 2 dim: 6 dim: 7 } } }\n'
    found = fold(built(INPUT + labels + convolution("x", "a") + AFTER + tail))
    assert [layer.type for layer in found.net.layers] == ["Input", "Convolution", "Softmax"]
    assert found.dropped == ["noise"] and found.net.outputs == ["prob"]


@pytest.mark.parametrize(
    ("kind", "settings", "gone"),
    [
        ("Dropout", "", True),
        ("Dropout", "dropout_param { scale_train: false }", False),
        ("SpatialDropout", "", True),
        ("MnActivation", "", True),
        ("Noise", "noise_param { gaussian_std: 1 }", True),
        ("Noise", "noise_param { sigma: 1 }", False),
    ],
)
def test_what_does_nothing_in_test_is_gone(kind: str, settings: str, gone: bool) -> None:
    layer = f'layer {{ name: "d" type: "{kind}" bottom: "a" top: "b" {settings} }}\n'
    net = built(INPUT + convolution("x", "a") + layer + RELU % ("b", "y"))
    found = fold(net)
    assert (kind not in [layer.type for layer in found.net.layers]) == gone == (found.dropped == ["d"])
    x = np.random.default_rng(2).standard_normal((1, 4, 8, 9))
    source(found.net)[...] = source(net)[...] = x
    for one in (net, found.net):
        one.forward()
    y = net.blobs["y"].data
    np.testing.assert_allclose(found.net.blobs["y"].data, y[:1], rtol=0, atol=1e-5 * np.abs(y).max())


def test_types_that_do_nothing_in_test_are_tested() -> None:
    kinds = {cls.type for cls in registry().values() if cls.facts.deploy == "identity"}
    assert kinds == {"Dropout", "SpatialDropout", "MnActivation", "Noise"}


def test_statistics_of_the_batch_are_refused() -> None:
    text = (
        INPUT + convolution("x", "a") + NORM.replace("}", "batch_norm_param { use_global_stats: false } }") % ("a", "b")
    )
    with pytest.raises(
        NetError, match=r'net\.prototxt:3:\d+: layer "n": it normalises by the statistics of each batch'
    ):
        fold(built(text))


def test_the_statistics_of_segnets_batches_are_refused() -> None:
    with pytest.raises(NetError, match=r"let it take stored ones \(.*BN: bn_mode: INFERENCE"):
        fold(built(INPUT + convolution("x", "a") + BN % ("bn_mode: LEARN", "a", "a")))


def test_another_result_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Convolution, "fold_behind", lambda self, blobs, factor, offset: blobs)
    with pytest.raises(NetError, match=r"^net\.prototxt: the folded net's outputs would differ by \d"):
        fold(built(INPUT + convolution("x", "a") + AFTER))


SOFTMAX = 'layer { name: "p" type: "Softmax" bottom: "a" top: "p" }\n'


SATURATING = sorted({cls.type for cls in registry().values() if cls.facts.saturates} - {"Clip"})


@pytest.mark.parametrize("kind", SATURATING)
def test_a_wrong_fold_is_seen_where_the_output_saturates(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net = built(INPUT + PRODUCT % ("x", "a", "") + AFTER + SOFTMAX.replace("Softmax", kind))
    net.layers[1].blobs[0].data[...] *= 1e6
    net.changed()
    assert fold(net).difference <= 1e-5
    right = InnerProduct.fold_behind
    monkeypatch.setattr(
        InnerProduct, "fold_behind", lambda self, blobs, factor, offset: right(self, blobs, 1.01 * factor, offset)
    )
    with pytest.raises(NetError, match="the folded net's outputs would differ by"):
        fold(net)


def test_nothing_left() -> None:
    with pytest.raises(NetError, match="nothing left of this net"):
        fold(built(INPUT + 'layer { name: "q" type: "Silence" bottom: "x" }\n'))


GROUPED = convolution("x", "a", "group: 2 pad: 1") + AFTER + RELU % ("a", "a")
DEPTHWISE = (
    convolution("x", "a", "group: 4 pad: 1").replace("num_output: 6", "num_output: 4") + AFTER + RELU % ("a", "a")
)
RESIDUAL = (
    convolution("x", "a", "pad: 1").replace("num_output: 6", "num_output: 4")
    + AFTER
    + 'layer { name: "e" type: "Eltwise" bottom: "x" bottom: "a" top: "e" }\n'
    + RELU % ("e", "e")
    + 'layer { name: "n2" type: "BatchNorm" bottom: "e" top: "f" }\n'
    + PRODUCT % ("f", "y", "")
)


CIFAR = (
    'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 32 dim: 32 } } }\n'
    'layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 2 } } }\n'
    + (MODELS / "cifar10_bn.prototxt").read_text().split("layer {", 3)[3].join(["layer {", ""])
)


@pytest.mark.parametrize(
    "text",
    [INPUT + GROUPED, INPUT + DEPTHWISE, INPUT + RESIDUAL, INPUT + PRODUCT % ("x", "a", "") + AFTER, CIFAR],
    ids=["grouped", "depthwise", "residual", "mlp", "cifar10_bn"],
)
def test_opencv_reads_the_files(text: str, tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    net = built(text.replace("dim: 2 ", "dim: 1 "), keep=True)
    found = fold(net).net
    found.save(tmp_path / "w.caffemodel")
    write_text(found.document, tmp_path / "net.prototxt")
    theirs = cv2.dnn.readNetFromCaffe(str(tmp_path / "net.prototxt"), str(tmp_path / "w.caffemodel"))
    x = np.random.default_rng(2).standard_normal(source(net).shape).astype(np.float32)
    theirs.setInput(x)
    (name,) = found.outputs
    if found.layers[-1].type == "Softmax":
        # It may saturate: what it reads is compared.
        name = found.layers[-1].param.bottom[0]
        y = theirs.forward(name)
    else:
        y = theirs.forward()
    source(net)[...] = x
    net.forward()
    expected = net.blobs[name].data
    np.testing.assert_allclose(y.reshape(expected.shape), expected, rtol=0, atol=1e-5 * np.abs(expected).max())
