"""EltwiseAffine, ChannelScale, Flip, Noise, RReLU, SpatialDropout, MnActivation, ReLU6, and happynear's Normalize."""

import math

import numpy as np
import pytest
from runner import forward, gradients, layer_net

from caffelite.errors import NetError
from caffelite.words import TEST, TRAIN

RNG = np.random.default_rng(7)
X = RNG.standard_normal((3, 4, 2, 5))


@pytest.mark.parametrize("shared", [True, False])
def test_eltwise_affine(shared: bool) -> None:
    net = layer_net("EltwiseAffine", f"eltwise_affine_param {{ channel_shared: {str(shared).lower()} }}", X.shape)
    slope, bias = net.params["L"]
    assert slope.shape == bias.shape == (() if shared else (4,))
    np.testing.assert_allclose(forward(net, X), X * 1.0001 + 0.0001, rtol=1e-5, atol=1e-6)
    slope.data[...] = RNG.standard_normal(slope.shape)
    bias.data[...] = RNG.standard_normal(bias.shape)
    expected = X * slope.data.reshape(1, -1, 1, 1) + bias.data.reshape(1, -1, 1, 1)
    np.testing.assert_allclose(forward(net, X), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["L1", "L2"])
def test_normalize(kind: str) -> None:
    settings = f'normalize_param {{ normalize_type: "{kind}" %s }}'
    net = layer_net("Normalize", settings % "", X.shape, tops=2)
    norms = abs(X).sum(1, keepdims=True) if kind == "L1" else np.sqrt((X**2).sum(1, keepdims=True))
    np.testing.assert_allclose(forward(net, X), X / norms, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(net.blobs["y1"].data, norms, rtol=1e-5)
    assert not net.params.get("L")
    dy = RNG.standard_normal(X.shape)
    net.blobs["y1"].diff[...] = RNG.standard_normal(norms.shape)  # type: ignore[index]
    (dx,) = gradients(net, dy)  # without bp_norm, that of the norms does not count
    slope = np.sign(X) if kind == "L1" else X / norms
    expected = dy - slope * (dy * X / norms).sum(1, keepdims=True)
    np.testing.assert_allclose(dx, expected / norms, rtol=1e-3, atol=1e-5)
    net = layer_net("Normalize", settings % "fix_gradient: true", X.shape)
    forward(net, X)
    np.testing.assert_allclose(gradients(net, dy)[0], expected, rtol=1e-3, atol=1e-5)


def test_channel_scale() -> None:
    factors = RNG.standard_normal((3, 1, 2, 5))
    net = layer_net("ChannelScale", "", X.shape, factors.shape)
    np.testing.assert_allclose(forward(net, X, factors), X * factors, rtol=1e-5)
    net = layer_net(
        "ChannelScale",
        "channel_scale_param { do_forward: false do_backward_feature: false do_backward_scale: false }",
        X.shape,
        factors.shape,
    )
    np.testing.assert_array_equal(forward(net, X, factors), X.astype(np.float32))
    dy = RNG.standard_normal(X.shape).astype(np.float32)
    dx, d_factors = gradients(net, dy)
    np.testing.assert_array_equal(dx, dy)
    assert not d_factors.any()


def test_a_global_scale() -> None:
    factors = RNG.standard_normal((3, 1, 2, 5))
    settings = "channel_scale_param { global_scale: true max_global_scale: %g }"
    net = layer_net("ChannelScale", settings % 9, X.shape, factors.shape, tops=2)
    assert net.params["L"][0].data[0] == -1
    mean = abs(factors).mean()
    np.testing.assert_allclose(forward(net, X, factors), X * mean, rtol=1e-5)
    np.testing.assert_allclose(forward(net, X, 3 * factors), X * mean * 1.02, rtol=1e-5)
    assert net.blobs["y1"].data[0] == pytest.approx(mean * 1.02)
    net = layer_net("ChannelScale", settings % 0.5, X.shape, factors.shape)
    np.testing.assert_allclose(forward(net, X, 9 * factors), X * 0.5, rtol=1e-5)
    net = layer_net("ChannelScale", settings % 9, X.shape, factors.shape, phase=TEST)
    net.params["L"][0].data[...] = 7
    np.testing.assert_allclose(forward(net, X, factors), X * 7, rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "axes"), [("", (3,)), ("flip_height: true", (2, 3)), ("flip_width: false flip_height: true", (2,))]
)
def test_flip(settings: str, axes: tuple[int, ...]) -> None:
    net = layer_net("Flip", f"flip_param {{ {settings} }}", X.shape)
    np.testing.assert_array_equal(forward(net, X), np.flip(X, axes).astype(np.float32))


def test_noise() -> None:
    x = 2 * np.ones((4, 50, 50))
    net, twin = (layer_net("Noise", "noise_param { gaussian_std: 0.25 bias: 1 }", x.shape, seed=3) for _ in range(2))
    noise = forward(net, x) - x
    np.testing.assert_array_equal(noise, forward(twin, x) - x)
    assert noise.mean() == pytest.approx(1, abs=0.02)
    assert noise.std() == pytest.approx(0.25 * 2, abs=0.02)
    assert (forward(net, x) - x != noise).any()
    np.testing.assert_array_equal(gradients(net, x)[0], x)
    noise = forward(layer_net("Noise", "noise_param { uniform_range: 0.5 bias: 3 }", x.shape), x) - x
    assert 2.5 <= noise.min() < 2.51
    assert 3.49 < noise.max() <= 3.5
    np.testing.assert_array_equal(forward(layer_net("Noise", "", x.shape), x), x)
    np.testing.assert_array_equal(
        forward(layer_net("Noise", "noise_param { gaussian_std: 1 }", x.shape, phase=TEST), x), x
    )


