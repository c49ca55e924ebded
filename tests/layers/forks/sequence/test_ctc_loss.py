"""CtcLoss against a sum over all ways, LabelsequenceAccuracy, and the layers that go with sequences."""

from itertools import groupby, product

import numpy as np
import pytest

from caffelite.errors import DataError, NetError
from caffelite.net import Net
from caffelite.schema.text import net_from_text


def given(**shapes: tuple[int, ...]) -> str:
    return "force_backward: true\n" + "".join(
        f'layer {{ name: "in_{name}" type: "Input" top: "{name}" input_param {{ shape {{ '
        f"{' '.join(f'dim: {n}' for n in shape)} }} }} }}\n"
        for name, shape in shapes.items()
    )


def make(text: str, **values: object) -> Net:
    net = Net(net_from_text(text, "net.prototxt"), keep=True)
    for name, array in values.items():
        net.blobs[name].data[...] = array
    return net


def ctc(scores: tuple[int, ...], labels: tuple[int, ...], settings: str) -> str:
    return given(x=scores, labels=labels) + (
        f'layer {{ name: "L" type: "CtcLoss" bottom: "x" bottom: "labels" top: "y" ctc_loss_param {{ {settings} }} }}'
    )


def plain(x: np.ndarray, wanted: list[int], blank: int) -> float:
    """Return -log p of one stream, over every way to give each step a label."""
    p = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    total = 0.0
    for way in product(range(x.shape[1]), repeat=len(x)):
        if [label for label, _ in groupby(way) if label != blank] == wanted:
            total += p[np.arange(len(x)), list(way)].prod()
    return float(-np.log(total))


def test_loss_and_gradient_are_those_of_all_ways() -> None:
    wanted = [[0, 1], [1, 1], [], [0]]
    labels = [[0, 1, 2], [2, 1, 1], [2, 2, 2], [0, 2, 2]]
    x = np.random.default_rng(3).standard_normal((5, 4, 3))
    net = make(ctc(x.shape, (4, 3), "alphabet_size: 3 time_step: 4 blank_label: 2"), x=x, labels=labels)
    net.forward()
    expected = np.mean([plain(x[:4, n], wanted[n], 2) for n in range(4)])
    assert net.blobs["y"].data == pytest.approx(expected, rel=1e-5)
    net.blobs["y"].diff[...] = 0.5  # type: ignore[index]
    net.backward()
    slopes = np.zeros_like(x)
    for t, n, k in np.ndindex(4, 4, 3):
        values = []
        for step in (1e-5, -1e-5):
            moved = x[:4, n].copy()
            moved[t, k] += step
            values.append(plain(moved, wanted[n], 2))
        slopes[t, n, k] = (values[0] - values[1]) / 2e-5
    # Of the sum, not of the mean.
    np.testing.assert_allclose(net.blobs["x"].diff, 0.5 * slopes, atol=1e-6)


def test_labels_that_do_not_fit_into_the_time_count_nothing() -> None:
    x = np.random.default_rng(3).standard_normal((3, 2, 3))
    text = ctc(x.shape, (2, 3), "alphabet_size: 3 time_step: 3")
    # Twice the same takes a blank between: four steps for three labels.
    net = make(text, x=x, labels=[[1, 1, 2], [1, 2, 1]])
    net.forward()
    assert net.blobs["y"].data == pytest.approx(plain(x[:, 1], [1, 2, 1], 0) / 2, rel=1e-5)
    net.blobs["y"].diff[...] = 1  # type: ignore[index]
    net.blobs["x"].diff[...] = 9  # type: ignore[index]
    net.backward()
    diff = net.blobs["x"].diff
    assert diff is not None
    assert not diff[:, 0].any()
    assert diff[:, 1].any()


def test_scores_far_apart_and_scores_that_are_no_numbers() -> None:
    x = np.zeros((4, 1, 3))
    x[:, 0, 0] = 1000
    net = make(ctc(x.shape, (1, 1), "alphabet_size: 3 time_step: 4"), x=x, labels=[[1]])
    # Four ways to one label, and two, three or four steps of it hardly add to them.
    assert net.forward() == pytest.approx(1000 - np.log(4), rel=1e-5)
    net.blobs["x"].data[1, 0, 2] = np.nan
    assert np.isnan(net.forward())


def test_a_label_outside_the_alphabet() -> None:
    net = make(ctc((4, 1, 3), (1, 2), "alphabet_size: 3 time_step: 4"), labels=[[1, 3]])
    with pytest.raises(DataError, match="label 3 is not one of its 3 classes"):
        net.forward()


