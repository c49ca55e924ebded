import naive
import numpy as np
import pytest
from agreement import check_convolution, check_with_vectors_of, close

from caffelite.kernels.convolution.direct import backward_data, forward
from caffelite.kernels.convolution.direct_weights import backward_weights
from caffelite.kernels.convolution.geometry import Geometry
from caffelite.kernels.engine import settings

# images, channels, outputs, size, kernel, stride, pad, dilation, group
CASES = [
    (2, 3, 4, (6, 7), (3, 3), (1, 1), (0, 0), (1, 1), 1),
    (2, 3, 32, (16, 16), (5, 5), (1, 1), (2, 2), (1, 1), 1),
    (2, 4, 6, (9, 8), (3, 3), (2, 2), (1, 1), (1, 1), 1),
    (2, 4, 6, (6, 6), (3, 3), (1, 1), (0, 0), (1, 1), 2),
    (3, 16, 8, (5, 5), (1, 1), (1, 1), (0, 0), (1, 1), 1),
    (2, 3, 5, (7, 9), (2, 3), (1, 2), (1, 0), (1, 1), 1),
    (2, 3, 4, (9, 9), (3, 3), (1, 1), (2, 2), (2, 2), 1),
    (1, 2, 4, (11, 10), (3, 3), (2, 2), (0, 1), (3, 2), 1),
    (2, 12, 24, (9, 9), (3, 3), (2, 2), (1, 1), (1, 1), 12),
    (1, 3, 7, (35, 35), (11, 11), (4, 4), (0, 0), (1, 1), 1),
    (2, 2, 3, (8, 8), (2, 2), (3, 3), (0, 0), (1, 1), 1),
    (2, 8, 10, (6, 6), (6, 6), (1, 1), (0, 0), (1, 1), 1),
    (2, 33, 65, (8, 8), (1, 1), (2, 2), (0, 0), (1, 1), 1),
    (1, 2, 3, (5, 5), (3, 3), (1, 1), (4, 4), (1, 1), 1),
    (1, 1, 50, (3, 3), (3, 3), (2, 2), (2, 2), (2, 2), 1),
    (1, 5, 20, (1, 40), (1, 29), (1, 1), (0, 0), (1, 1), 1),
    (2, 4, 2, (4, 4), (3, 3), (2, 2), (1, 1), (1, 1), 1),
    (1, 64, 17, (40, 40), (3, 3), (1, 1), (1, 1), (1, 1), 1),
]


def steps(g, x, w, b, dy, y, dx, dw, db):
    return [*forward(g, x, w, b, y), *backward_data(g, dy, w, dx), *backward_weights(g, x, dy, dw, db)]


def check(case: tuple) -> None:
    check_convolution(case, steps)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_agrees_with_loops(case: tuple) -> None:
    check(case)


def test_without_bias() -> None:
    g = Geometry(2, 3, 5, (6, 6), (3, 3))
    x, w = np.ones((2, 3, 6, 6), np.float32), np.ones((5, 3, 3, 3), np.float32)
    y = np.zeros((2, 5, 4, 4), np.float32)
    for call in forward(g, x, w, None, y):
        call()
    assert (y == 27).all()


def test_two_runs_give_the_same_bits() -> None:
    g = Geometry(5, 8, 24, (12, 12), (5, 5), (1, 1), (2, 2))
    rng = np.random.default_rng(2)
    x = rng.standard_normal((5, 8, 12, 12)).astype(np.float32)
    dy = rng.standard_normal((5, 24, 12, 12)).astype(np.float32)
    found = []
    for _ in range(2):
        dw, db = np.zeros((24, 8, 5, 5), np.float32), np.zeros(24, np.float32)
        for call in backward_weights(g, x, dy, dw, db):
            call()
        found.append(dw.tobytes() + db.tobytes())
    assert found[0] == found[1]


@pytest.mark.parametrize("width", ["0", "4", "8"])
def test_other_vector_widths_and_plain_loops(width: str) -> None:
    check_with_vectors_of(width, "import test_direct as t\nfor i in (3, 7, 12): t.check(t.CASES[i])")


@pytest.mark.parametrize("threads", [2, 3, 5])
@pytest.mark.parametrize(
    "case",
    [
        (1, 12, 200, (7, 7), (1, 1), (1, 1), (0, 0), (1, 1), 1),
        (1, 12, 200, (7, 7), (3, 3), (1, 1), (1, 1), (1, 1), 1),
        (1, 8, 40, (40, 30), (1, 1), (1, 1), (0, 0), (1, 1), 1),
        (1, 4, 66, (27, 27), (3, 3), (2, 2), (1, 1), (1, 1), 2),
        (2, 6, 33, (1, 523), (1, 1), (1, 1), (0, 0), (1, 1), 1),
    ],
    ids=str,
)
def test_one_image_is_shared_among_threads(case: tuple, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    g = Geometry(*case)
    rng = np.random.default_rng(3)
    x = rng.standard_normal((g.images, g.channels, *g.size)).astype(np.float32)
    w = rng.standard_normal((g.outputs, g.channels // g.group, *g.kernel)).astype(np.float32)
    found = []
    for n in (1, threads):
        monkeypatch.setattr(settings, "threads", lambda n=n: n)
        monkeypatch.setattr("caffelite.kernels.engine.calls.SERIAL_WORK", 1)
        y = np.full((g.images, g.outputs, *g.output_size), 7, np.float32)
        calls = forward(g, x, w, None, y)
        assert calls[-1].workers >= min(n, 4)
        for call in calls:
            call()
        found.append(y)
    close(found[0], naive.convolution(x, w, np.zeros(g.outputs, np.float32), g.stride, g.pad, g.dilation, g.group))
    np.testing.assert_array_equal(found[0], found[1])
