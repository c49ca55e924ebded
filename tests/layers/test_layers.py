"""What is not in the golden cases: random layers, layers that copy, and settings that do not fit."""

import numpy as np
import pytest

from caffelite.errors import DataError, NetError
from caffelite.net import Net
from caffelite.schema.text import net_from_text
from caffelite.words import TEST, TRAIN

INPUT = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 4 dim: 6 dim: 8 dim: 8 } } }\n'


def net(text: str, phase: int = TRAIN, **options: object) -> Net:
    return Net(net_from_text(INPUT + text, "net.prototxt"), phase, **options)  # type: ignore[arg-type]


def layer(kind: str, settings: str = "", bottom: str = 'bottom: "x"', top: str = 'top: "y"') -> str:
    return f'layer {{ name: "L" type: "{kind}" {bottom} {top} {settings} }}\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (layer("Convolutoin"), 'there is no layer type "Convolutoin"; did you mean "Convolution"'),
        (layer("ReLU", bottom='bottom: "z"'), 'bottom "z" is not produced by any layer before it'),
        (layer("ReLU", top='top: "y" top: "z"'), "ReLU takes 1 top, not 2"),
        (layer("Eltwise"), "Eltwise takes at least 2 bottoms, not 1"),
        (layer("ReLU") + layer("TanH"), 'top "y" is already produced by layer "L"'),
        (layer("Convolution", "convolution_param { kernel_size: 3 }"), "needs num_output"),
        (layer("Convolution", "convolution_param { num_output: 4 }"), "needs kernel_size"),
        (layer("Convolution", "convolution_param { num_output: 4 kernel_size: 9 }"), "spans 9 does not fit into 8"),
        (
            layer("Convolution", "convolution_param { num_output: 4 kernel_size: 3 group: 4 }"),
            "6 channels, not divisible",
        ),
        (layer("Convolution", "convolution_param { num_output: 4 kernel_size: 3 kernel_h: 3 }"), "not both"),
        (layer("Convolution", "convolution_param { num_output: 5 kernel_size: 3 group: 2 }"), "not divisible by group"),
        (
            layer("Convolution", "convolution_param { num_output: 4 kernel_size: 3 kernel_size: 3 kernel_size: 3 }"),
            "is given 3 times for 2 spatial axes",
        ),
        (layer("Convolution", "convolution_param { num_output: 4 kernel_size: 3 stride_h: 2 }"), "go together"),
        (layer("Pooling"), "needs kernel_size"),
        (layer("Pooling", "pooling_param { kernel_size: 3 pad: 3 }"), "must be smaller than the kernel"),
        (layer("Pooling", "pooling_param { pool: STOCHASTIC kernel_size: 3 pad: 1 }"), "STOCHASTIC takes no pad"),
        (layer("Pooling", "pooling_param { pool: AVE kernel_size: 3 }", top='top: "y" top: "z"'), "goes with pool MAX"),
        (layer("ArgMax", "argmax_param { top_k: 7 axis: 1 }"), "top_k is 7, but there are 6 values"),
        (layer("ArgMax", "argmax_param { top_k: 0 }"), "top_k is 0"),
        (layer("Clip", ""), "clip_param needs min"),
        (layer("Crop", "crop_param { offset: 9 }", bottom='bottom: "x" bottom: "x"'), "too few for offset 9"),
        (
            layer("Crop", "crop_param { offset: [1, 2, 3] }", bottom='bottom: "x" bottom: "x"'),
            "offset is given 3 times",
        ),
        (layer("Deconvolution", "convolution_param { num_output: 2 kernel_size: 1 pad: 4 }"), "leaves nothing"),
        (layer("Embed", "embed_param { num_output: 3 }"), "needs input_dim"),
        (layer("BatchReindex", bottom='bottom: "x" bottom: "x"'), "one axis of numbers"),
        (layer("Exp", "exp_param { base: 0 }"), "base is 0, expected above 0"),
        (layer("Log", "log_param { base: 1 }"), "base is 1, which has no logarithm"),
        (layer("Parameter", bottom=""), "parameter_param needs a shape"),
        (layer("Reduction", "reduction_param { axis: 5 }"), "axis 5 does not exist"),
        (layer("SPP"), "pyramid_height of 1 to 16"),
        (layer("SPP", "spp_param { pyramid_height: 5 }"), "too small for 16 × 16 windows"),
        (layer("Tile", "tile_param { axis: 1 }"), "needs tiles"),
        (layer("HingeLoss", bottom='bottom: "x" bottom: "x"'), "takes one label an image"),
        (layer("MultinomialLogisticLoss", bottom='bottom: "x" bottom: "x"'), "takes one label an image"),
        (layer("InfogainLoss", bottom='bottom: "x" bottom: "x"'), "needs the matrix H"),
        (
            layer("InfogainLoss", 'infogain_loss_param { source: "nowhere" }', bottom='bottom: "x" bottom: "x"'),
            "source: ",
        ),
        (layer("LRN", "lrn_param { local_size: 4 }"), "expected an odd number"),
        (layer("InnerProduct"), "needs num_output"),
        (layer("InnerProduct", "inner_product_param { num_output: 2 axis: 7 }"), "axis 7 does not exist"),
        (layer("BatchNorm", "param { lr_mult: 1 }"), "lr_mult must be 0, not 1"),
        (layer("BatchNorm", "param { } " * 4), "param is given 4 times, but BatchNorm has 3"),
        (layer("Scale", "scale_param { axis: 3 num_axes: 2 }"), "go beyond its bottom"),
        (layer("Dropout", "dropout_param { dropout_ratio: 1 }"), "expected at least 0 and below 1"),
        (layer("Concat", "concat_param { axis: 1 concat_dim: 1 }"), "not both"),
        (layer("Slice", "slice_param { slice_point: 2 slice_point: 4 }"), "1 tops need 0 slice_point"),
        (layer("Slice", "slice_param { axis: 2 slice_point: 9 }", top='top: "a" top: "b"'), "slice_point must rise"),
        (layer("Reshape", "reshape_param { shape { dim: 5 dim: -1 } }"), "cannot be divided"),
        (layer("Reshape", "reshape_param { shape { dim: 5 } }"), "cannot be given the shape"),
        (layer("Flatten", "flatten_param { axis: 3 end_axis: 1 }"), "comes before axis"),
        (
            layer("Eltwise", "eltwise_param { operation: PROD coeff: 1 coeff: 2 }", bottom='bottom: "x" bottom: "x"'),
            "coeff goes with operation SUM",
        ),
        (layer("SoftmaxWithLoss", bottom='bottom: "x" bottom: "x"'), "takes one label a prediction"),
        (
            layer("EuclideanLoss", bottom='bottom: "x" bottom: "f"').join(
                [layer("Flatten", "flatten_param { axis: 0 }", top='top: "f"'), ""]
            ),
            "must have as many images",
        ),
        (layer("DummyData", "dummy_data_param { shape { dim: -3 } }", bottom=""), "expected sizes of at least 1"),
        (layer("DummyData", "dummy_data_param { num: 1 channels: 2 height: 3 }", bottom=""), "need width once"),
        (
            layer("DummyData", 'dummy_data_param { shape { dim: 3 } data_filler { type: "unifrom" } }', bottom=""),
            'did you mean "uniform"?',
        ),
        (layer("ReLU", "loss_weight: 1 loss_weight: 2"), "loss_weight is given 2 times for 1 tops"),
        (layer("ReLU", "include { phase: TRAIN } exclude { phase: TEST }"), "either include or exclude"),
        (
            layer("InnerProduct", 'inner_product_param { num_output: 2 weight_filler { type: "xaver" } }'),
            'did you mean "xavier"?',
        ),
    ],
)
def test_settings_that_do_not_fit(text: str, expected: str) -> None:
    with pytest.raises(NetError) as error:
        net(text)
    assert expected in str(error.value)
    assert str(error.value).startswith("net.prototxt:2:") or "net.prototxt:3:" in str(error.value)
    assert 'layer "L"' in str(error.value)