@pytest.mark.parametrize(
    ("scores", "labels", "settings", "expected"),
    [
        ((4, 2, 3), (2, 2), "time_step: 4", "ctc_loss_param needs alphabet_size of at least 1"),
        ((4, 2, 3), (2, 2), "alphabet_size: 3", "ctc_loss_param needs time_step of at least 1"),
        (
            (4, 2, 3),
            (2, 2),
            "alphabet_size: 3 time_step: 4 blank_label: 3",
            "blank_label is 3, expected 0 to 2 (alphabet_size is 3)",
        ),
        ((4, 2, 3), (2, 2), "alphabet_size: 4 time_step: 4", "takes scores of time steps × streams × 4, not 4×2×3"),
        ((4, 2, 3), (2, 2), "alphabet_size: 3 time_step: 5", "time_step is 5, but 4×2×3 has 4 time steps"),
        ((4, 2, 3), (3, 2), "alphabet_size: 3 time_step: 4", "takes labels for each of 2 streams, 2 × labels, not 3×2"),
    ],
)
def test_what_does_not_fit(scores: tuple[int, ...], labels: tuple[int, ...], settings: str, expected: str) -> None:
    with pytest.raises(NetError) as error:
        make(ctc(scores, labels, settings))
    assert str(error.value).endswith(expected)


def accuracy(scores: tuple[int, ...], labels: tuple[int, ...], blank: int) -> str:
    return given(x=scores, labels=labels) + (
        'layer { name: "L" type: "LabelsequenceAccuracy" bottom: "x" bottom: "labels" top: "y" '
        f"labelsequence_accuracy_param {{ blank_label: {blank} }} }}"
    )


def test_accuracy_of_whole_sequences() -> None:
    # As they come out: 1 2 (once repeated), 1 1 (a blank between), nothing, 2 1.
    best = [[1, 1, 3, 2], [1, 3, 1, 1], [3, 3, 3, 3], [3, 2, 1, 3]]
    x = np.eye(4)[best]
    right = [[1, 2, 3], [3, 1, 1], [3, 3, 3], [2, 3, 1]]
    net = make(accuracy(x.shape, (4, 3), 3), x=x, labels=right)
    net.forward()
    assert net.blobs["y"].data == 1
    net.blobs["labels"].data[1:] = [[1, 3, 3], [0, 3, 3], [2, 1, 1]]
    net.forward()
    assert net.blobs["y"].data == 0.25


def test_a_sequence_with_a_score_that_is_not_a_number_is_wrong() -> None:
    x = np.eye(4)[[[3, 3], [3, 3], [3, 0]]]  # nothing, nothing, 0
    x[1, 1, 2] = np.nan
    net = make(accuracy(x.shape, (3, 1), 2), x=x, labels=[[3], [3], [2]])
    net.forward()
    assert net.blobs["y"].data == pytest.approx(1 / 3)
    net.blobs["x"].data[...] = np.nan
    net.blobs["labels"].data[...] = 0  # where argmax finds the first NaN
    net.forward()
    assert net.blobs["y"].data == 0


def test_accuracy_that_does_not_fit() -> None:
    with pytest.raises(NetError, match="takes scores of streams × time steps × labels, not 2×3"):
        make(accuracy((2, 3), (2, 1), 0))
    with pytest.raises(NetError, match="takes labels for each of 2 streams, 2 × labels, not 3×1"):
        make(accuracy((2, 3, 4), (3, 1), 0))


def test_reverse_and_transpose() -> None:
    x = np.arange(24.0).reshape(2, 3, 4)
    text = given(x=x.shape) + (
        'layer { name: "r" type: "Reverse" bottom: "x" top: "r" reverse_param { axis: 2 } }'
        'layer { name: "r0" type: "Reverse" bottom: "x" top: "r0" }'
        'layer { name: "t" type: "Transpose" bottom: "x" top: "t" transpose_param { dim: [2, 0, 1] } }'
    )
    net = make(text, x=x)
    net.forward()
    np.testing.assert_array_equal(net.blobs["r"].data, x[:, :, ::-1])
    np.testing.assert_array_equal(net.blobs["r0"].data, x[::-1])
    np.testing.assert_array_equal(net.blobs["t"].data, np.moveaxis(x, 2, 0))


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        ('type: "Reverse" reverse_param { axis: 3 }', "axis 3 does not exist in a blob of shape 2×3×4"),
        ('type: "Transpose"', "dim has to name each of the 3 axes of 2×3×4 once, 0 the first, not nothing"),
        ('type: "Transpose" transpose_param { dim: [0, 1, 1] }', "once, 0 the first, not 0, 1, 1"),
        ('type: "ContinuationIndicator"', "continuation_indicator_param needs time_step of at least 1"),
        (
            'type: "ContinuationIndicator" continuation_indicator_param { time_step: 2 axis: 4 }',
            "axis 4 does not exist in a blob of shape 2×3×4",
        ),
        (
            'type: "SeLuDropout" selu_dropout_param { dropout_ratio: 1 }',
            "dropout_ratio is 1, expected at least 0 and below 1",
        ),
    ],
)
def test_settings_that_do_not_fit(layer: str, expected: str) -> None:
    with pytest.raises(NetError) as error:
        make(given(x=(2, 3, 4)) + f'layer {{ name: "L" bottom: "x" top: "y" {layer} }}')
    assert str(error.value).endswith(expected)