def test_noise_as_a_factor() -> None:
    x = np.ones((500, 3))
    net = layer_net("Noise", "noise_param { mu: 2 sigma: 0.5 }", x.shape)
    y = forward(net, x)
    np.testing.assert_array_equal(y, np.broadcast_to(y[:, :1], y.shape))
    assert y.mean() == pytest.approx(2, abs=0.1)
    assert y.std() == pytest.approx(0.5, abs=0.1)
    np.testing.assert_array_equal(gradients(net, x)[0], y)
    assert not forward(layer_net("Noise", "noise_param { mu: 2 }", x.shape, phase=TEST), x).any()


@pytest.mark.parametrize(("kind", "field"), [("RReLU", "rrelu_param"), ("Insanity", "insanity_param")])
def test_rrelu(kind: str, field: str) -> None:
    x = -np.ones((100, 100))
    x[0] = 3
    net = layer_net(kind, f"{field} {{ lb: 2 ub: 4 }}", x.shape)
    y = forward(net, x)
    np.testing.assert_array_equal(y[0], 3)
    divisors = -1 / y[1:]
    assert 2 <= divisors.min() < 2.01
    assert 3.99 < divisors.max() <= 4
    assert divisors.mean() == pytest.approx(3, abs=0.03)
    np.testing.assert_allclose(gradients(net, np.ones(x.shape))[0], y / x, rtol=1e-6)
    assert (forward(net, x)[1:] != y[1:]).any()
    y = forward(layer_net(kind, f"{field} {{ lb: 2 ub: 4 }}", x.shape, phase=TEST), x)
    np.testing.assert_allclose(y[1:], -1 / (2 / math.log(2)), rtol=1e-5)


@pytest.mark.parametrize("field", ["dropout_param", "spatial_dropout_param"])
def test_spatial_dropout(field: str) -> None:
    x = np.ones((30, 40, 2, 2))
    net = layer_net("SpatialDropout", f"{field} {{ dropout_ratio: 0.2 }}", x.shape)
    y = forward(net, x)
    np.testing.assert_array_equal(y, np.broadcast_to(y[..., :1, :1], y.shape))
    assert set(np.unique(y)) == {0, np.float32(1.25)}
    assert (y == 0).mean() == pytest.approx(0.2, abs=0.04)
    np.testing.assert_array_equal(gradients(net, x)[0], y)
    assert (forward(net, x) != y).any()
    net = layer_net("SpatialDropout", f"{field} {{ dropout_ratio: 0.2 }}", x.shape, phase=TEST)
    np.testing.assert_array_equal(forward(net, x), x)


def test_mn_activation() -> None:
    net = layer_net("MnActivation", "mn_activation_param { num_nodes_in: 2 num_nodes_out: 1 }", X.shape)
    np.testing.assert_array_equal(forward(net, X), X.astype(np.float32))


@pytest.mark.parametrize(
    ("kind", "settings", "shapes", "expected"),
    [
        ("EltwiseAffine", "", [(3,)], "at least 2 axes"),
        ("SpatialDropout", "", [(3,)], "at least 2 axes"),
        ("SpatialDropout", "dropout_param { dropout_ratio: 1 }", [(3, 2)], "dropout_ratio is 1, expected at least 0"),
        ("ChannelScale", "", [(2, 3, 4), (2, 3)], "one factor for each place of 2×3×4, not 2×3"),
        ("Flip", "", [(3,)], "takes maps, with a height and a width, not 3"),
        ("Noise", "noise_param { mu: 1 bias: 1 }", [(3, 2)], "bias and mu belong to different forks' Noise layers"),
        ("RReLU", "rrelu_param { lb: 3 ub: 3 }", [(3, 2)], "lb is 3 and ub is 3, expected lb below ub and neither 0"),
        ("Insanity", "insanity_param { lb: 0 }", [(3, 2)], "lb is 0 and ub is 10"),
    ],
)
def test_what_does_not_fit(kind: str, settings: str, shapes: list[tuple[int, ...]], expected: str) -> None:
    with pytest.raises(NetError, match=expected):
        layer_net(kind, settings, *shapes)


def test_two_more_that_do_not_fit() -> None:
    with pytest.raises(NetError, match="goes with global_scale: true"):
        layer_net("ChannelScale", "", (2, 3, 4), (2, 1, 4), tops=2)
    layer_net("RReLU", "rrelu_param { lb: -2 ub: 2 }", (3, 2), phase=TRAIN)
    with pytest.raises(NetError, match="no logarithmic mean"):
        layer_net("RReLU", "rrelu_param { lb: -2 ub: 2 }", (3, 2), phase=TEST)


def test_a_leaky_relu6() -> None:
    x = np.array([[-4, -0.5, 0.5, 5, 7, -70]])
    for slope, kind in ((0, ""), (0.25, "relu6_param { negative_slope: 0.25 }")):
        y = forward(layer_net("ReLU6", kind, x.shape), x)
        np.testing.assert_array_equal(y, np.minimum(np.where(x > 0, x, slope * x), 6))