def test_dropout() -> None:
    text = layer("Dropout", "dropout_param { dropout_ratio: 0.25 }")
    one, two = (net("force_backward: true " + text, keep=True, seed=3) for _ in range(2))
    for n in (one, two):
        n.blobs["x"].data[...] = 1
        n.forward()
    y = one.blobs["y"].data
    np.testing.assert_array_equal(y, two.blobs["y"].data)
    np.testing.assert_allclose((y != 0).mean(), 0.75, atol=0.05)
    np.testing.assert_allclose(y[y != 0], 1 / 0.75)
    one.blobs["y"].diff[...] = 1  # type: ignore[index]
    one.backward()
    np.testing.assert_array_equal(one.blobs["x"].diff, y)
    first = y.copy()
    one.forward()
    assert (one.blobs["y"].data != first).any()
    two.load_state(one.state())  # goes on from where the other one is
    one.forward()
    two.forward()
    np.testing.assert_array_equal(one.blobs["y"].data, two.blobs["y"].data)
    test = net(text, TEST)
    test.blobs["x"].data[...] = 2
    test.forward()
    assert (test.blobs["y"].data == 2).all()


def test_dummy_data() -> None:
    text = """layer { name: "d" type: "DummyData" top: "a" top: "b" dummy_data_param { shape { dim: 2 dim: 3 }
        data_filler { type: "constant" value: 4 } data_filler { type: "gaussian" } } }"""
    one, two = net(text, keep=True), net(text, keep=True)
    one.forward()
    two.forward()
    assert (one.blobs["a"].data == 4).all()
    first = one.blobs["b"].data.copy()
    np.testing.assert_array_equal(first, two.blobs["b"].data)
    one.forward()
    assert (one.blobs["b"].data != first).all()
    old = net(
        'layer { name: "d" type: "DummyData" top: "a" dummy_data_param { num: 1 channels: 2 height: 3 width: 4 } }'
    )
    assert old.blobs["a"].shape == (1, 2, 3, 4)


