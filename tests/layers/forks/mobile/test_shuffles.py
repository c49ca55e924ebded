"""ShuffleChannel, Reorg and Axpy, against loops."""

import numpy as np
import pytest
from runner import forward, gradients, layer_net

from caffelite.errors import NetError

RNG = np.random.default_rng(1)


def test_shuffle_channel() -> None:
    x = RNG.standard_normal((2, 6, 2, 3)).astype(np.float32)
    net = layer_net("ShuffleChannel", "shuffle_channel_param { group: 3 }", x.shape)
    order = [0, 2, 4, 1, 3, 5]
    np.testing.assert_array_equal(forward(net, x), x[:, order])
    dy = RNG.standard_normal(x.shape).astype(np.float32)
    np.testing.assert_array_equal(gradients(net, dy)[0][:, order], dy)


def darknet(x: np.ndarray, stride: int, reverse: bool) -> np.ndarray:
    images, channels, height, width = x.shape
    few = channels // stride**2
    y = np.zeros(x.size, x.dtype)
    flat = x.ravel()
    for n, k, j, i in np.ndindex(x.shape):
        here = i + width * (j + height * (k + channels * n))
        down, across = j * stride + k // few // stride, i * stride + k // few % stride
        there = across + width * stride * (down + height * stride * (k % few + few * n))
        if reverse:
            y[there] = flat[here]
        else:
            y[here] = flat[there]
    if reverse:
        return y.reshape(images, few, height * stride, width * stride)
    return y.reshape(images, channels * stride**2, height // stride, width // stride)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("stride", [1, 2])
def test_reorg(stride: int, reverse: bool) -> None:
    x = RNG.standard_normal((2, 8, 4, 6)).astype(np.float32)
    net = layer_net("Reorg", f"reorg_param {{ stride: {stride} reverse: {str(reverse).lower()} }}", x.shape)
    y = forward(net, x)
    np.testing.assert_array_equal(y, darknet(x, stride, reverse))
    np.testing.assert_array_equal(gradients(net, y)[0], x)


@pytest.mark.parametrize("a_shape", [(2, 3), (2, 3, 1, 1)])
def test_axpy(a_shape: tuple[int, ...]) -> None:
    a, x, y, dy = (RNG.standard_normal(shape) for shape in (a_shape, *[(2, 3, 4, 5)] * 3))
    net = layer_net("Axpy", "", a.shape, x.shape, y.shape)
    wide = a.reshape(2, 3, 1, 1)
    np.testing.assert_allclose(forward(net, a, x, y), wide * x + y, rtol=1e-5, atol=1e-6)
    da, dx, d_y = gradients(net, dy)
    np.testing.assert_allclose(da.reshape(2, 3), (dy * x).sum((2, 3)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(dx, wide * dy, rtol=1e-5)
    np.testing.assert_allclose(d_y, dy, rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "settings", "shapes", "expected"),
    [
        ("ShuffleChannel", "shuffle_channel_param { group: 0 }", [(1, 4)], "group is 0, expected at least 1"),
        ("ShuffleChannel", "shuffle_channel_param { group: 3 }", [(1, 4)], "that 3 groups share, not 1×4"),
        ("Reorg", "", [(1, 4, 2, 2)], "reorg_param needs stride"),
        ("Reorg", "reorg_param { stride: 2 }", [(1, 4, 2)], "takes a bottom of 4 axes"),
        ("Reorg", "reorg_param { stride: 2 }", [(1, 6, 2, 2)], "has 6 channels, which 2 × 2 does not divide"),
        ("Reorg", "reorg_param { stride: 2 }", [(1, 4, 2, 3)], "maps of 2×3 cannot be divided by stride 2"),
        ("Axpy", "", [(2, 3, 2, 1), (2, 3, 4, 5), (2, 3, 4, 5)], "one value for each map of 2×3×4×5, not 2×3×2×1"),
        ("Axpy", "", [(2, 3), (2, 3, 4, 5), (2, 3, 5, 4)], "must have the same shape, not 2×3×4×5 and 2×3×5×4"),
    ],
)
def test_what_does_not_fit(kind: str, settings: str, shapes: list[tuple[int, ...]], expected: str) -> None:
    with pytest.raises(NetError, match=expected):
        layer_net(kind, settings, *shapes)