def test_a_bidirectional_reader() -> None:
    """CTPN's middle: rows of an image as sequences, read from both sides."""
    text = given(x=(1, 6, 2, 5)) + (
        """
        layer { name: "t" type: "Transpose" bottom: "x" top: "t" transpose_param { dim: 3 dim: 2 dim: 0 dim: 1 } }
        layer { name: "s" type: "Reshape" bottom: "t" top: "s" reshape_param { shape { dim: -1 } axis: 1 num_axes: 2 } }
        layer { name: "lstm" type: "Lstm" bottom: "s" top: "lstm" param { name: "x" } param { name: "h" } param { name: "b" }
          lstm_param { num_output: 3 weight_filler { type: "uniform" min: -1 max: 1 } clipping_threshold: 1 } }
        layer { name: "r" type: "Reverse" bottom: "s" top: "r" reverse_param { axis: 0 } }
        layer { name: "rlstm" type: "Lstm" bottom: "r" top: "rl" param { name: "x" } param { name: "h" } param { name: "b" }
          lstm_param { num_output: 3 } }
        layer { name: "rr" type: "Reverse" bottom: "rl" top: "rlstm" reverse_param { axis: 0 } }
        layer { name: "merge" type: "Concat" bottom: "lstm" bottom: "rlstm" top: "merge" concat_param { axis: 2 } }
        layer { name: "shape" type: "Reshape" bottom: "merge" top: "shape"
          reshape_param { shape { dim: -1 dim: 1 } axis: 1 num_axes: 1 } }
        layer { name: "out" type: "Transpose" bottom: "shape" top: "out"
          transpose_param { dim: 2 dim: 3 dim: 1 dim: 0 } }"""
    )
    x = np.random.default_rng(1).standard_normal((1, 6, 2, 5))
    net = make(text, x=x)
    net.forward()
    out = net.blobs["out"].data.copy()
    assert out.shape == (1, 6, 2, 5)
    net.blobs["x"].data[...] = x[..., ::-1]
    net.forward()
    turned = net.blobs["out"].data[..., ::-1]
    np.testing.assert_allclose(turned[:, :3], out[:, 3:], atol=1e-6)
    np.testing.assert_allclose(turned[:, 3:], out[:, :3], atol=1e-6)


def test_digits_are_read() -> None:
    """The net of jolibrain's example: indicators made by a layer, LSTM, scores, CtcLoss."""
    text = given(x=(6, 2, 4), labels=(2, 3)) + (
        """
        layer { name: "cont" type: "ContinuationIndicator" bottom: "x" top: "cont"
          continuation_indicator_param { time_step: 6 axis: 1 } }
        layer { name: "lstm" type: "LSTM" bottom: "x" bottom: "cont" top: "lstm"
          recurrent_param { num_output: 12 weight_filler { type: "xavier" } } }
        layer { name: "fc" type: "InnerProduct" bottom: "lstm" top: "fc"
          inner_product_param { num_output: 4 axis: 2 weight_filler { type: "xavier" } } }
        layer { name: "loss" type: "CtcLoss" bottom: "fc" bottom: "labels" top: "loss"
          ctc_loss_param { blank_label: 3 alphabet_size: 4 time_step: 6 } }
        layer { name: "order" type: "Transpose" bottom: "fc" top: "order" transpose_param { dim: [1, 0, 2] } }
        layer { name: "accuracy" type: "LabelsequenceAccuracy" bottom: "order" bottom: "labels" top: "accuracy"
          labelsequence_accuracy_param { blank_label: 3 } }"""
    )
    net = make(text, x=np.random.default_rng(1).standard_normal((6, 2, 4)), labels=[[0, 1, 2], [1, 1, 3]])
    np.testing.assert_array_equal(net.blobs["cont"].shape, (6, 2))
    for _ in range(200):
        net.zero_grad()
        net.forward()
        net.backward()
        net.data -= 0.3 * net.diff
    np.testing.assert_array_equal(net.blobs["cont"].data, [[0, 0]] + [[1, 1]] * 5)
    assert net.blobs["accuracy"].data == 1
    assert net.blobs["loss"].data < 0.2
