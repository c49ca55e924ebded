"""Interp, against bilinear interpolation written out."""

import numpy as np
import pytest
from runner import forward, layer_net

from caffelite.errors import NetError


def align_corners(x: np.ndarray, height: int, width: int) -> np.ndarray:
    rows = np.arange(x.shape[-2])
    columns = np.arange(x.shape[-1])
    down = np.linspace(0, x.shape[-2] - 1, height) if height > 1 else [0]
    across = np.linspace(0, x.shape[-1] - 1, width) if width > 1 else [0]
    x = np.apply_along_axis(lambda line: np.interp(down, rows, line), -2, x)
    return np.apply_along_axis(lambda line: np.interp(across, columns, line), -1, x)


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ("height: 11 width: 9", (11, 9)),
        ("height: 1 width: 3", (1, 3)),
        ("zoom_factor: 8", (41, 33)),
        ("shrink_factor: 2", (3, 3)),
        ("shrink_factor: 2 zoom_factor: 3", (7, 7)),
        ("height: 4 width: 7 zoom_factor: 2", (11, 9)),
        ("height: 4 width: 7 zoom_factor: 2 shrink_factor: 3", (4, 7)),
        ("height: 6 width: 5", (6, 5)),
    ],
)
def test_sizes_and_values(settings: str, size: tuple[int, int]) -> None:
    x = np.random.default_rng(1).standard_normal((2, 3, 6, 5))
    y = forward(layer_net("Interp", f"interp_param {{ {settings} }}", x.shape), x)
    assert y.shape == (2, 3, *size)
    np.testing.assert_allclose(y, align_corners(x, *size), atol=1e-5)


def test_it_cuts_off() -> None:
    x = np.random.default_rng(2).standard_normal((1, 2, 6, 7))
    net = layer_net("Interp", "interp_param { pad_beg: -1 pad_end: -2 zoom_factor: 2 }", x.shape)
    np.testing.assert_allclose(forward(net, x), align_corners(x[:, :, 1:-2, 1:-2], 5, 7), atol=1e-5)


def test_the_size_of_a_second_bottom() -> None:
    x = np.random.default_rng(3).standard_normal((1, 2, 4, 4))
    y = forward(layer_net("Interp", "", x.shape, (1, 1, 9, 6)), x)
    np.testing.assert_allclose(y, align_corners(x, 9, 6), atol=1e-5)


def test_nearest() -> None:
    x = np.arange(4).reshape(1, 1, 1, 4)
    net = layer_net("Interp", "interp_param { height: 1 width: 7 mode: NEAREST }", x.shape)
    assert forward(net, x).ravel().tolist() == [0, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("height: 3", "interp_param needs height and width, or zoom_factor"),
        ("zoom_factor: 0", "zoom_factor is 0, expected at least 1"),
        ("zoom_factor: 2 pad_beg: 1", "pad_beg is 1, expected 0 or below"),
        ("zoom_factor: 2 pad_beg: -4", "cut off 4, which leaves nothing of 1×1×4×4"),
    ],
)
def test_what_does_not_fit(settings: str, expected: str) -> None:
    with pytest.raises(NetError, match=expected):
        layer_net("Interp", f"interp_param {{ {settings} }}", (1, 1, 4, 4))


def test_a_second_bottom_and_a_size_do_not_go_together() -> None:
    with pytest.raises(NetError, match="its second bottom gives the size, so it takes no height"):
        layer_net("Interp", "interp_param { height: 3 width: 3 }", (1, 1, 4, 4), (1, 1, 5, 5))
    with pytest.raises(NetError, match="takes maps, with a height and a width, not 4"):
        layer_net("Interp", "interp_param { height: 3 width: 3 }", (4,))
