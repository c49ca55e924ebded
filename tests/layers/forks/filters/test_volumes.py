"""Convolution3D, NdConvolution, Pooling3D and NdPooling, against loops."""

import math

import numpy as np
import pytest
from runner import forward, gradients, layer_net

from caffelite.errors import NetError
from caffelite.net import Net
from caffelite.schema.text import net_from_text
from caffelite.words import TEST

RNG = np.random.default_rng(13)
X = RNG.standard_normal((2, 3, 5, 6, 7))


def convolved(x: np.ndarray, w: np.ndarray, b: np.ndarray, stride: list[int], pad: list[int]) -> np.ndarray:
    x = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in pad)])
    kernel = w.shape[2:]
    out = [(n - k) // s + 1 for n, k, s in zip(x.shape[2:], kernel, stride, strict=True)]
    y = np.zeros((len(x), len(w), *out))
    for place in np.ndindex(*out):
        window = tuple(slice(i * s, i * s + k) for i, s, k in zip(place, stride, kernel, strict=True))
        y[(slice(None), slice(None), *place)] = np.einsum("nckhw,ockhw->no", x[(slice(None), slice(None), *window)], w)
    return y + b.reshape(-1, 1, 1, 1)


def check_convolution(kind: str, settings: str, stride: list[int], pad: list[int]) -> Net:
    net = layer_net(kind, settings, X.shape)
    for blob in net.params["L"]:
        blob.data[...] = RNG.standard_normal(blob.shape)
    w, b = (np.array(blob.data) for blob in net.params["L"])
    np.testing.assert_allclose(forward(net, X), convolved(X, w, b, stride, pad), rtol=1e-4, atol=1e-4)
    return net


def test_convolution() -> None:
    sizes = "num_output: 4 kernel_size: 3 kernel_depth: 2 stride: 2 temporal_stride: 1 pad: 1 temporal_pad: 1"
    net = check_convolution("Convolution3D", f"convolution3d_param {{ {sizes} filter_group: 2 }}", [1, 2, 2], [1, 1, 1])
    weights, bias = net.params["L"]
    assert weights.shape == (4, 3, 2, 3, 3)
    # As in C3D 1.0.
    check_convolution("Convolution3D", f"convolution_param {{ {sizes} }}", [1, 2, 2], [1, 1, 1])
    check_convolution(
        "Convolution3D", "convolution_param { num_output: 2 kernel_size: 3 kernel_depth: 2 }", [1, 1, 1], [0, 0, 0]
    )
    blobs = net.layers[-1].convert_blobs([weights.data, bias.data.reshape(1, 1, 1, 1, 4)], "f")
    assert blobs[1].shape == (4,)


def test_a_convolution_in_winograds_way() -> None:
    """Filters of 3 × 3 × 3 over maps that are large enough for fewer multiplications."""
    x = RNG.standard_normal((1, 3, 4, 10, 10))
    net = layer_net("Convolution", "convolution_param { num_output: 64 kernel_size: 3 pad: 1 }", x.shape)
    for blob in net.params["L"]:
        blob.data[...] = RNG.standard_normal(blob.shape)
    w, b = (np.array(blob.data) for blob in net.params["L"])
    y = convolved(x, w, b, [1, 1, 1], [1, 1, 1])
    np.testing.assert_allclose(forward(net, x), y, rtol=1e-4, atol=1e-4)
    dy = RNG.standard_normal(y.shape)
    dx, dw, _ = gradients(net, dy)
    # y is linear in x and in w, so that its product with dy is the same as theirs with their gradients.
    product = float((dy * (y - b.reshape(-1, 1, 1, 1))).sum())
    np.testing.assert_allclose([(dx * x).sum(), (dw * w).sum()], product, rtol=1e-3)


def test_nd_convolution() -> None:
    settings = """convolution_param { num_output: 4 kernel_shape { dim: 2 dim: 3 dim: 1 }
                  stride_shape { dim: 1 dim: 2 dim: 3 } pad_shape { dim: 1 dim: 0 dim: 0 } }"""
    check_convolution("NdConvolution", settings, [1, 2, 3], [1, 0, 0])
    net = layer_net(
        "NdConvolution", "convolution_param { num_output: 2 kernel_shape { dim: 5 dim: 3 dim: 7 } }", X.shape
    )
    assert forward(net, X).shape == (2, 2, 4)  # axes of size 1 are left out
    net = layer_net("NdConvolution", "convolution_param { num_output: 2 kernel_shape { dim: 3 dim: 2 } }", (1, 2, 5, 4))
    assert net.blobs["y0"].shape == (1, 2, 3, 3)


def pooled(
    x: np.ndarray, kind: str, kernel: list[int], stride: list[int], pad: list[int], every: bool = True
) -> np.ndarray:
    size = x.shape[2:]
    out = []
    for n, k, s, p in zip(size, kernel, stride, pad, strict=True):
        many = math.ceil((n + 2 * p - k) / s) + 1
        out.append(many - (not every and p > 0 and (many - 1) * s >= n + p))
    y = np.zeros((*x.shape[:2], *out))
    for place in np.ndindex(*out):
        starts = [i * s - p for i, s, p in zip(place, stride, pad, strict=True)]
        ends = [min(a + k, n + p) for a, k, n, p in zip(starts, kernel, size, pad, strict=True)]
        window = x[
            (
                slice(None),
                slice(None),
                *(slice(max(a, 0), min(e, n)) for a, e, n in zip(starts, ends, size, strict=True)),
            )
        ]
        flat = window.reshape(*x.shape[:2], -1)
        divisor = math.prod(e - a for a, e in zip(starts, ends, strict=True))
        y[(slice(None), slice(None), *place)] = flat.max(2) if kind == "MAX" else flat.sum(2) / divisor
    return y


@pytest.mark.parametrize(
    ("kind", "kernel", "stride", "pad", "settings"),
    [
        ("MAX", [2, 2, 2], [2, 2, 2], [0, 0, 0], "kernel_size: 2 kernel_depth: 2 stride: 2 temporal_stride: 2"),
        ("MAX", [1, 3, 3], [1, 2, 2], [0, 0, 0], "kernel_size: 3 kernel_depth: 1 stride: 2"),
        ("MAX", [2, 3, 3], [1, 1, 1], [0, 0, 0], "kernel_size: 3 kernel_depth: 2"),
        ("AVE", [2, 3, 3], [2, 2, 2], [0, 1, 1], "kernel_size: 3 kernel_depth: 2 stride: 2 temporal_stride: 2 pad: 1"),
        (
            "AVE",
            [3, 2, 2],
            [2, 2, 2],
            [1, 0, 0],
            "kernel_size: 2 kernel_depth: 3 stride: 2 temporal_stride: 2 temporal_pad: 1",
        ),
        ("AVE", [2, 2, 2], [1, 2, 2], [0, 1, 1], "kernel_size: 2 kernel_depth: 2 stride: 2 pad: 1"),
    ],
)
def test_pooling(kind: str, kernel: list[int], stride: list[int], pad: list[int], settings: str) -> None:
    net = layer_net("Pooling3D", f"pooling3d_param {{ pool: {kind} {settings} }}", X.shape)
    np.testing.assert_allclose(forward(net, X), pooled(X, kind, kernel, stride, pad), rtol=1e-5, atol=1e-6)
    if "temporal_pad" not in settings:  # which C3D 1.0 does not have
        net = layer_net("Pooling3D", f"pooling_param {{ pool: {kind} {settings} }}", X.shape)
        np.testing.assert_allclose(forward(net, X), pooled(X, kind, kernel, stride, pad), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["MAX", "AVE"])
def test_nd_pooling(kind: str) -> None:
    settings = """pooling_param { pool: %s kernel_shape { dim: 2 dim: 3 dim: 2 } stride_shape { dim: 2 dim: 1 dim: 2 }
                  pad_shape { dim: 1 dim: 1 dim: 1 } }"""
    expected = pooled(X, kind, [2, 3, 2], [2, 1, 2], [1, 1, 1], every=False)
    np.testing.assert_allclose(
        forward(layer_net("NdPooling", settings % kind, X.shape), X), expected, rtol=1e-5, atol=1e-6
    )
    net = layer_net("NdPooling", f"pooling_param {{ pool: {kind} global_pooling: true }}", X.shape)
    reduce = np.max if kind == "MAX" else np.mean
    np.testing.assert_allclose(forward(net, X), reduce(X, axis=(2, 3, 4), keepdims=True), rtol=1e-4, atol=1e-6)
    maps = X[:, 0]
    net = layer_net("NdPooling", f"pooling_param {{ pool: {kind} kernel_shape {{ dim: 2 dim: 3 }} }}", maps.shape)
    expected = pooled(maps[:, :, None], kind, [1, 2, 3], [1, 1, 1], [0, 0, 0])[:, :, 0]
    np.testing.assert_allclose(forward(net, maps), expected, rtol=1e-5, atol=1e-6)


def test_the_largest_of_equals_gets_the_gradient_once() -> None:
    net = layer_net("Pooling3D", "pooling3d_param { kernel_size: 2 kernel_depth: 2 }", (1, 1, 2, 2, 2))
    forward(net, np.ones((1, 1, 2, 2, 2)))
    assert gradients(net, np.array(3.0))[0].reshape(-1).tolist() == [3, 0, 0, 0, 0, 0, 0, 0]


def test_a_net_of_c3d_1_0() -> None:
    text = """input: "data" input_shape { dim: 1 dim: 3 dim: 4 dim: 8 dim: 8 }
    layers { name: "conv" type: CONVOLUTION3D bottom: "data" top: "conv" blobs_lr: 1 blobs_lr: 2
             convolution_param { num_output: 4 kernel_size: 3 kernel_depth: 3 pad: 1 temporal_pad: 1
                                 weight_filler { type: "gaussian" std: 0.01 } bias_filler { type: "constant" value: 1 } } }
    layers { name: "relu" type: RELU bottom: "conv" top: "conv" }
    layers { name: "pool" type: POOLING3D bottom: "conv" top: "pool"
             pooling_param { pool: MAX kernel_size: 2 kernel_depth: 1 stride: 2 temporal_stride: 1 } }
    layers { name: "fc" type: INNER_PRODUCT bottom: "pool" top: "fc" inner_product_param { num_output: 2 } }"""
    net = Net(net_from_text(text, "c3d.prototxt"), TEST, keep=True)
    assert net.blobs["pool"].shape == (1, 4, 4, 4, 4)
    np.testing.assert_array_equal(net.params["conv"][1].data, 1)
    assert np.isfinite(forward(net)).all()


@pytest.mark.parametrize(
    ("kind", "settings", "shape", "expected"),
    [
        ("Convolution3D", "", X.shape, "takes one kernel_size, not 0"),
        (
            "Convolution3D",
            "convolution3d_param { num_output: 2 kernel_size: 2 }",
            X.shape,
            "needs kernel_size and kernel_d",
        ),
        (
            "Convolution3D",
            "convolution_param { num_output: 2 kernel_size: 2 kernel_size: 2 }",
            X.shape,
            "takes one kernel_size, not 2",
        ),
        ("Convolution3D", "convolution3d_param { kernel_size: 2 kernel_depth: 2 }", X.shape, "needs num_output"),
        (
            "Convolution3D",
            "convolution3d_param { num_output: 1 kernel_size: 2 kernel_depth: 2 }",
            (1, 2, 3, 4),
            "takes a bottom of 5 axes",
        ),
        (
            "Convolution3D",
            "convolution3d_param { num_output: 1 kernel_size: 2 kernel_depth: 9 }",
            X.shape,
            "spans 9 does not fit into 5",
        ),
        ("NdConvolution", "convolution_param { num_output: 1 kernel_size: 2 }", X.shape, "needs kernel_shape"),
        (
            "NdConvolution",
            "convolution_param { num_output: 1 kernel_shape { dim: 2 dim: 2 } }",
            X.shape,
            "kernel_shape has 2 dims, which do not fit a bottom of shape 2×3×5×6×7",
        ),
        (
            "NdConvolution",
            "convolution_param { num_output: 1 kernel_shape { dim: 2 } pad_shape { dim: 1 dim: 1 } }",
            X.shape,
            "pad_shape has 2 dims, kernel_shape 1",
        ),
        (
            "NdConvolution",
            "convolution_param { num_output: 1 kernel_shape { dim: 2 } stride_shape { dim: 0 } }",
            X.shape,
            "stride_shape has a dim of 0, expected at least 1",
        ),
        ("Pooling3D", "", X.shape, "needs kernel_size and kernel_depth"),
        (
            "Pooling3D",
            "pooling3d_param { kernel_size: 2 kernel_depth: 2 pool: STOCHASTIC }",
            X.shape,
            "pool must be MAX or AVE",
        ),
        ("Pooling3D", "pooling3d_param { kernel_size: 2 kernel_depth: 2 pad: 1 }", X.shape, "a pad goes with pool AVE"),
        (
            "Pooling3D",
            "pooling3d_param { kernel_size: 2 kernel_depth: 2 stride: 0 }",
            X.shape,
            "stride and temporal_stride are 0 and 1",
        ),
        (
            "Pooling3D",
            "pooling3d_param { kernel_size: 2 kernel_depth: 2 pad: 2 pool: AVE }",
            X.shape,
            "pads 2 and 0 must be smaller than the kernel, 2 and 2",
        ),
        ("Pooling3D", "pooling3d_param { kernel_size: 2 kernel_depth: 2 }", (1, 2, 3, 4), "of 5 axes, not 1×2×3×4"),
        (
            "Pooling3D",
            "pooling3d_param { kernel_size: 2 kernel_depth: 7 }",
            X.shape,
            "a window of 7 does not fit into 5",
        ),
        ("NdPooling", "", X.shape, "needs a kernel_shape of 2 or 3 dims, not 0"),
        ("NdPooling", "pooling_param { global_pooling: true }", (1, 2), "of 4 or 5 axes, not 1×2"),
        ("NdPooling", "pooling_param { pool: STOCHASTIC }", X.shape, "pool must be MAX or AVE"),
        (
            "NdPooling",
            "pooling_param { kernel_shape { dim: 2 dim: 2 } pad_shape { dim: 0 dim: 2 } }",
            X.shape,
            "pad 2 must be smaller than the kernel, 2",
        ),
    ],
)
def test_what_does_not_fit(kind: str, settings: str, shape: tuple[int, ...], expected: str) -> None:
    with pytest.raises(NetError, match=expected):
        layer_net(kind, settings, shape)
