"""DiceCoefLoss against plain NumPy."""

from pathlib import Path

import numpy as np
import pytest
from runner import forward, gradients, layer_net

from caffelite.errors import DataError, NetError
from caffelite.schema.blobs import write_blob

RNG = np.random.default_rng(11)
P = RNG.random((2, 3, 4, 5))
LABELS = RNG.integers(0, 3, (2, 1, 4, 5))
T = (LABELS == np.arange(3).reshape(1, 3, 1, 1)).astype(float)
PLACES = T.sum((2, 3))


def expected(w: np.ndarray, smooth: float) -> tuple[float, np.ndarray]:
    """Return the loss and N times its gradient, for weights of each image and class."""
    w = np.broadcast_to(w, (2, 3))[:, :, None, None]
    top = smooth + 2 * (w * P * T).sum((1, 2, 3), keepdims=True)
    base = smooth + (w * (P**2 + T)).sum((1, 2, 3), keepdims=True)
    return 1 - (top / base).mean(), -(2 * w * T / base - top / base**2 * 2 * w * P)


def check(settings: str, w: np.ndarray, smooth: float) -> None:
    net = layer_net("DiceCoefLoss", f"dice_coef_loss_param {{ {settings} }}", P.shape, LABELS.shape)
    value, gradient = expected(w, smooth)
    assert forward(net, P, LABELS) == pytest.approx(value, rel=1e-5)
    np.testing.assert_allclose(gradients(net, np.array(3.0))[0], 3 * gradient, rtol=1e-3, atol=1e-6)


def test_plain() -> None:
    check("", np.ones(3), 0.5)
    check("ignore_label: 1", np.ones(3), 0.5)  # read by the generalisations alone


def test_an_ignored_class() -> None:
    net = layer_net(
        "DiceCoefLoss", "dice_coef_loss_param { generalization: MULTICLASS ignore_label: 1 }", P.shape, LABELS.shape
    )
    assert forward(net, P, LABELS) == pytest.approx(expected(np.array([1, 0, 1]), 0.5)[0], rel=1e-5)


@pytest.mark.parametrize(
    ("mode", "power"), [("", -2), ("INVERSE_VOLUME", -2), ("EQUALIZE_CLASSES", -1), ("EXTRA_SMALL_VOLUMES", -3)]
)
def test_weights(mode: str, power: int) -> None:
    mode = mode and f"weight_mode: {mode}"
    check(f"generalization: MULTICLASS_WEIGHTED {mode}", (1 + PLACES) ** power, 0)
    check(f"generalization: MULTICLASS_WEIGHTED_BATCH {mode}", (1 + PLACES.mean(0)) ** power, 0)
    ignored = 1 + PLACES
    ignored[:, 2] += 1e6 * 20 - 1
    check(f"generalization: MULTICLASS_WEIGHTED ignore_label: 2 {mode}", ignored**power, 0)


def test_weights_of_all_images() -> None:
    settings = "dice_coef_loss_param { generalization: MULTICLASS_WEIGHTED_ALL }"
    net = layer_net("DiceCoefLoss", settings, P.shape, LABELS.shape)
    forward(net, P, (LABELS + 1) % 3)
    mean = (PLACES.mean(0) + np.roll(PLACES, 1, 1).mean(0)) / 2 + 1
    assert forward(net, P, LABELS) == pytest.approx(expected(mean**-2.0, 0)[0], rel=1e-5)


def test_weights_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "w.binaryproto"
    write_blob(path, np.diag([1.0, 2.0, 5.0]).astype(np.float32).reshape(1, 1, 3, 3))
    check(f'weights: "{path}"', np.array([1, 2, 5]) / 8, 0.5)
    with pytest.raises(NetError, match="weights has 3 values on its diagonal for 2 classes"):
        layer_net("DiceCoefLoss", f'dice_coef_loss_param {{ weights: "{path}" }}', (1, 2, 4), (1, 1, 4))
    with pytest.raises(NetError, match="weights: .*nowhere"):
        layer_net("DiceCoefLoss", 'dice_coef_loss_param { weights: "nowhere" }', (1, 2, 4), (1, 1, 4))


def test_what_does_not_fit() -> None:
    with pytest.raises(NetError, match="takes one label a place of 2×3×4, not 2×1×3"):
        layer_net("DiceCoefLoss", "", (2, 3, 4), (2, 1, 3))
    with pytest.raises(NetError, match="contour_shape must be NO"):
        layer_net("DiceCoefLoss", "dice_coef_loss_param { contour_shape: SHARP }", (2, 3, 4), (2, 1, 4))
    with pytest.raises(NetError, match="ignore_label is 3, but there are 3 classes"):
        layer_net(
            "DiceCoefLoss", "dice_coef_loss_param { generalization: MULTICLASS ignore_label: 3 }", (2, 3, 4), (2, 1, 4)
        )
    with pytest.raises(DataError, match="label 3 is not one of its 3 classes"):
        forward(layer_net("DiceCoefLoss", "", P.shape, LABELS.shape), P, LABELS + 1)
