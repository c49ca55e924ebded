"""DeformableConvolution against one tap at a time, after what the makefile/frcnn fork computes."""

from typing import Any

import numpy as np
import pytest
from runner import layer_net

from caffelite.errors import NetError
from caffelite.words import TEST


def at(x: np.ndarray, h: float, w: float) -> np.ndarray:
    """Return the values of all channels at a place between four."""
    height, width = x.shape[1:]
    if not (0 <= h < height and 0 <= w < width):
        return np.zeros(len(x))
    h, w = min(h, height - 1), min(w, width - 1)
    total = np.zeros(len(x))
    for i in range(height):
        for j in range(width):
            total += max(1 - abs(h - i), 0) * max(1 - abs(w - j), 0) * x[:, i, j]
    return total


def deformed(
    x: np.ndarray,
    offsets: np.ndarray,
    w: np.ndarray,
    b: Any,
    groups: int,
    parts: int,
    stride: Any = (1, 1),
    pad: Any = (0, 0),
    dilation: Any = (1, 1),
) -> np.ndarray:
    outputs, _, kernel_h, kernel_w = w.shape
    images, channels = x.shape[:2]
    y = np.zeros((images, outputs, *offsets.shape[2:])) + np.reshape(b, (1, -1, 1, 1))
    for n, h, v in np.ndindex(images, *offsets.shape[2:]):
        for tap, (i, j) in enumerate(np.ndindex(kernel_h, kernel_w)):
            for part in range(parts):
                mine = slice(part * channels // parts, (part + 1) * channels // parts)
                down, right = offsets[n, 2 * (part * kernel_h * kernel_w + tap) :, h, v][:2]
                values = np.zeros(channels)
                values[mine] = at(
                    x[n, mine],
                    h * stride[0] - pad[0] + i * dilation[0] + down,
                    v * stride[1] - pad[1] + j * dilation[1] + right,
                )
                for o in range(outputs):
                    first = o // (outputs // groups) * (channels // groups)
                    y[n, o, h, v] += w[o, :, i, j] @ values[first : first + channels // groups]
    return y


@pytest.mark.parametrize(
    ("settings", "group", "parts", "facts"),
    [
        ("kernel_size: 3 pad: 1", 1, 2, {"pad": (1, 1)}),
        ("kernel_size: 3 pad: 2 dilation: 2 group: 2", 2, 4, {"pad": (2, 2), "dilation": (2, 2)}),
        (
            "kernel_h: 1 kernel_w: 2 stride_h: 2 stride_w: 1 pad_h: 0 pad_w: 1 bias_term: false",
            1,
            1,
            {"stride": (2, 1), "pad": (0, 1)},
        ),
        ("kernel_size: 1", 1, 4, {}),
    ],
)
def test_values(settings: str, group: int, parts: int, facts: dict[str, Any]) -> None:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((2, 4, 5, 6)).astype(np.float32)
    kernel = (1, 2) if "kernel_h" in settings else (3, 3) if "3" in settings else (1, 1)
    size = (3, 7) if "stride" in settings else (5, 6)
    offsets = 1.5 * rng.standard_normal((2, 2 * parts * kernel[0] * kernel[1], *size)).astype(np.float32)
    offsets[0, :, 1, 2] = 0
    offsets[1, :, 2, 2] = 1
    more = f"num_output: 6 weight_filler {{ type: 'gaussian' }} deformable_group: {'' if parts == 4 else parts}"
    more = more.removesuffix("deformable_group: ")
    net = layer_net(
        "DeformableConvolution",
        f"deformable_convolution_param {{ {settings} {more} }}",
        x,
        offsets,
        phase=TEST,
        force=False,
    )
    blobs = [blob.data for blob in net.params["L"]]
    for blob in blobs:
        blob[...] = rng.standard_normal(blob.shape)
    net.forward()
    expected = deformed(x, offsets, blobs[0], blobs[1] if len(blobs) > 1 else 0, group, parts, **facts)
    np.testing.assert_allclose(net.blobs["y0"].data, expected, rtol=1e-4, atol=1e-4)


def test_without_offsets_it_is_a_convolution() -> None:
    rng = np.random.default_rng(4)
    x, offsets = rng.standard_normal((2, 4, 7, 6)), np.zeros((2, 18, 7, 6))
    text = "num_output: 5 kernel_size: 3 pad: 1"
    nets = [
        layer_net(
            "DeformableConvolution",
            f"deformable_convolution_param {{ {text} deformable_group: 1 }}",
            x,
            offsets,
            phase=TEST,
            force=False,
        ),
        layer_net("Convolution", f"convolution_param {{ {text} }}", x, phase=TEST, force=False),
    ]
    w = rng.standard_normal((5, 4, 3, 3))
    for net in nets:
        net.params["L"][0].data[...] = w
        net.forward()
    np.testing.assert_allclose(nets[0].blobs["y0"].data, nets[1].blobs["y0"].data, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e30, -1e30])
def test_offsets_out_of_the_map_see_nothing(wrong: float) -> None:
    net = layer_net(
        "DeformableConvolution",
        "deformable_convolution_param { num_output: 1 kernel_size: 1 }",
        np.ones((1, 4, 3, 3)),
        np.full((1, 8, 3, 3), wrong),
        phase=TEST,
        force=False,
    )
    net.params["L"][0].data[...] = 1
    net.forward()
    assert not net.blobs["y0"].data.any()


@pytest.mark.parametrize(
    ("settings", "shapes", "expected"),
    [
        ("kernel_size: 3", [(1, 4, 5, 5), (1, 72, 3, 3)], "deformable_convolution_param needs num_output"),
        ("num_output: 2", [(1, 4, 5, 5), (1, 72, 3, 3)], "deformable_convolution_param needs kernel_size"),
        (
            "num_output: 2 kernel_size: 3",
            [(1, 6, 5, 5), (1, 72, 3, 3)],
            "6 channels are not divisible by deformable_group 4",
        ),
        ("num_output: 2 kernel_size: 3 deformable_group: 0", [(1, 6, 5, 5), (1, 72, 3, 3)], "by deformable_group 0"),
        (
            "num_output: 2 kernel_size: 3",
            [(1, 4, 5, 5), (1, 72, 5, 5)],
            "9 taps and 4 groups need offsets of 1×72×3×3, not 1×72×5×5",
        ),
        (
            "num_output: 2 kernel_size: 3",
            [(4, 5, 5), (1, 72, 3, 3)],
            "takes N×C×H×W with axis 1, not 4×5×5 with axis 1",
        ),
    ],
)
def test_what_does_not_fit(settings: str, shapes: list[tuple[int, ...]], expected: str) -> None:
    with pytest.raises(NetError, match=expected):
        layer_net(
            "DeformableConvolution",
            f"deformable_convolution_param {{ {settings} }}",
            *[np.zeros(s) for s in shapes],
            phase=TEST,
            force=False,
        )