def test_silence() -> None:
    n = net(layer("Silence", top=""))
    assert n.outputs == []
    assert n.forward() == 0


def test_a_label_that_is_no_class() -> None:
    text = (
        layer("Flatten", top='top: "f"')
        + """layer { name: "labels" type: "Input" top: "t" input_param { shape { dim: 4 } } }
        layer { name: "loss" type: "SoftmaxWithLoss" bottom: "f" bottom: "t" top: "l" }
        layer { name: "accuracy" type: "Accuracy" bottom: "f" bottom: "t" top: "a" include { phase: TEST } }"""
    )
    for phase in (TRAIN, TEST):
        n = net(text, phase)
        n.blobs["t"].data[...] = [0, 1, 2, 384]
        with pytest.raises(DataError, match="label 384 is not one of its 384 classes"):
            n.forward()


def test_convolution_takes_pad_along_one_axis_alone() -> None:
    n = net(layer("Convolution", "convolution_param { num_output: 4 kernel_h: 1 kernel_w: 3 pad_w: 1 }"))
    assert n.blobs["y"].shape == (4, 4, 8, 8)


def test_euclidean_loss_takes_predictions_of_one_value_beside_a_row_of_targets() -> None:
    n = net(
        layer("InnerProduct", "inner_product_param { num_output: 1 }")
        + """layer { name: "t" type: "Input" top: "t" input_param { shape { dim: 4 } } }
        layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "l" }"""
    )
    n.blobs["t"].data[...] = [1, 2, 3, 4]
    assert n.forward() == pytest.approx(30 / 8)


@pytest.mark.parametrize("winners", [([5, 5, 0], 1), ([5, 5, 5], 1), ([5, 0, 5], 0), ([0, 5, 5], 1), ([0, 0, 5], 2)])
def test_the_gradient_of_a_maximum_goes_to_one_bottom(winners: tuple[list[int], int]) -> None:
    values, winner = winners
    names = ["p", "q", "r"]
    inputs = "".join(
        f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ dim: 2 }} }} }}\n'
        for name in names
    )
    bottoms = " ".join(f'bottom: "{name}"' for name in names)
    n = net("force_backward: true " + inputs + layer("Eltwise", "eltwise_param { operation: MAX }", bottoms), keep=True)
    for name, value in zip(names, values, strict=True):
        n.blobs[name].data[...] = value
    n.forward()
    n.blobs["y"].diff[...] = 1  # type: ignore[index]
    n.backward()
    assert [n.blobs[name].diff[0] for name in names] == [float(j == winner) for j in range(3)]  # type: ignore[index]


