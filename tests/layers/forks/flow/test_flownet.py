"""FlowWarp, ChannelNorm, NegReLU and Mean, of FlowNet2."""

from pathlib import Path

import numpy as np
import pytest
from runner import forward, gradients, layer_net

from caffelite.errors import NetError
from caffelite.schema.blobs import write_blob

RNG = np.random.default_rng(1)


def test_flow_warp() -> None:
    x = RNG.standard_normal((2, 3, 4, 5))
    flow = RNG.uniform(-2, 2, (2, 2, 4, 5))
    flow[0, :, 1, 1] = [0, 0]
    flow[0, 0, 2, 2] = np.nan
    flow[1, :, 0, 4] = [0.5, 0.25]  # between the last column and nothing
    expected = np.zeros(x.shape)
    outside = np.zeros((2, 4, 5), bool)
    for n, i, j in np.ndindex(2, 4, 5):
        across, down = j + flow[n, 0, i, j], i + flow[n, 1, i, j]
        if not (0 <= across < 5 and 0 <= down < 4):
            outside[n, i, j] = True
            continue
        image = np.pad(x[n], ((0, 0), (0, 1), (0, 1)), mode="edge")
        left, top = int(across), int(down)
        weights = np.outer([1 - down + top, down - top], [1 - across + left, across - left])
        expected[n, :, i, j] = (image[:, top : top + 2, left : left + 2] * weights).sum((1, 2))
    assert outside.any()
    y = forward(layer_net("FlowWarp", "", x.shape, flow.shape), x, flow)
    np.testing.assert_allclose(y, expected, atol=1e-5)
    y = forward(layer_net("FlowWarp", "flow_warp_param { fill_value: NOT_A_NUMBER }", x.shape, flow.shape), x, flow)
    np.testing.assert_array_equal(np.isnan(y).all(1), outside)


def test_what_comes_from_outside_has_no_gradient() -> None:
    net = layer_net("FlowWarp", "", (1, 1, 2, 2), (1, 2, 2, 2))
    flow = np.zeros((1, 2, 2, 2))
    flow[0, 0, 0] = [-1, np.nan]
    forward(net, np.ones((1, 1, 2, 2)), flow)
    dx, dflow = gradients(net, np.ones((1, 1, 2, 2)))
    np.testing.assert_array_equal(dx[0, 0], [[0, 0], [1, 1]])
    assert not dflow.any()


def test_channel_norm() -> None:
    x = RNG.standard_normal((2, 3, 4, 5))
    x[0, :, 0, 0] = 0
    net = layer_net("ChannelNorm", "", x.shape)
    y = forward(net, x)
    np.testing.assert_allclose(y, np.sqrt((x**2).sum(1, keepdims=True)), rtol=1e-5)
    dy = RNG.standard_normal(y.shape)
    np.testing.assert_allclose(gradients(net, dy)[0], dy * x / (y + 1e-9), rtol=1e-4, atol=1e-6)


def test_neg_relu() -> None:
    x = np.array([[-2, -0.5, 0.5, 2]])
    np.testing.assert_allclose(forward(layer_net("NegReLU", "", x.shape), x), [[-2, -0.5, 0, 0]])
    y = forward(layer_net("NegReLU", "relu_param { negative_slope: 0.1 }", x.shape), x)
    np.testing.assert_allclose(y, [[-2, -0.5, 0.05, 0.2]])


def test_mean_of_values() -> None:
    x = RNG.standard_normal((2, 4, 2, 3))
    settings = "mean_param { operation: SUBTRACT value: 2 value: 3 input_scale: 0.5 mean_scale: 0.1 output_scale: 4 }"
    net = layer_net("Mean", settings, x.shape)
    mean = np.array([2, 3, 2, 3]).reshape(4, 1, 1)
    np.testing.assert_allclose(forward(net, x), 4 * (0.5 * x - 0.1 * mean), rtol=1e-5, atol=1e-6)


def test_mean_from_a_file(tmp_path: Path) -> None:
    mean = RNG.standard_normal((1, 2, 2, 3)).astype(np.float32)
    write_blob(tmp_path / "mean.binaryproto", mean)
    settings = f'mean_param {{ operation: ADD file: "{tmp_path}/mean.binaryproto" }}'
    x, other = RNG.standard_normal((2, 4, 2, 3)), RNG.standard_normal((1, 2, 2, 3))
    net = layer_net("Mean", settings, x.shape, other.shape, tops=2)
    np.testing.assert_allclose(forward(net, x, other), x + np.tile(mean, (1, 2, 1, 1)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(net.blobs["y1"].data, other + mean, rtol=1e-5, atol=1e-6)
    with pytest.raises(NetError, match="its mean of 2×2×3 does not fit 2×4×2×4"):
        layer_net("Mean", settings, (2, 4, 2, 4))
    write_blob(tmp_path / "mean.binaryproto", np.zeros(3, np.float32))
    with pytest.raises(NetError, match="its mean of 1×1×3 does not fit 2×4×2×4"):
        layer_net("Mean", settings, (2, 4, 2, 4))


@pytest.mark.parametrize(
    ("kind", "settings", "shapes", "expected"),
    [
        ("FlowWarp", "", [(1, 3, 4, 4), (1, 2, 4, 5)], "not 1×3×4×4 and 1×2×4×5"),
        ("ChannelNorm", "", [(3,)], "takes a bottom with a channel axis"),
        ("Mean", "mean_param { value: 1 }", [(1, 3, 4, 4)], "needs operation, ADD or SUBTRACT"),
        ("Mean", "mean_param { operation: ADD }", [(1, 3, 4, 4)], "needs either file or value"),
        (
            "Mean",
            'mean_param { operation: ADD file: "no.binaryproto" }',
            [(1, 3, 4, 4)],
            "file: no.binaryproto: No such",
        ),
        ("Mean", "mean_param { operation: ADD value: 1 value: 2 }", [(1, 3, 4, 4)], "of 2×1×1 does not fit 1×3×4×4"),
    ],
)
def test_what_does_not_fit(kind: str, settings: str, shapes: list[tuple[int, ...]], expected: str) -> None:
    with pytest.raises(NetError, match=expected):
        layer_net(kind, settings, *shapes)
