import naive
import numpy as np
import pytest

from caffelite.kernels import rows


@pytest.mark.parametrize("length", [1, 7, 100])
def test_rows_are_picked_and_put_back(length: int) -> None:
    rng = np.random.default_rng(length)
    table = rng.standard_normal((11, length)).astype(np.float32)
    index = rng.integers(0, 11, 40)  # some rows more than once
    out = np.zeros((40, length), np.float32)
    rows.gather(table, index.astype(np.float32), out)()
    np.testing.assert_array_equal(out, naive.gather(table, index))
    expected = naive.scatter(out, index, table)
    rows.scatter(out, index, table)()
    np.testing.assert_allclose(table, expected, rtol=1e-5, atol=1e-6)
