import numpy as np
import pytest

from caffelite.kernels import functions
from caffelite.kernels.engine.calls import call
from caffelite.kernels.engine.compiling import specialised


@specialised
def _apply(name):
    function = getattr(functions, name)

    def apply(begin, end, worker, x, y):
        for i in range(begin, end):
            y[i] = function(x[i])

    return apply


def apply(name: str, x: np.ndarray) -> np.ndarray:
    y = np.zeros_like(x)
    call(_apply(name), x.size, x, y)()
    return y


EXACT = {"exp32": np.exp, "log32": np.log, "tanh32": np.tanh, "sigmoid32": lambda x: 1 / (1 + np.exp(-x))}


@pytest.mark.parametrize("name", EXACT)
def test_accuracy(name: str) -> None:
    x = np.concatenate([np.linspace(-87, 88, 200_001), np.linspace(-1, 1, 100_001), np.geomspace(1e-30, 1e30, 1001)])
    x = x[x > 0] if name == "log32" else x[x < 88]
    x = x.astype(np.float32)
    np.testing.assert_allclose(apply(name, x), EXACT[name](x.astype(np.float64)), rtol=5e-7, atol=1e-37)


def test_ends_of_the_range() -> None:
    x = np.float32([np.inf, -np.inf, np.nan, 1000, -1000, 0])
    np.testing.assert_array_equal(apply("exp32", x), np.float32([np.inf, 0, np.nan, np.inf, 0, 1]))
    np.testing.assert_array_equal(apply("sigmoid32", x), np.float32([1, 0, np.nan, 1, 0, 0.5]))
    np.testing.assert_array_equal(apply("tanh32", x), np.float32([1, -1, np.nan, 1, -1, 0]))
    np.testing.assert_array_equal(
        apply("log32", np.float32([0, -1, np.inf, np.nan, 1])), np.float32([-np.inf, np.nan, np.inf, np.nan, 0])
    )


def test_random_numbers_are_even_and_depend_on_every_argument() -> None:
    @specialised
    def draw(seed, counter):
        def kernel(begin, end, worker, y):
            for i in range(begin, end):
                y[i] = functions.random32(seed, counter, i)

        return kernel

    found = []
    for seed, counter in ((1, 0), (2, 0), (1, 1)):
        y = np.zeros(200_000, np.float32)
        call(draw(seed, counter), y.size, y)()
        assert 0 <= y.min()
        assert y.max() < 1
        np.testing.assert_allclose(np.histogram(y, 20, (0, 1))[0], 10_000, rtol=0.05)
        assert abs(np.corrcoef(y[1:], y[:-1])[0, 1]) < 0.01
        found.append(y)
    assert abs(np.corrcoef(found)[np.triu_indices(3, 1)]).max() < 0.01


def test_logarithm_below_the_smallest_normal_number() -> None:
    x = np.float32([1.1754944e-38, 1e-38, 1e-39, 1e-42, 1.4e-45])
    np.testing.assert_allclose(apply("log32", x), np.log(x.astype(np.float64)), rtol=5e-7)
