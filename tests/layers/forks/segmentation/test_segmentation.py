"""SegAccuracy, UniqueLabel, BiasChannel and AdaptiveBiasChannel."""

import numpy as np
import pytest
from runner import forward, gradients, layer_net

from caffelite.errors import DataError, NetError

RNG = np.random.default_rng(9)
X = RNG.standard_normal((2, 4, 3, 5))
LABELS = RNG.integers(0, 3, (2, 1, 3, 5))  # class 3 does not occur


def measures(pairs: list[tuple[int, int]], classes: int) -> list[float]:
    recalls, overlaps = [], []
    for c in range(classes):
        right = sum(w == f == c for w, f in pairs)
        wanted, either = sum(w == c for w, _ in pairs), sum(c in pair for pair in pairs)
        if wanted:
            recalls.append(right / wanted)
        overlaps.append(right / either if either else 1)
    return [sum(w == f for w, f in pairs) / len(pairs), float(np.mean(recalls)), float(np.mean(overlaps))]


def test_accuracy() -> None:
    x = X.copy()
    x[:, 3] = -9  # and is not found either
    x[0, 0, 0, 0] = x[0, 1, 0, 0] = 9  # of equals the last
    pairs = list(zip(LABELS.reshape(-1), x.argmax(1).reshape(-1), strict=True))
    pairs[0] = (pairs[0][0], np.int64(1))
    net = layer_net("SegAccuracy", "", X.shape, LABELS.shape)
    for _ in range(2):
        y = forward(net, x, LABELS)
    assert y.shape == (1, 1, 1, 3)
    np.testing.assert_allclose(y.reshape(-1), measures(pairs, 4), rtol=1e-5)
    labels = np.where(LABELS == 2, 255, LABELS)
    net = layer_net("SegAccuracy", "seg_accuracy_param { ignore_label: 255 ignore_label: 0 }", X.shape, LABELS.shape)
    np.testing.assert_allclose(
        forward(net, x, labels).reshape(-1), measures([pair for pair in pairs if pair[0] == 1], 4), rtol=1e-5
    )


def test_accuracy_over_passes() -> None:
    net = layer_net("SegAccuracy", "seg_accuracy_param { reset: false }", X.shape, LABELS.shape)
    pairs = list(zip(LABELS.reshape(-1), X.argmax(1).reshape(-1), strict=True))
    forward(net, X, LABELS)
    y = forward(net, -X, LABELS)
    pairs += zip(LABELS.reshape(-1), X.argmin(1).reshape(-1), strict=True)
    np.testing.assert_allclose(y.reshape(-1), measures(pairs, 4), rtol=1e-5)


@pytest.mark.parametrize("reset", ["true", "false"])
def test_what_is_not_a_number_is_of_no_class(reset: str) -> None:
    x, labels = X.copy(), np.full_like(LABELS, 3)
    x[0, 1] = np.nan
    x[1, 3] = 99
    labels[:, :, 0] = 9
    net = layer_net("SegAccuracy", f"seg_accuracy_param {{ reset: {reset} ignore_label: 9 }}", X.shape, LABELS.shape)
    for _ in range(2):
        y = forward(net, x, labels)
    # Half of the places of class 3 are found; the other classes do not occur and are not found.
    np.testing.assert_allclose(y.reshape(-1), [0.5, 0.5, (3 + 0.5) / 4], rtol=1e-6)
    y = forward(net, np.full_like(X, np.nan), labels)
    assert (y.reshape(-1)[0] == 0) == (reset == "true")


def test_unique_labels() -> None:
    labels = np.array([[5, 2, 2, 255], [7, 7, 7, 7]]).reshape(2, 1, 2, 2)
    net = layer_net(
        "UniqueLabel", "unique_label_param { max_labels: 4 ignore_label: 255 force_label: 0 }", (2, 1, 2, 2)
    )
    np.testing.assert_array_equal(forward(net, labels).reshape(2, 4), [[0, 2, 5, -1], [0, 7, -1, -1]])
    with pytest.raises(DataError, match="image 1 of the batch has 5 labels, more than max_labels, 4"):
        forward(net, np.array([[1, 1, 1, 1], [1, 2, 3, 4]]).reshape(2, 1, 2, 2))


