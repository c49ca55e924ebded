"""FocalLoss against plain NumPy."""

import numpy as np
import pytest
from runner import forward, layer_net

from caffelite.errors import DataError, NetError

RNG = np.random.default_rng(5)
X = RNG.standard_normal((2, 4, 3, 2))
LABELS = RNG.integers(0, 4, (2, 3, 2))


def probabilities(axis: int = 1) -> np.ndarray:
    return np.exp(X) / np.exp(X).sum(axis, keepdims=True)


def own(labels: np.ndarray) -> np.ndarray:
    return np.take_along_axis(probabilities(), labels[:, None], 1)[:, 0]


@pytest.mark.parametrize(
    ("settings", "alpha", "gamma"),
    [
        ("", 0.25, 2),
        ("focal_loss_param { alpha: 0.7 gamma: 1.5 type: LINEAR }", 0.7, 1.5),
        ("focal_loss_param { gamma: 0 alpha: 1 }", 1, 0),
    ],
)
def test_the_loss(settings: str, alpha: float, gamma: float) -> None:
    net = layer_net("FocalLoss", settings, X.shape, LABELS.shape, tops=2)
    p = own(LABELS)
    assert forward(net, X, LABELS) == pytest.approx((-alpha * (1 - p) ** gamma * np.log(p)).mean(), rel=1e-5)
    np.testing.assert_allclose(net.blobs["y1"].data, probabilities(), rtol=1e-5)


@pytest.mark.parametrize(("alpha", "offset"), [("", 1), ("alpha: 0.5", 0.5)])
def test_one_add_p(alpha: str, offset: float) -> None:
    net = layer_net("FocalLoss", f"focal_loss_param {{ type: ONEADDP {alpha} }}", X.shape, LABELS.shape)
    p = own(LABELS)
    assert forward(net, X, LABELS) == pytest.approx((-((offset + p) ** 2) * np.log(p)).mean(), rel=1e-5)


def test_what_is_ignored_and_what_it_is_divided_by() -> None:
    labels = LABELS.copy()
    labels[0, 0, 0] = 255
    p = own(np.where(labels == 255, 0, labels))
    total = (-0.25 * (1 - p) ** 2 * np.log(p))[labels != 255].sum()
    for mode, divisor in (("VALID", 11), ("FULL", 12), ("BATCH_SIZE", 2), ("NONE", 1)):
        settings = f"loss_param {{ ignore_label: 255 normalization: {mode} }}"
        net = layer_net("FocalLoss", settings, X.shape, LABELS.shape)
        assert forward(net, X, labels) == pytest.approx(total / divisor, rel=1e-5)


@pytest.mark.parametrize("settings", ["focal_loss_param { axis: -1 }", "softmax_param { axis: 3 }"])
def test_another_axis(settings: str) -> None:
    labels = RNG.integers(0, 2, (2, 4, 3))
    p = np.take_along_axis(probabilities(3), labels[..., None], 3)
    net = layer_net("FocalLoss", settings, X.shape, labels.shape)
    assert forward(net, X, labels) == pytest.approx((-0.25 * (1 - p) ** 2 * np.log(p)).mean(), rel=1e-5)


def test_what_does_not_fit() -> None:
    with pytest.raises(NetError, match="gamma is -1, expected 0 or more"):
        layer_net("FocalLoss", "focal_loss_param { gamma: -1 }", (2, 3), (2,))
    with pytest.raises(NetError, match="alpha is 0, expected above 0"):
        layer_net("FocalLoss", "focal_loss_param { alpha: 0 }", (2, 3), (2,))
    with pytest.raises(NetError, match="2×3 makes 2 predictions of 3 classes, but the labels are 3"):
        layer_net("FocalLoss", "", (2, 3), (3,))
    with pytest.raises(DataError, match="label 4 is not one of its 4 classes"):
        forward(layer_net("FocalLoss", "", X.shape, LABELS.shape), X, LABELS * 0 + 4)
