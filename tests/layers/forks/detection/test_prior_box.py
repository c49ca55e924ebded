"""Permute, Normalize and PriorBox against plain NumPy, after what the SSD fork computes."""

import math

import numpy as np
import pytest
from runner import layer_net, outputs

from caffelite.errors import NetError
from caffelite.words import TEST


@pytest.mark.parametrize(("order", "full"), [([], [0, 1, 2, 3]), ([0, 2, 3, 1], [0, 2, 3, 1]), ([3, 1], [3, 1, 0, 2])])
def test_permute(order: list[int], full: list[int]) -> None:
    x = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    (y,) = outputs(
        layer_net("Permute", f"permute_param {{ order: {order} }}" if order else "", x, phase=TEST, force=False)
    )
    np.testing.assert_array_equal(y, x.transpose(full))


@pytest.mark.parametrize(
    ("order", "expected"), [("[1, 1]", "order names axis 1 twice"), ("[0, 4]", "order names axis 4, which a bottom")]
)
def test_orders_that_cannot_be(order: str, expected: str) -> None:
    with pytest.raises(NetError, match=expected):
        layer_net("Permute", f"permute_param {{ order: {order} }}", np.zeros((2, 3, 4)), phase=TEST, force=False)


@pytest.mark.parametrize("across", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_normalize(across: bool, shared: bool) -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((2, 3, 4, 5))
    scale = rng.uniform(1, 3, (1 if shared else 3, 1, 1))
    settings = f"across_spatial: {across} channel_shared: {shared} eps: 0.01".lower()
    net = layer_net("Normalize", f"norm_param {{ {settings} }}", x, phase=0, force=False)
    assert (net.params["L"][0].data == 1).all()
    assert net.params["L"][0].shape == (() if shared else (3,))
    net.params["L"][0].data.reshape(-1)[:] = scale.reshape(-1)
    net.forward()
    axes = (1, 2, 3) if across else (1,)
    norm = np.sqrt((x * x).sum(axes, keepdims=True) + 0.01)
    np.testing.assert_allclose(net.blobs["y0"].data, scale * x / norm, rtol=1e-5)


def test_the_gradient_of_normalize_is_that_of_ssd_where_scales_differ() -> None:
    rng = np.random.default_rng(2)
    x, dy = rng.standard_normal((2, 2, 3, 4, 5))
    scale = np.array([1, 2, 4.0]).reshape(3, 1, 1)
    net = layer_net("Normalize", "norm_param { across_spatial: false channel_shared: false }", x, phase=0)
    net.params["L"][0].data[:] = scale.reshape(-1)
    net.forward()
    net.blobs["y0"].diff[...] = dy  # type: ignore[index]
    net.zero_grad()
    net.backward()
    norm = np.sqrt((x * x).sum(1, keepdims=True))
    expected = scale / norm * (dy - x * (x * dy).sum(1, keepdims=True) / norm**2)
    np.testing.assert_allclose(net.blobs["x0"].diff, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(net.params["L"][0].diff, (x / norm * dy).sum((0, 2, 3)), rtol=1e-4)


def test_normalize_of_another_fork() -> None:
    with pytest.raises(NetError, match="norm_param and normalize_param belong to different forks' Normalize layers"):
        layer_net("Normalize", "normalize_param { } norm_param { }", np.zeros((1, 2)), phase=TEST, force=False)
    with pytest.raises(NetError, match='normalize_type is "L3", expected "L1" or "L2"'):
        layer_net("Normalize", 'normalize_param { normalize_type: "L3" }', np.zeros((1, 2)), phase=TEST, force=False)
    with pytest.raises(NetError, match="at least 2 axes"):
        layer_net("Normalize", "", np.zeros(3), phase=TEST, force=False)


def naive_priors(height, width, image_h, image_w, sides, step_h, step_w, offset=0.5):  # type: ignore[no-untyped-def]
    found = []
    for h in range(height):
        for w in range(width):
            x, y = (w + offset) * step_w, (h + offset) * step_h
            for bw, bh in sides:
                found.append(
                    [(x - bw / 2) / image_w, (y - bh / 2) / image_h, (x + bw / 2) / image_w, (y + bh / 2) / image_h]
                )
    return np.array(found)


def test_priors_with_all_settings() -> None:
    features, image = np.zeros((2, 3, 2, 3)), np.zeros((2, 3, 60, 90))
    settings = "prior_box_param { min_size: 10.9 min_size: 20 max_size: 30 max_size: 45.5 aspect_ratio: 2 "
    settings += "aspect_ratio: 0.5 aspect_ratio: 1 aspect_ratio: 3 variance: [0.1, 0.2, 0.3, 0.4] }"
    (y,) = outputs(layer_net("PriorBox", settings, features, image, phase=TEST, force=False))
    sides = []
    for low, high in ((10, 30), (20, 45)):
        sides += [(low, low), (math.sqrt(low * high),) * 2]
        sides += [(low * math.sqrt(r), low / math.sqrt(r)) for r in (2, 1 / 2, 3, 1 / 3)]
    expected = naive_priors(2, 3, 60, 90, sides, 30, 30)
    assert y.shape == (1, 2, expected.size)
    np.testing.assert_allclose(y[0, 0].reshape(-1, 4), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(y[0, 1].reshape(-1, 4), np.tile(np.float32([0.1, 0.2, 0.3, 0.4]), (len(expected), 1)))


def test_priors_with_a_size_and_a_step_of_their_own() -> None:
    features, image = np.zeros((1, 1, 2, 2)), np.zeros((1, 3))
    settings = "prior_box_param { min_size: 8 aspect_ratio: 2 flip: false clip: true img_h: 16 img_w: 32 "
    settings += "step_h: 8 step_w: 10 offset: 0.25 }"
    (y,) = outputs(layer_net("PriorBox", settings, features, image, phase=TEST, force=False))
    expected = naive_priors(2, 2, 16, 32, [(8, 8), (8 * math.sqrt(2), 8 / math.sqrt(2))], 8, 10, 0.25)
    assert (expected < 0).any()
    np.testing.assert_allclose(y[0, 0].reshape(-1, 4), expected.clip(0, 1), rtol=1e-5, atol=1e-6)
    assert (y[0, 1] == np.float32(0.1)).all()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("", "needs min_size"),
        ("min_size: 0", "min_size is 0, expected at least 1"),
        ("min_size: 4 max_size: [5, 6]", "max_size is given 2 times, min_size 1 times"),
        ("min_size: 4 max_size: 4", "max_size is 4, expected more than min_size, 4"),
        ("min_size: 4 variance: [1, 2]", "variance is given 2 times"),
        ("min_size: 4 variance: -1", "variance is -1, expected above 0"),
        ("min_size: 4 aspect_ratio: 0", "aspect_ratio is 0, expected above 0"),
        ("min_size: 4 img_size: 3 img_h: 3", "either img_size or img_h and img_w"),
        ("min_size: 4 img_h: 3", "img_w is 0, expected above 0"),
        ("min_size: 4 step: 0", "step is 0, expected above 0"),
        ("min_size: 4", "takes an image of 4 axes"),
    ],
)
def test_prior_settings_that_do_not_fit(settings: str, expected: str) -> None:
    with pytest.raises(NetError, match=expected):
        layer_net(
            "PriorBox",
            f"prior_box_param {{ {settings} }}",
            np.zeros((1, 2, 3, 4)),
            np.zeros((1, 2)),
            phase=TEST,
            force=False,
        )