@pytest.mark.parametrize(
    ("shift", "power", "expected"), [(-1, 0.5, np.nan), (0, -1, np.inf), (3, 2, 9), (-2, 0, 1), (-2, 3, -8)]
)
def test_power_of_a_constant(shift: float, power: float, expected: float) -> None:
    n = net(layer("Power", f"power_param {{ scale: 0 shift: {shift} power: {power} }}"))
    n.blobs["x"].data[...] = np.inf
    n.forward()
    np.testing.assert_array_equal(n.blobs["y"].data, np.float32(expected))


def test_older_dummy_data_sizes_are_given_once_or_for_each_top() -> None:
    n = net(
        layer("DummyData", "dummy_data_param { num: 1 num: 2 channels: 3 height: 4 width: 5 }", "", 'top: "a" top: "b"')
    )
    assert n.blobs["a"].shape == (1, 3, 4, 5)
    assert n.blobs["b"].shape == (2, 3, 4, 5)


def test_a_label_that_is_no_number() -> None:
    n = net(
        layer("Flatten", top='top: "f"')
        + """layer { name: "t" type: "Input" top: "t" input_param { shape { dim: 4 } } }
        layer { name: "a" type: "Accuracy" bottom: "f" bottom: "t" top: "a" }""",
        TEST,
    )
    n.blobs["t"].data[...] = np.nan
    with pytest.raises(DataError, match="label nan is not one of the 384 classes"):
        n.forward()


def test_dilation_of_each_axis() -> None:
    n = net(layer("Convolution", "convolution_param { num_output: 1 kernel_size: 3 dilation_h: 3 dilation_w: 1 }"))
    assert n.blobs["y"].shape == (4, 1, 2, 6)


LEARNED = layer("Convolution", "convolution_param { num_output: 2 kernel_size: 3 pad: 1 }", top='top: "c"').replace(
    '"L"', '"c"'
)


@pytest.mark.parametrize(
    "text",
    [
        layer("Crop", "loss_weight: 1 propagate_down: true propagate_down: true", 'bottom: "c" bottom: "c"'),
        layer("Pooling", "pooling_param { kernel_size: 2 stride: 2 }", 'bottom: "c"', 'top: "p" top: "places"')
        + layer("Upsample", "loss_weight: 1", 'bottom: "p" bottom: "places"').replace('"L"', '"u"'),
        layer("SmoothL1Loss", "", 'bottom: "c" bottom: "c" bottom: "c" bottom: "c"'),
        layer("Interp", "loss_weight: 1", 'bottom: "c" bottom: "c"'),
    ],
    ids=["Crop", "Upsample", "SmoothL1Loss", "Interp"],
)
def test_sizes_and_weights_may_come_from_layers_that_learn(text: str) -> None:
    n = net(LEARNED + text, keep=True)
    n.blobs["x"].data[...] = np.random.default_rng(0).standard_normal(n.blobs["x"].shape)
    n.forward()
    n.backward()
    for blob in n.blobs.values():
        assert blob.diff is None or np.isfinite(blob.diff).all()


def test_labels_may_not() -> None:
    loss = layer("SigmoidCrossEntropyLoss", "", 'bottom: "c" bottom: "c"')
    with pytest.raises(NetError, match='SigmoidCrossEntropyLoss has no gradient with respect to bottom "c"'):
        net(LEARNED + loss)
    net(LEARNED + loss[:-2] + "propagate_down: true propagate_down: false }")


def test_fcns_second_size_is_that_of_a_layer_that_learns() -> None:
    n = net(
        LEARNED
        + layer("Pooling", "pooling_param { kernel_size: 2 stride: 2 }", 'bottom: "c"', 'top: "p"').replace(
            '"L"', '"p"'
        )
        + layer(
            "Deconvolution", "convolution_param { num_output: 2 kernel_size: 2 stride: 1 }", 'bottom: "p"', 'top: "d"'
        ).replace('"L"', '"d"')
        + layer("Crop", "crop_param { axis: 2 offset: 1 }", 'bottom: "c" bottom: "d"', 'top: "s"').replace('"L"', '"s"')
        + layer("Eltwise", "loss_weight: 1", 'bottom: "s" bottom: "d"'),
        keep=True,
    )
    n.forward()
    n.backward()
    gradient = n.blobs["d"].diff
    assert gradient is not None and (gradient == 1).all()
