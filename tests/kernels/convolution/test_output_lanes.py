"""Correlations whose lanes are output channels, held against plain loops; each case is one that is computed so."""

import numpy as np
import pytest
from agreement import check_convolution, check_with_vectors_of

from caffelite.kernels import elementwise, functions
from caffelite.kernels.convolution.blocking import output_tile_for
from caffelite.kernels.convolution.direct import backward_data, forward
from caffelite.kernels.convolution.direct_weights import backward_weights
from caffelite.kernels.convolution.geometry import Geometry

# images, channels, outputs, size, kernel, stride, pad, dilation, group
CASES = [
    (2, 200, 33, (7, 7), (1, 1), (1, 1), (0, 0), (1, 1), 1),  # read from the image, a last panel that is not full
    (1, 200, 16, (3, 5), (1, 1), (1, 1), (0, 0), (1, 1), 1),  # a map of one tile
    (1, 25, 40, (7, 7), (3, 3), (1, 1), (1, 1), (1, 1), 1),  # two lines a tile, the last one moved back
    (2, 9, 32, (15, 11), (5, 5), (2, 2), (2, 2), (1, 1), 1),  # rows dealt out by the stride
    (2, 200, 32, (9, 9), (1, 1), (2, 2), (0, 0), (1, 1), 1),
    (1, 44, 64, (8, 10), (3, 3), (1, 1), (2, 2), (2, 2), 2),
]


def steps(g, x, w, b, dy, y, dx, dw, db):
    made = forward(g, x, w, b, y)
    assert "output_lanes" in made[-1].kernel.name
    return [*made, *backward_data(g, dy, w, dx), *backward_weights(g, x, dy, dw, db)]


def check(case: tuple) -> None:
    check_convolution(case, steps)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_agrees_with_loops(case: tuple) -> None:
    check(case)
