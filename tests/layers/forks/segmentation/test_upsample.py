"""Upsample, in both of its meanings."""

import numpy as np
import pytest
from runner import forward, gradients, layer_net

from caffelite.errors import DataError, NetError
from caffelite.net import Net
from caffelite.schema.text import net_from_text

SEGNET = """
force_backward: true
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 5 dim: 7 } } }
layer { name: "pool" type: "Pooling" bottom: "x" top: "p" top: "mask" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "up" type: "Upsample" bottom: "p" bottom: "mask" top: "y"
        upsample_param { scale: 2 pad_out_h: true pad_out_w: true } }
"""


def test_it_puts_back_what_a_pooling_layer_took() -> None:
    net = Net(net_from_text(SEGNET, "net.prototxt"), keep=True)
    x = np.random.default_rng(1).permutation(2 * 3 * 5 * 7).reshape(2, 3, 5, 7).astype(np.float32) + 1
    net.blobs["x"].data[...] = x
    net.forward()
    kept = np.zeros_like(x)
    for n, c, i, j in np.ndindex(2, 3, 3, 4):
        window = x[n, c, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        kept[n, c, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2] = np.where(window == window.max(), window, 0)
    np.testing.assert_array_equal(net.blobs["y"].data, kept)
    dy = np.random.default_rng(2).standard_normal(x.shape).astype(np.float32)
    net.blobs["y"].diff[...] = dy  # type: ignore[index]
    net.backward()
    np.testing.assert_array_equal(net.blobs["x"].diff, np.where(kept > 0, dy, 0))


@pytest.mark.parametrize(
    ("settings", "size"),
    [("upsample_h: 5 upsample_w: 6", (5, 6)), ("scale_h: 3 scale_w: 2", (6, 4)), ("", (4, 4)), ("scale: 4", (8, 8))],
)
def test_the_size_of_unpooling(settings: str, size: tuple[int, int]) -> None:
    net = layer_net("Upsample", f"upsample_param {{ {settings} }}", (1, 2, 2, 2), (1, 2, 2, 2))
    mask = np.array([[[0, 3], [5, 7]], [[15, 2], [1, 4]]])
    y = forward(net, np.arange(1, 9).reshape(1, 2, 2, 2), mask[None])
    expected = np.zeros((2, size[0] * size[1]))
    expected[0, [0, 3, 5, 7]] = [1, 2, 3, 4]
    expected[1, [15, 2, 1, 4]] = [5, 6, 7, 8]
    np.testing.assert_array_equal(y, expected.reshape(1, 2, *size))


@pytest.mark.parametrize("place", [16, -1, np.nan])
def test_a_place_outside_its_top(place: float) -> None:
    net = layer_net("Upsample", "", (1, 2, 2, 2), (1, 2, 2, 2))
    with pytest.raises(DataError, match=f'layer "L": place {place:g} does not lie in its top, which has 16'):
        forward(net, np.ones((1, 2, 2, 2)), np.array([0, 1, 2, 3, 4, 5, place, 7]).reshape(1, 2, 2, 2))
    assert forward(net, np.ones((1, 2, 2, 2)), np.arange(8).reshape(1, 2, 2, 2)).sum() == 8


def test_it_repeats() -> None:
    x = np.random.default_rng(3).standard_normal((2, 2, 3, 4)).astype(np.float32)
    net = layer_net("Upsample", "upsample_param { scale: 3 }", x.shape)
    np.testing.assert_array_equal(forward(net, x), x.repeat(3, 2).repeat(3, 3))
    dy = np.random.default_rng(4).standard_normal((2, 2, 9, 12)).astype(np.float32)
    np.testing.assert_allclose(gradients(net, dy)[0], dy.reshape(2, 2, 3, 3, 4, 3).sum((3, 5)), rtol=1e-4, atol=1e-5)
    net = layer_net("Upsample", "upsample_param { scale_h: 2 scale_w: 1 }", x.shape)
    np.testing.assert_array_equal(forward(net, x), x.repeat(2, 2))


@pytest.mark.parametrize(
    ("settings", "bottoms", "expected"),
    [
        ("", 1, "upsample_param needs scale"),
        ("upsample_h: 4 upsample_w: 4", 1, "upsample_h goes with a second bottom"),
        ("scale: 0", 1, "scale is 0, expected at least 1"),
        ("scale: 1", 2, "scale is 1, expected at least 2"),
        ("scale_h: 2", 2, "scale_h and scale_w go together"),
        ("scale: 2 scale_h: 2 scale_w: 2", 2, "give either scale or scale_h and scale_w"),
        ("scale: 3 pad_out_w: true", 2, "pad_out_w goes with a scale of 2, not 3"),
    ],
)
def test_settings_that_do_not_fit(settings: str, bottoms: int, expected: str) -> None:
    with pytest.raises(NetError, match=expected):
        layer_net("Upsample", f"upsample_param {{ {settings} }}", *[(1, 1, 2, 2)] * bottoms)


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(NetError, match="takes one place a value: 1×1×2×2, not 1×1×2×3"):
        layer_net("Upsample", "", (1, 1, 2, 2), (1, 1, 2, 3))
    with pytest.raises(NetError, match="takes maps, with a height and a width, not 3"):
        layer_net("Upsample", "upsample_param { scale: 2 }", (3,))
