"""Local, against loops."""

import numpy as np
import pytest
from runner import forward, layer_net

from caffelite.errors import NetError

RNG = np.random.default_rng(17)
X = RNG.standard_normal((2, 3, 6, 5))


@pytest.mark.parametrize(
    ("size", "stride", "pad", "bias"), [(3, 1, 0, True), (3, 2, 1, True), (2, 3, 2, False), (5, 1, 3, False)]
)
def test_local(size: int, stride: int, pad: int, bias: bool) -> None:
    settings = f"num_output: 4 kernel_size: {size} stride: {stride} pad: {pad} bias_term: {str(bias).lower()}"
    net = layer_net("Local", f"local_param {{ {settings} }}", X.shape)
    padded = np.pad(X, [(0, 0), (0, 0), (pad, pad), (pad, pad)])
    height, width = ((n - size) // stride + 1 for n in padded.shape[2:])
    for blob in net.params["L"]:
        blob.data[...] = RNG.standard_normal(blob.shape)
    shapes = [blob.shape for blob in net.params["L"]]
    assert shapes == [(4, 1, 3 * size * size, height * width), (1, 1, 4, height * width)][: 1 + bias]
    w = net.params["L"][0].data
    expected = np.zeros((2, 4, height, width))
    for i, j in np.ndindex(height, width):
        window = padded[:, :, i * stride : i * stride + size, j * stride : j * stride + size].reshape(2, -1)
        expected[:, :, i, j] = window @ w[:, 0, :, i * width + j].T
    if bias:
        expected += net.params["L"][1].data.reshape(4, height, width)
    np.testing.assert_allclose(forward(net, X), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "shape", "expected"),
    [
        ("", X.shape, "needs num_output of at least 1"),
        ("num_output: 2", X.shape, "needs kernel_size of at least 1"),
        ("num_output: 2 kernel_size: 2 stride: 0", X.shape, "needs stride of at least 1"),
        ("num_output: 2 kernel_size: 8 pad: 1", X.shape, "a kernel of 8 does not fit into 6×5 with pad 1"),
        ("num_output: 2 kernel_size: 2", (2, 3, 4), "takes a bottom of 4 axes"),
    ],
)
def test_what_does_not_fit(settings: str, shape: tuple[int, ...], expected: str) -> None:
    with pytest.raises(NetError, match=expected):
        layer_net("Local", f"local_param {{ {settings} }}", shape)
