import os
import subprocess
import sys
from pathlib import Path

import naive
import numpy as np
import pytest

from caffelite.kernels import depthwise
from caffelite.kernels.convolution import Geometry

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
]


def close(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * max(np.abs(expected).max(), 1e-3))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_agrees_with_loops(case: tuple, dtype: type) -> None:
    check(case, dtype)


def check(case: tuple, dtype: type = np.float32) -> None:
    g = Geometry(*case)
    assert depthwise.fits(g)
    rng = np.random.default_rng(1)
    x = rng.standard_normal((g.images, g.channels, *g.size)).astype(dtype)
    w = rng.standard_normal((g.outputs, 1, *g.kernel)).astype(dtype)
    b = rng.standard_normal(g.outputs).astype(dtype)
    dy = rng.standard_normal((g.images, g.outputs, *g.output_size)).astype(dtype)
    rest = (g.stride, g.pad, g.dilation, g.group)
    memory = np.full(dy.size + 64, 7, dtype)
    y, dx, dw = memory[: dy.size].reshape(dy.shape), np.full(x.shape, 7, dtype), np.ones(w.shape, dtype)
    calls = [*depthwise.forward(g, x, w, b, y), *depthwise.backward_data(g, dy, w, dx)]
    calls += depthwise.backward_weights(g, x, dy, dw)
    for _ in range(2):  # the second time everything but the sums comes out the same
        for call in calls:
            call()
    expected_dx, expected_dw, _ = naive.convolution_gradients(x, w, dy, *rest)
    close(y, naive.convolution(x, w, b, *rest))
    assert (memory[dy.size :] == 7).all()
    close(dx, expected_dx)
    close(dw, 1 + 2 * expected_dw)


@pytest.mark.parametrize("width", ["0", "4", "8"])
def test_other_vector_widths_and_plain_loops(width: str) -> None:
    code = "import test_depthwise as t\nfor i in (0, 2, 5, 9, 12, 13, 14): t.check(t.CASES[i])"
    environment = {
        **os.environ,
        "CAFFELITE_VECTOR": width,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
    }
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


def test_without_bias() -> None:
    g = Geometry(1, 2, 2, (4, 4), (3, 3), group=2)
    y = np.zeros((1, 2, 2, 2), np.float32)
    for call in depthwise.forward(g, np.ones((1, 2, 4, 4), np.float32), np.ones((2, 1, 3, 3), np.float32), None, y):
        call()
    assert (y == 9).all()


def test_what_it_is_for() -> None:
    assert not depthwise.fits(Geometry(1, 1, 1, (4, 4), (3, 3), group=1))
    assert not depthwise.fits(Geometry(1, 4, 4, (4, 4), (3, 3), group=2))
    assert not depthwise.fits(Geometry(1, 2, 64, (4, 4), (3, 3), group=2))
