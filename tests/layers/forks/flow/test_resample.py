"""Resample, Downsample and Accum, against loops."""

import math

import numpy as np
import pytest
from runner import forward, gradients, layer_net

from caffelite.errors import NetError

RNG = np.random.default_rng(1)


def cubic(t: float) -> float:
    t = abs(t)
    if t <= 1:
        return 1.5 * t**3 - 2.5 * t**2 + 1
    return -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2 if t < 2 else 0


def triangle(t: float) -> float:
    return max(0, 1 - abs(t))


def away(t: float) -> int:
    return math.floor(t + 0.5) if t >= 0 else -math.floor(0.5 - t)


def loops(x: np.ndarray, height: int, width: int, kind: str, antialias: bool) -> np.ndarray:
    h, w = x.shape[2:]
    fx, fy = w / width, h / height
    y = np.zeros((*x.shape[:2], height, width))
    weigh, support = (cubic, 4) if kind == "CUBIC" else (triangle, 2)
    antialias = antialias and max(fx, fy) > 1
    ax, ay = (1 / fx, 1 / fy) if antialias else (1, 1)
    for i, j in np.ndindex(height, width):
        # The shifts are exchanged, as in FlowNet2.
        down, across = i * fy + fx / 2 - 0.5, j * fx + fy / 2 - 0.5
        if kind == "NEAREST":
            y[:, :, i, j] = x[:, :, min(max(away(down), 0), h - 1), min(max(away(across), 0), w - 1)]
            continue
        rx, ry = 2 if fx < 1 else math.ceil(support / ax), 2 if fy < 1 else math.ceil(support / ay)
        total = 0.0
        for m in range(max(away(down) - ry, 0), min(away(down) + ry + 1, h)):
            for n in range(max(away(across) - rx, 0), min(away(across) + rx + 1, w)):
                weight = weigh(ay * (down - m)) * weigh(ax * (across - n))
                total += weight
                y[:, :, i, j] += weight * x[:, :, m, n]
        y[:, :, i, j] /= total or 1
    return y


@pytest.mark.parametrize("kind", ["NEAREST", "LINEAR", "CUBIC"])
@pytest.mark.parametrize("size", [(8, 8), (4, 5), (15, 13), (4, 19), (23, 5)])
@pytest.mark.parametrize("antialias", [True, False])
def test_resample(kind: str, size: tuple[int, int], antialias: bool) -> None:
    x = RNG.standard_normal((2, 2, 8, 9))
    settings = f"type: {kind} height: {size[0]} width: {size[1]} antialias: {str(antialias).lower()}"
    y = forward(layer_net("Resample", f"resample_param {{ {settings} }}", x.shape), x)
    np.testing.assert_allclose(y, loops(x, *size, kind, antialias), atol=1e-4)


def test_linear_weights_of_twice_the_size_are_quarters() -> None:
    x = np.array([0, 4, 8, 12]).reshape(1, 1, 1, 4).repeat(4, 2)
    y = forward(layer_net("Resample", "", x.shape, (1, 1, 8, 8)), x)
    np.testing.assert_allclose(y[0, 0, 3], [0, 1, 3, 5, 7, 9, 11, 12], atol=1e-5)


def test_downsample() -> None:
    x = RNG.standard_normal((1, 2, 9, 7))
    x[0, 0, 4:, 3:] = np.nan
    height, width = 4, 3
    scales = 8 / 3, 6 / 2
    expected = np.zeros((1, 2, height, width))
    for c, i, j in np.ndindex(2, height, width):
        down, across = i * scales[0], j * scales[1]
        known = unknown = total = 0.0
        for m, n in np.ndindex(9, 7):
            weight = triangle((m - down) / scales[0]) * triangle((n - across) / scales[1])
            if np.isnan(x[0, c, m, n]):
                unknown += weight
            else:
                known, total = known + weight, total + weight * x[0, c, m, n]
        expected[0, c, i, j] = total / known if unknown <= 0.5 * known else np.nan
    assert 0 < np.isnan(expected).sum() < 6
    y = forward(layer_net("Downsample", "downsample_param { top_height: 4 top_width: 3 }", x.shape), x)
    np.testing.assert_allclose(y, expected, atol=1e-5)
    np.testing.assert_array_equal(forward(layer_net("Downsample", "", x.shape, x.shape), x), x.astype(np.float32))


def bilinear(x: np.ndarray, height: int, width: int) -> np.ndarray:
    rows, columns = np.arange(x.shape[-2]), np.arange(x.shape[-1])
    down, across = np.linspace(0, rows[-1], height), np.linspace(0, columns[-1], width)
    x = np.apply_along_axis(lambda line: np.interp(down, rows, line), -2, x)
    return np.apply_along_axis(lambda line: np.interp(across, columns, line), -1, x)


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ("", (5, 7)),
        ("top_height: 9 top_width: 8", (9, 8)),
        ("top_height: 9 top_width: 7", (5, 7)),
        ("size_divisible_by: 4", (8, 8)),
        ("size_divisible_by: 5", (5, 7)),
    ],
)
def test_accum(settings: str, size: tuple[int, int]) -> None:
    a, b = RNG.standard_normal((2, 2, 5, 4)), RNG.standard_normal((2, 3, 3, 7))
    y = forward(layer_net("Accum", f"accum_param {{ {settings} }}", a.shape, b.shape), a, b)
    np.testing.assert_allclose(y, np.concatenate([bilinear(a, *size), bilinear(b, *size)], 1), atol=1e-5)


def test_accum_with_a_reference() -> None:
    a = RNG.standard_normal((2, 2, 3, 4))
    net = layer_net("Accum", "accum_param { have_reference: true }", a.shape, (1, 5, 6, 8))
    y = forward(net, a)
    np.testing.assert_allclose(y, bilinear(a, 6, 8), atol=1e-5)
    da, reference = gradients(net, np.ones(y.shape))
    np.testing.assert_allclose(da.sum(), y.size, rtol=1e-5)
    assert not reference.any()


@pytest.mark.parametrize(
    ("kind", "settings", "shapes", "expected"),
    [
        ("Resample", "", [(1, 1, 4, 4)], "needs a height and a width of at least 1, or a second bottom"),
        ("Resample", "resample_param { type: AREA width: 2 height: 2 }", [(1, 1, 4, 4)], "NEAREST, LINEAR or CUBIC"),
        ("Resample", "", [(4,), (4, 4)], "takes maps, with a height and a width, not 4"),
        ("Downsample", "downsample_param { top_width: 2 }", [(1, 1, 4, 4)], "needs a height and a width"),
        ("Downsample", "", [(1, 1, 4, 4), (1, 1, 1, 4)], "must be at least 2, not 4×4 and 1×4"),
        ("Accum", "accum_param { have_reference: true }", [(1, 1, 4, 4)], "needs at least two bottoms"),
        ("Accum", "accum_param { size_divisible_by: 0 }", [(1, 1, 4, 4)], "size_divisible_by is 0"),
        ("Accum", "", [(1, 1, 4, 4), (2, 1, 4, 4)], "as many images, not 1×1×4×4 and 2×1×4×4"),
    ],
)
def test_what_does_not_fit(kind: str, settings: str, shapes: list[tuple[int, ...]], expected: str) -> None:
    with pytest.raises(NetError, match=expected):
        layer_net(kind, settings, *shapes)