def test_bias_of_listed_classes() -> None:
    labels = np.array([[0, 2, -1], [3, 3, 9]]).reshape(2, 3, 1, 1)
    settings = "bias_channel_param { bg_bias: 0.5 fg_bias: 3 ignore_label: 9 }"
    net = layer_net("BiasChannel", settings, X.shape, labels.shape)
    expected = X.copy()
    expected[0, 0] += 0.5
    expected[0, 2] += 3
    expected[1, 3] += 6
    np.testing.assert_allclose(forward(net, X, labels), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(gradients(net, X)[0], X.astype(np.float32))


@pytest.mark.parametrize("background", [None, 1])
def test_bias_of_places(background: int | None) -> None:
    labels = np.where(LABELS == 2, 255, LABELS)
    settings = "" if background is None else f"background_label: {background} bg_bias: 0.5"
    settings = f"bias_channel_param {{ label_type: PIXEL ignore_label: 255 {settings} }}"
    expected = X.copy()
    for n, i, j in np.ndindex(2, 3, 5):
        label = labels[n, 0, i, j]
        if label != 255 and label != background:
            expected[n, label, i, j] += 2
        if label != 255 and background is not None:
            expected[n, background, i, j] += 0.5
    net = layer_net("BiasChannel", settings, X.shape, labels.shape)
    np.testing.assert_allclose(forward(net, X, labels), expected, rtol=1e-5, atol=1e-6)


def adapted(scores: np.ndarray, order: list[int], iterations: int) -> np.ndarray:
    """Raise the classes of one image in this order (bg_portion 0.2, fg_portion 0.4)."""
    y = scores.copy()
    lowest = y[order].min(0)
    for c in range(len(y)):
        if c not in order:
            y[c] = np.where(y[c] > lowest, lowest - 1e-5, y[c])
    before = y[order].max(0).mean()
    for _ in range(iterations):
        for c in order:
            gaps = np.sort((y[order].max(0) - y[c]).reshape(-1))
            y[c] += gaps[int((0.4 if c else 0.2) * gaps.size + 1e-6)]
    return y + before - y[order].max(0).mean()


def test_adaptive_bias() -> None:
    settings = "adaptive_bias_channel_param { fg_portion: 0.4 num_iter: 3 }"
    labels = np.array([[2, -1, 0], [-1, -1, -1]]).reshape(2, 3, 1, 1)
    net = layer_net("AdaptiveBiasChannel", settings, X.shape, labels.shape)
    y = forward(net, X, labels)
    np.testing.assert_allclose(y[0], adapted(X[0], [0, 2], 3), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(y[1], X[1].astype(np.float32))
    labels[0, :, 0, 0] = 0, 1, 3
    net = layer_net("AdaptiveBiasChannel", settings.replace("3", "1"), X.shape, labels.shape)
    orders = [adapted(X[0], order, 1) for order in ([0, 1, 3], [0, 3, 1])]
    seen = set()
    for _ in range(12):
        y = forward(net, X, labels)[0]
        errors = [abs(y - order).max() for order in orders]
        assert min(errors) < 1e-4
        seen.add(int(np.argmin(errors)))
    assert seen == {0, 1}
    keep = layer_net(
        "AdaptiveBiasChannel",
        "adaptive_bias_channel_param { suppress_others: false fg_portion: 1 bg_portion: 1 }",
        X.shape,
        labels.shape,
    )
    labels[0, :, 0, 0] = 1, -1, -1
    np.testing.assert_allclose(forward(keep, X, labels)[0], X[0], rtol=1e-4, atol=1e-5)


def test_labels_that_are_no_classes() -> None:
    for kind, labels in (("SegAccuracy", LABELS), ("AdaptiveBiasChannel", LABELS[:, :, :1, :1])):
        with pytest.raises(DataError, match=r"label 4 is not one of (the|its) 4 classes \(0 to 3\)"):
            forward(layer_net(kind, "", X.shape, labels.shape), X, labels * 0 + 4)


@pytest.mark.parametrize(
    ("kind", "settings", "shapes", "expected"),
    [
        ("SegAccuracy", "", [(2, 3), (2, 1)], "takes scores of 4 axes"),
        ("SegAccuracy", "", [(2, 3, 4, 5), (2, 4, 5)], "takes one label a place: 2×1×4×5, not 2×4×5"),
        ("UniqueLabel", "", [(2, 1, 4, 5)], "max_labels is 0, expected more than the forced labels"),
        ("UniqueLabel", "unique_label_param { max_labels: 3 }", [(2, 2, 4)], "takes labels of one channel"),
        ("BiasChannel", "bias_channel_param { fg_bias: -1 }", [(2, 3, 4, 5), (2, 1)], "fg_bias is -1, expected 0 or"),
        ("BiasChannel", "", [(2, 3, 4), (2, 1)], "takes scores of 4 axes"),
        ("BiasChannel", "", [(2, 3, 4, 5), (2, 1, 4, 5)], "takes a list of labels for each of 2 images"),
        (
            "BiasChannel",
            "bias_channel_param { label_type: PIXEL }",
            [(2, 3, 4, 5), (2, 1)],
            "one label a place: 2×1×4×5",
        ),
        (
            "BiasChannel",
            "bias_channel_param { label_type: PIXEL background_label: 3 }",
            [(2, 3, 4, 5), (2, 1, 4, 5)],
            "background_label is 3, but there are 3 classes",
        ),
        ("AdaptiveBiasChannel", "adaptive_bias_channel_param { num_iter: 0 }", [(2, 3, 4, 5), (2, 1)], "num_iter is 0"),
        (
            "AdaptiveBiasChannel",
            "adaptive_bias_channel_param { fg_portion: 2 }",
            [(2, 3, 4, 5), (2, 1)],
            "fg_portion is 2, expected 0 to 1",
        ),
        (
            "AdaptiveBiasChannel",
            "adaptive_bias_channel_param { margin_others: -1 }",
            [(2, 3, 4, 5), (2, 1)],
            "margin_others is -1, expected 0 or more",
        ),
    ],
)
def test_what_does_not_fit(kind: str, settings: str, shapes: list[tuple[int, ...]], expected: str) -> None:
    with pytest.raises(NetError, match=expected):
        layer_net(kind, settings, *shapes)
