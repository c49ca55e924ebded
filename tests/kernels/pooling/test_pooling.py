import naive
import numpy as np
import pytest
from agreement import check_with_vectors_of

from caffelite.kernels.functions import random32
from caffelite.kernels.pooling import planes as pooling_planes
from caffelite.kernels.pooling import pooling, stochastic
from caffelite.kernels.pooling.windows import Windows

# maps, size, kernel, stride, pad, output
CASES = [
    (6, (8, 8), (3, 3), (2, 2), (0, 0), (4, 4)),
    (6, (7, 9), (3, 2), (2, 1), (1, 1), (4, 10)),
    (6, (5, 6), (5, 6), (1, 1), (0, 0), (1, 1)),
    (6, (11, 9), (5, 5), (3, 3), (2, 2), (5, 4)),
    (6, (13, 14), (2, 5), (1, 4), (1, 2), (14, 4)),
    (6, (2, 2), (2, 2), (2, 2), (0, 0), (1, 1)),
    (6, (33, 31), (2, 2), (2, 2), (0, 0), (17, 16)),
    (6, (20, 20), (17, 17), (1, 1), (0, 0), (4, 4)),
    (101, (8, 8), (3, 3), (2, 2), (0, 0), (4, 4)),  # stacks of maps, the last one smaller
    (50, (7, 7), (3, 3), (1, 1), (1, 1), (7, 7)),
    (3, (90, 67), (3, 3), (2, 2), (1, 1), (46, 34)),  # bands of a map
    (1, (40, 150), (17, 17), (1, 1), (8, 8), (40, 150)),  # with places that take more than a byte
    (5, (12, 16), (3, 3), (3, 3), (0, 0), (4, 5)),  # not all columns are in a window
    (5, (9, 9), (1, 2), (3, 4), (0, 0), (3, 2)),  # nor these rows
    (4, (6, 20), (3, 7), (2, 4), (2, 6), (4, 7)),
    (4, (25, 26), (6, 5), (6, 5), (1, 0), (5, 6)),  # a large stride
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_agrees_with_loops(case: tuple, dtype: type) -> None:
    check(case, dtype)


def windows(case: tuple) -> Windows:
    """The windows of a case: all of it but the number of maps."""
    return Windows(*(n for pair in case[1:] for n in pair))


def guarded(shape: tuple[int, ...], dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """An array, and the memory around it, which nothing may be written to."""
    memory = np.full(np.prod(shape, dtype=int) + 256, 7, dtype)
    return memory[128:-128].reshape(shape), memory


def check(case: tuple, dtype: type = np.float32) -> None:
    maps, size, kernel, stride, pad, out = case
    g = windows(case)
    rng = np.random.default_rng(4)
    values = rng.integers(-4, 5, (1, maps, *size)).astype(dtype)  # with ties
    gradients = rng.standard_normal((1, maps, *out)).astype(dtype)
    x, dy = np.full_like(values, np.nan), np.full_like(gradients, np.nan)
    (y, y_memory), (dx, dx_memory), (mask, _) = (
        guarded(dy.shape, dtype),
        guarded(x.shape, dtype),
        guarded(dy.shape, dtype),
    )
    index, index_memory = guarded(pooling.index_array(g, maps).shape, pooling_planes.index_type(g))

    def run(*calls) -> None:
        # What is left of a first pass, here NaN, does not show in the second one.
        for x[...], dy[...] in (np.nan, np.nan), (values, gradients):
            for call in calls:
                call()
        assert all((m[:128] == 7).all() and (m[-128:] == 7).all() for m in (y_memory, dx_memory, index_memory))

    expected, place = naive.pooling(values, "MAX", kernel, stride, pad, out)
    run(pooling.max_forward(g, x, y, None))
    np.testing.assert_array_equal(y, expected)
    y[...] = 0
    run(pooling.max_forward(g, x, y, index), pooling.mask(g, index, mask), pooling.max_backward(g, dy, index, dx))
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(mask, place)
    d_expected = np.zeros((maps, size[0] * size[1]))
    for plane in range(maps):
        np.add.at(d_expected[plane], place[0, plane].reshape(-1), gradients[0, plane].reshape(-1))
    np.testing.assert_allclose(dx.reshape(maps, -1), d_expected, atol=1e-5)

    run(pooling.average_forward(g, x, y), pooling.average_backward(g, dy, dx))
    np.testing.assert_allclose(y, naive.pooling(values, "AVE", kernel, stride, pad, out)[0], atol=1e-5)
    # The gradient of a sum of y * dy is linear: its product with any x gives the sum again.
    other = rng.standard_normal(x.shape)
    pooled = naive.pooling(other, "AVE", kernel, stride, pad, out)[0]
    np.testing.assert_allclose((dx * other).sum((2, 3)), (pooled * gradients).sum((2, 3)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("width", ["0", "4", "8"])
def test_other_vector_widths_and_plain_loops(width: str) -> None:
    check_with_vectors_of(width, "import test_pooling as t\nfor case in t.CASES[8:11]: t.check(case)")


def test_what_planes_are_for() -> None:
    assert all(pooling_planes.fits(windows(case)) for case in CASES if case[1] == (8, 8))
    assert not pooling_planes.fits(Windows(7, 7, 7, 7, 1, 1, 0, 0, 1, 1))
    assert not pooling_planes.fits(Windows(60, 60, 10, 10, 10, 10, 0, 0, 6, 6))
    assert not pooling_planes.fits(Windows(20, 20, 17, 17, 1, 1, 0, 0, 4, 4))


@pytest.mark.parametrize("pad", [0, 1])
@pytest.mark.parametrize("step", [3, 5])
def test_windows_without_a_largest(pad: int, step: int) -> None:
    # Beyond the map (a stride above the kernel, no pad) or all NaN: no place, and no gradient outside the array.
    size, kernel, stride, out = (2 * step,) * 2, (2, 2), (step, step), (3, 3)
    if pad:
        size, kernel, stride = (6, 6), (3, 3), (2, 2)
    g = Windows(*size, *kernel, *stride, pad, pad, *out)
    x = np.full((1, 1, *size), np.nan if pad else 1, np.float32)
    y, mask, index = np.zeros((1, 1, *out), np.float32), np.zeros((1, 1, *out), np.float32), pooling.index_array(g, 1)
    memory = np.zeros(3 * x.size, np.float32)
    dx = memory[x.size : 2 * x.size].reshape(x.shape)
    pooling.max_forward(g, x, y, index)()
    pooling.mask(g, index, mask)()
    pooling.max_backward(g, np.ones_like(y), index, dx)()
    inside = np.zeros((3, 3), bool) if pad else np.outer([True, True, False], [True, True, False])
    np.testing.assert_array_equal(mask[0, 0] >= 0, inside)
    assert (mask[0, 0][~inside] == -1).all()
    assert (y[0, 0][~inside] == np.finfo(np.float32).min).all()
    assert memory.sum() == dx.sum() == inside.sum()
    if not pad:
        pooling.average_forward(g, x, y)()
        np.testing.assert_array_equal(np.isnan(y[0, 0]), ~inside)


def draws(case: tuple) -> bool:
    """Whether there is no padding, and something in each window."""
    _, size, _, stride, pad, out = case
    return pad == (0, 0) and all((n - 1) * s < m for n, s, m in zip(out, stride, size, strict=True))


@pytest.mark.parametrize("case", [c for c in CASES if draws(c)], ids=str)
def test_random_elements(case: tuple) -> None:
    maps, size, kernel, stride, _, out = case
    g = windows(case)
    rng = np.random.default_rng(6)
    x = rng.random((1, maps, *size)).astype(np.float32)
    dy = rng.standard_normal((1, maps, *out)).astype(np.float32)
    y, dx, chosen = np.zeros_like(dy), np.zeros_like(x), np.zeros(dy.size, np.int64)
    with np.errstate(over="ignore"):
        shares = np.array([random32(5, 2, i) for i in range(dy.size)], np.float64).reshape(dy.shape)
    stochastic.draw(g, x, y, chosen, 5, np.int64([2]))()
    stochastic.draw_backward(g, dy, chosen, dx)()
    place = naive.drawn_pooling(x, shares, kernel, stride)
    # Where rounding decides which of two neighbours it is, the sums in float64 may take the other one.
    assert (chosen.reshape(place.shape) == place).mean() > 0.99
    np.testing.assert_array_equal(
        y.reshape(maps, -1), np.take_along_axis(x.reshape(maps, -1), chosen.reshape(maps, -1), 1)
    )
    expected = np.zeros((maps, size[0] * size[1]))
    for plane, (places, values) in enumerate(zip(chosen.reshape(maps, -1), dy.reshape(maps, -1), strict=True)):
        np.add.at(expected[plane], places, values)
    np.testing.assert_allclose(dx.reshape(maps, -1), expected, atol=1e-5)

    stochastic.expect(g, x, y)()
    stochastic.expect_backward(g, x, y, dy, dx)()
    expected_y, expected_dx = naive.expected_pooling(x, dy, kernel, stride)
    np.testing.assert_allclose(y, expected_y, rtol=1e-4)
    np.testing.assert_allclose(dx, expected_dx, rtol=1e-4, atol=1e-4)
