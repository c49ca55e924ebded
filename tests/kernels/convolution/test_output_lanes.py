"""Correlations whose lanes are output channels, held against plain loops."""

import naive
import numpy as np
import pytest
from agreement import check_convolution, check_with_vectors_of, close

from caffelite.kernels.convolution import correlation
from caffelite.kernels.convolution.direct import backward_data, forward
from caffelite.kernels.convolution.direct_weights import backward_weights
from caffelite.kernels.convolution.geometry import Geometry
from caffelite.kernels.elementwise import ADD, Function, chained, define

DOUBLED = define(Function("TestDoubled", lambda x, p, o: p[o] * x, lambda x, y, p, o: p[o], "", 1))

# images, channels, outputs, size, kernel, stride, pad, dilation, group
CASES = [
    (2, 200, 60, (7, 7), (1, 1), (1, 1), (0, 0), (1, 1), 1),  # read from the image, a last panel that is not full
    (1, 200, 16, (3, 5), (1, 1), (1, 1), (0, 0), (1, 1), 1),  # a map of one tile
    (1, 25, 64, (7, 7), (3, 3), (1, 1), (1, 1), (1, 1), 1),  # two lines a tile, the last one moved back
    (2, 9, 32, (15, 11), (5, 5), (2, 2), (2, 2), (1, 1), 1),  # rows dealt out by the stride
    (2, 200, 32, (9, 9), (1, 1), (2, 2), (0, 0), (1, 1), 1),  # read from the image with a stride
    (1, 200, 32, (1, 9), (1, 1), (1, 2), (0, 0), (1, 1), 1),
    (1, 2060, 32, (6, 5), (1, 1), (1, 1), (0, 0), (1, 1), 1),  # products in blocks
    (1, 44, 64, (8, 10), (3, 3), (1, 1), (2, 2), (2, 2), 2),
]


#: Makes them the choice, whatever is predicted.
ALWAYS = {"_MANY": 0, "_FAR": float("inf")}


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ALWAYS.items():
        monkeypatch.setattr(correlation, name, value)


def steps(g, x, w, b, dy, y, dx, dw, db):
    made = forward(g, x, w, b, y)
    assert "output_lanes" in made[-1].kernel.name
    return [*made, *backward_data(g, dy, w, dx), *backward_weights(g, x, dy, dw, db)]


def check(case: tuple) -> None:
    check_convolution(case, steps)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_agrees_with_loops(case: tuple) -> None:
    check(case)


@pytest.mark.parametrize("width", ["0", "4", "8"])
def test_other_vector_widths_and_plain_loops(width: str) -> None:
    code = "import test_output_lanes as t\nvars(t.correlation).update(t.ALWAYS)\n"
    check_with_vectors_of(width, f"{code}for i in (0, 2, 3): t.check(t.CASES[i])")


def test_what_is_applied_to_the_results() -> None:
    g = Geometry(1, 200, 60, (7, 7), (1, 1))
    rng = np.random.default_rng(5)
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((1, 200, 7, 7), (60, 200, 1, 1)))
    y = np.empty((1, 60, 7, 7), np.float32)
    other = rng.standard_normal(y.size).astype(np.float32)
    for call in forward(g, x, w, None, y, chained([DOUBLED.key, ADD], [2.0], other)):
        call()
    expected = 2 * naive.convolution(x, w, np.zeros(60), (1, 1), (0, 0), (1, 1), 1)
    close(y, expected + other.reshape(y.shape))
