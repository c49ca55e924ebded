import numpy as np
import pytest
from agreement import check_convolution, check_with_vectors_of

from caffelite.kernels import elementwise
from caffelite.kernels.convolution import depthwise
from caffelite.kernels.convolution.geometry import Geometry
from caffelite.layers.relu import _FROM_TOP

# images, channels, outputs, size, kernel, stride, pad, dilation, group
CASES = [
    (2, 3, 3, (7, 6), (3, 3), (1, 1), (1, 1), (1, 1), 3),
    (2, 4, 4, (9, 10), (3, 3), (2, 2), (1, 1), (1, 1), 4),
    (1, 3, 6, (9, 8), (3, 3), (2, 2), (1, 1), (1, 1), 3),
    (2, 2, 2, (8, 9), (5, 4), (1, 1), (0, 2), (1, 1), 2),
    (2, 2, 2, (11, 12), (3, 3), (2, 3), (2, 1), (2, 2), 2),
    (1, 2, 2, (12, 13), (2, 3), (3, 2), (0, 1), (1, 3), 2),
    (1, 2, 2, (5, 5), (1, 1), (3, 3), (0, 0), (1, 1), 2),
    (1, 2, 4, (4, 4), (4, 4), (1, 1), (3, 3), (1, 1), 2),
    (1, 2, 2, (3, 3), (2, 2), (4, 4), (3, 0), (1, 1), 2),
    (1, 2, 2, (60, 61), (3, 3), (1, 1), (1, 1), (1, 1), 2),
    (1, 3, 3, (1, 20), (1, 5), (1, 1), (0, 2), (1, 1), 3),
    (2, 3, 3, (14, 14), (3, 3), (1, 1), (1, 1), (1, 1), 3),
    (2, 2, 2, (40, 37), (3, 3), (2, 2), (1, 1), (1, 1), 2),
    (1, 2, 4, (33, 50), (3, 3), (1, 2), (1, 2), (2, 1), 2),
    (1, 2, 2, (30, 95), (3, 4), (2, 5), (1, 1), (2, 1), 2),
    (1, 2, 2, (19, 38), (5, 5), (2, 2), (2, 2), (1, 1), 2),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_agrees_with_loops(case: tuple, dtype: type) -> None:
    check(case, dtype)


def steps(g, x, w, b, dy, y, dx, dw, db):
    return [
        *depthwise.forward(g, x, w, b, y),
        *depthwise.backward_data(g, dy, w, dx),
        *depthwise.backward_weights(g, x, dy, dw),
    ]


def check(case: tuple, dtype: type = np.float32) -> None:
    assert depthwise.fits(Geometry(*case))
    check_convolution(case, steps, dtype, bias_gradient=False)


@pytest.mark.parametrize("width", ["0", "4", "8"])
def test_other_vector_widths_and_plain_loops(width: str) -> None:
    check_with_vectors_of(width, "import test_depthwise as t\nfor i in (2, 12, 14): t.check(t.CASES[i])")


def test_without_bias() -> None:
    g = Geometry(1, 2, 2, (4, 4), (3, 3), group=2)
    y = np.zeros((1, 2, 2, 2), np.float32)
    for call in depthwise.forward(g, np.ones((1, 2, 4, 4), np.float32), np.ones((2, 1, 3, 3), np.float32), None, y):
        call()
    assert (y == 9).all()


@pytest.mark.parametrize("kernel", [(3, 3), (7, 7)], ids=["strips", "planes"])
def test_what_follows_element_by_element(kernel: tuple[int, int]) -> None:
    g = Geometry(1, 2, 2, (8, 8), kernel, pad=(1, 1), group=2)
    rng = np.random.default_rng(1)
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((1, 2, 8, 8), (2, 1, *kernel)))
    plain, chained = (np.zeros((1, 2, *g.output_size), np.float32) for _ in range(2))
    other = rng.standard_normal(plain.size).astype(np.float32)
    relu = elementwise.chained([elementwise.ADD, _FROM_TOP.key], [0.5], other)
    for call in [*depthwise.forward(g, x, w, None, plain), *depthwise.forward(g, x, w, None, chained, relu)]:
        call()
    added = plain + other.reshape(plain.shape)
    assert (added < 0).any() and (chained == np.where(added > 0, added, added / 2)).all()


def test_what_it_is_for() -> None:
    assert not depthwise.fits(Geometry(1, 1, 1, (4, 4), (3, 3), group=1))
    assert not depthwise.fits(Geometry(1, 4, 4, (4, 4), (3, 3), group=2))
    assert not depthwise.fits(Geometry(1, 2, 64, (4, 4), (3, 3), group=2))
