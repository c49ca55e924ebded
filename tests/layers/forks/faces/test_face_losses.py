"""CenterLoss, TripletLoss, MarginInnerProduct and LargeMarginInnerProduct, against plain NumPy."""

import numpy as np
import pytest
from runner import forward, gradients, layer_net

from caffelite.errors import DataError, NetError
from caffelite.net import Net

RNG = np.random.default_rng(3)
X = RNG.standard_normal((5, 4))
LABELS = np.array([2, 0, 2, 2, 1])
W = RNG.standard_normal((3, 4))
MARGINS = {"SINGLE": 1, "DOUBLE": 2, "TRIPLE": 3, "QUADRUPLE": 4}


@pytest.mark.parametrize("kind", ["L1", "L2"])
def test_centres(kind: str) -> None:
    settings = f'center_loss_param {{ num_output: 4 distance_type: "{kind}" center_filler {{ type: "gaussian" }} }}'
    net = layer_net("CenterLoss", settings, X.shape, LABELS.shape)
    centres = np.array(net.params["L"][0].data)
    assert centres.shape == (4, 4)
    value = forward(net, X, LABELS)
    d = X - centres[LABELS]
    slope = d if kind == "L2" else np.sign(d)
    assert value == pytest.approx((d**2).sum() / 10 if kind == "L2" else abs(d).sum() / 5, rel=1e-5)
    dx, *_, moves = gradients(net, np.array(3.0))
    np.testing.assert_allclose(dx, 3 / 5 * slope, rtol=1e-4, atol=1e-6)
    for c in range(4):
        own = slope[c == LABELS]
        np.testing.assert_allclose(moves[c], -own.sum(0) / (len(own) + 1), rtol=1e-4, atol=1e-6)


def test_triplets() -> None:
    a, p, n = RNG.standard_normal((3, 6, 5))
    net = layer_net("TripletLoss", "triplet_loss_param { margin: 0.5 }", a.shape, a.shape, a.shape)
    losses = np.maximum(0.5 + ((a - p) ** 2 - (a - n) ** 2).sum(1), 0)
    assert 0 < np.count_nonzero(losses) < 6
    assert forward(net, a, p, n) == pytest.approx(losses.sum() / 12, rel=1e-5)
    counts = (losses > 0)[:, None]
    for found, expected in zip(gradients(net, np.array(2.0)), (n - p, p - a, a - n), strict=True):
        np.testing.assert_allclose(found, expected * counts * 2 / 6, rtol=1e-4, atol=1e-6)


def margin_net(kind: str, name: str, settings: str = "", tops: int = 2) -> Net:
    field = "margin_inner_product_param" if kind == "MarginInnerProduct" else "largemargin_inner_product_param"
    settings = f"{field} {{ num_output: 3 type: {name} {settings} }}"
    net = layer_net(kind, settings, X.shape, LABELS.shape, tops=tops)
    net.params["L"][0].data[...] = W
    return net


def pieces(cosine: np.ndarray, m: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (-1)^k cos(m t) - 2k and its derivative by the cosine."""
    t = np.arccos(cosine)
    k = np.floor(t * m / np.pi)
    return (-1) ** k * np.cos(m * t) - 2 * k, (-1) ** k * m * np.sin(m * t) / np.sin(t)


@pytest.mark.parametrize("kind", ["MarginInnerProduct", "LargeMarginInnerProduct"])
@pytest.mark.parametrize("name", MARGINS)
def test_margins(kind: str, name: str) -> None:
    rows = np.arange(5)
    net = margin_net(kind, name, "base: 1.5 gamma: 0.5 power: 2 iteration: 1 lambda_min: 0.1")
    y = forward(net, X, LABELS)
    weight = 1.5 * (1 + 0.5 * 2) ** -2.0
    assert net.blobs["y1"].data[0] == pytest.approx(weight)
    w = W / np.linalg.norm(W, axis=1, keepdims=True) if kind == "MarginInnerProduct" else W
    np.testing.assert_allclose(net.params["L"][0].data, w, rtol=1e-5)
    x_norm, w_norm = np.linalg.norm(X, axis=1), np.linalg.norm(w, axis=1)[LABELS]
    plain = X @ w.T
    value, slope = pieces(plain[rows, LABELS] / x_norm / w_norm, MARGINS[name])
    expected = plain.copy()
    expected[rows, LABELS] = (x_norm * w_norm * value + weight * plain[rows, LABELS]) / (1 + weight)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    if kind == "LargeMarginInnerProduct":
        return  # its gradient is that of its scores, which the gradient check covers
    dy = RNG.standard_normal(y.shape)
    dx, *_, dw = gradients(net, dy)
    np.testing.assert_allclose(dw, dy.T @ X, rtol=1e-4, atol=1e-5)
    cosine = plain[rows, LABELS] / x_norm
    pair = np.stack([slope, (value - cosine * slope) / x_norm])
    if name != "SINGLE":
        pair /= np.linalg.norm(pair, axis=0)
    own = (pair[0][:, None] * w[LABELS] + pair[1][:, None] * X + weight * w[LABELS]) / (1 + weight)
    others = dy.copy()
    others[rows, LABELS] = 0
    np.testing.assert_allclose(dx, others @ w + own * dy[rows, LABELS][:, None], rtol=1e-4, atol=1e-5)


def test_the_margin_grows() -> None:
    net = margin_net("LargeMarginInnerProduct", "DOUBLE", "base: 10 gamma: 1 lambda_min: 4")
    weights = []
    for _ in range(3):
        forward(net, X, LABELS)
        weights.append(float(net.blobs["y1"].data[0]))
    assert weights == pytest.approx([5, 4, 4])
    assert net.layers[-1].state["iteration"][0] == 3


def test_a_label_that_is_no_class() -> None:
    for net in (
        margin_net("MarginInnerProduct", "TRIPLE"),
        layer_net("CenterLoss", "center_loss_param { num_output: 3 }", X.shape, LABELS.shape),
    ):
        with pytest.raises(DataError, match="label 3 is not one of its 3 classes"):
            forward(net, X, LABELS + 1)


@pytest.mark.parametrize(
    ("kind", "settings", "shapes", "expected"),
    [
        ("CenterLoss", "", [(2, 3), (2,)], "center_loss_param needs num_output"),
        ("CenterLoss", "center_loss_param { num_output: 3 }", [(2, 3), (3,)], "takes one label a row: 2, not 3"),
        (
            "CenterLoss",
            'center_loss_param { num_output: 3 distance_type: "L3" }',
            [(2, 3), (2,)],
            'distance_type is "L3", expected "L1" or "L2"',
        ),
        ("TripletLoss", "", [(2, 3), (2, 3), (2, 4)], "must have the same shape, not 2×3 and 2×4"),
        ("MarginInnerProduct", "", [(2, 3), (2,)], "MarginInnerProductParameter needs num_output"),
        (
            "LargeMarginInnerProduct",
            "largemargin_inner_product_param { num_output: 2 }",
            [(2, 3), (4,)],
            "takes one label a row: 2, not 4",
        ),
    ],
)
def test_what_does_not_fit(kind: str, settings: str, shapes: list[tuple[int, ...]], expected: str) -> None:
    with pytest.raises(NetError, match=expected):
        layer_net(kind, settings, *shapes)
