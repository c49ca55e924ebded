"""Correlation and Correlation1D, against loops."""

import numpy as np
import pytest
from runner import forward, gradients, layer_net

from caffelite.errors import NetError

RNG = np.random.default_rng(1)


def loops(
    a: np.ndarray, b: np.ndarray, kernel: int, reach: int, pad: int, s1: int, s2: int, subtract: bool
) -> np.ndarray:
    a, b = (np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad))) for x in (a, b))
    border = reach + kernel // 2
    height, width = (-(-(n - 2 * border) // s1) for n in a.shape[2:])
    steps = range(-(reach // s2) * s2, reach // s2 * s2 + 1, s2)
    y = np.zeros((len(a), len(steps) ** 2, height, width))
    for d, (v, u) in enumerate((v, u) for v in steps for u in steps):
        for i, j in np.ndindex(height, width):
            top, left = i * s1 + reach, j * s1 + reach
            one = a[:, :, top : top + kernel, left : left + kernel]
            two = b[:, :, top + v : top + v + kernel, left + u : left + u + kernel]
            y[:, d, i, j] = (abs(one - two) if subtract else one * two).mean((1, 2, 3))
    return y


@pytest.mark.parametrize("subtract", [False, True])
@pytest.mark.parametrize(
    ("kernel", "reach", "pad", "s1", "s2"), [(1, 2, 2, 1, 1), (3, 2, 3, 2, 1), (1, 5, 4, 1, 2), (3, 1, 0, 1, 2)]
)
def test_values(kernel: int, reach: int, pad: int, s1: int, s2: int, subtract: bool) -> None:
    a, b = RNG.standard_normal((2, 2, 3, 7, 8))
    net = layer_net(
        "Correlation",
        f"correlation_param {{ kernel_size: {kernel} max_displacement: {reach} pad: {pad} stride_1: {s1} stride_2: {s2} "
        f"correlation_type: {'SUBTRACT' if subtract else 'MULTIPLY'} }}",
        a.shape,
        b.shape,
    )
    for _ in range(2):
        np.testing.assert_allclose(forward(net, a, b), loops(a, b, kernel, reach, pad, s1, s2, subtract), atol=1e-5)


@pytest.mark.parametrize(("direction", "moves"), [(0, [-4, -2, 0, 2, 4]), (1, [0, 2, 4]), (-1, [-6, -4, -2])])
def test_one_dimension(direction: int, moves: list[int]) -> None:
    a, b = RNG.standard_normal((2, 2, 3, 4, 9))
    net = layer_net(
        "Correlation1D",
        f"correlation_param {{ kernel_size: 1 max_displacement: 4 pad: 4 stride_2: 2 single_direction: {direction} }}",
        a.shape,
        b.shape,
    )
    wide = np.pad(b, ((0, 0), (0, 0), (0, 0), (6, 6)))
    expected = np.stack([(a * wide[..., 6 + u : 6 + u + 9]).mean(1) for u in moves], 1)
    np.testing.assert_allclose(forward(net, a, b), expected, atol=1e-6)
    dy = RNG.standard_normal(expected.shape)
    da, _ = gradients(net, dy)
    np.testing.assert_allclose(
        da, sum(dy[:, [d]] * wide[..., 6 + u : 6 + u + 9] for d, u in enumerate(moves)) / 3, atol=1e-5
    )


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("max_displacement: 2", "correlation_param needs kernel_size"),
        ("kernel_size: 1", "correlation_param needs max_displacement"),
        ("kernel_size: 2 max_displacement: 2", "kernel_size is 2, expected an odd number"),
        ("kernel_size: 1 max_displacement: 2 stride_2: 0", "stride_2 is 0, expected at least 1"),
        ("kernel_size: 1 max_displacement: 2", "do not fit into maps of 4×4 with pad 0"),
        ("kernel_size: 1 max_displacement: 0 single_direction: 2", "single_direction is 2, expected -1, 0 or 1"),
    ],
)
def test_what_does_not_fit(settings: str, expected: str) -> None:
    kind = "Correlation1D" if "single" in settings else "Correlation"
    with pytest.raises(NetError, match=expected):
        layer_net(kind, f"correlation_param {{ {settings} }}", (1, 2, 4, 4), (1, 2, 4, 4))


def test_shapes_that_differ() -> None:
    settings = "correlation_param { kernel_size: 1 max_displacement: 0 }"
    with pytest.raises(NetError, match="takes two bottoms of the same 4 axes .* not 1×2×4×4 and 1×2×4×5"):
        layer_net("Correlation", settings, (1, 2, 4, 4), (1, 2, 4, 5))
