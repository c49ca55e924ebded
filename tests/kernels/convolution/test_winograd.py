import numpy as np
import pytest
from agreement import check_convolution, check_with_vectors_of, close

from caffelite.kernels.convolution import (
    direct as convolution,
)
from caffelite.kernels.convolution import (
    direct_weights as convolution_weights,
)
from caffelite.kernels.convolution import (
    winograd,
    winograd_weights,
)
from caffelite.kernels.convolution.geometry import Geometry
from caffelite.kernels.convolution.winograd_tile import matrices
from caffelite.kernels.elementwise import ADD, chained
from caffelite.kernels.engine import settings

# images, channels, outputs, size, kernel, stride, pad, dilation, group
CASES = [
    (2, 8, 8, (9, 11), (3, 3), (1, 1), (1, 1), (1, 1), 1),
    (3, 16, 24, (8, 8), (5, 5), (1, 1), (2, 2), (1, 1), 2),
    (5, 9, 13, (7, 7), (3, 3), (1, 1), (0, 0), (1, 1), 1),
    (1, 20, 17, (40, 33), (5, 5), (1, 1), (3, 1), (1, 1), 1),
    (1, 33, 6, (14, 14), (3, 3), (1, 1), (2, 2), (1, 1), 1),
    (7, 3, 40, (6, 5), (5, 5), (1, 1), (4, 0), (1, 1), 1),
    (1, 2, 3, (3, 70), (3, 3), (1, 1), (1, 0), (1, 1), 1),
]


def steps(g, x, w, b, dy, y, dx, dw, db):
    return [
        *winograd.forward(g, x, w, b, y),
        *winograd.backward_data(g, dy, w, dx),
        *winograd_weights.backward_weights(g, x, dy, dw, db),
    ]


def check(case: tuple, dtype: type = np.float32) -> None:
    check_convolution(case, steps, dtype)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_agrees_with_loops(case: tuple) -> None:
    check(case)


def test_results_are_added_to_what_was_made_earlier() -> None:
    images, channels, outputs, size, kernel, stride, pad, dilation, group = CASES[0]
    g = Geometry(images, channels, outputs, size, kernel, stride, pad, dilation, group)
    rng = np.random.default_rng(5)
    x = rng.standard_normal((images, channels, *size)).astype(np.float32)
    w, b = rng.standard_normal((outputs, channels, *kernel)).astype(np.float32), np.ones(outputs, np.float32)
    plain, other, y = rng.standard_normal((3, images, outputs, *g.output_size)).astype(np.float32)
    for call in [
        *winograd.forward(g, x, w, b, plain),
        *winograd.forward(g, x, w, b, y, chained([ADD], [], other.reshape(-1))),
    ]:
        call()
    close(y, plain + other)


def test_agrees_with_loops_in_float64() -> None:
    check(CASES[0], np.float64)


@pytest.mark.parametrize("width", ["0", "4", "8", "16"])
def test_other_vector_widths_and_plain_loops(width: str) -> None:
    check_with_vectors_of(width, "import test_winograd as t\nt.check(t.CASES[0])")


@pytest.mark.parametrize("size", [3, 5])
def test_the_matrices_are_those_of_a_correlation(size: int) -> None:
    a, g, b = matrices(size)
    rng = np.random.default_rng(3)
    x, w = rng.standard_normal(6), rng.standard_normal(size)
    np.testing.assert_allclose(a @ ((g @ w) * (b @ x)), np.correlate(x, w, "valid"), rtol=1e-12)


