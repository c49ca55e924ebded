"""DepthwiseConvolution, and Convolution with a group a channel."""

import numpy as np
import pytest
from runner import forward, gradients, layer_net

from caffelite.errors import NetError

KERNEL = "kernel_size: 3 pad: 1 stride: 2"


def loops(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Stride 2, pad 1, kernel 3."""
    x = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    many = len(w) // x.shape[1]
    y = np.zeros((len(x), len(w), (x.shape[2] - 3) // 2 + 1, (x.shape[3] - 3) // 2 + 1))
    for n, o, i, j in np.ndindex(y.shape):
        y[n, o, i, j] = (x[n, o // many, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3] * w[o, 0]).sum() + b[o]
    return y


@pytest.mark.parametrize(
    ("kind", "settings", "outputs"),
    [
        ("DepthwiseConvolution", "num_output: 4 group: 4", 4),
        ("DepthwiseConvolution", "num_output: 8", 8),
        ("ConvolutionDepthwise", "num_output: 4", 4),
        ("ConvolutionDepthwise", "", 4),
        ("ConvolutionDepthwise", "num_output: 16", 16),
        ("Convolution", "num_output: 4 group: 4", 4),
        ("Convolution", "num_output: 8 group: 4", 8),
    ],
)
def test_values(kind: str, settings: str, outputs: int) -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((2, 4, 7, 6))
    net = layer_net(kind, f"convolution_param {{ {settings} {KERNEL} }}", x.shape)
    weights, bias = net.params["L"]
    assert weights.shape == (outputs, 1, 3, 3)
    weights.data[...], bias.data[...] = rng.standard_normal(weights.shape), rng.standard_normal(bias.shape)
    y = forward(net, x)
    np.testing.assert_allclose(y, loops(x, weights.data, bias.data), atol=1e-5)
    dy = rng.standard_normal(y.shape)
    np.testing.assert_allclose(gradients(net, dy)[2], dy.sum((0, 2, 3)), atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("num_output: 4 group: 2 kernel_size: 3", "group is 2, but its bottom has 4 channels"),
        ("num_output: 6 kernel_size: 3", "num_output 6 is not a multiple of its bottom's 4 channels"),
        ("num_output: 4", "needs kernel_size"),
    ],
)
def test_settings_that_do_not_fit(settings: str, expected: str) -> None:
    with pytest.raises(NetError, match=expected):
        layer_net("DepthwiseConvolution", f"convolution_param {{ {settings} }}", (2, 4, 7, 6))
