import naive
import numpy as np
import pytest

from caffelite.kernels.inner_product import product


@pytest.mark.parametrize(
    "size",
    [
        (60, 100, 784),
        (64, 50, 80),
        (100, 10, 33),
        (1, 10, 7),
        (3, 17, 5),
        (33, 65, 1),
        (5, 1, 100),
        (17, 130, 31),
        (70, 3, 2000),
        (2, 40, 1030),
    ],
    ids=str,
)
@pytest.mark.parametrize("a_turned", [False, True])
@pytest.mark.parametrize("b_turned", [False, True])
def test_product(size: tuple[int, int, int], a_turned: bool, b_turned: bool) -> None:
    m, n, count = size
    rng = np.random.default_rng(3)
    a = rng.standard_normal((count, m) if a_turned else (m, count)).astype(np.float32)
    b = rng.standard_normal((n, count) if b_turned else (count, n)).astype(np.float32)
    bias = rng.standard_normal(n).astype(np.float32)
    out, added = np.full((m, n), 9, np.float32), np.ones((m, n), np.float32)
    a_steps, b_steps = (1, m) if a_turned else (count, 1), (1, count) if b_turned else (n, 1)
    for call in [
        *product(a, a_steps, b, b_steps, out, size, bias),
        *product(a, a_steps, b, b_steps, added, size, add=True),
    ]:
        call()
    expected = naive.product(a.T if a_turned else a, b.T if b_turned else b)
    np.testing.assert_allclose(out, expected + bias, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(added, expected + 1, rtol=1e-4, atol=1e-4)