@pytest.mark.parametrize("case", [(4, 64, 64, (14, 14), (3, 3)), (4, 32, 32, (16, 16), (5, 5))], ids=str)
def test_results_are_nearly_as_accurate_as_direct_sums(case: tuple) -> None:
    images, channels, outputs, size, kernel = case
    g = Geometry(images, channels, outputs, size, kernel, (1, 1), (kernel[0] // 2,) * 2)
    rng = np.random.default_rng(4)
    x = rng.standard_normal((images, channels, *size)).astype(np.float32)
    w = rng.standard_normal((outputs, channels, *kernel)).astype(np.float32)
    exact = np.zeros((images, outputs, *size))
    for call in convolution.forward(g, x.astype(np.float64), w.astype(np.float64), None, exact):
        call()
    errors = []
    for method in (convolution, winograd):
        y = np.zeros(exact.shape, np.float32)
        for call in method.forward(g, x, w, None, y):
            call()
        errors.append(np.sqrt(np.mean((y - exact) ** 2)))
    assert errors[1] < 3 * errors[0]


def test_small_nets_and_other_shapes_are_left_to_direct_sums() -> None:
    assert winograd.fits(Geometry(100, 32, 32, (16, 16), (5, 5), (1, 1), (2, 2)))
    assert winograd.fits(Geometry(1, 64, 64, (56, 56), (3, 3), (1, 1), (1, 1)))
    assert not winograd.fits(Geometry(100, 3, 32, (32, 32), (5, 5), (1, 1), (2, 2)))
    assert not winograd.fits(Geometry(1, 64, 64, (56, 56), (3, 3), (2, 2), (1, 1)))
    assert not winograd.fits(Geometry(1, 64, 64, (56, 56), (3, 3), (1, 1), (2, 2), (2, 2)))
    assert not winograd.fits(Geometry(1, 64, 64, (56, 56), (1, 1)))
    assert not winograd.fits(Geometry(1, 64, 64, (56, 56), (3, 3), (1, 1), (3, 3)))
    assert not winograd.fits(Geometry(1, 512, 512, (2, 2), (3, 3), (1, 1), (1, 1)))  # one tile
    assert winograd_weights.fits(Geometry(32, 128, 128, (14, 14), (3, 3), (1, 1), (1, 1)))
    assert not winograd_weights.fits(Geometry(8, 128, 128, (14, 14), (3, 3), (1, 1), (1, 1)))  # few tiles
    assert not winograd_weights.fits(Geometry(99, 1024, 1024, (14, 14), (3, 3), (1, 1), (1, 1)))  # large sums


def test_the_bits_of_a_forward_pass_do_not_depend_on_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    g = Geometry(1, 16, 200, (14, 14), (3, 3), (1, 1), (1, 1))
    rng = np.random.default_rng(5)
    x, w = rng.standard_normal((1, 16, 14, 14)), rng.standard_normal((200, 16, 3, 3))
    x, w = x.astype(np.float32), w.astype(np.float32)
    found = []
    for n in (1, 2, 3):
        monkeypatch.setattr(settings, "threads", lambda n=n: n)
        monkeypatch.setattr("caffelite.kernels.engine.calls.SERIAL_WORK", 1)
        y = np.full((1, 200, 14, 14), 7, np.float32)
        calls = winograd.forward(g, x, w, None, y)
        assert calls[-1].workers == n
        for call in calls:
            call()
        found.append(y.tobytes())
    assert found[0] == found[1] == found[2]


def test_two_runs_give_the_same_gradient() -> None:
    g = Geometry(5, 16, 24, (12, 12), (5, 5), (1, 1), (2, 2))
    rng = np.random.default_rng(2)
    x = rng.standard_normal((5, 16, 12, 12)).astype(np.float32)
    dy = rng.standard_normal((5, 24, 12, 12)).astype(np.float32)
    found = []
    for _ in range(2):
        dw = np.zeros((24, 16, 5, 5), np.float32)
        for call in winograd_weights.backward_weights(g, x, dy, dw, None):
            call()
        found.append(dw)
    assert found[0].tobytes() == found[1].tobytes()
    direct = np.zeros_like(found[0])
    for call in convolution_weights.backward_weights(g, x, dy, direct, None):
        call()
    close(found[0], direct)


def test_what_is_in_one_image_does_not_reach_another() -> None:
    g = Geometry(3, 8, 8, (8, 8), (5, 5), (1, 1), (2, 2))
    x, w = np.ones((3, 8, 8, 8), np.float32), np.ones((8, 8, 5, 5), np.float32)
    x[1] = np.nan
    y = np.zeros((3, 8, 8, 8), np.float32)
    for call in winograd.forward(g, x, w, None, y):
        call()
    assert np.isfinite(y[[0, 2]]).all()
    assert np.isnan(y[1]).all()
